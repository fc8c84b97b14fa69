//! A new epoch of a tenant's data key: every card is opened under the old key and sealed under the active one.

use super::{Batch, Prepared, cursor};
use crate::clear;
use crate::data_keys::identity;
use crate::error::VaultError;
use crate::vault::Parts;
use store::{Fetch, Row, Work};
use tokens::{Tenant, Token};

/// A sealed card as it lies on the shelf.
pub(crate) struct SealedCard {
    pub(crate) tenant: Tenant,
    pub(crate) token: Token,
    pub(crate) envelope: Vec<u8>,
}

impl SealedCard {
    /// Reads `tenant, token, envelope`.
    pub(super) fn read(row: &Row) -> Result<SealedCard, VaultError> {
        Ok(SealedCard {
            tenant: Tenant::parse(&row.text("tenant")?).map_err(|_| VaultError::Integrity)?,
            token: Token::parse(&row.text("token")?).map_err(|_| VaultError::Integrity)?,
            envelope: row.bytes("envelope")?,
        })
    }
}

/// A card under its tenant's active key that waits for its row.
pub(crate) struct Reencrypted {
    pub(crate) tenant: Tenant,
    pub(crate) token: Token,
    pub(crate) was: Vec<u8>,
    pub(crate) envelope: Vec<u8>,
    pub(crate) data_key_id: [u8; 16],
}

pub(super) async fn prepare(
    vault: &Parts,
    tenant: Option<&Tenant>,
    cursor: Option<&str>,
    limit: usize,
) -> Result<Batch, VaultError> {
    let [key, owner, token] = cursor::split(cursor)?;
    let mut reader = vault.store.read().await?;
    let rows = reader
        .fetch_all(
            "SELECT tenant, token, envelope, data_key_id FROM card \
             WHERE data_key_id IN (SELECT data_key_id FROM data_key WHERE status = 'deactivated' \
             AND (tenant = $1 OR $1 IS NULL)) AND (data_key_id, tenant, token) > ($2, $3, $4) \
             ORDER BY data_key_id, tenant, token LIMIT $5",
            vec![
                tenant.map(Tenant::as_str).into(),
                cursor::unhex(key)?.into(),
                owner.into(),
                token.into(),
                i64::try_from(limit).unwrap_or(i64::MAX).into(),
            ],
        )
        .await?;
    drop(reader);
    let last = rows.len() < limit;
    let (mut sealed, mut broken, mut end) = (Vec::with_capacity(rows.len()), 0, None);
    for row in &rows {
        let id = identity(&row.bytes("data_key_id")?)?;
        end = Some(cursor::join(&[&cursor::hex(&id), &row.text("tenant")?, &row.text("token")?]));
        let outcome = match SealedCard::read(row) {
            Ok(card) => clear::reseal(vault, card).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(one) => sealed.push(one),
            // Shredded with its tenant since it was read; nothing is left to move.
            Err(VaultError::TokenGone) => {}
            // Or a tenant whose key is used up: the next request makes it another one.
            Err(VaultError::Integrity | VaultError::NoDataKey) => broken += 1,
            Err(error) => return Err(error),
        }
    }
    let cursor = end.or_else(|| cursor.map(str::to_owned));
    Ok(Batch { work: Prepared::Reencrypt(sealed), broken, cursor, last })
}

/// Each card only while its envelope is still the one that was opened: a shred or another rotation wins. The new
/// key must still be there, or the card would be lost with it.
pub(super) async fn settle(work: &mut Work<'_>, rows: Vec<Reencrypted>) -> Result<u64, VaultError> {
    let mut changed = 0;
    for row in rows {
        changed += settle_one(work, row).await?;
    }
    Ok(changed)
}

macro_rules! reencrypt {
    () => {
        "UPDATE card SET envelope = $4, data_key_id = $5 \
         WHERE tenant = $1 AND token = $2 AND envelope = $3 AND shredded_at IS NULL \
         AND EXISTS (SELECT 1 FROM data_key WHERE data_key_id = $5 AND destroyed_at IS NULL"
    };
}

/// As [`settle`], for one card that was read while its key was an old one.
pub(super) async fn settle_one(work: &mut Work<'_>, row: Reencrypted) -> Result<u64, VaultError> {
    let rows = work
        .execute(
            work.dialect().of(
                concat!(reencrypt!(), ")"),
                // The key cannot be destroyed before this transaction ends.
                concat!(reencrypt!(), " FOR KEY SHARE)"),
            ),
            vec![
                row.tenant.as_str().into(),
                row.token.as_str().into(),
                row.was.into(),
                row.envelope.into(),
                row.data_key_id.into(),
            ],
        )
        .await?;
    Ok(rows)
}

pub(super) async fn remaining(from: &mut impl Fetch, tenant: Option<&Tenant>) -> Result<u64, VaultError> {
    let row = from
        .fetch_optional(
            "SELECT COUNT(*) AS left_over FROM card WHERE data_key_id IN \
             (SELECT data_key_id FROM data_key WHERE status = 'deactivated' AND (tenant = $1 OR $1 IS NULL))",
            vec![tenant.map(Tenant::as_str).into()],
        )
        .await?;
    super::count(row)
}
