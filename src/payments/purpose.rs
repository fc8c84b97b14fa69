//! What a token was collected for. A token alone is worth nothing: a charge needs an open payment of exactly its
//! amount, or a consent to store the card. Called inside the transactions that make tokens and charges.

use store::{Column, Kind, Rows, Sheet, StoreError, Value, Work};
use tokens::{ChargeId, Money, Tenant, Token};

/// How long a payment stays open for its charge, in microseconds.
pub const OPEN_FOR_US: i64 = 60 * 60 * 1_000_000;

/// The token may be charged once, with exactly this amount, within the hour.
///
/// `opener` names what opened it. A repeat of the same request bears the same name and only prolongs what it opened
/// before: however often a request is repeated, its card can be charged once.
///
/// # Errors
/// The store's error; the caller's act then fails as a whole.
pub async fn open_payment(
    work: &mut Work<'_>,
    tenant: &Tenant,
    token: &Token,
    amount: Money,
    opener: &str,
    now_us: i64,
) -> Result<(), StoreError> {
    let args = || {
        vec![
            Value::from(tenant.as_str()),
            Value::from(token.as_str()),
            Value::from(amount.minor()),
            Value::from(amount.currency().code()),
            Value::from(opener),
            Value::from(now_us),
            Value::from(now_us.saturating_add(OPEN_FOR_US)),
        ]
    };
    // One that is spent stays spent, and is the reason not to open another.
    let opened_before = work
        .execute(
            "UPDATE purpose SET opened_at = $6, expires_at = $7 WHERE tenant = $1 AND token = $2 \
             AND kind = 'open_payment' AND amount_minor = $3 AND currency = $4 AND request = $5",
            args(),
        )
        .await?;
    if opened_before > 0 {
        return Ok(());
    }
    work.execute(
        "INSERT INTO purpose (tenant, token, kind, amount_minor, currency, request, opened_at, expires_at) \
         VALUES ($1, $2, 'open_payment', $3, $4, $5, $6, $7)",
        args(),
    )
    .await
    .map(|_| ())
}

/// Nothing will be charged for what `opener` opened: the token may no longer be charged for it. What a charge has
/// spent stays.
///
/// # Errors
/// The store's error.
pub async fn close_payment(
    work: &mut Work<'_>,
    tenant: &Tenant,
    token: &Token,
    opener: &str,
) -> Result<(), StoreError> {
    work.execute(
        "DELETE FROM purpose WHERE tenant = $1 AND token = $2 AND kind = 'open_payment' AND request = $3 \
         AND spent_by IS NULL",
        vec![Value::from(tenant.as_str()), Value::from(token.as_str()), Value::from(opener)],
    )
    .await
    .map(|_| ())
}

/// The token was made to be kept: it may be charged again and again until it is shredded or expires. Repeating it
/// for a reused token changes nothing.
///
/// # Errors
/// The store's error; the caller's act then fails as a whole.
pub async fn stored_card(
    work: &mut Work<'_>,
    tenant: &Tenant,
    token: &Token,
    request: &str,
    now_us: i64,
) -> Result<(), StoreError> {
    work.execute(
        "INSERT INTO purpose (tenant, token, kind, request, opened_at) SELECT $1, $2, 'stored_card', $3, $4 \
         WHERE NOT EXISTS (SELECT 1 FROM purpose WHERE tenant = $1 AND token = $2 AND kind = 'stored_card')",
        vec![
            Value::from(tenant.as_str()),
            Value::from(token.as_str()),
            Value::from(request),
            Value::from(now_us),
        ],
    )
    .await
    .map(|_| ())
}

static CONSENTS: Sheet = Sheet {
    table: "purpose",
    columns: &[
        Column { name: "tenant", kind: Kind::Text },
        Column { name: "token", kind: Kind::Text },
        Column { name: "kind", kind: Kind::Text },
        Column { name: "request", kind: Kind::Text },
        Column { name: "opened_at", kind: Kind::Time },
    ],
    needs: None,
    numbered: None,
};

/// As [`stored_card`], for a token that comes to be with the same rows.
pub fn lay_out_stored_card(rows: &mut Rows, tenant: &Tenant, token: &Token, request: &str, now_us: i64) {
    rows.add(
        &CONSENTS,
        vec![
            Value::from(tenant.as_str()),
            Value::from(token.as_str()),
            Value::from("stored_card"),
            Value::from(request),
            Value::from(now_us),
        ],
    );
}

/// Spends an open payment of exactly this amount on the charge, the oldest first; failing that, finds the consent to
/// store the card, which is not used up. `false` when there is neither: then the charge must not happen.
///
/// # Errors
/// The store's error.
pub async fn spend(
    work: &mut Work<'_>,
    tenant: &Tenant,
    token: &Token,
    amount: Money,
    charge: &ChargeId,
    now_us: i64,
) -> Result<bool, StoreError> {
    let spent = work
        .execute(
            "UPDATE purpose SET spent_by = $5 WHERE id = (SELECT MIN(id) FROM purpose \
             WHERE tenant = $1 AND token = $2 AND kind = 'open_payment' AND spent_by IS NULL \
             AND amount_minor = $3 AND currency = $4 AND (expires_at IS NULL OR expires_at > $6)) \
             AND spent_by IS NULL",
            vec![
                Value::from(tenant.as_str()),
                Value::from(token.as_str()),
                Value::from(amount.minor()),
                Value::from(amount.currency().code()),
                Value::from(charge.as_str()),
                Value::from(now_us),
            ],
        )
        .await?;
    if spent == 1 {
        return Ok(true);
    }
    let consent = work
        .fetch_optional(
            "SELECT id FROM purpose WHERE tenant = $1 AND token = $2 AND kind = 'stored_card' \
             AND spent_by IS NULL AND (expires_at IS NULL OR expires_at > $3) LIMIT 1",
            vec![Value::from(tenant.as_str()), Value::from(token.as_str()), Value::from(now_us)],
        )
        .await?;
    Ok(consent.is_some())
}

/// The charge took no money: its payment is open again for another try.
///
/// # Errors
/// The store's error.
pub async fn reopen(work: &mut Work<'_>, tenant: &Tenant, charge: &ChargeId) -> Result<(), StoreError> {
    work.execute(
        "UPDATE purpose SET spent_by = NULL WHERE tenant = $1 AND spent_by = $2",
        vec![Value::from(tenant.as_str()), Value::from(charge.as_str())],
    )
    .await
    .map(|_| ())
}
