//! API keys as rows: made once, shown once, stored as a hash, listed, revoked.

use super::{Bounds, Grant, Known, Listed, hash, session};
use crate::caller::{Caller, Role};
use crate::record::{now_us, rfc3339};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use store::{Fetch, Store, StoreError, Value, Work};
use tokens::{Principal, Realm, Tenant};

const LETTERS: usize = 40;
/// When a key was last used is written at most so often.
const USED_EVERY_US: i64 = 3600 * 1_000_000;

/// Makes a key and stores its hash inside `work`. The key is returned this once.
///
/// # Errors
/// The store's error, or [`StoreError::Unavailable`] when the system gives no random bytes.
pub async fn issue(work: &mut Work<'_>, realm: Realm, grant: &Grant) -> Result<SecretString, StoreError> {
    issue_bound(work, realm, grant, &Bounds::default(), None).await
}

/// The same, bound to networks and routes, and to a time in unix microseconds.
///
/// # Errors
/// As [`issue`].
pub async fn issue_bound(
    work: &mut Work<'_>,
    realm: Realm,
    grant: &Grant,
    bounds: &Bounds,
    expires_at_us: Option<i64>,
) -> Result<SecretString, StoreError> {
    let letters = |count| tokens::random_letters(count).map_err(|_| StoreError::Unavailable);
    let key = SecretString::from(format!("pgk_{}_{}", realm.as_str(), letters(LETTERS)?));
    let id = format!("key_{}", letters(24)?);
    work.execute(
        "INSERT INTO credential (id, principal, role, tenant, hash, created_at, expires_at, networks, routes) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        vec![
            Value::from(id),
            Value::from(grant.principal.as_str()),
            Value::from(grant.role.as_str()),
            Value::from(grant.tenant.as_ref().map(Tenant::as_str)),
            Value::from(hash(key.expose_secret()).to_vec()),
            Value::from(now_us()),
            Value::from(expires_at_us),
            Value::from(bounds.stored_networks()),
            Value::from(bounds.stored_routes()),
        ],
    )
    .await?;
    Ok(key)
}

/// What a rotation came to.
pub enum Rotated {
    /// The new key, and for whom it is.
    Key(SecretString, Grant),
    /// No live key bears that name.
    None,
    /// The name's keys differ in role, tenant or bounds: which of them is meant is for people to say.
    Several,
}

/// Makes the next key of a principal inside `work`, for the same and with the same bounds; the keys there are live on
/// until then at most, in unix microseconds.
///
/// # Errors
/// As [`issue`].
pub async fn rotate(
    work: &mut Work<'_>,
    realm: Realm,
    principal: &Principal,
    until_us: i64,
    expires_at_us: Option<i64>,
) -> Result<Rotated, StoreError> {
    let rows = work
        .fetch_all(
            "SELECT DISTINCT principal, role, tenant, networks, routes FROM credential WHERE principal = $1 \
             AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)",
            vec![principal.as_str().into(), now_us().into()],
        )
        .await?;
    let row = match rows.as_slice() {
        [] => return Ok(Rotated::None),
        [row] => row,
        _ => return Ok(Rotated::Several),
    };
    let (role, principal, tenant) = session::owner(row)?;
    let (grant, bounds) = (Grant { role, principal, tenant }, Bounds::of(row)?);
    work.execute(
        "UPDATE credential SET expires_at = $2 WHERE principal = $1 AND revoked_at IS NULL \
         AND (expires_at IS NULL OR expires_at > $2)",
        vec![grant.principal.as_str().into(), until_us.into()],
    )
    .await?;
    let key = issue_bound(work, realm, &grant, &bounds, expires_at_us).await?;
    Ok(Rotated::Key(key, grant))
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

/// Whose key that is, if it opens now, and what it is bound to.
pub(super) async fn look_up(store: &Store, hash: &[u8; 32]) -> Result<Option<Known>, StoreError> {
    let now = now_us();
    let row = store
        .look(
            "SELECT id, principal, role, tenant, networks, routes, last_used FROM credential \
             WHERE hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)",
            vec![Value::from(hash.to_vec()), Value::from(now)],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let (role, principal, tenant) = session::owner(&row)?;
    if row.optional_integer("last_used")?.is_none_or(|last| last < now.saturating_sub(USED_EVERY_US)) {
        used(store.clone(), row.text("id")?, now);
    }
    let bounds = Some(Bounds::of(&row)?).filter(|bounds| *bounds != Bounds::default());
    let caller = Caller::proven(role, principal, tenant);
    Ok(Some(Known { caller, bounds: bounds.map(Arc::new) }))
}

/// Nobody waits for it, and what is lost when the database is busy is written at the next look.
fn used(store: Store, id: String, now_us: i64) {
    tokio::spawn(async move {
        let written: Result<u64, StoreError> = store
            .commit(move |work| {
                Box::pin(async move {
                    work.execute(
                        "UPDATE credential SET last_used = $2 WHERE id = $1 AND (last_used IS NULL OR last_used < $3)",
                        vec![id.into(), now_us.into(), now_us.saturating_sub(USED_EVERY_US).into()],
                    )
                    .await
                })
            })
            .await;
        if let Err(error) = written {
            tracing::debug!(%error, "that a key was used could not be noted");
        }
    });
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
            "SELECT id, principal, role, tenant, revoked_at, expires_at, networks, routes, last_used FROM credential \
             ORDER BY created_at, id",
            vec![],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let bounds = Bounds::of(row)?;
            Ok(Listed {
                kind: "api_key",
                id: row.text("id")?,
                principal: row.text("principal")?,
                role: row.text("role")?,
                tenant: row.optional_text("tenant")?,
                revoked: row.optional_integer("revoked_at")?.is_some(),
                expires_at: row.optional_integer("expires_at")?.map(rfc3339),
                last_used_at: row.optional_integer("last_used")?.map(rfc3339),
                networks: bounds.networks(),
                routes: bounds.routes().to_vec(),
            })
        })
        .collect()
}
