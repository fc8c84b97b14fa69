//! How often a data key has sealed. Uses are reserved in blocks in the key's row before they happen, so that a
//! crash counts up to a block too many and never one too few (NIST SP 800-38D, 8.3; PCI DSS 3.7.4).

use super::limits::DataKeyLimits;
use crate::error::VaultError;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::Store;

/// Most keys that are counted at once; beyond it the rest of some block is given up.
const MOST: usize = 10_000;

/// What is left of the blocks that this process has reserved.
pub(super) struct Meter {
    store: Store,
    limits: DataKeyLimits,
    counts: Mutex<HashMap<[u8; 16], Arc<tokio::sync::Mutex<u64>>>>,
    reserved: Mutex<HashMap<[u8; 16], u64>>,
}

impl Meter {
    pub(super) fn new(store: Store, limits: DataKeyLimits) -> Self {
        Meter { store, limits, counts: Mutex::default(), reserved: Mutex::default() }
    }

    /// Counts `seals` uses of that key. Only the first use of a block waits for a commit.
    ///
    /// # Errors
    /// [`VaultError::NoDataKey`] when the key is at its hard limit or no longer the active one, or any failure of
    /// the store: then nothing may be sealed.
    pub(super) async fn spend(&self, id: [u8; 16], seals: u64) -> Result<(), VaultError> {
        let count = self.count(id);
        // Held over the commit: who needs the same block waits for it instead of reserving another.
        let mut left = count.lock().await;
        if *left < seals {
            let block = self.limits.block.max(seals);
            let reserved = self.reserve(id, block).await?;
            locked(&self.reserved).insert(id, reserved);
            *left = left.saturating_add(block);
        }
        *left = left.saturating_sub(seals);
        Ok(())
    }

    /// What the key's row said when a block was last reserved here; 0 before the first.
    pub(super) fn reserved(&self, id: [u8; 16]) -> u64 {
        locked(&self.reserved).get(&id).copied().unwrap_or(0)
    }

    fn count(&self, id: [u8; 16]) -> Arc<tokio::sync::Mutex<u64>> {
        let mut counts = locked(&self.counts);
        if counts.len() >= MOST && !counts.contains_key(&id) {
            counts.clear();
            locked(&self.reserved).clear();
        }
        Arc::clone(counts.entry(id).or_default())
    }

    async fn reserve(&self, id: [u8; 16], block: u64) -> Result<u64, VaultError> {
        let (block, hard) = (whole(block)?, whole(self.limits.hard)?);
        let row = self
            .store
            .commit::<_, VaultError, _>(move |work| {
                Box::pin(async move {
                    let sql = "UPDATE data_key SET uses_reserved = uses_reserved + $2 \
                               WHERE data_key_id = $1 AND status = 'active' AND uses_reserved + $2 <= $3 \
                               RETURNING uses_reserved";
                    Ok(work.fetch_optional(sql, vec![id.into(), block.into(), hard.into()]).await?)
                })
            })
            .await?;
        let reserved = row.ok_or(VaultError::NoDataKey)?.integer("uses_reserved")?;
        u64::try_from(reserved).map_err(|_| VaultError::Integrity)
    }
}

fn whole(number: u64) -> Result<i64, VaultError> {
    i64::try_from(number).map_err(|_| VaultError::StoreRefused)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The maps hold no state that a panic could leave half-changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
