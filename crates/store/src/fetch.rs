//! Reading, whether inside an act or outside: a query is written once against [`Fetch`].

use crate::{Dialect, Reader, Row, Store, StoreError, Value, Work};
use std::future::Future;

/// What can be asked for rows: a [`Work`], a [`Reader`], or the [`Store`] for one statement.
pub trait Fetch: Send {
    /// The first row, or none.
    ///
    /// # Errors
    /// Any [`StoreError`] of the statement.
    fn fetch_optional(
        &mut self,
        sql: &'static str,
        args: Vec<Value>,
    ) -> impl Future<Output = Result<Option<Row>, StoreError>> + Send;

    /// Every row, in the statement's order. Put a LIMIT into the statement.
    ///
    /// # Errors
    /// Any [`StoreError`] of the statement.
    fn fetch_all(
        &mut self,
        sql: &'static str,
        args: Vec<Value>,
    ) -> impl Future<Output = Result<Vec<Row>, StoreError>> + Send;

    /// The SQL that is spoken here.
    fn dialect(&self) -> Dialect;
}

impl Fetch for Work<'_> {
    async fn fetch_optional(
        &mut self,
        sql: &'static str,
        args: Vec<Value>,
    ) -> Result<Option<Row>, StoreError> {
        Work::fetch_optional(self, sql, args).await
    }

    async fn fetch_all(&mut self, sql: &'static str, args: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        Work::fetch_all(self, sql, args).await
    }

    fn dialect(&self) -> Dialect {
        Work::dialect(self)
    }
}

/// Each statement is a snapshot of its own.
impl Fetch for Store {
    async fn fetch_optional(
        &mut self,
        sql: &'static str,
        args: Vec<Value>,
    ) -> Result<Option<Row>, StoreError> {
        self.look(sql, args).await
    }

    async fn fetch_all(&mut self, sql: &'static str, args: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        self.read().await?.fetch_all(sql, args).await
    }

    fn dialect(&self) -> Dialect {
        Store::dialect(self)
    }
}

impl Fetch for Reader {
    async fn fetch_optional(
        &mut self,
        sql: &'static str,
        args: Vec<Value>,
    ) -> Result<Option<Row>, StoreError> {
        Reader::fetch_optional(self, sql, args).await
    }

    async fn fetch_all(&mut self, sql: &'static str, args: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        Reader::fetch_all(self, sql, args).await
    }

    fn dialect(&self) -> Dialect {
        Reader::dialect(self)
    }
}
