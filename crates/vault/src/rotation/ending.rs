//! The end of data keys: of one that is empty, and of all that a tenant has.

use crate::data_keys::{CLASS, identity};
use crate::error::VaultError;
use crate::vault::Vault;
use hsm::KeyRef;
use store::{Dialect, Work};
use tokens::Tenant;
use uuid::Uuid;

/// Most cards that one call of [`Vault::shred_tenant`] clears.
const CARDS_AT_ONCE: i64 = 2000;

/// A data key that is gone: its sealed bytes are overwritten, its row says when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destroyed {
    /// Which key.
    pub id: Uuid,
    /// Whose.
    pub tenant: Tenant,
    /// Which of the tenant's keys.
    pub epoch: u32,
    /// The KEK's version that sealed it last: until that version is destroyed too, a backup of the row from before
    /// still opens.
    pub kek_version: u32,
}

/// What a tenant's shredding did so far.
#[must_use = "the keys that lie open in memory are still to be purged"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantShredded {
    /// The data keys that this call destroyed.
    pub keys: Vec<Destroyed>,
    /// The cards whose envelope, fingerprints and metadata this call removed.
    pub cards: u64,
    /// Whether rows are left to be cleared. Their cards are gone with the keys; call again until nothing is left.
    pub more: bool,
}

macro_rules! emptied {
    () => {
        "SELECT k.data_key_id FROM data_key AS k WHERE k.status = 'deactivated' AND k.deactivated_at <= $1 \
         AND (k.tenant = $2 OR $2 IS NULL) \
         AND NOT EXISTS (SELECT 1 FROM card WHERE card.data_key_id = k.data_key_id) LIMIT $3"
    };
}

/// The ids of keys that no card names, held so that none comes to them.
async fn emptied(
    work: &mut Work<'_>,
    tenant: Option<&Tenant>,
    limit: usize,
    before_us: i64,
) -> Result<Vec<Vec<u8>>, VaultError> {
    let sql = work.dialect().of(emptied!(), concat!(emptied!(), " FOR UPDATE"));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows =
        work.fetch_all(sql, vec![before_us.into(), tenant.map(Tenant::as_str).into(), limit.into()]).await?;
    rows.iter().map(|row| row.bytes("data_key_id").map_err(VaultError::from)).collect()
}

impl Vault {
    /// Destroys up to `limit` data keys that no card names any more and that have been deactivated for
    /// [`crate::DataKeyLimits::quiet`]. Call [`Vault::purge_data_keys`] once the transaction is durable.
    ///
    /// # Errors
    /// Any failure of the store.
    pub async fn destroy_emptied(
        &self,
        work: &mut Work<'_>,
        tenant: Option<&Tenant>,
        limit: usize,
        now_us: i64,
    ) -> Result<Vec<Destroyed>, VaultError> {
        let quiet = self.parts().settings.data_keys.quiet.as_micros();
        let before = now_us.saturating_sub(i64::try_from(quiet).unwrap_or(i64::MAX));
        let mut ended = Vec::new();
        for key in emptied(work, tenant, limit, before).await? {
            // Looked at once more: where others write beside us, a card may have come to the key before it was held.
            let row = work
                .fetch_optional(
                    "UPDATE data_key SET sealed = $3, status = 'destroyed', destroyed_at = $1, \
                     row_version = row_version + 1 WHERE data_key_id = $2 AND status = 'deactivated' \
                     AND NOT EXISTS (SELECT 1 FROM card WHERE card.data_key_id = $2) \
                     RETURNING data_key_id, tenant, epoch, kek_version",
                    vec![now_us.into(), key.into(), Vec::new().into()],
                )
                .await?;
            ended.extend(row.map(|row| destroyed(&row)).transpose()?);
        }
        Ok(ended)
    }

    /// Crypto-shreds a tenant: destroys all its data keys, which ends every card at once, then clears the cards'
    /// rows (token, brand, last four and dates stay, so that later use can be answered with "gone") and wipes its
    /// verification codes. Stop the tenant's credentials first; call again until [`TenantShredded::more`] is false,
    /// and after each commit [`Vault::purge_data_keys`], then [`store::Store::checkpoint`].
    ///
    /// A backup of the data-key rows from before opens until the KEK versions in [`Destroyed::kek_version`] are
    /// destroyed in the HSM.
    ///
    /// # Errors
    /// Any failure of the store; then the transaction must not be committed.
    pub async fn shred_tenant(
        &self,
        work: &mut Work<'_>,
        tenant: &Tenant,
        now_us: i64,
    ) -> Result<TenantShredded, VaultError> {
        if work.dialect() == Dialect::Postgres {
            // A card that is on its way to one of these keys arrives first, and is shredded with the others.
            work.fetch_all(
                "SELECT data_key_id FROM data_key WHERE tenant = $1 AND class = $2 AND destroyed_at IS NULL FOR UPDATE",
                vec![tenant.as_str().into(), CLASS.into()],
            )
            .await?;
        }
        let rows = work
            .fetch_all(
                "UPDATE data_key SET sealed = $4, status = 'destroyed', destroyed_at = $1, \
                 deactivated_at = COALESCE(deactivated_at, $1), row_version = row_version + 1 \
                 WHERE tenant = $2 AND class = $3 AND destroyed_at IS NULL \
                 RETURNING data_key_id, tenant, epoch, kek_version",
                vec![now_us.into(), tenant.as_str().into(), CLASS.into(), Vec::new().into()],
            )
            .await?;
        let keys: Vec<Destroyed> = rows.iter().map(destroyed).collect::<Result<_, _>>()?;
        // By the keys that are gone, which an index finds; then, once, whatever row of the tenant names none of them.
        let mut cards = work
            .execute(
                "UPDATE card SET envelope = NULL, fingerprint = NULL, former_fingerprint = NULL, \
                 former_fingerprint_version = NULL, data_key_id = NULL, metadata = NULL, reusable = 0, \
                 shredded_at = $1 WHERE tenant = $2 AND token IN (SELECT token FROM card WHERE data_key_id IN \
                 (SELECT data_key_id FROM data_key WHERE tenant = $2 AND destroyed_at IS NOT NULL) \
                 AND tenant = $2 LIMIT $3)",
                vec![now_us.into(), tenant.as_str().into(), CARDS_AT_ONCE.into()],
            )
            .await?;
        let more = i64::try_from(cards).unwrap_or(i64::MAX) >= CARDS_AT_ONCE;
        if !more {
            cards += work
                .execute(
                    "UPDATE card SET envelope = NULL, fingerprint = NULL, former_fingerprint = NULL, \
                     former_fingerprint_version = NULL, data_key_id = NULL, metadata = NULL, reusable = 0, \
                     shredded_at = $1 WHERE tenant = $2 AND shredded_at IS NULL",
                    vec![now_us.into(), tenant.as_str().into()],
                )
                .await?;
        }
        self.parts().cvc.forget_tenant(tenant);
        Ok(TenantShredded { keys, cards, more })
    }
}

fn destroyed(row: &store::Row) -> Result<Destroyed, VaultError> {
    let small = |column| u32::try_from(row.integer(column)?).map_err(|_| VaultError::Integrity);
    Ok(Destroyed {
        id: Uuid::from_bytes(identity(&row.bytes("data_key_id")?)?),
        tenant: Tenant::parse(&row.text("tenant")?).map_err(|_| VaultError::Integrity)?,
        epoch: small("epoch")?,
        kek_version: small("kek_version")?,
    })
}

/// Forgets up to `limit` fingerprints under versions of the fingerprint key up to `retired`, once that version is
/// retired and nobody can ask by them any more. Gives how many; 0 when none is left.
///
/// # Errors
/// Any failure of the store.
pub async fn forget_former_fingerprints(
    work: &mut Work<'_>,
    retired: &KeyRef,
    limit: usize,
) -> Result<u64, VaultError> {
    let rows = work
        .execute(
            "UPDATE card SET former_fingerprint = NULL, former_fingerprint_version = NULL \
             WHERE (tenant, token) IN (SELECT tenant, token FROM card WHERE former_fingerprint IS NOT NULL \
             AND former_fingerprint_version <= $1 LIMIT $2)",
            vec![retired.version.get().into(), i64::try_from(limit).unwrap_or(i64::MAX).into()],
        )
        .await?;
    Ok(rows)
}
