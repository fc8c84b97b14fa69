//! The device's cryptographic primitives, each a thin and total function over RustCrypto. The self-test and the
//! published vectors run through these very functions. Kept out: keys' names, policies, contexts.

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce, Tag};
use cmac::Mac;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use hsm::HsmError;
use sha2::{Digest, Sha256};

use super::fault;

const BROKEN: HsmError = HsmError::Internal { code: fault::PRIMITIVE };

/// Random bytes from the operating system.
///
/// # Errors
/// [`HsmError::Internal`] when it has none.
pub fn random(out: &mut [u8]) -> Result<(), HsmError> {
    getrandom::fill(out).map_err(|_| HsmError::Internal { code: fault::RANDOM })
}

/// AES-256-GCM (NIST SP 800-38D), 96-bit IV, 128-bit tag, in place.
///
/// # Errors
/// [`HsmError::Internal`] when lengths exceed the mode's limits.
pub fn seal(key: &[u8; 32], iv: &[u8; 12], aad: &[u8], text: &mut [u8]) -> Result<[u8; 16], HsmError> {
    let cipher = Aes256Gcm::new_from_slice(key).map_err(|_| BROKEN)?;
    let tag = cipher.encrypt_inout_detached(&Nonce::from(*iv), aad, text.into()).map_err(|_| BROKEN)?;
    Ok(tag.into())
}

/// The reverse of [`seal`]; on failure `text` holds nothing of the plaintext.
///
/// # Errors
/// [`HsmError::Integrity`] when the tag does not fit.
pub fn open(
    key: &[u8; 32],
    iv: &[u8; 12],
    aad: &[u8],
    text: &mut [u8],
    tag: &[u8; 16],
) -> Result<(), HsmError> {
    let cipher = Aes256Gcm::new_from_slice(key).map_err(|_| BROKEN)?;
    cipher
        .decrypt_inout_detached(&Nonce::from(*iv), aad, text.into(), &Tag::from(*tag))
        .map_err(|_| HsmError::Integrity)
}

/// HMAC-SHA-256 (RFC 2104).
///
/// # Errors
/// None in practice: HMAC takes keys of any length.
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> Result<[u8; 32], HsmError> {
    let mut mac = <hmac::Hmac<Sha256> as KeyInit>::new_from_slice(key).map_err(|_| BROKEN)?;
    mac.update(message);
    Ok(mac.finalize().into_bytes().into())
}

/// HKDF-SHA-256 (RFC 5869), extract and expand, filling `out`.
///
/// # Errors
/// [`HsmError::Internal`] when `out` is longer than 8160 bytes.
pub fn hkdf_sha256(salt: &[u8], input: &[u8], info: &[u8], out: &mut [u8]) -> Result<(), HsmError> {
    hkdf::Hkdf::<Sha256>::new(Some(salt), input).expand(info, out).map_err(|_| BROKEN)
}

/// AES-256-CMAC (NIST SP 800-38B).
///
/// # Errors
/// None in practice: the key has the one right length.
pub fn cmac_aes256(key: &[u8; 32], message: &[u8]) -> Result<[u8; 16], HsmError> {
    let mut mac = <cmac::Cmac<aes::Aes256> as KeyInit>::new_from_slice(key).map_err(|_| BROKEN)?;
    mac.update(message);
    Ok(mac.finalize().into_bytes().into())
}

/// SHA-256 (FIPS 180-4).
#[must_use]
pub fn sha256(message: &[u8]) -> [u8; 32] {
    Sha256::digest(message).into()
}

/// Ed25519 (RFC 8032, pure) under the key of this seed.
#[must_use]
pub fn sign(seed: &[u8; 32], message: &[u8]) -> [u8; 64] {
    SigningKey::from_bytes(seed).sign(message).to_bytes()
}

/// The public half of the Ed25519 key of this seed.
#[must_use]
pub fn public_key(seed: &[u8; 32]) -> [u8; 32] {
    SigningKey::from_bytes(seed).verifying_key().to_bytes()
}

/// Does an Ed25519 signature fit? Strict: no small-order keys, no second spelling of a signature.
#[must_use]
pub fn verify(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(public)
        .is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
}
