//! The life of keys, as far as rows are concerned: moving what old keys protect to new ones, online, in batches
//! that can be stopped anywhere and go on later.
//!
//! A batch is made in two halves. [`Vault::rotation_batch`] reads rows and calls the HSM with no transaction open;
//! [`Batch::settle`] changes the rows inside the caller's transaction, each only if it is still what was read
//! (compare and set). So two that work on one task do the work once, and whoever loses a race (a shred, an update,
//! another rotation) loses nothing but its own effort.
//!
//! A task is done when [`Vault::remaining`] says 0, not when a batch was the last: rows may have been written behind
//! the cursor by requests that began before the rotation. Then begin again without a cursor.

mod cursor;
mod ending;
mod on_read;
mod reencrypt;
mod refingerprint;
mod rewrap;

use crate::error::VaultError;
use crate::vault::Vault;
use hsm::KeyRef;
use store::{Row, Work};
use tokens::Tenant;

pub(crate) use on_read::upgrade;
pub(crate) use reencrypt::{Reencrypted, SealedCard};

pub use ending::{Destroyed, TenantShredded, forget_former_fingerprints};

/// Most rows of one batch: the writer is held while it settles.
pub const LARGEST_BATCH: usize = 500;

/// What a rotation moves, and whereto.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Reseals every data key that an older version of this KEK seals. The device holds both versions.
    Rewrap {
        /// The KEK's new version, active.
        to: KeyRef,
    },
    /// Gives every reusable card its fingerprint under this version of the fingerprint key.
    Refingerprint {
        /// The fingerprint key's new version, active.
        to: KeyRef,
    },
    /// Seals every card whose data key is deactivated under its tenant's active one.
    Reencrypt {
        /// One tenant's cards; none means everybody's.
        tenant: Option<Tenant>,
    },
}

/// Rows that were read and worked on, and wait for their transaction.
#[must_use = "a batch does nothing until it settles"]
pub struct Batch {
    work: Prepared,
    broken: u64,
    cursor: Option<String>,
    last: bool,
}

enum Prepared {
    Rewrap(Vec<rewrap::Resealed>),
    Refingerprint(Vec<refingerprint::Refingerprinted>),
    Reencrypt(Vec<Reencrypted>),
}

/// What one batch did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Rows that are on the new key now.
    pub changed: u64,
    /// Rows that somebody else changed or shredded in between; nothing was done to them.
    pub skipped: u64,
    /// Rows that do not open, or that have no key to move to: an alarm. They stay, and keep the task from finishing.
    pub broken: u64,
    /// Where the next batch goes on, to be stored in the same transaction.
    pub cursor: Option<String>,
    /// Whether the end of the table was reached.
    pub last: bool,
}

impl Batch {
    /// How many rows wait to be changed.
    pub fn len(&self) -> usize {
        match &self.work {
            Prepared::Rewrap(rows) => rows.len(),
            Prepared::Refingerprint(rows) => rows.len(),
            Prepared::Reencrypt(rows) => rows.len(),
        }
    }

    /// Whether no row waits to be changed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Changes the rows inside the caller's transaction, each only if it is still what was read.
    ///
    /// # Errors
    /// Any failure of the store; then the transaction must not be committed.
    pub async fn settle(self, work: &mut Work<'_>, _now_us: i64) -> Result<Progress, VaultError> {
        let rows = u64::try_from(self.len()).unwrap_or(u64::MAX);
        let changed = match self.work {
            Prepared::Rewrap(rows) => rewrap::settle(work, rows).await?,
            Prepared::Refingerprint(rows) => refingerprint::settle(work, rows).await?,
            Prepared::Reencrypt(rows) => reencrypt::settle(work, rows).await?,
        };
        Ok(Progress {
            changed,
            skipped: rows.saturating_sub(changed),
            broken: self.broken,
            cursor: self.cursor,
            last: self.last,
        })
    }
}

impl Vault {
    /// Reads the next rows of a task behind `cursor`, at most `limit` and [`LARGEST_BATCH`] of them, and does with
    /// them what needs the HSM. No transaction may be open.
    ///
    /// # Errors
    /// [`VaultError::HsmUnavailable`] while the device is away (go on later from the same cursor),
    /// [`VaultError::HsmRefused`] when the target key is not active, [`VaultError::Integrity`] for a cursor that was
    /// not made here, or any failure of the store.
    pub async fn rotation_batch(
        &self,
        task: &Task,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Batch, VaultError> {
        let limit = limit.clamp(1, LARGEST_BATCH);
        match task {
            Task::Rewrap { to } => rewrap::prepare(self.parts(), to, cursor, limit).await,
            Task::Refingerprint { to } => refingerprint::prepare(self.parts(), to, cursor, limit).await,
            Task::Reencrypt { tenant } => {
                reencrypt::prepare(self.parts(), tenant.as_ref(), cursor, limit).await
            }
        }
    }

    /// How many rows a task still has to move. At 0, twice and with no request from before the rotation still
    /// running, the old key protects nothing any more.
    ///
    /// # Errors
    /// Any failure of the store.
    pub async fn remaining(&self, task: &Task) -> Result<u64, VaultError> {
        let mut reader = self.parts().store.read().await?;
        match task {
            Task::Rewrap { to } => rewrap::remaining(&mut reader, to).await,
            Task::Refingerprint { to } => refingerprint::remaining(&mut reader, to).await,
            Task::Reencrypt { tenant } => reencrypt::remaining(&mut reader, tenant.as_ref()).await,
        }
    }
}

/// The column `left_over` of a counting statement.
fn count(row: Option<Row>) -> Result<u64, VaultError> {
    let left_over = row.ok_or(VaultError::StoreRefused)?.integer("left_over")?;
    u64::try_from(left_over).map_err(|_| VaultError::Integrity)
}
