//! The key of one record, derived from the tenant's data key and used once. It comes only out of the check of the
//! commitment, so nothing can be opened under a key that the record was not sealed with.

use crate::envelope::{self, Envelope};
use crate::error::VaultError;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Key, Nonce, Tag};
use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

const FOR_ENCRYPTION: &[u8] = b"pangate/v1/enc";
const FOR_COMMITMENT: &[u8] = b"pangate/v1/commit";

/// Encrypts or decrypts one block. No Debug, no Clone: AES-GCM must not meet the same key and nonce twice.
pub(crate) struct RecordKey(Aes256Gcm);

impl RecordKey {
    /// The key for a new record, and its commitment for the header.
    pub(crate) fn fresh(
        data_key: &[u8; 32],
        salt: &[u8; 16],
        context: &[u8; envelope::CONTEXT],
    ) -> Result<(Self, [u8; 32]), VaultError> {
        let keys = Hkdf::<Sha256>::new(Some(salt), data_key);
        let mut key = Zeroizing::new([0; 32]);
        let mut commitment = [0; 32];
        keys.expand_multi_info(&[FOR_ENCRYPTION, context], key.as_mut_slice())
            .and_then(|()| keys.expand_multi_info(&[FOR_COMMITMENT, context], &mut commitment))
            .map_err(|_| VaultError::Integrity)?;
        Ok((RecordKey(Aes256Gcm::new(<&Key<Aes256Gcm>>::from(&*key))), commitment))
    }

    /// The key of a stored record.
    ///
    /// # Errors
    /// [`VaultError::Integrity`] when the record's commitment is not this key's. GCM alone does not commit to its
    /// key: without this an attacker who writes rows could craft one that opens under two tenants' keys.
    pub(crate) fn verified(data_key: &[u8; 32], envelope: &Envelope<'_>) -> Result<Self, VaultError> {
        let (key, commitment) = RecordKey::fresh(data_key, envelope.salt, envelope.context)?;
        if bool::from(commitment.ct_eq(envelope.commitment)) { Ok(key) } else { Err(VaultError::Integrity) }
    }

    /// Encrypts the block where it lies; consumes the key.
    pub(crate) fn seal(self, nonce: &[u8; 12], aad: &[u8], block: &mut [u8]) -> Result<[u8; 16], VaultError> {
        let tag = self
            .0
            .encrypt_inout_detached(<&Nonce<_>>::from(nonce), aad, block.into())
            .map_err(|_| VaultError::Integrity)?;
        Ok(tag.into())
    }

    /// Decrypts the block where it lies; consumes the key. On a wrong tag the block is left encrypted.
    pub(crate) fn open(
        self,
        nonce: &[u8; 12],
        aad: &[u8],
        block: &mut [u8],
        tag: &[u8; 16],
    ) -> Result<(), VaultError> {
        self.0
            .decrypt_inout_detached(<&Nonce<_>>::from(nonce), aad, block.into(), <&Tag>::from(tag))
            .map_err(|_| VaultError::Integrity)
    }
}
