//! One key inside the device: its bytes, its facts, its check value. Kept out: how keys are stored and used.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hsm::{HsmError, Kcv, KeyInfo, KeyKind, KeyRef, KeyStatus, Realm};
use secrecy::{ExposeSecret, SecretBox};

use super::primitives;

/// A key and what is known about it. No `Debug`, no `Clone`; the bytes are wiped on drop.
pub struct KeyObject {
    /// Its name and version.
    pub key: KeyRef,
    /// Its one purpose.
    pub kind: KeyKind,
    /// Where it is in its life.
    pub status: KeyStatus,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    kcv: Kcv,
    secret: SecretBox<[u8; 32]>,
}

impl KeyObject {
    /// Makes an active key from the device's generator.
    ///
    /// # Errors
    /// [`HsmError::Internal`] without random bytes.
    pub fn generate(key: KeyRef, kind: KeyKind) -> Result<Self, HsmError> {
        let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self::fill_with(key, kind, KeyStatus::Active, created, primitives::random)
    }

    /// Makes a key by filling its bytes where they will stay.
    ///
    /// # Errors
    /// Those of `fill`, and [`HsmError::Internal`] when the check value cannot be computed.
    pub fn fill_with(
        key: KeyRef,
        kind: KeyKind,
        status: KeyStatus,
        created: u64,
        fill: impl FnOnce(&mut [u8]) -> Result<(), HsmError>,
    ) -> Result<Self, HsmError> {
        let mut outcome = Ok(());
        let secret = SecretBox::init_with_mut(|bytes: &mut [u8; 32]| outcome = fill(bytes));
        outcome?;
        let kcv = check_value(secret.expose_secret())?;
        Ok(Self { key, kind, status, created, kcv, secret })
    }

    /// The bytes of the key: for the primitives and for the sealed state, nothing else.
    #[must_use]
    pub fn secret(&self) -> &[u8; 32] {
        self.secret.expose_secret()
    }

    /// Its check value.
    #[must_use]
    pub fn kcv(&self) -> Kcv {
        self.kcv
    }

    pub(super) fn is_intact(&self) -> bool {
        check_value(self.secret()).is_ok_and(|kcv| kcv == self.kcv)
    }

    /// The same key again, for the table that is about to be sealed and wiped.
    pub(super) fn twin(&self) -> Self {
        let from = self.secret();
        Self {
            key: self.key.clone(),
            kind: self.kind,
            status: self.status,
            created: self.created,
            kcv: self.kcv,
            secret: SecretBox::init_with_mut(|bytes: &mut [u8; 32]| bytes.copy_from_slice(from)),
        }
    }

    pub(super) fn info(&self, realm: Realm) -> Result<KeyInfo, HsmError> {
        let created = UNIX_EPOCH.checked_add(Duration::from_secs(self.created));
        Ok(KeyInfo {
            key: self.key.clone(),
            kind: self.kind,
            status: self.status,
            realm,
            kcv: self.kcv,
            created: created.ok_or(HsmError::Internal { code: super::fault::STATE })?,
            local: true,
            extractable: false,
            uses: None,
            public: (self.kind == KeyKind::SignEd25519)
                .then(|| primitives::public_key(self.secret()).to_vec()),
        })
    }
}

/// Leftmost five bytes of AES-CMAC over a zero block (ANSI X9.24-1:2017): says which key it is and, unlike the
/// older AES-ECB value, nothing of the GHASH key of a GCM key.
fn check_value(key: &[u8; 32]) -> Result<Kcv, HsmError> {
    let [a, b, c, d, e, ..] = primitives::cmac_aes256(key, &[0; 16])?;
    Ok(Kcv([a, b, c, d, e]))
}
