//! One key inside the device: its facts, its bytes, its uses. A destroyed key is its facts alone; there is no key
//! object without bytes. Kept out: how keys are stored, and when their status changes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hsm::{HsmError, Kcv, KeyInfo, KeyKind, KeyRef, KeyStatus, Realm};

use super::primitives;
use super::secret::Secret;
use super::uses::Uses;

/// What is known about a key version, all of it public. Times are in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFacts {
    /// Its name and version.
    pub key: KeyRef,
    /// Its one purpose.
    pub kind: KeyKind,
    /// Where it is in its life, as last written down.
    pub status: KeyStatus,
    /// When it was made.
    pub created: u64,
    /// When it first became active.
    pub activated: Option<u64>,
    /// When it stopped protecting.
    pub deactivated: Option<u64>,
    /// From when on it may not protect (its cryptoperiod).
    pub expires: Option<u64>,
    /// When its bytes were destroyed.
    pub destroyed: Option<u64>,
    /// Its check value.
    pub kcv: Kcv,
    /// The public half of a signing key; kept when the key is gone, so that its signatures still verify.
    pub public: Option<[u8; 32]>,
}

impl KeyFacts {
    /// Its status at a time: a key past its cryptoperiod protects nothing, whatever was written down.
    #[must_use]
    pub fn status_at(&self, now: u64) -> KeyStatus {
        match self.expires {
            Some(end) if self.status == KeyStatus::Active && now >= end => KeyStatus::Deactivated,
            _ => self.status,
        }
    }

    pub(super) fn info(&self, realm: Realm, now: u64, uses: Option<u64>) -> Result<KeyInfo, HsmError> {
        let ended = self.expires.filter(|&end| end <= now && self.status == KeyStatus::Active);
        Ok(KeyInfo {
            key: self.key.clone(),
            kind: self.kind,
            status: self.status_at(now),
            realm,
            kcv: self.kcv,
            created: time(self.created)?,
            deactivated: self.deactivated.or(ended).map(time).transpose()?,
            expires: self.expires.map(time).transpose()?,
            local: true,
            extractable: false,
            uses,
            public: self.public.map(|public| public.to_vec()),
        })
    }
}

fn time(seconds: u64) -> Result<SystemTime, HsmError> {
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    time.ok_or(HsmError::Internal { code: super::fault::STATE })
}

/// A key that is there: facts, uses, bytes. No `Debug`, no `Clone`; the bytes are wiped on drop.
pub struct KeyObject {
    /// What is known about it.
    pub facts: KeyFacts,
    /// How often it protected something.
    pub uses: Uses,
    secret: Secret,
}

impl KeyObject {
    /// Makes a key from the device's generator at `now`: [`KeyStatus::Active`] with a cryptoperiod that starts now,
    /// or [`KeyStatus::PreActive`] without one.
    ///
    /// # Errors
    /// [`HsmError::Internal`] without random bytes.
    pub fn generate(
        key: KeyRef,
        kind: KeyKind,
        status: KeyStatus,
        now: u64,
        period: Option<u64>,
    ) -> Result<Self, HsmError> {
        let secret = Secret::generate()?;
        let active = status == KeyStatus::Active;
        let facts = KeyFacts {
            key,
            kind,
            status,
            created: now,
            activated: active.then_some(now),
            deactivated: None,
            expires: period.filter(|_| active).and_then(|period| now.checked_add(period)),
            destroyed: None,
            kcv: check_value(secret.expose())?,
            public: (kind == KeyKind::SignEd25519).then(|| primitives::public_key(secret.expose())),
        };
        Ok(Self { facts, uses: Uses::none(kind), secret })
    }

    /// A key read from the state. `None` when its bytes are not those its facts speak of.
    #[must_use]
    pub fn restored(facts: KeyFacts, uses: Uses, secret: Secret) -> Option<Self> {
        let object = Self { facts, uses, secret };
        object.is_intact().then_some(object)
    }

    /// The bytes of the key: for the primitives and for the sealed state, nothing else.
    #[must_use]
    pub fn secret(&self) -> &[u8; 32] {
        self.secret.expose()
    }

    pub(super) fn is_intact(&self) -> bool {
        let public = match self.facts.kind {
            KeyKind::SignEd25519 => Some(primitives::public_key(self.secret())),
            KeyKind::Kek256 | KeyKind::Mac256 => None,
        };
        public == self.facts.public && check_value(self.secret()).is_ok_and(|kcv| kcv == self.facts.kcv)
    }

    /// The same key again, for the table that is about to be sealed and wiped.
    pub(super) fn twin(&self) -> Self {
        Self { facts: self.facts.clone(), uses: self.uses.twin(), secret: self.secret.twin() }
    }

    /// Its status at a time: past its cryptoperiod or its use limit it protects nothing.
    #[must_use]
    pub fn status_at(&self, now: u64) -> KeyStatus {
        match self.facts.status_at(now) {
            KeyStatus::Active if self.uses.is_spent() => KeyStatus::Deactivated,
            status => status,
        }
    }

    pub(super) fn info(&self, realm: Realm, now: u64) -> Result<KeyInfo, HsmError> {
        let mut info = self.facts.info(realm, now, Some(self.uses.count()))?;
        info.status = self.status_at(now);
        Ok(info)
    }
}

/// Leftmost five bytes of AES-CMAC over a zero block (ANSI X9.24-1:2017): says which key it is and, unlike the
/// older AES-ECB value, nothing of the GHASH key of a GCM key.
fn check_value(key: &[u8; 32]) -> Result<Kcv, HsmError> {
    let [a, b, c, d, e, ..] = primitives::cmac_aes256(key, &[0; 16])?;
    Ok(Kcv([a, b, c, d, e]))
}
