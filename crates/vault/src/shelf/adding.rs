//! New cards as rows, many at a time.

use super::{NewCard, format_name, metadata_text};
use crate::error::VaultError;
use store::{Column, Kind, Needs, Rows, Sheet};
use tokens::{RequestId, Tenant};

/// How cards without a fingerprint are added, many at a time.
static CARDS: Sheet = Sheet {
    table: "card",
    columns: &[
        Column { name: "tenant", kind: Kind::Text },
        Column { name: "token", kind: Kind::Text },
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

/// Lays a card without a fingerprint out as a row.
pub(crate) fn lay_out(
    rows: &mut Rows,
    tenant: &Tenant,
    new: &NewCard<'_>,
    now_us: i64,
) -> Result<(), VaultError> {
    rows.add(
        &CARDS,
        vec![
            tenant.as_str().into(),
            new.token.as_str().into(),
            0.into(),
            false.into(),
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
            new.consent.map(RequestId::as_str).into(),
            new.consent.map(|_| now_us).into(),
        ],
    );
    Ok(())
}
