//! Reading any SQLite file value by value, without its schema and without writing: for searches such as `pangate
//! scan`. Not a way to work with a store.

use super::statement::read_error;
use crate::StoreError;
use futures_util::TryStreamExt;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Column, ConnectOptions, Connection, Decode, Row, Sqlite, ValueRef};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// One value, as it is shown to a search.
pub struct Cell<'a> {
    /// Name of the table, as the file has it: text from outside.
    pub table: &'a str,
    /// Name of the column, as the file has it: text from outside.
    pub column: &'a str,
    /// The row, counted from 1 in the order of reading.
    pub row: u64,
    /// Text as UTF-8, a number as its decimal text, a blob as it is.
    pub bytes: &'a [u8],
}

/// Shows every value that is not NULL to `each`: all tables, the schema's own text among them. Gives the number of
/// tables that could not be read, such as those of an extension that is not here.
///
/// The file is not written to. A file whose write-ahead log is empty is read as it lies; otherwise the log is read
/// with it, which may create the shared index (`-shm`) beside it.
///
/// # Errors
/// [`StoreError::Damaged`] when it is no database, [`StoreError::Busy`] or [`StoreError::Unavailable`] when it
/// cannot be read now.
pub async fn walk_values(path: &Path, each: &mut (dyn FnMut(Cell<'_>) + Send)) -> Result<u64, StoreError> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let log_is_empty = fs::metadata(&log).map_or(true, |log| log.len() == 0);
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .immutable(log_is_empty)
        .busy_timeout(Duration::from_secs(5))
        // The file may be anybody's: its schema calls no functions, damaged pages are found when read.
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON")
        .statement_cache_capacity(0)
        .disable_statement_logging()
        .connect()
        .await
        .map_err(|error| read_error(error).error)?;
    let walked = walk(&mut connection, each).await;
    let _ = connection.close().await;
    walked
}

async fn walk(
    connection: &mut SqliteConnection,
    each: &mut (dyn FnMut(Cell<'_>) + Send),
) -> Result<u64, StoreError> {
    let mut tables: Vec<String> =
        sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
            .fetch_all(&mut *connection)
            .await
            .map_err(|error| read_error(error).error)?;
    // What was declared is text too: defaults, comments.
    tables.push("sqlite_schema".to_owned());
    let mut unread = 0;
    for table in &tables {
        if walk_table(connection, table, each).await.is_err() {
            unread += 1;
        }
    }
    Ok(unread)
}

async fn walk_table(
    connection: &mut SqliteConnection,
    table: &str,
    each: &mut (dyn FnMut(Cell<'_>) + Send),
) -> Result<(), StoreError> {
    // A name within quotes, with its own quotes doubled, can be nothing but a name.
    let sql = format!("SELECT * FROM \"{}\"", table.replace('"', "\"\""));
    let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(connection);
    let mut number = 0;
    while let Some(row) = rows.try_next().await.map_err(|error| read_error(error).error)? {
        number += 1;
        for column in row.columns() {
            let value = row.try_get_raw(column.ordinal()).map_err(|error| read_error(error).error)?;
            if value.is_null() {
                continue;
            }
            // SQLite gives every value as bytes, whatever its type; text and numbers come as UTF-8.
            let bytes = <&[u8] as Decode<Sqlite>>::decode(value)
                .map_err(|_| StoreError::Corrupt { column: "of a foreign table" })?;
            each(Cell { table, column: column.name(), row: number, bytes });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::Executor;

    async fn written(path: &Path, sql: &'static str) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
        let mut connection = options.pragma("journal_mode", "WAL").connect().await.unwrap();
        connection.execute(sql).await.unwrap();
        connection
    }

    async fn seen(path: &Path) -> Vec<(String, String, Vec<u8>)> {
        let mut seen = Vec::new();
        let mut each =
            |cell: Cell<'_>| seen.push((cell.table.to_owned(), cell.column.to_owned(), cell.bytes.to_vec()));
        assert_eq!(walk_values(path, &mut each).await.unwrap(), 0);
        seen
    }

    const TABLES: &str = "CREATE TABLE \"odd \"\" name\" (a TEXT, b INTEGER, c BLOB, d REAL, e); \
                          INSERT INTO \"odd \"\" name\" VALUES ('x', 4111, x'00ff', 1.5, NULL);";

    #[tokio::test]
    async fn every_value_of_every_table_is_shown_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        written(&path, TABLES).await.close().await.unwrap();

        let seen = seen(&path).await;

        let of = |column: &str| {
            let mut found = seen.iter().filter(|(table, name, _)| table == "odd \" name" && name == column);
            found.next().map(|(_, _, bytes)| bytes.clone())
        };
        assert_eq!(of("a").unwrap(), b"x");
        assert_eq!(of("b").unwrap(), b"4111");
        assert_eq!(of("c").unwrap(), b"\x00\xff");
        assert_eq!(of("d").unwrap(), b"1.5");
        assert_eq!(of("e"), None);
        assert!(seen.iter().any(|(table, column, _)| table == "sqlite_schema" && column == "sql"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn what_only_the_write_ahead_log_holds_is_shown_while_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        let writer = written(&path, TABLES).await;

        assert!(seen(&path).await.iter().any(|(_, column, bytes)| column == "b" && bytes == b"4111"));

        writer.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        fs::write(&path, b"SQLite format 3\0 and then nothing of the kind".repeat(100)).unwrap();
        let outcome = walk_values(&path, &mut |_| {}).await;
        assert!(matches!(outcome, Err(StoreError::Damaged)), "{outcome:?}");
    }
}
