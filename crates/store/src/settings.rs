//! The bounds of a store, its dialect, and what it has counted. Every bound has an end that a caller sees.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Which SQL the database speaks. Statements in `$1` style are written to be valid in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// SQLite 3, embedded.
    Sqlite,
    /// PostgreSQL, or what speaks its wire.
    Postgres,
}

impl Dialect {
    /// The text that this database understands, where one text does not serve both.
    pub fn of(self, sqlite: &'static str, postgres: &'static str) -> &'static str {
        match self {
            Dialect::Sqlite => sqlite,
            Dialect::Postgres => postgres,
        }
    }
}

/// Bounds of a store. Start from `Settings::default()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Acts that may wait for the writer; the next one is answered [`crate::StoreError::Busy`] at once.
    pub queue: usize,
    /// Most acts in one transaction.
    pub batch: usize,
    /// How long a batch waits for a write lock that another process holds, and a reader for a connection.
    pub busy_timeout: Duration,
    /// Connections for reading.
    pub max_readers: u32,
    /// How long one act may hold the writer, and one statement the database.
    pub act_timeout: Duration,
    /// How long a statement waits for a row that another gateway holds.
    pub lock_timeout: Duration,
    /// A number that one store at a time may hold on a database that many share, for as long as its writer's session
    /// lives: two gateways of one name would take each other's work for that of a dead run.
    pub sole: Option<i64>,
    /// Opens a database although a vault is still being moved into it: for whoever moves it.
    pub arriving: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            queue: 1024,
            batch: 128,
            busy_timeout: Duration::from_secs(1),
            max_readers: 4,
            act_timeout: Duration::from_secs(5),
            lock_timeout: Duration::from_secs(2),
            sole: None,
            arriving: false,
        }
    }
}

/// What the writer has done since the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Transactions that became durable.
    pub commits: u64,
    /// Acts that became durable with them; `acts / commits` is the mean size of a group.
    pub acts: u64,
    /// Acts that were refused because the queue was full or another process held the lock.
    pub busy: u64,
    /// Transactions that failed as a whole for another reason (disk full, input/output).
    pub failed: u64,
}

/// The counters behind [`Counters`], shared by the callers and the writer.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    commits: AtomicU64,
    acts: AtomicU64,
    busy: AtomicU64,
    failed: AtomicU64,
    /// The last transaction failed as a whole.
    suspect: AtomicBool,
}

impl Tally {
    pub(crate) fn committed(&self, acts: u64) {
        self.suspect.store(false, Ordering::Relaxed);
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.acts.fetch_add(acts, Ordering::Relaxed);
    }

    pub(crate) fn busy(&self, acts: u64) {
        self.busy.fetch_add(acts, Ordering::Relaxed);
    }

    /// Whether the last transaction failed as a whole, so that only a write can tell that the disk is back.
    pub(crate) fn suspect(&self) -> bool {
        self.suspect.load(Ordering::Relaxed)
    }

    pub(crate) fn failed(&self) {
        self.suspect.store(true, Ordering::Relaxed);
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Counters {
        Counters {
            commits: self.commits.load(Ordering::Relaxed),
            acts: self.acts.load(Ordering::Relaxed),
            busy: self.busy.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}
