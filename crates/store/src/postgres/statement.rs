//! Running one statement on a PostgreSQL connection.

use super::argument::Argument;
use super::sqlstate::read_error;
use crate::failure::Failure;
use crate::rows::{NO_PLACE, Whole};
use crate::{Row, SqlCode, StoreError, Value};
use sqlx::postgres::{PgArguments, PgStatement};
use sqlx::{Arguments, AssertSqlSafe, Either, Executor, PgConnection, SqlSafeStr, Statement};

/// Sends text without arguments, which may be several statements, as one message.
pub(crate) async fn control(connection: &mut PgConnection, sql: &'static str) -> Result<(), Failure> {
    connection.execute(sql).await.map(|_| ()).map_err(read_error)
}

pub(crate) async fn execute(
    connection: &mut PgConnection,
    sql: &'static str,
    args: Vec<Value>,
) -> Result<u64, Failure> {
    let statement = prepared(connection, sql).await?;
    let arguments = bound(&statement, args.iter().map(Argument::one))?;
    let done = statement.query_with(arguments).execute(connection).await.map_err(read_error)?;
    Ok(done.rows_affected())
}

pub(crate) async fn fetch_optional(
    connection: &mut PgConnection,
    sql: &'static str,
    args: Vec<Value>,
) -> Result<Option<Row>, Failure> {
    first(connection, sql, &args).await
}

/// The first row, or none; the arguments stay with the caller, who may have to ask again.
pub(crate) async fn first(
    connection: &mut PgConnection,
    sql: &'static str,
    args: &[Value],
) -> Result<Option<Row>, Failure> {
    let statement = prepared(connection, sql).await?;
    let arguments = bound(&statement, args.iter().map(Argument::one))?;
    let row = statement.query_with(arguments).fetch_optional(connection).await.map_err(read_error)?;
    Ok(row.map(Row::postgres))
}

pub(crate) async fn fetch_all(
    connection: &mut PgConnection,
    sql: &'static str,
    args: Vec<Value>,
) -> Result<Vec<Row>, Failure> {
    let statement = prepared(connection, sql).await?;
    let arguments = bound(&statement, args.iter().map(Argument::one))?;
    let rows = statement.query_with(arguments).fetch_all(connection).await.map_err(read_error)?;
    Ok(rows.into_iter().map(Row::postgres).collect())
}

/// Runs a statement that takes an array for each column of `rows`. `sql` is made of constants of the program alone.
pub(crate) async fn add(
    connection: &mut PgConnection,
    sql: String,
    rows: &[&[Value]],
) -> Result<u64, Failure> {
    let statement = connection.prepare(AssertSqlSafe(sql).into_sql_str()).await.map_err(read_error)?;
    let width = rows.first().map_or(0, |row| row.len());
    let columns = (0..width).map(|at| Argument::many(rows.iter().filter_map(|row| row.get(at)).collect()));
    let done =
        statement.query_with(bound(&statement, columns)?).execute(connection).await.map_err(read_error)?;
    Ok(done.rows_affected())
}

/// Adds the rows of several tables in one message, all of them or none. The answer is whether all found their place.
pub(crate) async fn add_whole(
    connection: &mut PgConnection,
    whole: Whole,
    rows: &[Vec<&[Value]>],
) -> Result<bool, Failure> {
    let count = Value::Integer(rows.iter().map(Vec::len).sum::<usize>().try_into().unwrap_or(i64::MAX));
    let mut arguments = Vec::new();
    for (sheet, rows) in whole.sheets.iter().zip(rows) {
        for at in 0..sheet.columns.len() {
            arguments.push(Argument::many(rows.iter().filter_map(|row| row.get(at)).collect()));
        }
    }
    arguments.push(Argument::one(&count));
    let statement = connection.prepare(AssertSqlSafe(whole.sql).into_sql_str()).await.map_err(read_error)?;
    let bound = bound(&statement, arguments.into_iter())?;
    match statement.query_with(bound).execute(connection).await {
        Ok(_) => Ok(true),
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(NO_PLACE) => Ok(false),
        Err(error) => Err(read_error(error)),
    }
}

/// Kept prepared by the connection under its text; the first time it also learns the parameters' types.
async fn prepared(connection: &mut PgConnection, sql: &'static str) -> Result<PgStatement, Failure> {
    connection.prepare(sql.into_sql_str()).await.map_err(read_error)
}

fn bound<'v>(
    statement: &PgStatement,
    args: impl ExactSizeIterator<Item = Argument<'v>>,
) -> Result<PgArguments, Failure> {
    let wrong = || Failure { error: StoreError::Statement { code: SqlCode::NONE }, ends_transaction: false };
    let Some(Either::Left(types)) = statement.parameters() else { return Err(wrong()) };
    if types.len() != args.len() {
        return Err(wrong());
    }
    let mut arguments = PgArguments::default();
    for (argument, wanted) in args.zip(types) {
        arguments.add(argument.written_as(wanted.clone())).map_err(|_| wrong())?;
    }
    Ok(arguments)
}
