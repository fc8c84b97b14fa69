//! The few operations asked of the device, each a thin function over one call of the binding. IVs come from the
//! device's generator and are results, never arguments; associated data is never empty; what was opened is wiped.

use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::fault::{Meaning, code, lacking, meaning, plain};
use crate::data_key::SEALED_IV_LEN;
use crate::error::HsmError;
use crate::names::{Kcv, KeyKind, KeyRef, Realm};
use crate::verbs::Capability;

/// What every canary says.
const CANARY: &[u8; 16] = b"pangate canary 1";
/// What a MAC or signing key answers to be known again.
const CHALLENGE: &[u8] = b"pangate/kcv/v1";
/// Tag length of every seal, in bits.
const TAG_BITS: u64 = 128;

/// Random bytes of the device.
pub(super) fn random(session: &Session, out: &mut [u8]) -> Result<(), HsmError> {
    session.generate_random_slice(out).map_err(lacking(Capability::Random))
}

/// 32 bytes of the device, mixed with 32 of the operating system: neither source alone is trusted.
pub(super) fn mixed_random(session: &Session, out: &mut [u8; 32]) -> Result<(), HsmError> {
    random(session, out)?;
    let mut own = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *own).map_err(|_| HsmError::Internal { code: code::RANDOM })?;
    out.iter_mut().zip(own.iter()).for_each(|(byte, own)| *byte ^= own);
    Ok(())
}

/// AES-256-GCM under a key of the device. Gives the IV and the ciphertext with its tag.
pub(super) fn seal(
    session: &Session,
    key: ObjectHandle,
    aad: &[u8],
    text: &[u8],
) -> Result<([u8; SEALED_IV_LEN], Vec<u8>), HsmError> {
    let mut iv = [0; SEALED_IV_LEN];
    random(session, &mut iv)?;
    let offered = iv;
    let params = GcmParams::new(&mut iv, aad, TAG_BITS.into()).map_err(plain)?;
    let mechanism = Mechanism::AesGcm(params);
    let sealed = session.encrypt(&mechanism, key, text).map_err(lacking(Capability::SealGcm))?;
    drop(mechanism);
    // A device that chooses IVs itself has written its own over the one offered; both must be worth something.
    if offered == [0; SEALED_IV_LEN] || iv == [0; SEALED_IV_LEN] {
        return Err(HsmError::Internal { code: code::GENERATOR });
    }
    Ok((iv, sealed))
}

/// The reverse of [`seal`]. What a refusal means is not yet judged: see [`Meaning::Unclear`].
pub(super) fn open(
    session: &Session,
    key: ObjectHandle,
    iv: &[u8; SEALED_IV_LEN],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Meaning> {
    let mut iv = *iv;
    let params = GcmParams::new(&mut iv, aad, TAG_BITS.into()).map_err(|error| meaning(&error))?;
    let opened = session.decrypt(&Mechanism::AesGcm(params), key, sealed);
    opened.map(Zeroizing::new).map_err(|error| meaning(&error))
}

/// HMAC-SHA-256 under a key of the device.
pub(super) fn mac(session: &Session, key: ObjectHandle, message: &[u8]) -> Result<[u8; 32], HsmError> {
    let answer = session.sign(&Mechanism::Sha256Hmac, key, message);
    exact(answer.map_err(lacking(Capability::MacHmacSha256))?)
}

/// Ed25519 (RFC 8032, pure): no context, no prehash, which some devices would silently ignore.
pub(super) fn sign(session: &Session, key: ObjectHandle, message: &[u8]) -> Result<[u8; 64], HsmError> {
    let mechanism = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure));
    exact(session.sign(&mechanism, key, message).map_err(lacking(Capability::SignEd25519))?)
}

fn exact<const N: usize>(bytes: Vec<u8>) -> Result<[u8; N], HsmError> {
    <[u8; N]>::try_from(bytes).map_err(|_| HsmError::Internal { code: code::LENGTH })
}

/// What a key answers now, to be compared with at every later look-up.
pub(super) fn check_value(
    session: &Session,
    handle: ObjectHandle,
    key: &KeyRef,
    kind: KeyKind,
    realm: Realm,
    public: Option<&[u8; 32]>,
) -> Result<Vec<u8>, HsmError> {
    match kind {
        KeyKind::Kek256 => {
            let (iv, sealed) = seal(session, handle, &canary_binding(key, realm), CANARY)?;
            Ok([&iv[..], &sealed].concat())
        }
        KeyKind::Mac256 => Ok(mac(session, handle, CHALLENGE)?.iter().take(5).copied().collect()),
        KeyKind::SignEd25519 => {
            let public = public.ok_or(HsmError::Internal { code: code::NOT_TAKEN })?;
            Ok(Sha256::digest(public).iter().take(5).copied().collect())
        }
    }
}

/// Does a key still answer as it did when it was made? `Ok(false)` is a key that was put in the place of another.
pub(super) fn answers(
    session: &Session,
    handle: ObjectHandle,
    key: &KeyRef,
    kind: KeyKind,
    realm: Realm,
    check: &[u8],
    public: Option<&[u8; 32]>,
) -> Result<bool, Meaning> {
    match kind {
        KeyKind::Kek256 => {
            let Some((iv, sealed)) = check.split_first_chunk::<SEALED_IV_LEN>() else { return Ok(false) };
            let opened = open(session, handle, iv, &canary_binding(key, realm), sealed)?;
            Ok(opened.as_slice() == CANARY)
        }
        KeyKind::Mac256 => {
            let answer = mac(session, handle, CHALLENGE).map_err(Meaning::Known)?;
            Ok(check.len() == 5 && answer.starts_with(check))
        }
        KeyKind::SignEd25519 => {
            let Some(public) = public else { return Ok(false) };
            let signature = Signature::from_bytes(&sign(session, handle, CHALLENGE).map_err(Meaning::Known)?);
            let fits = VerifyingKey::from_bytes(public)
                .is_ok_and(|public| public.verify_strict(CHALLENGE, &signature).is_ok());
            Ok(fits && check.len() == 5 && Sha256::digest(public).starts_with(check))
        }
    }
}

/// The check value as it is shown. A KEK's is a digest of its sealed canary: unlike AES-ECB of zeroes it says nothing
/// of the GHASH key.
pub(super) fn shown(kind: KeyKind, check: &[u8]) -> Kcv {
    let mut shown = [0; 5];
    if check.is_empty() {
        return Kcv(shown);
    }
    let digest = Sha256::digest(check);
    let from: &[u8] = if kind == KeyKind::Kek256 { &digest } else { check };
    shown.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    Kcv(shown)
}

/// What a canary is bound to: its key and realm, so that no canary opens under another key's name.
fn canary_binding(key: &KeyRef, realm: Realm) -> Vec<u8> {
    format!("pangate/canary/v1 {} {key}", realm.as_str()).into_bytes()
}
