//! PostgreSQL's SQLSTATE codes (its manual, appendix A), read as what a caller can do about them.

use crate::failure::Failure;
use crate::{SqlCode, StoreError};

/// Reads a driver error. Its text is dropped: only the code goes on.
pub(super) fn read_error(error: sqlx::Error) -> Failure {
    match error {
        sqlx::Error::Database(database) => read_state(database.code().as_deref().unwrap_or_default()),
        sqlx::Error::PoolTimedOut => Failure { error: StoreError::Busy, ends_transaction: false },
        // A parameter that does not fit, a statement that asks for another number of them.
        sqlx::Error::Encode(_) | sqlx::Error::ColumnNotFound(_) | sqlx::Error::ColumnDecode { .. } => {
            Failure { error: StoreError::Statement { code: SqlCode::NONE }, ends_transaction: false }
        }
        sqlx::Error::Tls(_) => Failure { error: StoreError::Tls, ends_transaction: true },
        // What the TLS stack refuses within a handshake (an unknown authority, another name) comes as bad data.
        sqlx::Error::Io(io) if io.kind() == std::io::ErrorKind::InvalidData => {
            Failure { error: StoreError::Tls, ends_transaction: true }
        }
        // Whatever the connection itself says, it cannot be trusted after that.
        _ => Failure { error: StoreError::Unavailable, ends_transaction: true },
    }
}

/// The error of a SQLSTATE, and whether the whole transaction is lost with it. Every error ends the savepoint that it
/// happened in; the writer goes back to it.
pub(super) fn read_state(state: &str) -> Failure {
    let (error, ends_transaction) = match state {
        "23505" => (StoreError::Conflict, false),
        // Serialization failure, deadlock, a lock that stayed taken: the act alone is undone, its neighbours stay.
        "40001" | "40P01" | "55P03" => (StoreError::Busy, false),
        // The time limit of one statement.
        "57014" => (StoreError::TimedOut, false),
        "25006" => (StoreError::ReadOnly, true),
        "53100" => (StoreError::Full, true),
        "53300" => (StoreError::Connections, true),
        "42501" => (StoreError::Denied, false),
        // A prepared statement that somebody else made, or that is not there: our own sessions keep no such books, so
        // this one is not our own.
        "42P05" | "26000" => (StoreError::Pooler, true),
        // Broken pages, a broken index.
        "XX001" | "XX002" => (StoreError::Damaged, true),
        // A commit that the standby did not confirm before it was cancelled, a broken transaction.
        _ => match state.get(..2).unwrap_or_default() {
            "22" | "23" => (StoreError::Constraint, false),
            "28" | "3D" => (StoreError::Login, true),
            // Connection, insufficient resources, operator intervention, system error, configuration file.
            "08" | "53" | "57" | "58" | "F0" | "25" | "40" => (StoreError::Unavailable, true),
            _ => (StoreError::Statement { code: SqlCode::state(state) }, false),
        },
    };
    Failure { error, ends_transaction }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_as_the_manual_documents_them() {
        let read = |state| {
            let failure = read_state(state);
            (failure.error, failure.ends_transaction)
        };
        assert_eq!(read("23505"), (StoreError::Conflict, false));
        assert_eq!(read("23514"), (StoreError::Constraint, false));
        assert_eq!(read("40P01"), (StoreError::Busy, false));
        assert_eq!(read("57014"), (StoreError::TimedOut, false));
        assert_eq!(read("53100"), (StoreError::Full, true));
        assert_eq!(read("53300"), (StoreError::Connections, true));
        assert_eq!(read("25006"), (StoreError::ReadOnly, true));
        assert_eq!(read("25P02"), (StoreError::Unavailable, true));
        assert_eq!(read("57P01"), (StoreError::Unavailable, true));
        assert_eq!(read("28P01"), (StoreError::Login, true));
        assert_eq!(read("42P05"), (StoreError::Pooler, true));
        assert_eq!(read("26000"), (StoreError::Pooler, true));
        assert_eq!(read("42501"), (StoreError::Denied, false));
        assert_eq!(read("42P01"), (StoreError::Statement { code: SqlCode::state("42P01") }, false));
        assert_eq!(read(""), (StoreError::Statement { code: SqlCode::state("") }, false));
    }
}
