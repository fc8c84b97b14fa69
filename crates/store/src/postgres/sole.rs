//! What only one store may hold on a database that many share ([`crate::Settings::sole`]): a lock of the session, which
//! ends with the session and not before.

use super::statement;
use crate::{Row, StoreError};
use sqlx::PgConnection;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long the session of a gateway that was killed may take to end.
const WITHIN: Duration = Duration::from_secs(5);
const TRY_EVERY: Duration = Duration::from_millis(100);

/// The number, and the session of ours that held it last.
pub(super) struct Sole {
    number: i64,
    last: Mutex<Option<Session>>,
}

/// A server's session, which no later one can be taken for.
#[derive(Clone, Copy)]
struct Session {
    backend: i64,
    begun_at: i64,
}

impl Sole {
    pub(super) fn new(number: i64) -> Sole {
        Sole { number, last: Mutex::new(None) }
    }

    /// Takes the lock for this session.
    ///
    /// # Errors
    /// [`StoreError::Taken`] when another store has it, or any other [`StoreError`] of the statements.
    pub(super) async fn hold(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let end = Instant::now() + WITHIN;
        let answer = tokio::time::timeout(WITHIN * 2, self.hold_until(connection, end)).await;
        answer.unwrap_or(Err(StoreError::Unavailable))
    }

    async fn hold_until(&self, connection: &mut PgConnection, end: Instant) -> Result<(), StoreError> {
        self.end_last(connection).await?;
        loop {
            let asked =
                one(connection, "SELECT pg_try_advisory_lock($1) AS held", vec![self.number.into()]).await;
            match asked {
                Ok(row) if row.integer("held")? == 1 => return self.remember(connection).await,
                Ok(_) if Instant::now() < end => tokio::time::sleep(TRY_EVERY).await,
                Ok(_) => return Err(StoreError::Taken),
                // An engine that only speaks PostgreSQL's wire may have no such locks; there the operator sees to it.
                Err(StoreError::Statement { .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends the session that this store had before, if the server still has it: where the way between was cut and nobody
    /// told the server, that session would keep the lock, and its rows, for hours.
    async fn end_last(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Session { backend, begun_at }) = last else { return Ok(()) };
        let ended = one(
            connection,
            "SELECT COUNT(pg_terminate_backend(pid)) AS n FROM pg_stat_activity \
             WHERE pid = $1 AND backend_start = $2 AND pid <> pg_backend_pid()",
            vec![backend.into(), begun_at.into()],
        );
        match ended.await {
            Ok(_) | Err(StoreError::Statement { .. } | StoreError::Denied) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn remember(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let own = one(
            connection,
            "SELECT pid AS backend, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()",
            Vec::new(),
        )
        .await?;
        let session = Session { backend: own.integer("backend")?, begun_at: own.integer("backend_start")? };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
        Ok(())
    }
}

async fn one(
    connection: &mut PgConnection,
    sql: &'static str,
    args: Vec<crate::Value>,
) -> Result<Row, StoreError> {
    statement::fetch_optional(connection, sql, args).await?.ok_or(StoreError::Unavailable)
}
