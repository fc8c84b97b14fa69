//! Everything that can go wrong with the store, told without a word of what was stored.

use crate::SqlCode;

/// Why an act, a read or an opening failed. `Copy`, because one failed commit answers every act of its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StoreError {
    /// The queue is full, every reader is taken, or another process holds the write lock. Nothing was written.
    #[error("the store is busy; nothing was written, retry in a second")]
    Busy,
    /// Input/output error, file or server gone, or the store was closed. The act was not acknowledged; after
    /// an error of the disk itself it may still have become durable, so retry under the same idempotency key.
    #[error("the store is unavailable; look at the disk, then retry under the same idempotency key")]
    Unavailable,
    /// The database's disk is full. Nothing was written.
    #[error("the database's disk is full; make room, service resumes by itself")]
    Full,
    /// The database takes no writes: an administrator's setting, a file mode, or only standbys answered.
    #[error(
        "the database takes no writes now; promote a standby or end its read-only mode, service resumes by itself"
    )]
    ReadOnly,
    /// The database has no connection left for us.
    #[error("the database has no connection left; raise max_connections or lower store.max_readers")]
    Connections,
    /// The database refuses our login or has no such database.
    #[error(
        "the database refuses the login; check the user, the password file and the database's name in store.url"
    )]
    Login,
    /// The login lacks a right.
    #[error("the database login lacks a right; make it a member of the role pangate_gateway")]
    Denied,
    /// The way to the database would not be encrypted and verified, or its certificate was refused.
    #[error(
        "the database is not reached by verified TLS; write sslmode=verify-full and sslrootcert=FILE into store.url"
    )]
    Tls,
    /// A pooler between us hands out another server connection for each transaction.
    #[error(
        "a pooler in transaction mode is between us and the database; set pool_mode = session in it, or go around it"
    )]
    Pooler,
    /// Another store holds what only one may ([`crate::Settings::sole`]).
    #[error("another gateway with the same audit.log name works on this database; give each gateway its own")]
    Taken,
    /// This database is fenced: what it held is elsewhere, or on its way there ([`Store::fence`](crate::Store::fence)).
    #[error(
        "the vault has moved to another database, or is being moved; set store.url to it (a move that was \
             given up is ended by `pangate store reopen`)"
    )]
    Moved,
    /// A vault is still on its way into this database.
    #[error("a vault is still being moved into this database; finish it with `pangate store migrate`")]
    Arriving,
    /// A row with that key is there already (primary key or unique index).
    #[error("a row with that key exists already")]
    Conflict,
    /// A CHECK, NOT NULL, foreign key or STRICT type rule refused the row.
    #[error("the row breaks a rule of its table; nothing was written")]
    Constraint,
    /// A column is missing, or holds NULL or another type than the caller relies on.
    #[error("column {column} does not hold what the schema promises; check the database's integrity")]
    Corrupt {
        /// The column, by the name in the statement.
        column: &'static str,
    },
    /// The database file itself is damaged, or is no database.
    #[error("the database file is damaged or is no database; restore it from a backup")]
    Damaged,
    /// A later release has migrated this database; this one could misread it.
    #[error("the database was written by a newer release; start that release, or restore an older backup")]
    NewerSchema,
    /// The schema is an older release's, and this login may not bring it up to date.
    #[error(
        "the schema is older than this release; run `pangate store prepare` with a login of role pangate_migrator"
    )]
    OlderSchema,
    /// A migration failed, or one that ran before has other text now.
    #[error("the schema could not be brought up to date; start the release that last wrote it, or restore")]
    Migration,
    /// The URL names no database that this build can open.
    #[error("the store URL is not understood; write sqlite:PATH or postgres://USER@HOST/DATABASE")]
    Url,
    /// The statement itself is wrong: a mistake in the program, never in its input.
    #[error("a statement was refused by the database (code {code}); this is a defect, please report it")]
    Statement {
        /// The database's own code; zero when the driver refused before asking the database.
        code: SqlCode,
    },
    /// The act panicked. It was rolled back; its neighbours and the writer go on.
    #[error("the act stopped unexpectedly and was rolled back; this is a defect, please report it")]
    Panicked,
    /// The act held the writer for longer than [`crate::Settings::act_timeout`] and was rolled back.
    #[error("the act took too long and was rolled back; retry")]
    TimedOut,
}

impl StoreError {
    /// What to look at or do, for whoever watches the store.
    pub fn remedy(self) -> &'static str {
        match self {
            StoreError::Busy => {
                "another process holds the database's lock, or more arrives than it can write"
            }
            StoreError::Full => "make room on the database's disk",
            StoreError::ReadOnly => "promote a standby, or end the database's read-only mode",
            StoreError::Connections => "raise the server's max_connections, or lower store.max_readers",
            StoreError::Login => "check the user, store.password_file and the database's name in store.url",
            StoreError::Denied => "make the login a member of the role pangate_gateway",
            StoreError::Tls => "write sslmode=verify-full and sslrootcert=FILE into store.url",
            StoreError::Pooler => "set pool_mode = session in the pooler, or go around it",
            StoreError::Taken => "give each gateway its own audit.log name",
            StoreError::NewerSchema => {
                "start the release that wrote the database, or restore an older backup"
            }
            StoreError::OlderSchema => "run `pangate store prepare` with a login of role pangate_migrator",
            StoreError::Moved => "set store.url to the database that the vault moved to",
            StoreError::Arriving => "finish `pangate store migrate`",
            StoreError::TimedOut => "the database is slow: look at its disk, its load and its locks",
            StoreError::Unavailable => "check that the database runs and is reached, its disk and its locks",
            StoreError::Conflict
            | StoreError::Constraint
            | StoreError::Corrupt { .. }
            | StoreError::Damaged
            | StoreError::Migration
            | StoreError::Url
            | StoreError::Statement { .. }
            | StoreError::Panicked => "look for the store's error in the log",
        }
    }

    /// Whether the same act may succeed later with nothing changed but time (answer 503 with `Retry-After`).
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            StoreError::Busy
                | StoreError::Unavailable
                | StoreError::Full
                | StoreError::ReadOnly
                | StoreError::Connections
                | StoreError::Login
                | StoreError::Taken
                | StoreError::Moved
                | StoreError::TimedOut
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_time_can_heal_is_transient() {
        assert!(StoreError::Busy.is_transient());
        assert!(StoreError::Unavailable.is_transient());
        assert!(StoreError::TimedOut.is_transient());
        for lasting in
            [StoreError::Conflict, StoreError::NewerSchema, StoreError::Panicked, StoreError::Damaged]
        {
            assert!(!lasting.is_transient(), "{lasting:?}");
        }
    }
}
