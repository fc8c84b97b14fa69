//! API keys as rows: made once, shown once, stored as a hash, listed, revoked.

use super::{Grant, Listed, hash, session};
use crate::caller::{Caller, Role};
use crate::record::now_us;
use secrecy::{ExposeSecret, SecretString};
use store::{Fetch, Store, StoreError, Value, Work};
use tokens::{Principal, Realm, Tenant};

const LETTERS: usize = 40;

/// Makes a key and stores its hash inside `work`. The key is returned this once.
///
/// # Errors
/// The store's error, or [`StoreError::Unavailable`] when the system gives no random bytes.
pub async fn issue(work: &mut Work<'_>, realm: Realm, grant: &Grant) -> Result<SecretString, StoreError> {
    let letters = |count| tokens::random_letters(count).map_err(|_| StoreError::Unavailable);
    let key = SecretString::from(format!("pgk_{}_{}", realm.as_str(), letters(LETTERS)?));
    let id = format!("key_{}", letters(24)?);
    work.execute(
        "INSERT INTO credential (id, principal, role, tenant, hash, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
        vec![
            Value::from(id),
            Value::from(grant.principal.as_str()),
            Value::from(grant.role.as_str()),
            Value::from(grant.tenant.as_ref().map(Tenant::as_str)),
            Value::from(hash(key.expose_secret()).to_vec()),
            Value::from(now_us()),
        ],
    )
    .await?;
    Ok(key)
}

/// Revokes every live key of a principal inside `work`; says how many there were.
///
/// # Errors
/// The store's error.
pub async fn revoke(work: &mut Work<'_>, principal: &Principal) -> Result<u64, StoreError> {
    work.execute(
        "UPDATE credential SET revoked_at = $2 WHERE principal = $1 AND revoked_at IS NULL",
        vec![Value::from(principal.as_str()), Value::from(now_us())],
    )
    .await
}

/// Whose key that is, if it opens now.
pub(super) async fn look_up(store: &Store, hash: &[u8; 32]) -> Result<Option<Caller>, StoreError> {
    let row = store
        .look(
            "SELECT principal, role, tenant FROM credential \
             WHERE hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)",
            vec![Value::from(hash.to_vec()), Value::from(now_us())],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let (role, principal, tenant) = session::owner(&row)?;
    Ok(Some(Caller::proven(role, principal, tenant)))
}

/// The roles that a principal has at that time: of the keys that open, and of the account, where that is open and whole.
///
/// # Errors
/// The store's error.
pub async fn live_roles(
    from: &mut impl Fetch,
    principal: &Principal,
    now_us: i64,
) -> Result<Vec<Role>, StoreError> {
    let rows = from
        .fetch_all(
            "SELECT role FROM credential WHERE principal = $1 AND revoked_at IS NULL \
             AND (expires_at IS NULL OR expires_at > $2)",
            vec![Value::from(principal.as_str()), Value::from(now_us)],
        )
        .await?;
    let keys = rows
        .iter()
        .map(|row| Role::from_name(&row.text("role")?).ok_or(StoreError::Corrupt { column: "role" }))
        .collect::<Result<Vec<Role>, StoreError>>()?;
    let account = session::live_role(from, principal).await?;
    Ok(keys.into_iter().chain(account).collect())
}

/// Every credential, without its key.
///
/// # Errors
/// The store's error.
pub async fn list(from: &mut impl Fetch) -> Result<Vec<Listed>, StoreError> {
    let rows = from
        .fetch_all(
            "SELECT id, principal, role, tenant, revoked_at FROM credential ORDER BY created_at, id",
            vec![],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Listed {
                kind: "api_key",
                id: row.text("id")?,
                principal: row.text("principal")?,
                role: row.text("role")?,
                tenant: row.optional_text("tenant")?,
                revoked: row.optional_integer("revoked_at")?.is_some(),
            })
        })
        .collect()
}
