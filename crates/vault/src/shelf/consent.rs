//! The patient's consent that a card is kept and charged again. A token alone is worth nothing without it.

use crate::error::VaultError;
use store::{Fetch, Work};
use tokens::{RequestId, Tenant, Token};

/// Whether the patient agreed that the card behind the token is kept and charged again.
///
/// # Errors
/// Any failure of the store.
pub async fn has_consent(from: &mut impl Fetch, tenant: &Tenant, token: &Token) -> Result<bool, VaultError> {
    let row = from
        .fetch_optional(
            "SELECT consent FROM card WHERE tenant = $1 AND token = $2 AND consent IS NOT NULL",
            vec![tenant.as_str().into(), token.as_str().into()],
        )
        .await?;
    Ok(row.is_some())
}

/// Notes the consent for a token that was there before; the first one stays.
pub(super) async fn note(
    work: &mut Work<'_>,
    tenant: &Tenant,
    token: &Token,
    request: &RequestId,
    now_us: i64,
) -> Result<(), VaultError> {
    work.execute(
        "UPDATE card SET consent = $3, consented_at = $4 WHERE tenant = $1 AND token = $2 AND consent IS NULL",
        vec![tenant.as_str().into(), token.as_str().into(), request.as_str().into(), now_us.into()],
    )
    .await?;
    Ok(())
}
