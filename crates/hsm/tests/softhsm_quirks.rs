//! What SoftHSM2 does that the provider relies on or works around, pinned down: when one of these fails after an
//! upgrade of the package, the provider's treatment of it is due for a look. Nothing here is a promise of ours.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test code; a failure must stop the test")]

mod softhsm;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11 as Library};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use softhsm::{LABEL, MODULE, PIN, SoftHsm, alone};

struct Lab {
    library: Library,
    slot: Slot,
    session: Session,
}

fn start(library: &Library) -> Result<(), Error> {
    library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
}

fn slot(library: &Library) -> Slot {
    let slots = library.get_slots_with_initialized_token().unwrap();
    slots.into_iter().find(|&slot| library.get_token_info(slot).unwrap().label() == LABEL).unwrap()
}

fn lab() -> Lab {
    let library = Library::new(MODULE).unwrap();
    start(&library).unwrap();
    let slot = slot(&library);
    let session = library.open_rw_session(slot).unwrap();
    session.login(UserType::User, Some(&PIN.into())).unwrap();
    Lab { library, slot, session }
}

fn secret(session: &Session, kind: KeyType, uses: &[Attribute]) -> ObjectHandle {
    let mechanism = if kind == KeyType::AES { Mechanism::AesKeyGen } else { Mechanism::GenericSecretKeyGen };
    let common = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(kind),
        Attribute::ValueLen(32.into()),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Label(b"lab".to_vec()),
        Attribute::Id(b"lab#1".to_vec()),
    ];
    session.generate_key(&mechanism, &[&common[..], uses].concat()).unwrap()
}

fn aes(session: &Session) -> ObjectHandle {
    secret(session, KeyType::AES, &[Attribute::Encrypt(true), Attribute::Decrypt(true)])
}

fn value<T: std::fmt::Debug>(outcome: Result<T, Error>) -> RvError {
    match outcome {
        Err(Error::Pkcs11(value, _)) => value,
        other => panic!("{other:?}"),
    }
}

fn gcm<'a>(iv: &'a mut [u8], aad: &'a [u8]) -> Mechanism<'a> {
    Mechanism::AesGcm(GcmParams::new(iv, aad, 128.into()).unwrap())
}

#[test]
fn a_wrong_tag_is_a_general_error_and_the_session_goes_on() {
    alone("a_wrong_tag_is_a_general_error_and_the_session_goes_on", |_| {
        let lab = lab();
        let key = aes(&lab.session);
        let mut sealed = lab.session.encrypt(&gcm(&mut [7; 12], b"aad"), key, b"text").unwrap();
        sealed.reverse();
        let outcome = lab.session.decrypt(&gcm(&mut [7; 12], b"aad"), key, &sealed);
        assert_eq!(value(outcome), RvError::GeneralError);
        sealed.reverse();
        let other = lab.session.decrypt(&gcm(&mut [7; 12], b"other"), key, &sealed);
        assert_eq!(value(other), RvError::GeneralError);
        assert_eq!(lab.session.decrypt(&gcm(&mut [7; 12], b"aad"), key, &sealed).unwrap(), b"text");
    });
}

#[test]
fn an_empty_iv_is_taken_and_repeats_itself() {
    alone("an_empty_iv_is_taken_and_repeats_itself", |_| {
        // Why no interface of ours takes an IV.
        let lab = lab();
        let key = aes(&lab.session);
        let once = lab.session.encrypt(&gcm(&mut [], b"aad"), key, b"text").unwrap();
        let again = lab.session.encrypt(&gcm(&mut [], b"aad"), key, b"text").unwrap();
        assert_eq!(once, again);
    });
}

#[test]
fn the_token_leaves_the_iv_that_it_was_given() {
    alone("the_token_leaves_the_iv_that_it_was_given", |_| {
        let lab = lab();
        let key = aes(&lab.session);
        let mut iv = [9; 12];
        lab.session.encrypt(&gcm(&mut iv, b"aad"), key, b"text").unwrap();
        assert_eq!(iv, [9; 12]);
    });
}

#[test]
fn a_use_switched_off_is_refused_and_can_be_switched_on_again() {
    alone("a_use_switched_off_is_refused_and_can_be_switched_on_again", |_| {
        let lab = lab();
        let key = aes(&lab.session);
        lab.session.update_attributes(key, &[Attribute::Encrypt(false)]).unwrap();
        let outcome = lab.session.encrypt(&gcm(&mut [7; 12], b"aad"), key, b"text");
        assert_eq!(value(outcome), RvError::KeyFunctionNotPermitted);
        // Why the record has a say as well.
        lab.session.update_attributes(key, &[Attribute::Encrypt(true)]).unwrap();
        assert!(lab.session.encrypt(&gcm(&mut [7; 12], b"aad"), key, b"text").is_ok());
    });
}

#[test]
fn a_name_may_be_given_twice_and_changed() {
    alone("a_name_may_be_given_twice_and_changed", |_| {
        // Why a look-up demands exactly one, and why a key has to answer as its record says.
        let lab = lab();
        let (one, _two) = (aes(&lab.session), aes(&lab.session));
        let template = [Attribute::Label(b"lab".to_vec()), Attribute::Id(b"lab#1".to_vec())];
        assert_eq!(lab.session.find_objects(&template).unwrap().len(), 2);
        lab.session.update_attributes(one, &[Attribute::Label(b"another".to_vec())]).unwrap();
        assert_eq!(lab.session.find_objects(&template).unwrap().len(), 1);
    });
}

#[test]
fn a_second_login_is_told_that_it_is_in_whatever_its_pin() {
    alone("a_second_login_is_told_that_it_is_in_whatever_its_pin", |_| {
        let lab = lab();
        let second = lab.library.open_rw_session(lab.slot).unwrap();
        let outcome = second.login(UserType::User, Some(&"00000000".into()));
        assert_eq!(value(outcome), RvError::UserAlreadyLoggedIn);
    });
}

#[test]
fn the_pin_never_locks() {
    alone("the_pin_never_locks", |_| {
        // Why the provider counts for itself: nothing here stops a guesser.
        let lab = lab();
        lab.session.logout().unwrap();
        for _ in 0..50 {
            let outcome = lab.session.login(UserType::User, Some(&"00000000".into()));
            assert_eq!(value(outcome), RvError::PinIncorrect);
        }
        lab.session.login(UserType::User, Some(&PIN.into())).unwrap();
    });
}

#[test]
fn a_token_that_went_away_lists_nothing_and_comes_back_only_to_a_library_started_anew() {
    let name = "a_token_that_went_away_lists_nothing_and_comes_back_only_to_a_library_started_anew";
    alone(name, |softhsm: &SoftHsm| {
        let Lab { library, slot: old, session } = lab();
        let key = aes(&session);
        let everything = [Attribute::Token(true)];
        assert_eq!(session.find_objects(&everything).unwrap().len(), 1);
        softhsm.take_away();
        // Why an empty list is believed only of a token that is seen to be there.
        assert!(session.find_objects(&everything).unwrap().is_empty());
        let outcome = session.get_attributes(key, &[AttributeType::Encrypt]);
        assert_eq!(value(outcome), RvError::ObjectHandleInvalid);
        assert_eq!(value(library.get_token_info(old)), RvError::GeneralError);
        assert!(session.generate_random_vec(8).is_ok());
        softhsm.bring_back();
        assert!(session.find_objects(&everything).unwrap().is_empty());
        let number = session.handle();
        drop(session);
        library.clone().finalize().unwrap();
        start(&library).unwrap();
        let session = library.open_rw_session(slot(&library)).unwrap();
        session.login(UserType::User, Some(&PIN.into())).unwrap();
        assert_eq!(session.find_objects(&everything).unwrap().len(), 1);
        // Why no session outlives the library it was opened in: its number is another's now.
        assert_eq!(session.handle(), number);
    });
}

#[test]
fn a_library_without_its_token_directory_does_not_start() {
    alone("a_library_without_its_token_directory_does_not_start", |softhsm| {
        softhsm.take_away();
        let library = Library::new(MODULE).unwrap();
        assert_eq!(value(start(&library)), RvError::GeneralError);
        softhsm.bring_back();
        start(&library).unwrap();
        assert!(matches!(
            start(&library),
            Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, Function::Initialize))
        ));
    });
}

#[test]
fn a_data_object_keeps_the_value_it_was_made_with() {
    alone("a_data_object_keeps_the_value_it_was_made_with", |_| {
        // Why a record is replaced, never rewritten.
        let lab = lab();
        let template = [
            Attribute::Class(ObjectClass::DATA),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Modifiable(true),
            Attribute::Value(vec![1]),
        ];
        let object = lab.session.create_object(&template).unwrap();
        let outcome = lab.session.update_attributes(object, &[Attribute::Value(vec![2])]);
        assert_eq!(value(outcome), RvError::AttributeReadOnly);
    });
}

#[test]
fn an_allowed_mechanism_is_the_only_one() {
    alone("an_allowed_mechanism_is_the_only_one", |_| {
        let lab = lab();
        let only = Attribute::AllowedMechanisms(vec![cryptoki::mechanism::MechanismType::AES_GCM]);
        let key =
            secret(&lab.session, KeyType::AES, &[Attribute::Encrypt(true), Attribute::Decrypt(true), only]);
        let outcome = lab.session.encrypt(&Mechanism::AesCbc([0; 16]), key, &[0; 16]);
        assert_eq!(value(outcome), RvError::MechanismInvalid);
        assert!(lab.session.encrypt(&gcm(&mut [7; 12], b"aad"), key, b"text").is_ok());
    });
}

#[test]
fn a_context_for_ed25519_is_silently_ignored() {
    alone("a_context_for_ed25519_is_silently_ignored", |_| {
        // Why only pure Ed25519 is used.
        let lab = lab();
        let public = [Attribute::Token(false), Attribute::EcParams(vec![6, 3, 0x2b, 0x65, 0x70])];
        let private = [Attribute::Token(false), Attribute::Private(true), Attribute::Sign(true)];
        let pair = lab.session.generate_key_pair(&Mechanism::EccEdwardsKeyPairGen, &public, &private);
        let (_, private) = pair.unwrap();
        let sign =
            |scheme| lab.session.sign(&Mechanism::Eddsa(EddsaParams::new(scheme)), private, b"m").unwrap();
        assert_eq!(sign(EddsaSignatureScheme::Ed25519ctx(b"context")), sign(EddsaSignatureScheme::Pure));
    });
}

#[test]
fn a_sensitive_value_is_left_out_without_an_error() {
    alone("a_sensitive_value_is_left_out_without_an_error", |_| {
        // Why no attribute is taken by its place in an answer.
        let lab = lab();
        let key = aes(&lab.session);
        assert!(lab.session.get_attributes(key, &[AttributeType::Value]).unwrap().is_empty());
    });
}
