//! A vendor's tool in its own right: the library without the provider, on the same token in the same process. Used only
//! while no device is open, for the library's state is one.
#![allow(dead_code, clippy::allow_attributes, reason = "each test binary uses its own part")]

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11 as Library};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};

use super::softhsm::{LABEL, MODULE, PIN};

/// Does something to the token, logged in as its user.
pub(crate) fn by_hand<T>(act: impl FnOnce(&Session) -> T) -> T {
    let library = Library::new(MODULE).unwrap();
    library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let slots = library.get_slots_with_initialized_token().unwrap();
    let slot =
        slots.into_iter().find(|&slot| library.get_token_info(slot).unwrap().label() == LABEL).unwrap();
    let session = library.open_rw_session(slot).unwrap();
    session.login(UserType::User, Some(&PIN.into())).unwrap();
    let outcome = act(&session);
    drop(session);
    library.finalize().unwrap();
    outcome
}

/// A KEK as the provider makes it, but for the attributes given.
pub(crate) fn plant(session: &Session, version: u32, otherwise: &[Attribute]) -> ObjectHandle {
    let usual = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::ValueLen(32.into()),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Sign(false),
        Attribute::Verify(false),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
        Attribute::Label(b"kek/card".to_vec()),
        Attribute::Id(format!("kek/card#{version:08x}").into_bytes()),
    ];
    let replaced =
        |usual: &&Attribute| !otherwise.iter().any(|other| other.attribute_type() == usual.attribute_type());
    let template: Vec<Attribute> = usual.iter().filter(replaced).chain(otherwise).cloned().collect();
    session.generate_key(&Mechanism::AesKeyGen, &template).unwrap()
}

/// Every secret key of this id.
pub(crate) fn find(session: &Session, id: &str) -> Vec<ObjectHandle> {
    let template = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Id(id.as_bytes().to_vec())];
    session.find_objects(&template).unwrap()
}

/// The one secret key of this id.
pub(crate) fn find_one(session: &Session, id: &str) -> ObjectHandle {
    let found = find(session, id);
    assert_eq!(found.len(), 1, "{id}");
    *found.first().unwrap()
}
