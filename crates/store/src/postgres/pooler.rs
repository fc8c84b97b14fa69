//! A pooler that hands out a server connection for each transaction (PgBouncer's `pool_mode = transaction` or
//! `statement`) breaks prepared statements and session limits, now and then and under load only. It is found out when
//! a session begins, and refused.

use super::connect::Server;
use super::statement;
use crate::StoreError;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

static ASKED: AtomicU64 = AtomicU64::new(0);

/// Leaves a mark in the session, lets a second session hold a transaction meanwhile, and looks whether the mark stays
/// in the first and stays out of the second.
pub(super) async fn refuse(server: &Server, connection: &mut PgConnection) -> Result<(), StoreError> {
    let mark = mark();
    let set = format!("SET pangate.session = '{mark}'");
    connection.execute(AssertSqlSafe(set)).await.map_err(|error| super::sqlstate::read_error(error).error)?;
    let before = session(connection).await?;

    let mut second = server.connect().await?;
    statement::control(&mut second, "BEGIN").await?;
    let other = session(&mut second).await?;
    let after = session(connection).await;
    let _ = statement::control(&mut second, "ROLLBACK").await;
    let _ = second.close().await;

    if before.0 == mark && other.0 != mark && after? == before { Ok(()) } else { Err(StoreError::Pooler) }
}

/// The mark and the backend that a connection has now.
async fn session(connection: &mut PgConnection) -> Result<(String, i64), StoreError> {
    let row = statement::fetch_optional(
        connection,
        "SELECT COALESCE(current_setting('pangate.session', true), '') AS mark, pg_backend_pid() AS backend",
        Vec::new(),
    )
    .await?
    .ok_or(StoreError::Unavailable)?;
    Ok((row.text("mark")?, row.integer("backend")?))
}

/// Text that no other session of any gateway has: process, count and time.
fn mark() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("{}-{}-{now}", std::process::id(), ASKED.fetch_add(1, Ordering::Relaxed))
}
