//! Reading one value of a PostgreSQL row as one of our kinds.

use super::kind::{EPOCH_US, Kind};
use super::numeric;
use sqlx::postgres::PgRow;
use sqlx::{Row as _, ValueRef};

/// What a column holds, or why it cannot be told.
pub(crate) struct Unreadable;

/// Any whole number: an integer, a truth as 0 or 1, a sum, a time in unix microseconds.
pub(crate) fn integer(row: &PgRow, column: &str) -> Result<Option<i64>, Unreadable> {
    read(row, column, |bytes, kind| match kind {
        Kind::Boolean => bytes.first().map(|byte| i64::from(*byte != 0)),
        Kind::Int2 => Some(i64::from(i16::from_be_bytes(bytes.try_into().ok()?))),
        Kind::Int4 => Some(i64::from(i32::from_be_bytes(bytes.try_into().ok()?))),
        Kind::Int8 => Some(i64::from_be_bytes(bytes.try_into().ok()?)),
        Kind::Time => i64::from_be_bytes(bytes.try_into().ok()?).checked_add(EPOCH_US),
        Kind::Numeric => numeric::decode(bytes),
        Kind::Text | Kind::Bytes => None,
    })
}

/// A text.
pub(crate) fn text(row: &PgRow, column: &str) -> Result<Option<String>, Unreadable> {
    read(row, column, |bytes, kind| match kind {
        Kind::Text => String::from_utf8(bytes.to_vec()).ok(),
        _ => None,
    })
}

/// Bytes.
pub(crate) fn bytes(row: &PgRow, column: &str) -> Result<Option<Vec<u8>>, Unreadable> {
    read(row, column, |bytes, kind| match kind {
        Kind::Bytes => Some(bytes.to_vec()),
        _ => None,
    })
}

fn read<T>(
    row: &PgRow,
    column: &str,
    decode: impl FnOnce(&[u8], Kind) -> Option<T>,
) -> Result<Option<T>, Unreadable> {
    let value = row.try_get_raw(column).map_err(|_| Unreadable)?;
    if value.is_null() {
        return Ok(None);
    }
    let kind = Kind::of(&value.type_info()).ok_or(Unreadable)?;
    let bytes = value.as_bytes().map_err(|_| Unreadable)?;
    decode(bytes, kind).map(Some).ok_or(Unreadable)
}
