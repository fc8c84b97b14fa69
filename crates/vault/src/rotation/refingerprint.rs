//! A new version of the fingerprint key: a keyed hash cannot be moved, so every reusable card is opened inside the
//! clear room and hashed again. The old hash stays beside the new one until the old version is retired, so that a
//! gateway that has not yet heard of the new version still finds the card's token.

use super::reencrypt::SealedCard;
use super::{Batch, Prepared, cursor};
use crate::clear;
use crate::error::VaultError;
use crate::vault::Parts;
use hsm::KeyRef;
use store::{Fetch, Value, Work};
use tokens::{Tenant, Token};

/// A card's fingerprint under the new version that waits for its row.
pub(super) struct Refingerprinted {
    tenant: Tenant,
    token: Token,
    was: (Vec<u8>, u32),
    now: ([u8; 32], u32),
}

pub(super) async fn prepare(
    vault: &Parts,
    to: &KeyRef,
    cursor: Option<&str>,
    limit: usize,
) -> Result<Batch, VaultError> {
    let [version, owner, token] = cursor::split(cursor)?;
    let version: i64 =
        if version.is_empty() { -1 } else { version.parse().map_err(|_| VaultError::Integrity)? };
    let mut reader = vault.store.read().await?;
    let rows = reader
        .fetch_all(
            "SELECT tenant, token, envelope, fingerprint, fingerprint_version FROM card \
             WHERE fingerprint IS NOT NULL AND fingerprint_version < $1 \
             AND (fingerprint_version, tenant, token) > ($2, $3, $4) \
             ORDER BY fingerprint_version, tenant, token LIMIT $5",
            vec![
                to.version.get().into(),
                version.into(),
                owner.into(),
                token.into(),
                i64::try_from(limit).unwrap_or(i64::MAX).into(),
            ],
        )
        .await?;
    drop(reader);
    let last = rows.len() < limit;
    let (mut cards, mut found, mut broken, mut end) = (vec![], vec![], 0, None);
    for row in &rows {
        let version = row.integer("fingerprint_version")?;
        end = Some(cursor::join(&[&version.to_string(), &row.text("tenant")?, &row.text("token")?]));
        let was = (row.bytes("fingerprint")?, u32::try_from(version).map_err(|_| VaultError::Integrity)?);
        match SealedCard::read(row) {
            Ok(card) => {
                found.push((card.tenant.clone(), card.token.clone(), was));
                cards.push(card);
            }
            Err(VaultError::Integrity) => broken += 1,
            Err(error) => return Err(error),
        }
    }
    let mut work = Vec::with_capacity(found.len());
    for (outcome, (tenant, token, was)) in
        clear::refingerprint(vault, to, cards).await?.into_iter().zip(found)
    {
        match outcome {
            Ok(mac) => work.push(Refingerprinted { tenant, token, was, now: (mac, to.version.get()) }),
            Err(VaultError::TokenGone) => {}
            Err(_) => broken += 1,
        }
    }
    let cursor = end.or_else(|| cursor.map(str::to_owned));
    Ok(Batch { work: Prepared::Refingerprint(work), broken, cursor, last })
}

/// Each card only while its fingerprint is still the one that was read. When another living token has the card's
/// new fingerprint already (two gateways met the card at once, one of them with an old list of keys), the older
/// token stays the one that is reused and the other one goes on without being found.
pub(super) async fn settle(work: &mut Work<'_>, rows: Vec<Refingerprinted>) -> Result<u64, VaultError> {
    let mut changed = 0;
    for row in rows {
        changed += settle_one(work, &row).await?;
    }
    Ok(changed)
}

async fn settle_one(work: &mut Work<'_>, row: &Refingerprinted) -> Result<u64, VaultError> {
    let args = || -> Vec<Value> {
        vec![
            row.tenant.as_str().into(),
            row.token.as_str().into(),
            row.was.1.into(),
            row.was.0.clone().into(),
            row.now.1.into(),
            row.now.0.into(),
        ]
    };
    // The younger of two tokens of one card stops being reusable, whichever of them this row is.
    work.execute(
        "UPDATE card SET reusable = 0, fingerprint = NULL, former_fingerprint = NULL, former_fingerprint_version = NULL \
         WHERE tenant = $1 AND fingerprint_version = $5 AND fingerprint = $6 AND reusable = 1 \
         AND shredded_at IS NULL AND token <> $2 AND EXISTS (SELECT 1 FROM card AS mine WHERE mine.tenant = $1 \
         AND mine.token = $2 AND mine.fingerprint_version = $3 AND mine.fingerprint = $4 AND mine.reusable = 1 \
         AND mine.shredded_at IS NULL AND (mine.created_at, mine.token) < (card.created_at, card.token))",
        args(),
    )
    .await?;
    let retired = work
        .execute(
            "UPDATE card SET reusable = 0, fingerprint = NULL, former_fingerprint = NULL, \
             former_fingerprint_version = NULL WHERE tenant = $1 AND token = $2 AND fingerprint_version = $3 \
             AND fingerprint = $4 AND reusable = 1 AND EXISTS (SELECT 1 FROM card AS other WHERE other.tenant = $1 \
             AND other.fingerprint_version = $5 AND other.fingerprint = $6 AND other.reusable = 1 \
             AND other.shredded_at IS NULL AND other.token <> $2)",
            args(),
        )
        .await?;
    if retired > 0 {
        return Ok(retired);
    }
    let rows = work
        .execute(
            "UPDATE card SET former_fingerprint = CASE WHEN EXISTS (SELECT 1 FROM card AS other \
             WHERE other.tenant = $1 AND other.former_fingerprint_version = $3 AND other.former_fingerprint = $4) \
             THEN NULL ELSE fingerprint END, former_fingerprint_version = fingerprint_version, \
             fingerprint = $6, fingerprint_version = $5 \
             WHERE tenant = $1 AND token = $2 AND fingerprint_version = $3 AND fingerprint = $4",
            args(),
        )
        .await?;
    Ok(rows)
}

pub(super) async fn remaining(from: &mut impl Fetch, to: &KeyRef) -> Result<u64, VaultError> {
    let row = from
        .fetch_optional(
            "SELECT COUNT(*) AS left_over FROM card WHERE fingerprint IS NOT NULL AND fingerprint_version < $1",
            vec![to.version.get().into()],
        )
        .await?;
    super::count(row)
}
