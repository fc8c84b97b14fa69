//! Running one statement on a SQLite connection, and reading SQLite's result codes.

use crate::failure::Failure;
use crate::rows::{MOST_ROWS, Sheet, layer_of_sqlite};
use crate::{Row, SqlCode, StoreError, Value};
use futures_util::TryStreamExt;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Either, Executor, Sqlite, SqliteConnection};

pub(crate) async fn execute(
    connection: &mut SqliteConnection,
    before: Option<&'static str>,
    sql: &'static str,
    args: Vec<Value>,
) -> Result<u64, Failure> {
    let mut answers = connection.fetch_many(bound(before, sql, args));
    let mut changed = 0;
    while let Some(answer) = answers.try_next().await.map_err(read_error)? {
        // Each statement of the text answers; the last is the caller's. (Savepoints repeat an older count.)
        if let Either::Left(done) = answer {
            changed = done.rows_affected();
        }
    }
    Ok(changed)
}

pub(crate) async fn fetch_optional(
    connection: &mut SqliteConnection,
    before: Option<&'static str>,
    sql: &'static str,
    args: Vec<Value>,
) -> Result<Option<Row>, Failure> {
    bound(before, sql, args)
        .fetch_optional(connection)
        .await
        .map(|row| row.map(Row::sqlite))
        .map_err(read_error)
}

pub(crate) async fn fetch_all(
    connection: &mut SqliteConnection,
    before: Option<&'static str>,
    sql: &'static str,
    args: Vec<Value>,
) -> Result<Vec<Row>, Failure> {
    bound(before, sql, args)
        .fetch_all(connection)
        .await
        .map(|rows| rows.into_iter().map(Row::sqlite).collect())
        .map_err(read_error)
}

/// Runs a statement that takes every value of `rows` in turn. `sql` is made of constants of the program alone.
pub(crate) async fn add(
    connection: &mut SqliteConnection,
    sql: String,
    rows: &[&[Value]],
) -> Result<u64, Failure> {
    let query = sqlx::query(AssertSqlSafe(sql));
    let query = rows.iter().flat_map(|row| row.iter()).fold(query, with);
    query.execute(connection).await.map(|done| done.rows_affected()).map_err(read_error)
}

/// Adds the same number of rows to each sheet in a transaction of its own: all of them, or none. The answer is whether all
/// found their place; sheets with different numbers of rows are not tried.
pub(crate) async fn add_whole(
    connection: &mut SqliteConnection,
    sheets: &[&'static Sheet],
    rows: &[Vec<&[Value]>],
) -> Result<bool, Failure> {
    let count = rows.first().map_or(0, Vec::len);
    if count == 0 || rows.iter().any(|rows| rows.len() != count) {
        return Ok(false);
    }
    let mut done = 0;
    while done < count {
        let left = count - done;
        // Powers of two, so that few different texts are kept prepared.
        let size = MOST_ROWS.min(1 << left.ilog2());
        let sql = layer_of_sqlite(sheets, size, done == 0, size == left);
        let query = rows
            .iter()
            .flat_map(|rows| rows.iter().skip(done).take(size))
            .flat_map(|row| row.iter())
            .fold(sqlx::query(AssertSqlSafe(sql)), with);
        if let Err(error) = query.execute(&mut *connection).await {
            let failure = read_error(error);
            if failure.error == StoreError::Busy && done == 0 {
                // The lock was not free: nothing was begun.
                return Err(Failure { error: StoreError::Busy, ends_transaction: false });
            }
            if failure.ends_transaction {
                return Err(failure);
            }
            execute(connection, None, "ROLLBACK", Vec::new())
                .await
                .map_err(|_| Failure::fatal(failure.error))?;
            return Ok(false);
        }
        done += size;
    }
    Ok(true)
}

fn with<'q>(query: Query<'q, Sqlite, SqliteArguments>, value: &Value) -> Query<'q, Sqlite, SqliteArguments> {
    match value {
        Value::Null => query.bind(None::<i64>),
        Value::Integer(number) => query.bind(*number),
        Value::Text(text) => query.bind(text.clone()),
        Value::Bytes(bytes) => query.bind(bytes.clone()),
    }
}

/// The statement with its arguments, kept prepared by the connection under its text. Both parts of the text are
/// constants of the program, so their joint is as safe as they are.
fn bound(
    before: Option<&'static str>,
    sql: &'static str,
    args: Vec<Value>,
) -> Query<'static, Sqlite, SqliteArguments> {
    let query = match before {
        None => sqlx::query(sql),
        Some(before) => sqlx::query(AssertSqlSafe([before, sql].join("; "))),
    };
    args.into_iter().fold(query, |query, value| match value {
        Value::Null => query.bind(None::<i64>),
        Value::Integer(number) => query.bind(number),
        Value::Text(text) => query.bind(text),
        Value::Bytes(bytes) => query.bind(bytes),
    })
}

/// Reads a driver error by SQLite's result codes (sqlite.org/rescode.html). Its text is dropped: only the code
/// goes on.
pub(crate) fn read_error(error: sqlx::Error) -> Failure {
    let (error, ends_transaction) = match error {
        sqlx::Error::Database(database) => {
            let code = database.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or(0);
            read_code(code)
        }
        sqlx::Error::PoolTimedOut => (StoreError::Busy, false),
        sqlx::Error::Io(_)
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::PoolClosed
        | sqlx::Error::BeginFailed => (StoreError::Unavailable, true),
        _ => (StoreError::Statement { code: SqlCode::NONE }, false),
    };
    Failure { error, ends_transaction }
}

/// The error of a result code, and whether SQLite may have rolled the whole transaction back by itself
/// (sqlite.org/lang_transaction.html, "Response To Errors Within A Transaction").
fn read_code(code: i32) -> (StoreError, bool) {
    const UNIQUE: i32 = 2067;
    const PRIMARY_KEY: i32 = 1555;
    const ROWID: i32 = 2579;
    // The schema has no triggers but the fence of a vault that moved.
    const TRIGGER: i32 = 1811;
    if matches!(code, UNIQUE | PRIMARY_KEY | ROWID) {
        return (StoreError::Conflict, false);
    }
    if code == TRIGGER {
        return (StoreError::Moved, false);
    }
    match code & 0xff {
        // BUSY, LOCKED
        5 | 6 => (StoreError::Busy, true),
        // READONLY
        8 => (StoreError::ReadOnly, true),
        // FULL
        13 => (StoreError::Full, true),
        // NOMEM, INTERRUPT, IOERR, CANTOPEN, PROTOCOL, NOLFS
        7 | 9 | 10 | 14 | 15 | 22 => (StoreError::Unavailable, true),
        // CORRUPT, NOTADB
        11 | 26 => (StoreError::Damaged, true),
        // CONSTRAINT in its other forms
        19 => (StoreError::Constraint, false),
        _ => (StoreError::Statement { code: SqlCode::number(code) }, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_codes_are_read_as_sqlite_documents_them() {
        assert_eq!(read_code(5), (StoreError::Busy, true));
        assert_eq!(read_code(517), (StoreError::Busy, true)); // BUSY_SNAPSHOT
        assert_eq!(read_code(13), (StoreError::Full, true));
        assert_eq!(read_code(1032), (StoreError::ReadOnly, true)); // READONLY_DBMOVED
        assert_eq!(read_code(778), (StoreError::Unavailable, true)); // IOERR_WRITE
        assert_eq!(read_code(2067), (StoreError::Conflict, false));
        assert_eq!(read_code(1555), (StoreError::Conflict, false));
        assert_eq!(read_code(275), (StoreError::Constraint, false)); // CONSTRAINT_CHECK
        assert_eq!(read_code(3091), (StoreError::Constraint, false)); // CONSTRAINT_DATATYPE
        assert_eq!(read_code(26), (StoreError::Damaged, true));
        assert_eq!(read_code(1), (StoreError::Statement { code: SqlCode::number(1) }, false));
    }
}
