//! What comes out of a statement, read by column name and checked: a wrong type is an error, never a default.

use crate::postgres::value;
use crate::{Column, Kind, StoreError, Value};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

/// One row of an answer.
pub struct Row(Source);

enum Source {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    pub(crate) fn sqlite(row: SqliteRow) -> Self {
        Row(Source::Sqlite(row))
    }

    pub(crate) fn postgres(row: PgRow) -> Self {
        Row(Source::Postgres(row))
    }

    /// A whole number that must be there; a time is one, in unix microseconds.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the column is missing, NULL or of another type.
    pub fn integer(&self, column: &'static str) -> Result<i64, StoreError> {
        self.optional_integer(column)?.ok_or(StoreError::Corrupt { column })
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the column is missing, NULL or of another type.
    pub fn text(&self, column: &'static str) -> Result<String, StoreError> {
        self.optional_text(column)?.ok_or(StoreError::Corrupt { column })
    }

    /// Bytes that must be there.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the column is missing, NULL or of another type.
    pub fn bytes(&self, column: &'static str) -> Result<Vec<u8>, StoreError> {
        self.optional_bytes(column)?.ok_or(StoreError::Corrupt { column })
    }

    /// What a column of a table holds.
    pub(crate) fn value(&self, column: &Column) -> Result<Value, StoreError> {
        Ok(match column.kind {
            Kind::Integer | Kind::Small | Kind::Time => self.optional_integer(column.name)?.into(),
            Kind::Text => self.optional_text(column.name)?.into(),
            Kind::Bytes => self.optional_bytes(column.name)?.into(),
        })
    }

    /// A whole number or NULL.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the column is missing or of another type.
    pub fn optional_integer(&self, column: &'static str) -> Result<Option<i64>, StoreError> {
        match &self.0 {
            Source::Sqlite(row) => row.try_get(column).map_err(|_| StoreError::Corrupt { column }),
            Source::Postgres(row) => value::integer(row, column).map_err(|_| StoreError::Corrupt { column }),
        }
    }

    /// A text or NULL.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the column is missing or of another type.
    pub fn optional_text(&self, column: &'static str) -> Result<Option<String>, StoreError> {
        match &self.0 {
            Source::Sqlite(row) => row.try_get(column).map_err(|_| StoreError::Corrupt { column }),
            Source::Postgres(row) => value::text(row, column).map_err(|_| StoreError::Corrupt { column }),
        }
    }

    /// Bytes or NULL.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the column is missing or of another type.
    pub fn optional_bytes(&self, column: &'static str) -> Result<Option<Vec<u8>>, StoreError> {
        match &self.0 {
            Source::Sqlite(row) => row.try_get(column).map_err(|_| StoreError::Corrupt { column }),
            Source::Postgres(row) => value::bytes(row, column).map_err(|_| StoreError::Corrupt { column }),
        }
    }
}
