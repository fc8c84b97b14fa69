//! Reading everything again on both sides: each table row by row, each audit log from its leaves.

use super::progress::Progress;
use super::{Ended, Format, on};
use crate::cli::audit::{Verified, verify};
use sha2::{Digest, Sha256};
use store::{Key, Reader, Record, Store, Table};

/// What a table comes to on both sides.
pub(super) struct Compared {
    pub(super) table: &'static str,
    pub(super) rows: u64,
    /// SHA-256 over the canonical values of every row, in the order of the key.
    pub(super) digest: String,
}

/// One side's walk through a table.
struct Walk {
    reader: Reader,
    after: Option<Key>,
    digest: Sha256,
    rows: u64,
}

impl Walk {
    fn new(reader: Reader) -> Walk {
        Walk { reader, after: None, digest: Sha256::new(), rows: 0 }
    }

    async fn page(&mut self, table: &'static Table, most: u32) -> Result<Vec<Record>, store::StoreError> {
        let page = table.page(&mut self.reader, self.after.as_ref(), most).await?;
        if let Some(last) = page.last() {
            self.after = Some(last.key(table));
        }
        Ok(page)
    }

    /// The spelling of one row, which goes into the digest.
    fn take(&mut self, record: Option<&Record>) -> Option<Vec<u8>> {
        let record = record?;
        let mut spelling = Vec::with_capacity(512);
        record.write_canonical(&mut spelling);
        self.digest.update(&spelling);
        self.rows += 1;
        Some(spelling)
    }
}

/// Compares one table on both sides.
pub(super) async fn compare(
    table: &'static Table,
    source: &Store,
    target: &Store,
    batch: u32,
    format: Format,
) -> Result<Compared, Ended> {
    let (on_file, on_target) = (on("the file"), on("the target"));
    let mut from = Walk::new(source.read().await.map_err(&on_file)?);
    let mut to = Walk::new(target.read().await.map_err(&on_target)?);
    let total = table.count(&mut from.reader).await.map_err(&on_file)?;
    let mut progress = Progress::new(format, "compared", table.name(), 0, total);
    loop {
        let left = from.page(table, batch).await.map_err(&on_file)?;
        let right = to.page(table, batch).await.map_err(&on_target)?;
        let count = left.len().max(right.len());
        if count == 0 {
            break;
        }
        for at in 0..count {
            if from.take(left.get(at)) != to.take(right.get(at)) {
                return Err(differs(table, from.rows.max(to.rows)));
            }
        }
        progress.rows(count);
    }
    progress.end();
    let (digest, other) = (from.digest.finalize(), to.digest.finalize());
    if from.rows != to.rows || digest != other {
        return Err(differs(table, from.rows.max(to.rows)));
    }
    let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Compared { table: table.name(), rows: from.rows, digest })
}

fn differs(table: &Table, row: u64) -> Ended {
    Ended::Found(format!(
        "table {}: row {row} in the order of its key is not the same on both sides, so the target is not opened; drop \
         what is there and begin anew",
        table.name()
    ))
}

/// Recomputes every audit log on both sides: they have to have the same size and root.
pub(super) async fn logs(source: &Store, target: &Store) -> Result<Vec<Verified>, Ended> {
    let found = |side: &str, error: &dyn std::fmt::Display| Ended::Found(format!("{side}: {error}"));
    let here = verify(source, None, None).await.map_err(|error| found("the file", &error))?;
    let there = verify(target, None, None).await.map_err(|error| found("the target", &error))?;
    let same = here.len() == there.len()
        && here.iter().zip(&there).all(|(here, there)| here.log == there.log && here.report == there.report);
    if same {
        Ok(here)
    } else {
        Err(Ended::Found("the audit logs of the two sides have not the same sizes and roots".to_owned()))
    }
}
