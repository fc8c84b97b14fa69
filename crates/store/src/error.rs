//! Everything that can go wrong with the store, told without a word of what was stored.

/// Why an act, a read or an opening failed. `Copy`, because one failed commit answers every act of its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StoreError {
    /// The queue is full, every reader is taken, or another process holds the write lock. Nothing was written.
    #[error("the store is busy; nothing was written, retry in a second")]
    Busy,
    /// Disk full, input/output error, file gone, or the store was closed. The act was not acknowledged; after
    /// an error of the disk itself it may still have become durable, so retry under the same idempotency key.
    #[error("the store is unavailable; look at the disk, then retry under the same idempotency key")]
    Unavailable,
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
    /// A migration failed, or one that ran before has other text now.
    #[error("the schema could not be brought up to date; start the release that last wrote it, or restore")]
    Migration,
    /// The URL names no database that this build can open.
    #[error("the store URL is not understood; write sqlite:PATH")]
    Url,
    /// The statement itself is wrong: a mistake in the program, never in its input.
    #[error("a statement was refused by the database (code {code}); this is a defect, please report it")]
    Statement {
        /// The database's result code; zero when the driver refused before asking the database.
        code: i32,
    },
    /// The act panicked. It was rolled back; its neighbours and the writer go on.
    #[error("the act stopped unexpectedly and was rolled back; this is a defect, please report it")]
    Panicked,
    /// The act held the writer for longer than [`crate::Settings::act_timeout`] and was rolled back.
    #[error("the act took too long and was rolled back; retry")]
    TimedOut,
}

impl StoreError {
    /// Whether the same act may succeed later with nothing changed but time (answer 503 with `Retry-After`).
    pub fn is_transient(self) -> bool {
        matches!(self, StoreError::Busy | StoreError::Unavailable | StoreError::TimedOut)
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
