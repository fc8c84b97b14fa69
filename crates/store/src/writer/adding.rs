//! Adding the rows of many requests: all at once, and one request after the other when somebody's row finds no place.

use super::{Addition, Boundary};
use crate::failure::Failure;
use crate::link::Link;
use crate::rows::{MOST_ROWS, Rows};
use crate::{Dialect, StoreError, Value};

/// Adds every request's rows after the acts, and leaves an answer for each. An error ends the whole transaction.
pub(super) async fn add_all(
    link: &mut Link,
    boundary: Boundary,
    additions: &[Addition],
    added: &mut Vec<Result<(), StoreError>>,
) -> Result<Boundary, StoreError> {
    if let Some(before) = boundary.before_next() {
        link.control(before).await?;
    }
    if add(link, additions).await?.is_ok() {
        added.extend(additions.iter().map(|_| Ok(())));
        return Ok(Boundary::Keep);
    }
    let mut boundary = Boundary::Undo;
    for addition in additions {
        if let Some(before) = boundary.before_next() {
            link.control(before).await?;
        }
        let answer = add(link, std::slice::from_ref(addition)).await?;
        boundary = if answer.is_ok() { Boundary::Keep } else { Boundary::Undo };
        added.push(answer);
    }
    Ok(boundary)
}

/// Adds every request's rows in as few messages as the database allows, as a transaction of its own. `false` when some
/// row found no place, and then nothing was added.
pub(super) async fn add_whole(link: &mut Link, additions: &[Addition]) -> Result<bool, Failure> {
    let requests = || additions.iter().map(|addition| &addition.rows);
    let sheets = Rows::sheets(requests());
    let rows: Vec<Vec<&[Value]>> =
        sheets.iter().map(|sheet| requests().flat_map(|request| request.of(sheet)).collect()).collect();
    match link.add_whole(sheets, &rows).await {
        // On SQLite somebody holds the one lock; on PostgreSQL a row's, and then the others go on without it.
        Err(failure) if failure.error == StoreError::Busy && link.dialect() == Dialect::Sqlite => {
            Err(failure)
        }
        Err(failure) if !failure.ends_transaction => Ok(false),
        answer => answer,
    }
}

/// One statement for each table, or a few where there are many rows.
///
/// The outer error ends the transaction; the inner one only this attempt.
async fn add(link: &mut Link, additions: &[Addition]) -> Result<Result<(), StoreError>, StoreError> {
    let requests = || additions.iter().map(|addition| &addition.rows);
    for sheet in Rows::sheets(requests()) {
        let rows: Vec<&[Value]> = requests().flat_map(|request| request.of(sheet)).collect();
        let mut left = rows.as_slice();
        while !left.is_empty() {
            // Powers of two, so that few different statements are kept prepared.
            let count = MOST_ROWS.min(1 << left.len().ilog2());
            let (now, later) = left.split_at_checked(count).unwrap_or((left, &[]));
            left = later;
            match link.add(sheet, now).await {
                Ok(placed) if usize::try_from(placed) == Ok(now.len()) => {}
                Ok(_) => return Ok(Err(StoreError::Conflict)),
                Err(failure) if failure.ends_transaction => return Err(failure.error),
                Err(failure) => return Ok(Err(failure.error)),
            }
        }
    }
    Ok(Ok(()))
}
