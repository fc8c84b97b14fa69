//! What still needs a version of a key: the rows that name it, and who may take the next step of its life.

use super::act::Act;
use super::{Keys, KeysError, letters};
use crate::people::account;
use crate::record::now_us;
use hsm::{KeyFilter, KeyInfo, KeyKind, KeyLabel, KeyRef, KeyStatus};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};
use store::{Fetch, Row, StoreError};

/// A data key that was drafted under a KEK just before it was retired may still be on its way into its row; after
/// half a minute the card room puts no such draft down any more.
const DRAFTS: Duration = Duration::from_secs(61);

/// Rows on each version of a key.
pub(super) type Rows = BTreeMap<u32, u64>;

/// How many rows name each version of that key.
///
/// # Errors
/// The store's error.
pub(super) async fn rows(from: &mut impl Fetch, label: &KeyLabel) -> Result<Rows, StoreError> {
    let sql = match label.as_str() {
        "kek/card" => {
            "SELECT version, COUNT(*) AS n FROM (SELECT kek_version AS version FROM data_key \
             WHERE kek_label = 'kek/card' AND destroyed_at IS NULL \
             UNION ALL SELECT factor_kek_version AS version FROM person WHERE factor IS NOT NULL) AS sealed \
             GROUP BY version"
        }
        "mac/pan" => {
            "SELECT fingerprint_version AS version, COUNT(*) AS n FROM card \
             WHERE fingerprint IS NOT NULL GROUP BY fingerprint_version"
        }
        "mac/request" => {
            "SELECT request_mac_version AS version, COUNT(*) AS n FROM idempotency GROUP BY request_mac_version"
        }
        _ => return Ok(Rows::new()),
    };
    let rows = from.fetch_all(sql, Vec::new()).await?;
    rows.iter().map(version_and_count).collect()
}

fn version_and_count(row: &Row) -> Result<(u32, u64), StoreError> {
    let number = |column| row.integer(column);
    let version = u32::try_from(number("version")?).map_err(|_| StoreError::Corrupt { column: "version" })?;
    let count = u64::try_from(number("n")?).map_err(|_| StoreError::Corrupt { column: "n" })?;
    Ok((version, count))
}

impl Keys {
    /// Every version of that key, over all devices.
    pub(in crate::keys) async fn versions(&self, label: &KeyLabel) -> Result<Vec<KeyInfo>, KeysError> {
        let filter = KeyFilter { label: Some(label.clone()), ..KeyFilter::default() };
        let versions = self.0.hsm.keys(filter).await?;
        if versions.is_empty() { Err(KeysError::UnknownKey) } else { Ok(versions) }
    }

    /// Whether the act makes sense now; asked when it is requested, agreed to, and done.
    pub(in crate::keys) async fn permissible(&self, act: &Act) -> Result<(), KeysError> {
        match act {
            Act::Rotate(label) => {
                if self.0.policy.of(label).is_none() {
                    return Err(KeysError::UnknownKey);
                }
                self.versions(label).await.map(drop)
            }
            Act::Retire(key) => self.may_retire(key).await,
            Act::Destroy(key) => self.may_destroy(key).await,
            Act::Shred(tenant) => {
                let mut reader = self.0.store.read().await?;
                let row = reader
                    .fetch_optional(
                        "SELECT 1 AS n FROM data_key WHERE tenant = $1 LIMIT 1",
                        vec![tenant.as_str().into()],
                    )
                    .await?;
                row.map(drop).ok_or(KeysError::UnknownTenant)
            }
            Act::ResetFactor(owner) => {
                let mut reader = self.0.store.read().await?;
                let found = account::find(&mut reader, &owner.principal).await?;
                let fits = found.filter(|account| account.tenant == owner.tenant && account.has_factor());
                fits.map(drop).ok_or(KeysError::UnknownPerson)
            }
            Act::Migrate(_) => Ok(()),
            Act::Ceremony(transcript) => {
                let mut reader = self.0.store.read().await?;
                let row = reader
                    .fetch_optional(
                        "SELECT 1 AS n FROM job WHERE kind = 'ceremony' AND subject = $1 LIMIT 1",
                        vec![letters::spelt(transcript).into()],
                    )
                    .await?;
                row.map_or(Ok(()), |_| Err(KeysError::KeyState("the log has this transcript already")))
            }
        }
    }

    async fn may_retire(&self, key: &KeyRef) -> Result<(), KeysError> {
        let versions = self.versions(&key.label).await?;
        let info = versions.iter().find(|info| info.key == *key).ok_or(KeysError::UnknownKey)?;
        match info.status {
            KeyStatus::Active | KeyStatus::Suspended => {}
            KeyStatus::PreActive => return Err(KeysError::KeyState("the key was never active; destroy it")),
            _ => return Err(KeysError::KeyState("the key is retired already")),
        }
        let newer = |other: &&KeyInfo| other.key.version > key.version && other.status == KeyStatus::Active;
        if versions.iter().find(newer).is_none() {
            return Err(KeysError::KeyState("this is the newest version; rotate the key first"));
        }
        // A fingerprint key that is retired can fingerprint nothing any more, not even for comparing.
        if info.kind == KeyKind::Mac256 { self.unneeded(key).await } else { Ok(()) }
    }

    async fn may_destroy(&self, key: &KeyRef) -> Result<(), KeysError> {
        let versions = self.versions(&key.label).await?;
        let info = versions.iter().find(|info| info.key == *key).ok_or(KeysError::UnknownKey)?;
        match info.status {
            KeyStatus::PreActive | KeyStatus::Deactivated | KeyStatus::Compromised => {}
            KeyStatus::Destroyed => return Err(KeysError::KeyState("the key is destroyed already")),
            _ => return Err(KeysError::KeyState("the key is in use; rotate and retire it first")),
        }
        let retired = info.deactivated.and_then(|at| SystemTime::now().duration_since(at).ok());
        if info.kind == KeyKind::Kek256 && retired.is_some_and(|retired| retired < DRAFTS) {
            return Err(KeysError::KeyState(
                "the key was retired less than a minute ago, and a data key may still be on its way; retry then",
            ));
        }
        let keep = self.0.policy.of(&key.label).map(|rule| rule.keep_for).unwrap_or_default();
        if retired.is_some_and(|retired| retired < keep) {
            return Err(KeysError::KeyState(
                "the policy keeps a retired key as long as backups are kept (keep_for in policy/keys.toml)",
            ));
        }
        self.unneeded(key).await
    }

    /// That no row names the version.
    async fn unneeded(&self, key: &KeyRef) -> Result<(), KeysError> {
        let mut reader = self.0.store.read().await?;
        let rows = rows(&mut reader, &key.label).await?.get(&key.version.get()).copied().unwrap_or(0);
        if rows == 0 { Ok(()) } else { Err(KeysError::StillNeeded { rows }) }
    }
}

/// How long ago that was, as far as the clocks agree.
pub(in crate::keys) fn since(at: SystemTime) -> Duration {
    SystemTime::now().duration_since(at).unwrap_or_default()
}

/// How long ago that was, in unix microseconds.
pub(in crate::keys) fn since_us(at_us: i64) -> Duration {
    Duration::from_micros(u64::try_from(now_us().saturating_sub(at_us)).unwrap_or(0))
}
