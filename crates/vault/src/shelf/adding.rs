//! New cards as rows, many at a time.

use super::{NewCard, format_name, metadata_text};
use crate::clear::Fingerprints;
use crate::error::VaultError;
use store::{Column, Kind, Needs, Rows, Sheet, Store};
use tokens::{RequestId, Tenant};

/// How cards are added, many at a time. A card whose fingerprint is there finds no place.
static CARDS: Sheet = Sheet {
    table: "card",
    columns: &[
        Column { name: "tenant", kind: Kind::Text },
        Column { name: "token", kind: Kind::Text },
        Column { name: "fingerprint", kind: Kind::Bytes },
        Column { name: "fingerprint_version", kind: Kind::Integer },
        Column { name: "reusable", kind: Kind::Small },
        Column { name: "envelope", kind: Kind::Bytes },
        Column { name: "data_key_id", kind: Kind::Bytes },
        Column { name: "brand", kind: Kind::Text },
        Column { name: "last4", kind: Kind::Text },
        Column { name: "exp_month", kind: Kind::Small },
        Column { name: "exp_year", kind: Kind::Small },
        Column { name: "format", kind: Kind::Text },
        Column { name: "metadata", kind: Kind::Text },
        Column { name: "created_at", kind: Kind::Time },
        Column { name: "expires_at", kind: Kind::Time },
        Column { name: "former_fingerprint", kind: Kind::Bytes },
        Column { name: "former_fingerprint_version", kind: Kind::Integer },
        Column { name: "consent", kind: Kind::Text },
        Column { name: "consented_at", kind: Kind::Time },
    ],
    // A card under a destroyed key would be lost after it was acknowledged.
    needs: Some(Needs {
        table: "data_key",
        key: "data_key_id",
        column: "data_key_id",
        condition: "held.destroyed_at IS NULL",
    }),
    numbered: None,
};

/// Whether the tenant has a token for that card, under any of the key's active versions and in whatever state: a look
/// ahead, which decides nothing.
pub(crate) async fn is_met(
    store: &Store,
    tenant: &Tenant,
    fingerprints: &Fingerprints,
) -> Result<bool, VaultError> {
    for met in std::iter::once(&fingerprints.newest).chain(&fingerprints.older) {
        let row = store
            .look(
                "SELECT 1 AS met FROM card WHERE tenant = $1 AND fingerprint_version = $2 AND fingerprint = $3 \
                 AND reusable = 1 AND shredded_at IS NULL UNION ALL \
                 SELECT 1 FROM card WHERE tenant = $1 AND former_fingerprint_version = $2 AND former_fingerprint = $3 \
                 AND reusable = 1 AND shredded_at IS NULL LIMIT 1",
                vec![tenant.as_str().into(), met.version.into(), met.mac.into()],
            )
            .await?;
        if row.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Lays a card out as a row.
pub(crate) fn lay_out(
    rows: &mut Rows,
    tenant: &Tenant,
    new: &NewCard<'_>,
    now_us: i64,
) -> Result<(), VaultError> {
    let (newest, former) = (new.newest(), new.former());
    rows.add(
        &CARDS,
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
            metadata_text(new.metadata)?.into(),
            now_us.into(),
            new.expires_at_us.into(),
            former.map(|fingerprint| fingerprint.mac).into(),
            former.map(|fingerprint| fingerprint.version).into(),
            new.consent.map(RequestId::as_str).into(),
            new.consent.map(|_| now_us).into(),
        ],
    );
    Ok(())
}
