//! A primary with a synchronous standby, both named by one URL, which take turns.

use crate::programs::Trouble;
use crate::{Cluster, Database, free_port};

const STANDBY: &str = "second";

/// Two servers with one database. Every commit waits until both have it.
#[derive(Debug)]
pub struct Pair {
    /// Who takes writes, or took them until it was killed.
    pub primary: Cluster,
    /// Who follows.
    pub standby: Cluster,
    /// The database, at whichever of the two takes writes.
    pub database: Database,
}

impl Pair {
    /// Starts both.
    ///
    /// # Errors
    /// [`Trouble`] with the words of the program that failed.
    pub fn start() -> Result<Pair, Trouble> {
        let primary = Cluster::start("")?;
        let name = primary.database()?.name;
        let standby = primary.standby_on(free_port()?, STANDBY)?;
        primary.commit_with(STANDBY)?;
        let hosts = format!("127.0.0.1:{},127.0.0.1:{}", primary.port(), standby.port());
        let database = Database { url: format!("postgres://postgres@{hosts}/{name}"), name };
        Ok(Pair { primary, standby, database })
    }

    /// The standby takes over; the two change places.
    ///
    /// # Errors
    /// [`Trouble`] with the words of `psql`.
    pub fn fail_over(&mut self) -> Result<(), Trouble> {
        self.standby.promote()?;
        std::mem::swap(&mut self.primary, &mut self.standby);
        Ok(())
    }

    /// A new standby takes the place of the one that is dead.
    ///
    /// # Errors
    /// [`Trouble`] with the words of the program that failed.
    pub fn replace_standby(&mut self) -> Result<(), Trouble> {
        self.standby.kill();
        self.standby = self.primary.standby_on(self.standby.port(), STANDBY)?;
        self.primary.commit_with(STANDBY)
    }
}
