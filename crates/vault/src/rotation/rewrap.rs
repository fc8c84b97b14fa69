//! A new version of the KEK: every data key is sealed again under it, inside the HSM. Cards are not touched.

use super::{Batch, Prepared, cursor};
use crate::data_keys::StoredKey;
use crate::error::VaultError;
use crate::vault::Parts;
use hsm::{KeyFilter, KeyRef, SealedDataKey};
use store::{Fetch, Work};
use subtle::ConstantTimeEq;

/// One in so many resealed keys is opened again, the first of every batch among them, and compared.
const SAMPLE: usize = 16;

/// A data key under the new KEK that waits for its row.
pub(super) struct Resealed {
    id: [u8; 16],
    from_version: u32,
    row_version: i64,
    sealed: SealedDataKey,
}

pub(super) async fn prepare(
    vault: &Parts,
    to: &KeyRef,
    cursor: Option<&str>,
    limit: usize,
) -> Result<Batch, VaultError> {
    let [after] = cursor::split(cursor)?;
    usable(vault, to).await?;
    let mut reader = vault.store.read().await?;
    let rows = reader
        .fetch_all(
            "SELECT data_key_id, tenant, class, epoch, status, sealed, kek_label, kek_version, row_version \
             FROM data_key WHERE kek_label = $1 AND kek_version < $2 AND destroyed_at IS NULL \
             AND data_key_id > $3 ORDER BY data_key_id LIMIT $4",
            vec![
                to.label.as_str().into(),
                to.version.get().into(),
                cursor::unhex(after)?.into(),
                i64::try_from(limit).unwrap_or(i64::MAX).into(),
            ],
        )
        .await?;
    drop(reader);
    let last = rows.len() < limit;
    let (mut resealed, mut broken, mut end) = (Vec::with_capacity(rows.len()), 0, None);
    for row in &rows {
        end = Some(cursor::hex(&row.bytes("data_key_id")?));
        let outcome = match StoredKey::read(row) {
            Ok(key) => reseal(vault, key, to, resealed.len() % SAMPLE == 0).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(one) => resealed.push(one),
            // The target is good, so what is refused is this row's own version: destroyed before its time.
            Err(VaultError::Integrity | VaultError::TokenGone | VaultError::HsmRefused) => broken += 1,
            Err(error) => return Err(error),
        }
    }
    let cursor = end.or_else(|| cursor.map(str::to_owned));
    Ok(Batch { work: Prepared::Rewrap(resealed), broken, cursor, last })
}

/// Asked before any row is: else a target that may not seal would look like so many broken rows.
async fn usable(vault: &Parts, to: &KeyRef) -> Result<(), VaultError> {
    let versions = vault.hsm.keys(KeyFilter { label: Some(to.label.clone()), kind: None }).await?;
    let good = versions.iter().any(|info| info.key == *to && info.status.may_protect());
    if good { Ok(()) } else { Err(VaultError::HsmRefused) }
}

async fn reseal(vault: &Parts, key: StoredKey, to: &KeyRef, prove: bool) -> Result<Resealed, VaultError> {
    let (realm, from_version) = (vault.settings.realm, key.sealed.kek.version.get());
    let (from, under) = (key.context(realm)?, key.context_under(realm, to)?);
    let sealed =
        vault.hsm.reseal_data_key(key.sealed.clone(), from.clone(), to.clone(), under.clone()).await?;
    if prove {
        let old = vault.hsm.open_data_key(key.sealed, from).await?;
        let new = vault.hsm.open_data_key(sealed.clone(), under).await?;
        if !bool::from(old.expose().ct_eq(new.expose())) {
            return Err(VaultError::Integrity);
        }
    }
    Ok(Resealed { id: key.id, from_version, row_version: key.row_version, sealed })
}

/// Each row only as it was read: of two that rewrap one row, one changes it.
pub(super) async fn settle(work: &mut Work<'_>, rows: Vec<Resealed>) -> Result<u64, VaultError> {
    let mut changed = 0;
    for row in rows {
        changed += work
            .execute(
                "UPDATE data_key SET sealed = $4, kek_label = $5, kek_version = $6, row_version = row_version + 1 \
                 WHERE data_key_id = $1 AND kek_version = $2 AND row_version = $3 AND destroyed_at IS NULL",
                vec![
                    row.id.into(),
                    row.from_version.into(),
                    row.row_version.into(),
                    row.sealed.to_bytes().into(),
                    row.sealed.kek.label.as_str().into(),
                    row.sealed.kek.version.get().into(),
                ],
            )
            .await?;
    }
    Ok(changed)
}

pub(super) async fn remaining(from: &mut impl Fetch, to: &KeyRef) -> Result<u64, VaultError> {
    let row = from
        .fetch_optional(
            "SELECT COUNT(*) AS left_over FROM data_key \
             WHERE kek_label = $1 AND kek_version < $2 AND destroyed_at IS NULL",
            vec![to.label.as_str().into(), to.version.get().into()],
        )
        .await?;
    super::count(row)
}
