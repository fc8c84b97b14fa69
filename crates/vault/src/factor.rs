//! The secret of somebody's authenticator app, sealed as cards are: under a data key of its own, which the HSM sealed
//! and opens, bound to its owner. Clear it is only while a code is compared.
//!
//! ```text
//! 1  form 1
//! 2  length of the sealed data key, big-endian
//! …  sealed data key (SealedDataKey)
//! 16 its id
//! 12 nonce
//! …  secret under AES-256-GCM, with its tag
//! ```

use crate::binding::append;
use crate::error::VaultError;
use crate::vault::{Parts, Vault};
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Key, Nonce, Tag};
use hsm::{Context, DataKey, HsmError, KeyLabel, KeyRef, SealedDataKey, WrapSuite};
use tokens::{Principal, Realm};
use uuid::Uuid;
use zeroize::Zeroizing;

/// Bytes of a secret: as long as a SHA-1 output (RFC 4226 §4 R6 asks for 16, recommends 20).
pub const SECRET: usize = 20;

const FORM: u8 = 1;
const CLASS: &str = "totp";
const DOMAIN: &[u8] = b"pangate/totp/v1";

/// A sealed secret, fit to be stored.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedFactor {
    bytes: Vec<u8>,
    kek_version: u32,
}

impl SealedFactor {
    /// Reads the stored form; whether it is genuine only the HSM says.
    ///
    /// # Errors
    /// [`VaultError::Integrity`].
    pub fn parse(bytes: &[u8]) -> Result<SealedFactor, VaultError> {
        let stored = Stored::parse(bytes).ok_or(VaultError::Integrity)?;
        Ok(SealedFactor { bytes: bytes.to_vec(), kek_version: stored.key.kek.version.get() })
    }

    /// The stored form.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The version of `kek/card` that seals it.
    pub fn kek_version(&self) -> u32 {
        self.kek_version
    }
}

impl Vault {
    /// Draws a secret for that person and seals it.
    ///
    /// # Errors
    /// [`VaultError::HsmUnavailable`], [`VaultError::HsmRefused`] or [`VaultError::RandomUnavailable`].
    pub async fn new_factor(
        &self,
        owner: &Principal,
    ) -> Result<(Zeroizing<[u8; SECRET]>, SealedFactor), VaultError> {
        let mut secret = Zeroizing::new([0; SECRET]);
        getrandom::fill(secret.as_mut_slice())?;
        let sealed = seal(self.parts(), owner, &secret).await?;
        Ok((secret, sealed))
    }

    /// Opens a stored secret.
    ///
    /// # Errors
    /// [`VaultError::Integrity`] when it was not sealed for that person, or the HSM's.
    pub async fn open_factor(
        &self,
        owner: &Principal,
        stored: &[u8],
    ) -> Result<Zeroizing<[u8; SECRET]>, VaultError> {
        let stored = Stored::parse(stored).ok_or(VaultError::Integrity)?;
        let context = context(self.parts(), &stored.key.kek, stored.id, owner)?;
        let opened = self.parts().hsm.open_data_key(stored.key, context).await;
        self.parts().names.presence().note(opened.as_ref().err());
        let mut secret = Zeroizing::new(stored.secret);
        cipher(&opened?)
            .decrypt_inout_detached(
                <&Nonce<_>>::from(&stored.nonce),
                &aad(owner, &stored.id),
                secret.as_mut_slice().into(),
                <&Tag>::from(&stored.tag),
            )
            .map_err(|_| VaultError::Integrity)?;
        Ok(secret)
    }

    /// The same secret sealed under the newest version of the KEK, on the device that holds it; nothing when it is.
    ///
    /// # Errors
    /// As [`Vault::open_factor`].
    pub async fn renew_factor(
        &self,
        owner: &Principal,
        stored: &[u8],
    ) -> Result<Option<SealedFactor>, VaultError> {
        let newest = self.parts().names.current(&KeyLabel::KEK_CARD).await?;
        if Stored::parse(stored).ok_or(VaultError::Integrity)?.key.kek == newest {
            return Ok(None);
        }
        let secret = self.open_factor(owner, stored).await?;
        seal(self.parts(), owner, &secret).await.map(Some)
    }
}

async fn seal(vault: &Parts, owner: &Principal, secret: &[u8; SECRET]) -> Result<SealedFactor, VaultError> {
    let id = *Uuid::now_v7().as_bytes();
    let (data_key, key) = match new_key(vault, owner, id).await {
        // Rotated since it was asked for.
        Err(VaultError::HsmRefused) => {
            vault.names.forget().await;
            new_key(vault, owner, id).await?
        }
        made => made?,
    };
    let mut nonce = [0; 12];
    getrandom::fill(&mut nonce)?;
    let mut block = Zeroizing::new(*secret);
    let tag = cipher(&data_key)
        .encrypt_inout_detached(<&Nonce<_>>::from(&nonce), &aad(owner, &id), block.as_mut_slice().into())
        .map_err(|_| VaultError::Integrity)?;
    let sealed = key.to_bytes();
    let length = u16::try_from(sealed.len()).map_err(|_| VaultError::Integrity)?;
    let mut bytes = vec![FORM];
    bytes.extend(length.to_be_bytes());
    for part in [sealed.as_slice(), &id, &nonce, block.as_slice(), tag.as_slice()] {
        bytes.extend_from_slice(part);
    }
    Ok(SealedFactor { bytes, kek_version: key.kek.version.get() })
}

async fn new_key(
    vault: &Parts,
    owner: &Principal,
    id: [u8; 16],
) -> Result<(DataKey, SealedDataKey), VaultError> {
    let kek = vault.names.current(&KeyLabel::KEK_CARD).await?;
    let context = context(vault, &kek, id, owner)?;
    let made = vault.hsm.new_data_key(kek, context).await;
    vault.names.presence().note(made.as_ref().err());
    Ok(made?)
}

/// The person's name stands where a tenant's does; the class keeps the two apart.
fn context(vault: &Parts, kek: &KeyRef, id: [u8; 16], owner: &Principal) -> Result<Context, HsmError> {
    let realm = match vault.settings.realm {
        Realm::Live => hsm::Realm::Live,
        Realm::Test => hsm::Realm::Test,
    };
    Context::data_key(realm, kek, WrapSuite::Aes256GcmData, id, owner.as_str(), CLASS, 1)
}

fn cipher(key: &DataKey) -> Aes256Gcm {
    Aes256Gcm::new(<&Key<Aes256Gcm>>::from(key.expose()))
}

fn aad(owner: &Principal, id: &[u8; 16]) -> Vec<u8> {
    let mut aad = Vec::with_capacity(96);
    for field in [DOMAIN, owner.as_str().as_bytes(), id] {
        append(&mut aad, field);
    }
    aad
}

/// Stored bytes that have this form and length; whether they are genuine the HSM and the tag say.
struct Stored {
    key: SealedDataKey,
    id: [u8; 16],
    nonce: [u8; 12],
    secret: [u8; SECRET],
    tag: [u8; 16],
}

impl Stored {
    fn parse(bytes: &[u8]) -> Option<Stored> {
        let (&[form, high, low], rest) = bytes.split_first_chunk::<3>()?;
        if form != FORM {
            return None;
        }
        let (key, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
        let (id, rest) = rest.split_first_chunk::<16>()?;
        let (nonce, rest) = rest.split_first_chunk::<12>()?;
        let (secret, rest) = rest.split_first_chunk::<SECRET>()?;
        let tag = <[u8; 16]>::try_from(rest).ok()?;
        let key = SealedDataKey::from_bytes(key).ok()?;
        Some(Stored { key, id: *id, nonce: *nonce, secret: *secret, tag })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_parse_or_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Stored::parse(&bytes);
        }
    }
}
