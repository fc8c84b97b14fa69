//! What a kill in the middle of a change leaves in a token that rewrites its objects in place, made by hand: the next
//! login mends it, and believes nothing that does not answer as the key did.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test code; a failure must stop the test")]

#[path = "softhsm/by_hand.rs"]
mod by_hand;
mod softhsm;

use by_hand::{by_hand, find, find_one, plant};
use cryptoki::object::Attribute;
use hsm::{
    Approval, Context, Hsm, HsmError, KeyKind, KeyLabel, KeyRef, KeySpec, KeyVersion, Realm, SealedDataKey,
    WrapSuite,
};
use softhsm::{LABEL, SoftHsm, alone, first};

const ID: &str = "kek/card#00000001";
const SPARE: &str = "kek/card#00000001~";

fn id(text: &str) -> [Attribute; 1] {
    [Attribute::Id(text.as_bytes().to_vec())]
}

fn context(kek: &KeyRef) -> Context {
    Context::data_key(Realm::Test, kek, WrapSuite::Aes256GcmData, [7; 16], "clinic", "card", 1).unwrap()
}

/// A token with its keys, and a data key sealed under its KEK.
fn sealed(softhsm: &SoftHsm) -> SealedDataKey {
    let kek = first(KeyLabel::KEK_CARD);
    let device = softhsm.prepared();
    device.session().new_data_key(&kek, &context(&kek)).unwrap().1
}

fn opens(softhsm: &SoftHsm, sealed: &SealedDataKey) -> Result<(), HsmError> {
    softhsm.device(LABEL).session().open_data_key(sealed, &context(&sealed.kek)).map(drop)
}

#[test]
fn a_key_lost_in_the_middle_of_a_change_is_put_back_from_its_spare() {
    alone("a_key_lost_in_the_middle_of_a_change_is_put_back_from_its_spare", |softhsm| {
        let sealed = sealed(softhsm);
        by_hand(|session| {
            let key = find_one(session, ID);
            session.copy_object(key, &id(SPARE)).unwrap();
            session.destroy_object(key).unwrap();
        });
        assert_eq!(opens(softhsm, &sealed), Ok(()));
        by_hand(|session| assert_eq!((find(session, ID).len(), find(session, SPARE).len()), (1, 0)));
    });
}

#[test]
fn a_spare_that_is_not_needed_goes() {
    alone("a_spare_that_is_not_needed_goes", |softhsm| {
        let sealed = sealed(softhsm);
        by_hand(|session| session.copy_object(find_one(session, ID), &id(SPARE)).map(drop).unwrap());
        assert_eq!(opens(softhsm, &sealed), Ok(()));
        by_hand(|session| assert_eq!((find(session, ID).len(), find(session, SPARE).len()), (1, 0)));
    });
}

#[test]
fn a_twin_of_a_key_is_the_key_and_one_is_enough() {
    alone("a_twin_of_a_key_is_the_key_and_one_is_enough", |softhsm| {
        let sealed = sealed(softhsm);
        by_hand(|session| session.copy_object(find_one(session, ID), &id(ID)).map(drop).unwrap());
        assert_eq!(opens(softhsm, &sealed), Ok(()));
        by_hand(|session| assert_eq!(find(session, ID).len(), 1));
    });
}

#[test]
fn another_key_in_the_place_of_a_spare_is_not_believed() {
    alone("another_key_in_the_place_of_a_spare_is_not_believed", |softhsm| {
        let sealed = sealed(softhsm);
        by_hand(|session| {
            session.destroy_object(find_one(session, ID)).unwrap();
            let _ = plant(session, 1, &id(SPARE));
        });
        assert_eq!(opens(softhsm, &sealed), Err(HsmError::Integrity));
    });
}

#[test]
fn a_key_whose_making_was_interrupted_is_made_anew_under_its_own_number() {
    alone("a_key_whose_making_was_interrupted_is_made_anew_under_its_own_number", |softhsm| {
        let sealed = sealed(softhsm);
        // The plan of version 2, as the provider writes it before it makes the key, and half a key.
        by_hand(|session| {
            let plan = [&[1, 0, 0, 0, 1, 1, 1, 2][..], &1_700_000_000_u64.to_be_bytes(), &[0; 8]].concat();
            session
                .create_object(&[
                    Attribute::Class(cryptoki::object::ObjectClass::DATA),
                    Attribute::Application(b"pangate".to_vec()),
                    Attribute::Label(b"record kek/card#00000002".to_vec()),
                    Attribute::Token(true),
                    Attribute::Private(true),
                    Attribute::Value(plan),
                ])
                .unwrap();
            let _ = plant(session, 2, &[Attribute::Sensitive(false), Attribute::Extractable(true)]);
        });
        assert_eq!(opens(softhsm, &sealed), Ok(()));
        let spec = KeySpec { label: KeyLabel::KEK_CARD, kind: KeyKind::Kek256, at_least: KeyVersion::FIRST };
        let session = softhsm.device(LABEL).session();
        let made = session.rotate_key(&spec, &Approval::Caller).unwrap();
        assert_eq!(made.key.version.get(), 2);
        assert!(!made.extractable);
        assert!(session.new_data_key(&made.key, &context(&made.key)).is_ok());
    });
}
