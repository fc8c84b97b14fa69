//! A standby of a server, and its promotion.

use crate::programs::{Trouble, owned_file, owned_folder, program, run};
use crate::{Cluster, free_port, scratch};
use std::thread;
use std::time::{Duration, Instant};

impl Cluster {
    /// Makes and starts a standby that follows this server by the name `name`. The primary waits for it at every commit
    /// once it has `synchronous_standby_names = 'NAME'`.
    ///
    /// # Errors
    /// [`Trouble`] with the words of the program that failed.
    pub fn standby(&self, name: &str) -> Result<Cluster, Trouble> {
        self.standby_on(free_port()?, name)
    }

    /// The same, on a port that a URL already names.
    ///
    /// # Errors
    /// [`Trouble`] with the words of the program that failed.
    pub fn standby_on(&self, port: u16, name: &str) -> Result<Cluster, Trouble> {
        let home = scratch("standby");
        owned_folder(&home)?;
        run(program("pg_basebackup")?
            .args(["--wal-method=stream", "--checkpoint=fast", "--no-sync", "-U", "postgres", "-h"])
            .arg(self.home())
            .args(["-p", &self.port().to_string(), "-D"])
            .arg(home.join("data")))?;
        let mut standby = Cluster::at(home, port);
        owned_file(&standby.home().join("data/standby.signal"), b"")?;
        standby.configure(&format!(
            "primary_conninfo = 'host=127.0.0.1 port={} user=postgres application_name={name}'\n\
             synchronous_standby_names = ''",
            self.port()
        ))?;
        standby.resume()?;
        Ok(standby)
    }

    /// From this on every commit waits until the standby of that name has it on its disk.
    ///
    /// # Errors
    /// [`Trouble`] when the standby does not follow within a minute.
    pub fn commit_with(&self, name: &str) -> Result<(), Trouble> {
        self.configure(&format!("synchronous_standby_names = '{name}'"))?;
        self.sql("postgres", "SELECT pg_reload_conf()")?;
        let end = Instant::now() + Duration::from_secs(60);
        let state = format!("SELECT sync_state FROM pg_stat_replication WHERE application_name = '{name}'");
        while self.sql("postgres", &state)? != "sync" {
            if Instant::now() > end {
                return Err(Trouble(format!("the standby {name} does not follow")));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Makes a standby the primary, and waits until it takes writes.
    ///
    /// # Errors
    /// [`Trouble`] with the words of `psql`.
    pub fn promote(&self) -> Result<(), Trouble> {
        self.sql("postgres", "SELECT pg_promote(true, 60)").map(|_| ())
    }
}
