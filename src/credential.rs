//! What a caller is known by: API keys of programs and sessions of people, looked up on every request.
//!
//! Either is 40 random letters (188 bits), so a plain SHA-256 of it cannot be searched; the prefix, `pgk_` or `pgs_`,
//! lets leak scanners find it.

mod bounds;
mod key;
pub mod session;

pub use bounds::Bounds;
pub use key::{Rotated, issue, issue_bound, list, live_roles, revoke, rotate};

use crate::answer::{Code, Problem, store_problem};
use crate::caller::{Caller, Role};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use store::{Store, StoreError};
use tokens::{Principal, Tenant};

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
    /// `api_key`.
    pub kind: &'static str,
    /// Stable id.
    pub id: String,
    /// Name.
    pub principal: String,
    /// Role.
    pub role: String,
    /// Tenant, or none for the installation.
    pub tenant: Option<String>,
    /// Whether it was revoked.
    pub revoked: bool,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// When it was last used, to the hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<String>,
    /// The networks that it is bound to; none means anywhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// The routes that it is bound to; none means what its role may do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<String>,
}

/// A caller whose credential was found valid, and what the credential is bound to.
#[derive(Debug, Clone)]
pub struct Known {
    /// Who.
    pub caller: Caller,
    bounds: Option<Arc<Bounds>>,
}

impl Known {
    /// Whether the credential is for use from there, on that route.
    ///
    /// # Errors
    /// `network_not_allowed` or `route_not_allowed`.
    pub fn admit(&self, from: Option<IpAddr>, route: &str) -> Result<(), Problem> {
        self.bounds.as_ref().map_or(Ok(()), |bounds| bounds.admit(from, route))
    }
}

/// The table of credentials, with a short memory.
pub struct Credentials {
    store: Store,
    recent: Mutex<HashMap<[u8; 32], (Known, Instant)>>,
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
    pub async fn identify(&self, header: Option<&http::HeaderValue>) -> Result<Known, Problem> {
        let header = header.ok_or(Problem::new(
            Code::MissingCredential,
            "Send your API key or session as `Authorization: Bearer …`; programs get keys from an administrator \
             (`pangate user add`), people sign in with POST /v1/sessions",
        ))?;
        let unknown = || {
            Problem::new(
                Code::UnknownCredential,
                "Check that all of it was sent; if a key was revoked or has expired, ask an administrator for a new one, and \
                 if a session is over, sign in again",
            )
        };
        let (kind, token) = header.to_str().ok().and_then(bearer).ok_or_else(unknown)?;
        let hash = hash(token);
        if let Some(known) = self.recall(&hash) {
            return Ok(known);
        }
        let known =
            self.look_up(kind, &hash).await.map_err(|error| store_problem(&error))?.ok_or_else(unknown)?;
        self.remember(hash, known.clone());
        Ok(known)
    }

    async fn look_up(&self, kind: Bearer, hash: &[u8; 32]) -> Result<Option<Known>, StoreError> {
        match kind {
            Bearer::Key => key::look_up(&self.store, hash).await,
            Bearer::Session => {
                let found = session::look_up(&self.store, hash).await?;
                Ok(found.map(|caller| Known { caller, bounds: None }))
            }
        }
    }

    /// Forgets what was looked up: something was revoked or changed here, and holds at once.
    pub fn forget(&self) {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn recall(&self, hash: &[u8; 32]) -> Option<Known> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.get(hash).filter(|(_, seen)| seen.elapsed() < BELIEVED).map(|(known, _)| known.clone())
    }

    fn remember(&self, hash: [u8; 32], known: Known) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= REMEMBERED {
            recent.clear();
        }
        recent.insert(hash, (known, Instant::now()));
    }
}

/// Which kind of credential a bearer token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bearer {
    Key,
    Session,
}

/// The scheme's name is case-insensitive (RFC 9110 §11.1); the token is not.
fn bearer(header: &str) -> Option<(Bearer, &str)> {
    let (scheme, token) = header.split_once(' ')?;
    let kind = match token.get(..4)? {
        "pgk_" => Bearer::Key,
        "pgs_" => Bearer::Session,
        _ => return None,
    };
    let shaped = token.len() < 128 && token.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    (scheme.eq_ignore_ascii_case("bearer") && shaped).then_some((kind, token))
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_token_of_ours_is_looked_up() {
        assert_eq!(bearer("Bearer pgk_test_abc"), Some((Bearer::Key, "pgk_test_abc")));
        assert_eq!(bearer("bearer pgs_test_abc"), Some((Bearer::Session, "pgs_test_abc")));
        for wrong in [
            "pgk_test_abc",
            "Basic pgk_test_abc",
            "Bearer sk_test_abc",
            "Bearer pgk_test_abc ",
            "Bearer  pgk_x",
            "Bearer pgk",
            "Bearer péé_x",
        ] {
            assert_eq!(bearer(wrong), None, "{wrong}");
        }
    }
}
