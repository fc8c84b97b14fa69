//! A new data key on its way into its row.

use super::stored::CLASS;
use crate::error::VaultError;
use hsm::{KeyRef, SealedDataKey};
use store::Work;
use tokens::Tenant;
use uuid::Uuid;

/// A draft that is older than this is not put down any more: whoever retires a KEK waits a minute before it is
/// destroyed, and then knows that no key sealed by it can still appear. What is left of the minute is for the commit and
/// for clocks that differ; a key that came after would be lost, and its tenant could seal nothing.
const LONGEST_US: i64 = 30_000_000;

/// A sealed data key that waits for its transaction. Its clear form is already wiped.
pub struct DataKeyDraft {
    pub(super) id: [u8; 16],
    pub(super) tenant: Tenant,
    pub(super) epoch: u32,
    pub(super) sealed: SealedDataKey,
    pub(super) drafted_at_us: i64,
}

impl DataKeyDraft {
    /// The new key's id.
    pub fn id(&self) -> Uuid {
        Uuid::from_bytes(self.id)
    }

    /// The HSM key and version that sealed it.
    pub fn kek(&self) -> &KeyRef {
        &self.sealed.kek
    }

    /// Which of the tenant's data keys it is, counted from 1.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Puts the row down as the tenant's active key; an older active key is deactivated in the same step and from
    /// then on only opens. `false` when another request was first: then nothing changed and nothing is to be
    /// recorded.
    ///
    /// # Errors
    /// [`VaultError::StoreBusy`] for a draft that waited longer than half a minute, or any failure of the store.
    pub async fn settle(self, work: &mut Work<'_>, now_us: i64) -> Result<bool, VaultError> {
        if now_us.saturating_sub(self.drafted_at_us) > LONGEST_US {
            return Err(VaultError::StoreBusy);
        }
        let rows = work
            .execute(
                "INSERT INTO data_key (data_key_id, tenant, class, epoch, status, sealed, kek_label, kek_version, \
                 created_at, row_version) VALUES ($1, $2, $3, $4, 'active', $5, $6, $7, $8, 1) \
                 ON CONFLICT DO NOTHING",
                vec![
                    self.id.into(),
                    self.tenant.as_str().into(),
                    CLASS.into(),
                    self.epoch.into(),
                    self.sealed.to_bytes().into(),
                    self.sealed.kek.label.as_str().into(),
                    self.sealed.kek.version.get().into(),
                    now_us.into(),
                ],
            )
            .await?;
        if rows == 0 {
            return Ok(false);
        }
        work.execute(
            "UPDATE data_key SET status = 'deactivated', deactivated_at = $4, row_version = row_version + 1 \
             WHERE tenant = $1 AND class = $2 AND epoch < $3 AND status = 'active'",
            vec![self.tenant.as_str().into(), CLASS.into(), self.epoch.into(), now_us.into()],
        )
        .await?;
        Ok(true)
    }
}
