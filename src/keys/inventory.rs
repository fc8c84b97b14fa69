//! Which keys there are, how old each is, how much it was used, and what still depends on it. Never a key.

use super::needs::{self, since, since_us};
use super::policy::Due;
use super::signing::SigningKeyLine;
use super::{Keys, KeysError, letters};
use crate::record::rfc3339;
use hsm::{KeyFilter, KeyInfo, KeyLabel, KeyStatus};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokens::Tenant;

/// Most data keys in one inventory; the oldest active ones come first.
const MOST_DATA_KEYS: i64 = 1000;
const DAY: u64 = 24 * 3600;

/// All of it.
#[derive(Debug, Serialize)]
pub struct Inventory {
    /// Versions of the HSM's keys.
    pub data: Vec<HsmKeyLine>,
    /// Always false: an HSM holds few keys.
    pub has_more: bool,
    /// The tenants' data keys.
    pub data_keys: Vec<DataKeyLine>,
    /// What verifies signatures of every version of the signing keys, gone ones included.
    pub signing_keys: Vec<SigningKeyLine>,
}

/// One version of one HSM key.
#[derive(Debug, Serialize)]
pub struct HsmKeyLine {
    /// Its label.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// Its one purpose.
    pub kind: &'static str,
    /// Where it is in its life.
    pub status: &'static str,
    /// Which money it is for.
    pub realm: &'static str,
    /// Could the device hand it out? Anything but false is a finding.
    pub extractable: bool,
    /// Was it made inside the device?
    pub local: bool,
    /// Its check value.
    pub check_value: String,
    /// When it was made.
    pub created_at: String,
    /// Whole days since.
    pub age_days: u64,
    /// When it stopped protecting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deactivated_at: Option<String>,
    /// When its cryptoperiod ends, by policy or by the device, whichever is first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// The cryptoperiod of the policy, in whole days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cryptoperiod_days: Option<u64>,
    /// `fresh`, `soon`, `overdue`; `superseded` for an active version that has a newer one; none for one that
    /// protects nothing new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<&'static str>,
    /// Whether it should have been rotated.
    pub overdue: bool,
    /// Uses so far, where the device counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uses: Option<u64>,
    /// Uses that the policy allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most_uses: Option<u64>,
    /// Rows that name it: while there are any it cannot be destroyed. None where they were not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Seconds since it was made, for metrics.
    #[serde(skip)]
    pub age: Duration,
}

/// One data key of one tenant.
#[derive(Debug, Serialize)]
pub struct DataKeyLine {
    /// Whose.
    pub tenant: String,
    /// Its identifier, spelt in letters as in the audit log.
    pub id: String,
    /// Which of the tenant's keys, from 1.
    pub epoch: u32,
    /// `active`, `deactivated` or `destroyed`.
    pub status: String,
    /// The version of `kek/card` that seals it.
    pub kek_version: u32,
    /// When it was made.
    pub created_at: String,
    /// Whole days since.
    pub age_days: u64,
    /// `fresh`, `soon` or `overdue`; none for one that seals nothing new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<&'static str>,
    /// Whether it should have been replaced.
    pub overdue: bool,
    /// Uses reserved so far: at least as many as there were.
    pub uses: u64,
    /// Cards under it. None where they were not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Seconds since it was made, for metrics.
    #[serde(skip)]
    pub age: Duration,
}

/// Whether it is counted what depends on each key: in a vault of millions that goes through them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    Counted,
    LeftOut,
}

impl Keys {
    /// The inventory, as one tenant's people or the whole installation's see it.
    ///
    /// # Errors
    /// A part that is away.
    pub async fn inventory(&self, tenant: Option<&Tenant>) -> Result<Inventory, KeysError> {
        self.look(tenant, Rows::Counted).await
    }

    /// The same for the whole installation, without the rows: for whoever asks every few seconds.
    ///
    /// # Errors
    /// A part that is away.
    pub(in crate::keys) async fn states(&self) -> Result<Inventory, KeysError> {
        self.look(None, Rows::LeftOut).await
    }

    async fn look(&self, tenant: Option<&Tenant>, rows: Rows) -> Result<Inventory, KeysError> {
        Ok(Inventory {
            data: self.hsm_keys(rows).await?,
            has_more: false,
            data_keys: self.data_keys(tenant, rows).await?,
            signing_keys: self.signing_keys().await?,
        })
    }

    async fn hsm_keys(&self, rows: Rows) -> Result<Vec<HsmKeyLine>, KeysError> {
        let keys = self.0.hsm.keys(KeyFilter::default()).await?;
        let mut newest: BTreeMap<&str, u32> = BTreeMap::new();
        for info in keys.iter().filter(|info| info.status == KeyStatus::Active) {
            let version = newest.entry(info.key.label.as_str()).or_default();
            *version = (*version).max(info.key.version.get());
        }
        let mut counted: BTreeMap<KeyLabel, needs::Rows> = BTreeMap::new();
        let mut reader = self.0.store.read().await?;
        for info in &keys {
            if rows == Rows::Counted && !counted.contains_key(&info.key.label) {
                let of_label = needs::rows(&mut reader, &info.key.label).await?;
                counted.insert(info.key.label.clone(), of_label);
            }
        }
        let line = |info: &KeyInfo| {
            let version = info.key.version.get();
            let of_version = counted.get(&info.key.label).and_then(|rows| rows.get(&version)).copied();
            let is_newest = newest.get(info.key.label.as_str()) == Some(&version);
            self.hsm_key(info, is_newest, (rows == Rows::Counted).then(|| of_version.unwrap_or(0)))
        };
        Ok(keys.iter().map(line).collect())
    }

    fn hsm_key(&self, info: &KeyInfo, newest: bool, rows: Option<u64>) -> HsmKeyLine {
        let rule = self.0.policy.of(&info.key.label);
        let age = since(info.created);
        let by_policy = rule.and_then(|rule| info.created.checked_add(rule.cryptoperiod));
        let due = match info.status {
            KeyStatus::Active if newest => rule.map(|rule| {
                let late = info.expires.is_some_and(|end| end <= SystemTime::now());
                if late { Due::Overdue } else { rule.judge(age, info.uses) }
            }),
            _ => None,
        };
        let superseded = info.status == KeyStatus::Active && !newest;
        HsmKeyLine {
            name: info.key.label.to_string(),
            version: info.key.version.get(),
            kind: info.kind.as_str(),
            status: info.status.as_str(),
            realm: info.realm.as_str(),
            extractable: info.extractable,
            local: info.local,
            check_value: info.kcv.to_string(),
            created_at: told(info.created),
            age_days: age.as_secs() / DAY,
            deactivated_at: info.deactivated.map(told),
            expires_at: by_policy.into_iter().chain(info.expires).min().map(told),
            cryptoperiod_days: rule.map(|rule| rule.cryptoperiod.as_secs() / DAY),
            due: due.map(Due::as_str).or(superseded.then_some("superseded")),
            overdue: due == Some(Due::Overdue),
            uses: info.uses,
            most_uses: rule.and_then(|rule| rule.most_uses),
            rows,
            age,
        }
    }

    async fn data_keys(&self, tenant: Option<&Tenant>, rows: Rows) -> Result<Vec<DataKeyLine>, KeysError> {
        let sql = match rows {
            Rows::Counted => {
                "SELECT tenant, data_key_id, epoch, status, kek_version, created_at, uses_reserved, \
                 (SELECT COUNT(*) FROM card WHERE card.data_key_id = data_key.data_key_id) AS n FROM data_key \
                 WHERE tenant = $1 OR $1 IS NULL ORDER BY status = 'active' DESC, created_at, data_key_id LIMIT $2"
            }
            Rows::LeftOut => {
                "SELECT tenant, data_key_id, epoch, status, kek_version, created_at, uses_reserved FROM data_key \
                 WHERE tenant = $1 OR $1 IS NULL ORDER BY status = 'active' DESC, created_at, data_key_id LIMIT $2"
            }
        };
        let mut reader = self.0.store.read().await?;
        let args = vec![tenant.map(Tenant::as_str).into(), MOST_DATA_KEYS.into()];
        let found = reader.fetch_all(sql, args).await?;
        found.iter().map(|row| self.data_key(row, rows)).collect()
    }

    fn data_key(&self, row: &store::Row, rows: Rows) -> Result<DataKeyLine, KeysError> {
        let small = |column| u32::try_from(row.integer(column)?).map_err(|_| KeysError::Integrity);
        let count = |column| u64::try_from(row.integer(column)?).map_err(|_| KeysError::Integrity);
        let created = row.integer("created_at")?;
        let (age, uses, status) = (since_us(created), count("uses_reserved")?, row.text("status")?);
        let due = (status == "active").then(|| self.0.policy.data_key().judge(age, Some(uses)));
        Ok(DataKeyLine {
            tenant: row.text("tenant")?,
            id: letters::spelt(&row.bytes("data_key_id")?),
            epoch: small("epoch")?,
            status,
            kek_version: small("kek_version")?,
            created_at: rfc3339(created),
            age_days: age.as_secs() / DAY,
            due: due.map(Due::as_str),
            overdue: due == Some(Due::Overdue),
            uses,
            rows: (rows == Rows::Counted).then(|| count("n")).transpose()?,
            age,
        })
    }
}

fn told(at: SystemTime) -> String {
    let micros = at.duration_since(UNIX_EPOCH).map(|at| at.as_micros()).unwrap_or(0);
    rfc3339(i64::try_from(micros).unwrap_or(0))
}
