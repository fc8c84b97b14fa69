//! A read-only snapshot: what was committed when its first statement ran, and nothing later.

use crate::postgres::Snapshot;
use crate::sqlite::statement;
use crate::{Dialect, Row, StoreError, Value};
use sqlx::Sqlite;

/// One snapshot of the store. Hold it briefly: while it lives, SQLite's write-ahead log cannot be
/// emptied and PostgreSQL keeps dead rows.
pub struct Reader(Source);

enum Source {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(Snapshot),
}

impl Reader {
    pub(crate) fn sqlite(transaction: sqlx::Transaction<'static, Sqlite>) -> Self {
        Reader(Source::Sqlite(transaction))
    }

    pub(crate) fn postgres(snapshot: Snapshot) -> Self {
        Reader(Source::Postgres(snapshot))
    }

    /// The first row, or none.
    ///
    /// # Errors
    /// Any [`StoreError`] of the statement.
    pub async fn fetch_optional(
        &mut self,
        sql: &'static str,
        args: Vec<Value>,
    ) -> Result<Option<Row>, StoreError> {
        match &mut self.0 {
            Source::Sqlite(transaction) => Ok(statement::fetch_optional(transaction, None, sql, args).await?),
            Source::Postgres(snapshot) => snapshot.fetch_optional(sql, args).await,
        }
    }

    /// Every row, in the statement's order. Put a LIMIT into the statement.
    ///
    /// # Errors
    /// Any [`StoreError`] of the statement.
    pub async fn fetch_all(&mut self, sql: &'static str, args: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        match &mut self.0 {
            Source::Sqlite(transaction) => Ok(statement::fetch_all(transaction, None, sql, args).await?),
            Source::Postgres(snapshot) => snapshot.fetch_all(sql, args).await,
        }
    }

    /// The SQL that is spoken here.
    pub fn dialect(&self) -> Dialect {
        match &self.0 {
            Source::Sqlite(_) => Dialect::Sqlite,
            Source::Postgres(_) => Dialect::Postgres,
        }
    }
}
