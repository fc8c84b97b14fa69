//! Rows of sealed cards. Nothing here can open one.

mod adding;
mod consent;

pub(crate) use adding::lay_out;
pub use consent::has_consent;

use crate::clear::{Fingerprint, Fingerprints};
use crate::error::VaultError;
use std::collections::BTreeMap;
use store::{Fetch, Row, Work};
use tokens::{Brand, Format, Last4, MaskedCard, RequestId, Tenant, Token};

/// Flat names and values that the caller keeps with a token.
pub type Metadata = BTreeMap<String, String>;

/// What a token's record can still be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardState {
    /// It can be charged.
    Usable,
    /// Past the token's own `expires_at`.
    Expired,
    /// The sealed card is gone for good.
    Shredded,
}

/// The masked view of one stored card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardRecord {
    /// The token.
    pub token: Token,
    /// Brand, last four, expiry.
    pub card: MaskedCard,
    /// What the token looks like.
    pub format: Format,
    /// What the caller keeps with it.
    pub metadata: Metadata,
    /// Unix microseconds.
    pub created_at_us: i64,
    /// Unix microseconds; none means until it is shredded.
    pub expires_at_us: Option<i64>,
    /// What it can still be used for.
    pub state: CardState,
}

/// The record behind a tenant's token, or none; another tenant's token is none as well.
///
/// # Errors
/// Any failure of the store; [`VaultError::Integrity`] for a row that was not written here.
pub async fn find(
    from: &mut impl Fetch,
    tenant: &Tenant,
    token: &Token,
) -> Result<Option<CardRecord>, VaultError> {
    let row = from
        .fetch_optional(
            "SELECT token, brand, last4, exp_month, exp_year, format, metadata, created_at, expires_at, shredded_at, \
             (SELECT destroyed_at FROM data_key WHERE data_key.data_key_id = card.data_key_id) AS key_destroyed_at \
             FROM card WHERE tenant = $1 AND token = $2",
            vec![tenant.as_str().into(), token.as_str().into()],
        )
        .await?;
    row.map(|row| living(&row, crate::clock::wall_us())).transpose()
}

/// The record of a row that says `key_destroyed_at` as well. A tenant that is shredded is gone with its keys, before
/// its rows are cleared one after the other, and whoever still has one of the keys in memory.
fn living(row: &Row, now_us: i64) -> Result<CardRecord, VaultError> {
    let record = record(row, now_us)?;
    let gone = row.optional_integer("key_destroyed_at")?.is_some();
    Ok(CardRecord { state: if gone { CardState::Shredded } else { record.state }, ..record })
}

/// What shredding did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shredded {
    /// The card is gone now.
    Done,
    /// It was gone before.
    Already,
    /// The tenant has no such token.
    Unknown,
}

/// Destroys a sealed card: envelope, fingerprint, key name and metadata go; token, brand, last four and dates stay,
/// so that later use can be answered with "gone". The record's key was used once and is derived from the salt in
/// the envelope, so it is gone too. Run twice, it ends in the same place.
///
/// # Errors
/// Any failure of the store.
pub async fn shred(
    work: &mut Work<'_>,
    tenant: &Tenant,
    token: &Token,
    now_us: i64,
) -> Result<Shredded, VaultError> {
    let key = || vec![tenant.as_str().into(), token.as_str().into()];
    let mut args = key();
    args.push(now_us.into());
    let rows = work
        .execute(
            "UPDATE card SET envelope = NULL, fingerprint = NULL, former_fingerprint = NULL, \
             former_fingerprint_version = NULL, data_key_id = NULL, metadata = NULL, shredded_at = $3 WHERE tenant = $1 AND token = $2 AND shredded_at IS NULL",
            args,
        )
        .await?;
    if rows > 0 {
        return Ok(Shredded::Done);
    }
    let there = work.fetch_optional("SELECT token FROM card WHERE tenant = $1 AND token = $2", key()).await?;
    Ok(if there.is_some() { Shredded::Already } else { Shredded::Unknown })
}

/// A sealed card that waits for its row.
pub(crate) struct NewCard<'a> {
    pub(crate) token: &'a Token,
    pub(crate) card: &'a MaskedCard,
    pub(crate) envelope: &'a [u8],
    pub(crate) data_key_id: &'a [u8; 16],
    /// Only of a reusable card: where none is needed none is kept.
    pub(crate) fingerprints: Option<&'a Fingerprints>,
    pub(crate) format: Format,
    pub(crate) metadata: &'a Metadata,
    pub(crate) expires_at_us: Option<i64>,
    /// The request in which the patient agreed that the card is kept and charged again.
    pub(crate) consent: Option<&'a RequestId>,
}

/// Puts a card on the shelf. With a fingerprint the tenant's living token of the same card wins, whoever races and
/// under whichever active version of the fingerprint key it was met: then that record comes back with its expiry
/// brought up to date and its fingerprint under the newest version.
pub(crate) async fn put(
    work: &mut Work<'_>,
    tenant: &Tenant,
    new: &NewCard<'_>,
    now_us: i64,
) -> Result<(CardRecord, bool), VaultError> {
    if let Some(fingerprints) = new.fingerprints {
        for fingerprint in std::iter::once(&fingerprints.newest).chain(&fingerprints.older) {
            retire_expired(work, tenant, fingerprint, now_us).await?;
            if let Some(record) = reuse(work, tenant, new, fingerprints, fingerprint, now_us).await? {
                return Ok((record, true));
            }
        }
    }
    if insert(work, tenant, new, now_us).await? {
        let record = CardRecord {
            token: new.token.clone(),
            card: new.card.clone(),
            format: new.format,
            metadata: new.metadata.clone(),
            created_at_us: now_us,
            expires_at_us: new.expires_at_us,
            state: CardState::Usable,
        };
        return Ok((record, false));
    }
    // Another gateway may have put the same card down in this instant: then its token is the one.
    if let Some(fingerprints) = new.fingerprints {
        for fingerprint in std::iter::once(&fingerprints.newest).chain(&fingerprints.older) {
            if let Some(record) = reuse(work, tenant, new, fingerprints, fingerprint, now_us).await? {
                return Ok((record, true));
            }
        }
    }
    let there = work
        .fetch_optional(
            "SELECT data_key_id FROM data_key WHERE data_key_id = $1 AND destroyed_at IS NULL",
            vec![new.data_key_id.into()],
        )
        .await?;
    // The key ended while the card was on its way; or the token itself was taken: one in 10^39, or a card-shaped
    // one in 10^7 and more. Either way the same request goes through when it is sent again.
    Err(if there.is_none() { VaultError::NoDataKey } else { VaultError::StoreBusy })
}

/// A reusable token past its own date must not come back to life; it gives up its place for the card.
async fn retire_expired(
    work: &mut Work<'_>,
    tenant: &Tenant,
    fingerprint: &Fingerprint,
    now_us: i64,
) -> Result<(), VaultError> {
    work.execute(
        "UPDATE card SET reusable = 0, fingerprint = NULL, former_fingerprint = NULL, \
         former_fingerprint_version = NULL WHERE tenant = $1 AND expires_at <= $4 AND token IN \
         (SELECT token FROM card WHERE tenant = $1 AND fingerprint_version = $2 AND fingerprint = $3 \
         AND reusable = 1 AND shredded_at IS NULL UNION ALL \
         SELECT token FROM card WHERE tenant = $1 AND former_fingerprint_version = $2 AND former_fingerprint = $3 \
         AND reusable = 1 AND shredded_at IS NULL)",
        vec![tenant.as_str().into(), fingerprint.version.into(), fingerprint.mac.into(), now_us.into()],
    )
    .await?;
    Ok(())
}

/// The tenant's living token with that fingerprint, if there is one. One that an older version found gets the newest
/// fingerprint in the same step; one that is ahead of us (we have not yet heard of its version) keeps its own.
async fn reuse(
    work: &mut Work<'_>,
    tenant: &Tenant,
    new: &NewCard<'_>,
    fingerprints: &Fingerprints,
    met: &Fingerprint,
    now_us: i64,
) -> Result<Option<CardRecord>, VaultError> {
    let row = work
        .fetch_optional(
            "UPDATE card SET exp_month = $4, exp_year = $5, \
             former_fingerprint = CASE WHEN fingerprint_version < $6 THEN fingerprint ELSE former_fingerprint END, \
             former_fingerprint_version = \
             CASE WHEN fingerprint_version < $6 THEN fingerprint_version ELSE former_fingerprint_version END, \
             fingerprint = CASE WHEN fingerprint_version < $6 THEN $7 ELSE fingerprint END, \
             fingerprint_version = CASE WHEN fingerprint_version < $6 THEN $6 ELSE fingerprint_version END \
             WHERE tenant = $1 AND token = \
             (SELECT token FROM card WHERE tenant = $1 AND fingerprint_version = $2 AND fingerprint = $3 \
             AND reusable = 1 AND shredded_at IS NULL UNION ALL \
             SELECT token FROM card WHERE tenant = $1 AND former_fingerprint_version = $2 AND former_fingerprint = $3 \
             AND reusable = 1 AND shredded_at IS NULL LIMIT 1) \
             RETURNING token, brand, last4, exp_month, exp_year, format, metadata, created_at, expires_at, shredded_at",
            vec![
                tenant.as_str().into(),
                met.version.into(),
                met.mac.into(),
                new.card.exp_month.into(),
                new.card.exp_year.into(),
                fingerprints.newest.version.into(),
                fingerprints.newest.mac.into(),
            ],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let record = record(&row, now_us)?;
    if let Some(request) = new.consent {
        consent::note(work, tenant, &record.token, request, now_us).await?;
    }
    Ok(Some(record))
}

fn metadata_text(metadata: &Metadata) -> Result<Option<String>, VaultError> {
    if metadata.is_empty() {
        return Ok(None);
    }
    serde_json::to_string(metadata).map(Some).map_err(|_| VaultError::Integrity)
}

macro_rules! insert {
    () => {
        "INSERT INTO card (tenant, token, fingerprint, fingerprint_version, reusable, envelope, data_key_id, \
         brand, last4, exp_month, exp_year, format, metadata, created_at, expires_at, former_fingerprint, \
         former_fingerprint_version, consent, consented_at) \
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19 \
         WHERE EXISTS (SELECT 1 FROM data_key WHERE data_key_id = $7 AND destroyed_at IS NULL"
    };
}

/// A new row, if nobody has its place and its data key is still there: a card under a destroyed key would be lost
/// after it was acknowledged.
async fn insert(
    work: &mut Work<'_>,
    tenant: &Tenant,
    new: &NewCard<'_>,
    now_us: i64,
) -> Result<bool, VaultError> {
    let metadata = metadata_text(new.metadata)?;
    let newest = new.fingerprints.map(|fingerprints| &fingerprints.newest);
    // Beside the newest, so that who has not yet heard of that version finds the token as well.
    let former = new.fingerprints.and_then(|fingerprints| fingerprints.older.first());
    let rows = work
        .execute(
            work.dialect().of(
                concat!(insert!(), ") ON CONFLICT DO NOTHING"),
                // The key cannot be destroyed before this transaction ends.
                concat!(insert!(), " FOR KEY SHARE) ON CONFLICT DO NOTHING"),
            ),
            vec![
                tenant.as_str().into(),
                new.token.as_str().into(),
                newest.map(|fingerprint| fingerprint.mac).into(),
                newest.map_or(0, |fingerprint| fingerprint.version).into(),
                newest.is_some().into(),
                new.envelope.into(),
                new.data_key_id.into(),
                new.card.brand.as_str().into(),
                new.card.last4.as_str().into(),
                new.card.exp_month.into(),
                new.card.exp_year.into(),
                format_name(new.format).into(),
                metadata.into(),
                now_us.into(),
                new.expires_at_us.into(),
                former.map(|fingerprint| fingerprint.mac).into(),
                former.map(|fingerprint| fingerprint.version).into(),
                new.consent.map(RequestId::as_str).into(),
                new.consent.map(|_| now_us).into(),
            ],
        )
        .await?;
    Ok(rows == 1)
}

/// A record with its sealed bytes.
pub(crate) struct Stored {
    pub(crate) record: CardRecord,
    pub(crate) envelope: Option<Vec<u8>>,
    pub(crate) data_key_id: Option<Vec<u8>>,
}

/// The sealed card behind a tenant's token.
pub(crate) async fn take_down(
    from: &mut impl Fetch,
    tenant: &Tenant,
    token: &Token,
    now_us: i64,
) -> Result<Option<Stored>, VaultError> {
    let row = from
        .fetch_optional(
            "SELECT token, brand, last4, exp_month, exp_year, format, metadata, created_at, expires_at, shredded_at, \
             envelope, data_key_id, \
             (SELECT destroyed_at FROM data_key WHERE data_key.data_key_id = card.data_key_id) AS key_destroyed_at \
             FROM card WHERE tenant = $1 AND token = $2",
            vec![tenant.as_str().into(), token.as_str().into()],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Stored {
        record: living(&row, now_us)?,
        envelope: row.optional_bytes("envelope")?,
        data_key_id: row.optional_bytes("data_key_id")?,
    }))
}

fn record(row: &Row, now_us: i64) -> Result<CardRecord, VaultError> {
    let small = |column| row.integer(column).map_err(VaultError::from);
    let metadata = match row.optional_text("metadata")? {
        Some(text) => serde_json::from_str(&text).map_err(|_| VaultError::Integrity)?,
        None => Metadata::new(),
    };
    let expires_at_us = row.optional_integer("expires_at")?;
    let state = if row.optional_integer("shredded_at")?.is_some() {
        CardState::Shredded
    } else if expires_at_us.is_some_and(|end| end <= now_us) {
        CardState::Expired
    } else {
        CardState::Usable
    };
    Ok(CardRecord {
        token: Token::parse(&row.text("token")?).map_err(|_| VaultError::Integrity)?,
        card: MaskedCard {
            brand: Brand::from_name(&row.text("brand")?),
            last4: Last4::parse(&row.text("last4")?).map_err(|_| VaultError::Integrity)?,
            exp_month: u8::try_from(small("exp_month")?).map_err(|_| VaultError::Integrity)?,
            exp_year: u16::try_from(small("exp_year")?).map_err(|_| VaultError::Integrity)?,
        },
        format: format_of(&row.text("format")?)?,
        metadata,
        created_at_us: row.integer("created_at")?,
        expires_at_us,
        state,
    })
}

fn format_name(format: Format) -> &'static str {
    match format {
        Format::Opaque => "opaque",
        Format::CardShaped => "card_shaped",
    }
}

fn format_of(name: &str) -> Result<Format, VaultError> {
    match name {
        "opaque" => Ok(Format::Opaque),
        "card_shaped" => Ok(Format::CardShaped),
        _ => Err(VaultError::Integrity),
    }
}
