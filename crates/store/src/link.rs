//! The writer's connection, whichever database it leads to: statements one by one, and the words around them.

use crate::failure::Failure;
use crate::postgres::{self, Server, timed};
use crate::rows::Whole;
use crate::sqlite::{self, Place};
use crate::{Dialect, Row, Settings, Sheet, StoreError, Value};
use sqlx::{Connection, PgConnection, SqliteConnection};
use std::sync::Arc;
use std::time::Duration;

/// How long a connection that lay idle may take to say that it is there.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Where the writer connects to, again after every failure.
pub(crate) enum Home {
    Sqlite(Arc<Place>),
    Postgres(Arc<Server>),
}

impl Home {
    /// Whether the place is still the one that was opened.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        match self {
            Home::Sqlite(place) => place.check(),
            Home::Postgres(_) => Ok(()),
        }
    }

    /// A new connection that may write.
    pub(crate) async fn writer(&self, settings: &Settings) -> Result<Link, StoreError> {
        match self {
            Home::Sqlite(place) => place.writer(settings).await.map(Link::Sqlite),
            Home::Postgres(server) => {
                let connection = server.writer().await?;
                Ok(Link::Postgres { connection, patience: server.patience })
            }
        }
    }
}

/// One open connection that may write.
pub(crate) enum Link {
    Sqlite(SqliteConnection),
    Postgres { connection: PgConnection, patience: Duration },
}

impl Link {
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Link::Sqlite(_) => Dialect::Sqlite,
            Link::Postgres { .. } => Dialect::Postgres,
        }
    }

    /// Whether the other end still answers. SQLite is in this process.
    pub(crate) async fn is_there(&mut self) -> bool {
        match self {
            Link::Sqlite(_) => true,
            Link::Postgres { connection, .. } => {
                timed(AT_ONCE, postgres::statement::control(connection, "SELECT 1")).await.is_ok()
            }
        }
    }

    /// Opens a transaction and the savepoint of its first act.
    pub(crate) async fn begin(&mut self) -> Result<(), Failure> {
        match self {
            Link::Sqlite(_) => self.control("BEGIN IMMEDIATE; SAVEPOINT act").await,
            Link::Postgres { .. } => self.control("BEGIN; SAVEPOINT act").await,
        }
    }

    /// Sends words without arguments, which may be several statements, as one message.
    pub(crate) async fn control(&mut self, sql: &'static str) -> Result<(), Failure> {
        match self {
            Link::Sqlite(connection) => {
                sqlite::statement::execute(connection, None, sql, Vec::new()).await.map(|_| ())
            }
            Link::Postgres { connection, patience } => {
                timed(*patience, postgres::statement::control(connection, sql)).await
            }
        }
    }

    /// Runs a statement; `before` goes ahead of it, in the same message where the database's protocol allows that.
    pub(crate) async fn execute(
        &mut self,
        before: Option<&'static str>,
        sql: &'static str,
        args: Vec<Value>,
    ) -> Result<u64, Failure> {
        match self {
            Link::Sqlite(connection) => sqlite::statement::execute(connection, before, sql, args).await,
            Link::Postgres { .. } => {
                let (connection, patience) = self.ahead(before).await?;
                timed(patience, postgres::statement::execute(connection, sql, args)).await
            }
        }
    }

    /// The first row, or none.
    pub(crate) async fn fetch_optional(
        &mut self,
        before: Option<&'static str>,
        sql: &'static str,
        args: Vec<Value>,
    ) -> Result<Option<Row>, Failure> {
        match self {
            Link::Sqlite(connection) => {
                sqlite::statement::fetch_optional(connection, before, sql, args).await
            }
            Link::Postgres { .. } => {
                let (connection, patience) = self.ahead(before).await?;
                timed(patience, postgres::statement::fetch_optional(connection, sql, args)).await
            }
        }
    }

    /// Every row.
    pub(crate) async fn fetch_all(
        &mut self,
        before: Option<&'static str>,
        sql: &'static str,
        args: Vec<Value>,
    ) -> Result<Vec<Row>, Failure> {
        match self {
            Link::Sqlite(connection) => sqlite::statement::fetch_all(connection, before, sql, args).await,
            Link::Postgres { .. } => {
                let (connection, patience) = self.ahead(before).await?;
                timed(patience, postgres::statement::fetch_all(connection, sql, args)).await
            }
        }
    }

    /// Adds whole rows to one table in one statement, and tells how many found their place.
    pub(crate) async fn add(&mut self, sheet: &Sheet, rows: &[&[Value]]) -> Result<u64, Failure> {
        let sql = sheet.statement(self.dialect(), rows.len());
        match self {
            Link::Sqlite(connection) => sqlite::statement::add(connection, sql, rows).await,
            Link::Postgres { connection, patience } => {
                timed(*patience, postgres::statement::add(connection, sql, rows)).await
            }
        }
    }

    /// Adds the rows of several tables in one message that is a transaction by itself, all of them or none. The answer is
    /// whether all found their place.
    pub(crate) async fn add_whole(
        &mut self,
        sheets: Vec<&'static Sheet>,
        rows: &[Vec<&[Value]>],
    ) -> Result<bool, Failure> {
        match self {
            Link::Sqlite(connection) => sqlite::statement::add_whole(connection, &sheets, rows).await,
            Link::Postgres { connection, patience } => {
                let whole = Whole::postgres(sheets);
                timed(*patience, postgres::statement::add_whole(connection, whole, rows)).await
            }
        }
    }

    /// Ends the connection, and with it whatever transaction is open.
    pub(crate) async fn close(self) {
        match self {
            Link::Sqlite(connection) => {
                let _ = connection.close().await;
            }
            Link::Postgres { connection, patience } => {
                let _ = tokio::time::timeout(patience, connection.close()).await;
            }
        }
    }

    async fn ahead(
        &mut self,
        before: Option<&'static str>,
    ) -> Result<(&mut PgConnection, Duration), Failure> {
        if let Some(before) = before {
            self.control(before).await?;
        }
        match self {
            Link::Postgres { connection, patience } => Ok((connection, *patience)),
            Link::Sqlite(_) => Err(Failure::fatal(StoreError::Unavailable)),
        }
    }
}
