//! What a token was collected for. A token alone is worth nothing: a charge needs an open payment of exactly its
//! amount, or a consent to store the card. Called inside the transactions that make tokens and charges.

use store::{StoreError, Value, Work};
use tokens::{ChargeId, Money, Tenant, Token};
use vault::{VaultError, shelf};

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
) -> Result<bool, VaultError> {
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
    shelf::has_consent(work, tenant, token).await
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
