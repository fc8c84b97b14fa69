//! Copying one table, batch by batch in the order of its key. Each batch is durable as a whole, so that the last key
//! on the other side says where to go on.

use super::progress::Progress;
use super::{Ended, Format, on};
use store::{Rows, Store, StoreError, Table};

/// Copies what the target does not have yet.
pub(super) async fn copy(
    table: &'static Table,
    source: &Store,
    target: &Store,
    batch: u32,
    format: Format,
) -> Result<(), Ended> {
    let (from, to) = (on("the file"), on("the target"));
    let mut reader = source.read().await.map_err(&from)?;
    let total = table.count(&mut reader).await.map_err(&from)?;
    let done = table.count(&mut target.clone()).await.map_err(&to)?;
    let mut after = table.last_key(&mut target.clone()).await.map_err(&to)?;
    let mut progress = Progress::new(format, "copied", table.name(), done, total);
    loop {
        let page = table.page(&mut reader, after.as_ref(), batch).await.map_err(&from)?;
        let Some(last) = page.last() else { break };
        after = Some(last.key(table));
        let count = page.len();
        let mut rows = Rows::new();
        for record in page {
            rows.add(&table.sheet, record.into_values());
        }
        target.add(rows).await.map_err(|error| refused(table, error))?;
        progress.rows(count);
    }
    progress.end();
    Ok(())
}

fn refused(table: &Table, error: StoreError) -> Ended {
    match error {
        StoreError::Conflict => Ended::Found(format!(
            "the target's table {} holds rows that are not of this vault; drop what is there and begin anew",
            table.name()
        )),
        error => {
            Ended::Misuse(format!("the target, table {}: {error}; run this again to go on", table.name()))
        }
    }
}
