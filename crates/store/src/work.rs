//! One open transaction, as an act sees it: statements in, rows out. It cannot commit; only the writer can.

use crate::failure::Failure;
use crate::link::Link;
use crate::{Dialect, Row, StoreError, Value};

/// The transaction that an act runs in. Its writes become durable together with the act's answer, or never.
pub struct Work<'c> {
    link: &'c mut Link,
    broken: Option<StoreError>,
    /// What ends the act before this one. It goes to the database with the first statement: a message costs two thread
    /// switches or a round trip, and most acts are a few statements long.
    boundary: Option<&'static str>,
}

impl<'c> Work<'c> {
    pub(crate) fn new(link: &'c mut Link, boundary: Option<&'static str>) -> Self {
        Work { link, broken: None, boundary }
    }

    /// Whether the boundary is still to be sent, because the act ran no statement.
    pub(crate) fn untouched(&self) -> bool {
        self.boundary.is_some()
    }

    /// The error after which the whole transaction is lost. A database may end a transaction by itself when the
    /// disk fails; whatever an act wrote after that would commit alone, so nothing more is let through.
    pub(crate) fn broken(&self) -> Option<StoreError> {
        self.broken
    }

    /// Runs a statement and tells how many rows it changed.
    ///
    /// # Errors
    /// Any [`StoreError`] of the statement; [`StoreError::Conflict`] for a key that is taken.
    pub async fn execute(&mut self, sql: &'static str, args: Vec<Value>) -> Result<u64, StoreError> {
        let boundary = self.open()?;
        let answer = self.link.execute(boundary, sql, args).await;
        self.judge(answer)
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
        let boundary = self.open()?;
        let answer = self.link.fetch_optional(boundary, sql, args).await;
        self.judge(answer)
    }

    /// Every row, in the statement's order. Put a LIMIT into the statement.
    ///
    /// # Errors
    /// Any [`StoreError`] of the statement.
    pub async fn fetch_all(&mut self, sql: &'static str, args: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let boundary = self.open()?;
        let answer = self.link.fetch_all(boundary, sql, args).await;
        self.judge(answer)
    }

    /// Keeps every other act of that name waiting until this transaction ends, whichever gateway it is on. SQLite has
    /// one writer, so there nobody else is.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when the other one takes too long, or any other [`StoreError`] of the statement.
    pub async fn alone(&mut self, name: &'static str) -> Result<(), StoreError> {
        if self.dialect() == Dialect::Postgres {
            // A row's lock, which every engine has; an advisory lock is one vendor's.
            self.execute(
                "INSERT INTO setting (name, value) VALUES ('alone.' || $1::text, '') \
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                vec![name.into()],
            )
            .await?;
        }
        Ok(())
    }

    /// The SQL that is spoken here.
    pub fn dialect(&self) -> Dialect {
        self.link.dialect()
    }

    fn open(&mut self) -> Result<Option<&'static str>, StoreError> {
        self.broken.map_or(Ok(()), Err)?;
        Ok(self.boundary.take())
    }

    fn judge<T>(&mut self, answer: Result<T, Failure>) -> Result<T, StoreError> {
        answer.map_err(|failure| {
            if failure.ends_transaction {
                self.broken = Some(failure.error);
            }
            failure.error
        })
    }
}
