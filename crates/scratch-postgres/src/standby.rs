//! A standby of a server, and its promotion.

use crate::programs::{Trouble, owned_folder, program, run};
use crate::{Cluster, free_port, scratch};

impl Cluster {
    /// Makes and starts a standby that follows this server by the name `name`. The primary waits for it at every commit
    /// once it has `synchronous_standby_names = 'NAME'`.
    ///
    /// # Errors
    /// [`Trouble`] with the words of the program that failed.
    pub fn standby(&self, name: &str) -> Result<Cluster, Trouble> {
        let home = scratch("standby");
        owned_folder(&home)?;
        run(program("pg_basebackup")?
            .args([
                "--write-recovery-conf",
                "--wal-method=stream",
                "--checkpoint=fast",
                "-U",
                "postgres",
                "-h",
            ])
            .arg(self.home())
            .args(["-p", &self.port().to_string(), "-D"])
            .arg(home.join("data")))?;
        let mut standby = Cluster::at(home, free_port()?);
        standby.configure(&format!(
            "primary_conninfo = 'host=127.0.0.1 port={} user=postgres application_name={name}'",
            self.port()
        ))?;
        standby.resume()?;
        Ok(standby)
    }

    /// Makes a standby the primary, and waits until it takes writes.
    ///
    /// # Errors
    /// [`Trouble`] with the words of `psql`.
    pub fn promote(&self) -> Result<(), Trouble> {
        self.sql("postgres", "SELECT pg_promote(true, 60)").map(|_| ())
    }
}
