//! PgBouncer in front of a server.

use crate::programs::{Trouble, installed, owned_file, owned_folder};
use crate::{Cluster, free_port, scratch};
use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long it may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running pooler. It ends, and its folder goes, when this is dropped.
#[derive(Debug)]
pub struct Bouncer {
    home: PathBuf,
    port: u16,
    process: Child,
}

impl Cluster {
    /// Starts a pooler in front of this server, with `pool_mode` as PgBouncer calls it: `session`, `transaction` or
    /// `statement`.
    ///
    /// # Errors
    /// [`Trouble`] with the words of PgBouncer.
    pub fn pooled(&self, pool_mode: &str) -> Result<Bouncer, Trouble> {
        let (home, port) = (scratch("bouncer"), free_port()?);
        owned_folder(&home)?;
        owned_file(&home.join("users"), b"\"postgres\" \"\"\n")?;
        let (file, folder) = (home.join("pgbouncer.ini"), home.display());
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir = {folder}\nauth_type = trust\nauth_file = {folder}/users\npool_mode = {pool_mode}\n\
             ignore_startup_parameters = extra_float_digits\nlogfile = {folder}/log\npidfile = {folder}/pid\n",
            self.port()
        );
        owned_file(&file, settings.as_bytes())?;
        let process = installed("/usr/sbin/pgbouncer")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Trouble(error.to_string()))?;
        let mut bouncer = Bouncer { home, port, process };
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > end || !matches!(bouncer.process.try_wait(), Ok(None)) {
                let words = fs::read_to_string(bouncer.home.join("log")).unwrap_or_default();
                return Err(Trouble(format!(
                    "pgbouncer (Debian's package pgbouncer) did not start: {words}"
                )));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(bouncer)
    }
}

impl Bouncer {
    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.home);
    }
}
