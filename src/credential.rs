//! API keys: made once, shown once, stored as a hash, looked up on every request.
//!
//! A key is 40 random letters (188 bits), so a plain SHA-256 of it cannot be searched; the prefix lets leak scanners
//! find it.

use crate::answer::{Code, Problem, store_problem};
use crate::caller::{Caller, Role};
use crate::record::now_us;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use store::{Fetch, Store, StoreError, Value, Work};
use tokens::{Principal, Realm, Tenant};

const LETTERS: usize = 40;
/// How long a key that was just looked up is believed: a revoked key dies within this time.
const BELIEVED: Duration = Duration::from_secs(1);
const REMEMBERED: usize = 4096;

/// A credential about to be stored.
#[derive(Debug)]
pub struct Grant {
    /// What it may do.
    pub role: Role,
    /// Its name in the audit log.
    pub principal: Principal,
    /// Its tenant; `None` is the whole installation.
    pub tenant: Option<Tenant>,
}

/// A credential as it is listed: never the key.
#[derive(Debug, serde::Serialize)]
pub struct Listed {
    /// Stable id.
    pub id: String,
    /// Name.
    pub principal: String,
    /// Role.
    pub role: String,
    /// Tenant, or none for the installation.
    pub tenant: Option<String>,
    /// Whether it still opens.
    pub revoked: bool,
}

/// The table of credentials, with a short memory.
pub struct Credentials {
    store: Store,
    recent: Mutex<HashMap<[u8; 32], (Caller, Instant)>>,
}

impl Credentials {
    /// Over the given store.
    pub fn new(store: Store) -> Credentials {
        Credentials { store, recent: Mutex::new(HashMap::new()) }
    }

    /// Finds the caller of an `Authorization` header.
    ///
    /// # Errors
    /// `missing_credential`, `unknown_credential` (the same for wrong, revoked and expired), or the store's problem.
    pub async fn identify(&self, header: Option<&http::HeaderValue>) -> Result<Caller, Problem> {
        let header = header.ok_or(Problem::new(
            Code::MissingCredential,
            "Send your API key as `Authorization: Bearer pgk_…`; an administrator issues keys with `pangate user add`",
        ))?;
        let unknown = || {
            Problem::new(
                Code::UnknownCredential,
                "Check that the whole key was sent; if it was revoked or has expired, ask an administrator for a new one",
            )
        };
        let key = header.to_str().ok().and_then(bearer).ok_or_else(unknown)?;
        let hash = hash(key);
        if let Some(caller) = self.recall(&hash) {
            return Ok(caller);
        }
        let caller = self.look_up(&hash).await.map_err(|error| store_problem(&error))?.ok_or_else(unknown)?;
        self.remember(hash, caller.clone());
        Ok(caller)
    }

    async fn look_up(&self, hash: &[u8; 32]) -> Result<Option<Caller>, StoreError> {
        let row = self
            .store
            .look(
                "SELECT principal, role, tenant FROM credential \
                 WHERE hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)",
                vec![Value::from(hash.to_vec()), Value::from(now_us())],
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        let role = Role::from_name(&row.text("role")?).ok_or(StoreError::Corrupt { column: "role" })?;
        let principal = Principal::parse(&row.text("principal")?)
            .map_err(|_| StoreError::Corrupt { column: "principal" })?;
        let tenant = match row.optional_text("tenant")? {
            Some(name) => Some(Tenant::parse(&name).map_err(|_| StoreError::Corrupt { column: "tenant" })?),
            None => None,
        };
        Ok(Some(Caller::proven(role, principal, tenant)))
    }

    fn recall(&self, hash: &[u8; 32]) -> Option<Caller> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.get(hash).filter(|(_, seen)| seen.elapsed() < BELIEVED).map(|(caller, _)| caller.clone())
    }

    fn remember(&self, hash: [u8; 32], caller: Caller) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= REMEMBERED {
            recent.clear();
        }
        recent.insert(hash, (caller, Instant::now()));
    }
}

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

/// The roles of a principal's keys that open at that time.
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
    rows.iter()
        .map(|row| Role::from_name(&row.text("role")?).ok_or(StoreError::Corrupt { column: "role" }))
        .collect()
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
                id: row.text("id")?,
                principal: row.text("principal")?,
                role: row.text("role")?,
                tenant: row.optional_text("tenant")?,
                revoked: row.optional_integer("revoked_at")?.is_some(),
            })
        })
        .collect()
}

/// The scheme's name is case-insensitive (RFC 9110 §11.1); the key is not.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, key) = header.split_once(' ')?;
    let shaped = key.starts_with("pgk_")
        && key.len() < 128
        && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    (scheme.eq_ignore_ascii_case("bearer") && shaped).then_some(key)
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_key_of_ours_is_looked_up() {
        assert_eq!(bearer("Bearer pgk_test_abc"), Some("pgk_test_abc"));
        assert_eq!(bearer("bearer pgk_test_abc"), Some("pgk_test_abc"));
        for wrong in [
            "pgk_test_abc",
            "Basic pgk_test_abc",
            "Bearer sk_test_abc",
            "Bearer pgk_test_abc ",
            "Bearer  pgk_x",
        ] {
            assert_eq!(bearer(wrong), None, "{wrong}");
        }
    }
}
