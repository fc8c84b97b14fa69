//! How a key is made in the token, switched on and off, and taken away. Every key is made with all uses off, not
//! extractable, sensitive, for one mechanism; it stays modifiable, because switching off its use is the fence.

use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::fault::{lacking, plain};
use super::objects::{Facts, find, find_class, find_spares, id_of, mechanism_of, spare_of};
use crate::error::HsmError;
use crate::names::{KeyKind, KeyRef, KeyStatus};
use crate::verbs::Capability;

/// `CKA_EC_PARAMS` of Ed25519: the object identifier 1.3.101.112 (RFC 8410) in DER.
const ED25519: [u8; 5] = [0x06, 0x03, 0x2b, 0x65, 0x70];

/// Makes the key. It protects nothing until it is switched on.
pub(super) fn generate(session: &Session, key: &KeyRef, kind: KeyKind) -> Result<ObjectHandle, HsmError> {
    let failed = lacking(Capability::CreateKey);
    match kind {
        KeyKind::Kek256 => {
            let template = secret(key, kind, KeyType::AES);
            session.generate_key(&Mechanism::AesKeyGen, &template).map_err(failed)
        }
        KeyKind::Mac256 => {
            let template = secret(key, kind, KeyType::GENERIC_SECRET);
            session.generate_key(&Mechanism::GenericSecretKeyGen, &template).map_err(failed)
        }
        KeyKind::SignEd25519 => {
            let public = [
                Attribute::Token(true),
                Attribute::Private(false),
                Attribute::Verify(true),
                Attribute::EcParams(ED25519.to_vec()),
                label(key),
                Attribute::Id(id_of(key)),
            ];
            let private = [
                Attribute::Token(true),
                Attribute::Private(true),
                Attribute::Sensitive(true),
                Attribute::Extractable(false),
                Attribute::Modifiable(true),
                Attribute::Sign(false),
                Attribute::Decrypt(false),
                Attribute::Unwrap(false),
                Attribute::Derive(false),
                Attribute::AllowedMechanisms(vec![mechanism_of(kind)]),
                label(key),
                Attribute::Id(id_of(key)),
            ];
            let pair = session.generate_key_pair(&Mechanism::EccEdwardsKeyPairGen, &public, &private);
            pair.map(|(_, private)| private).map_err(failed)
        }
    }
}

fn secret(key: &KeyRef, kind: KeyKind, key_type: KeyType) -> [Attribute; 18] {
    [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(key_type),
        Attribute::ValueLen(32.into()),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Modifiable(true),
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
        Attribute::Sign(false),
        Attribute::Verify(false),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
        Attribute::AllowedMechanisms(vec![mechanism_of(kind)]),
        label(key),
        Attribute::Id(id_of(key)),
    ]
}

fn label(key: &KeyRef) -> Attribute {
    Attribute::Label(key.label.as_str().as_bytes().to_vec())
}

/// Makes the token enforce a stage of life. Other processes' sessions see it at their next call.
pub(super) fn enforce(
    session: &Session,
    handle: ObjectHandle,
    kind: KeyKind,
    status: KeyStatus,
) -> Result<(), HsmError> {
    session.update_attributes(handle, &uses(kind, status)).map_err(plain)
}

fn uses(kind: KeyKind, status: KeyStatus) -> Vec<Attribute> {
    let (protect, process) = (status.may_protect(), status.may_process());
    match kind {
        KeyKind::Kek256 => vec![Attribute::Encrypt(protect), Attribute::Decrypt(process)],
        KeyKind::Mac256 | KeyKind::SignEd25519 => vec![Attribute::Sign(protect)],
    }
}

/// As [`enforce`], for a key that others depend on. A token that rewrites its objects in place (SoftHSM2 does) loses
/// the key when it is killed in the middle of it; so a copy stands by until the change is made. Devices that copy no
/// keys keep their objects better than that.
pub(super) fn enforce_safely(
    session: &Session,
    key: &KeyRef,
    handle: ObjectHandle,
    kind: KeyKind,
    status: KeyStatus,
) -> Result<(), HsmError> {
    let mut changed = uses(kind, status);
    changed.push(Attribute::Id(spare_of(key)));
    let spare = match session.copy_object(handle, &changed) {
        Ok(spare) => Some(spare),
        Err(Error::Pkcs11(
            RvError::FunctionNotSupported | RvError::ActionProhibited | RvError::TemplateInconsistent,
            _,
        )) => None,
        Err(error) => return Err(plain(error)),
    };
    enforce(session, handle, kind, status)?;
    spare.map_or(Ok(()), |spare| session.destroy_object(spare).map_err(plain))
}

/// Puts a key's spare in its place, if the key was lost or torn; a spare that is not needed goes.
pub(super) fn restore(session: &Session, key: &KeyRef) -> Result<(), HsmError> {
    let spares = find_spares(session, key)?;
    let mut whole = None;
    for &spare in &spares {
        if Facts::read(session, spare)?.finding().is_none() {
            whole = Some(spare);
        }
    }
    if let Some(whole) = whole {
        clear_torn(session, key)?;
        if find(session, key) == Err(HsmError::KeyNotFound) {
            session.copy_object(whole, &[Attribute::Id(id_of(key))]).map_err(plain)?;
        }
    }
    spares.into_iter().try_for_each(|spare| session.destroy_object(spare).map_err(plain))
}

/// Takes away what a kill left of a key: an object that bears its name and is not fit to be one.
pub(super) fn clear_torn(session: &Session, key: &KeyRef) -> Result<(), HsmError> {
    for class in [ObjectClass::PRIVATE_KEY, ObjectClass::SECRET_KEY] {
        for handle in find_class(session, key, class)? {
            if Facts::read(session, handle)?.finding().is_some() {
                session.destroy_object(handle).map_err(plain)?;
            }
        }
    }
    Ok(())
}

/// Takes a key away, its public half and a spare too.
pub(super) fn destroy(session: &Session, key: &KeyRef) -> Result<(), HsmError> {
    for class in [ObjectClass::PUBLIC_KEY, ObjectClass::PRIVATE_KEY, ObjectClass::SECRET_KEY] {
        for handle in find_class(session, key, class)? {
            session.destroy_object(handle).map_err(plain)?;
        }
    }
    for spare in find_spares(session, key)? {
        session.destroy_object(spare).map_err(plain)?;
    }
    Ok(())
}
