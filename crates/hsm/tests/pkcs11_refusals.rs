//! What the provider refuses, each planted in a real token: keys that could leave it, keys under another's name, a
//! wrong PIN, a token of the other realm, a module found by search.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test code; a failure must stop the test")]

#[path = "softhsm/by_hand.rs"]
mod by_hand;
mod softhsm;

use std::path::PathBuf;

use by_hand::{by_hand, find_one, plant};
use cryptoki::object::{Attribute, KeyType, ObjectClass};
use hsm::pkcs11::{Pkcs11, Pkcs11Fault, Pkcs11Settings};
use hsm::{
    Approval, Context, Finding, Hsm, HsmError, HsmQueue, KeyFilter, KeyKind, KeyLabel, KeyRef, KeySpec,
    KeyStatus, KeyVersion, QueueSettings, Realm, WrapSuite,
};
use softhsm::{FOUR, LABEL, MODULE, PIN, SoftHsm, alone, alone_with, first};

fn kek(version: u32) -> KeyRef {
    KeyLabel::KEK_CARD.at(KeyVersion::new(version).unwrap())
}

fn context(kek: &KeyRef) -> Context {
    Context::data_key(Realm::Test, kek, WrapSuite::Aes256GcmData, [7; 16], "clinic", "card", 1).unwrap()
}

#[test]
fn a_planted_kek_that_could_leave_the_device_is_refused_and_named() {
    alone("a_planted_kek_that_could_leave_the_device_is_refused_and_named", |softhsm| {
        drop(softhsm.prepared());
        let plants: [(&[Attribute], Finding); 5] = [
            (&[Attribute::Extractable(true)], Finding::Extractable),
            (&[Attribute::Sensitive(false)], Finding::NotSensitive),
            (&[Attribute::Wrap(true)], Finding::WrapsAndDecrypts),
            (&[Attribute::Unwrap(true)], Finding::Unwraps),
            (&[Attribute::Derive(true)], Finding::Derives),
        ];
        for (otherwise, finding) in plants {
            let _ = by_hand(|session| plant(session, 9, otherwise));
            let device = softhsm.device(LABEL);
            let refusal = device.inspect().unwrap_err();
            assert_eq!(refusal, Pkcs11Fault::Key { key: kek(9), error: HsmError::Misconfigured(finding) });
            let words = refusal.to_string();
            assert!(words.contains("kek/card#9") && words.contains("CKA_"), "{words}");
            // The whole token is refused, not the one key: somebody has been at it.
            let outcome = device.session().mac(&first(KeyLabel::MAC_PAN), b"m");
            assert_eq!(outcome, Err(HsmError::Misconfigured(finding)));
            drop(device);
            by_hand(|session| session.destroy_object(find_one(session, "kek/card#00000009")).unwrap());
        }
        assert_eq!(softhsm.device(LABEL).inspect().unwrap().len(), 4);
    });
}

#[test]
fn an_imported_kek_is_refused() {
    alone("an_imported_kek_is_refused", |softhsm| {
        drop(softhsm.prepared());
        by_hand(|session| {
            session
                .create_object(&[
                    Attribute::Class(ObjectClass::SECRET_KEY),
                    Attribute::KeyType(KeyType::AES),
                    Attribute::Value(vec![0x42; 32]),
                    Attribute::Token(true),
                    Attribute::Private(true),
                    Attribute::Sensitive(true),
                    Attribute::Extractable(false),
                    Attribute::Encrypt(true),
                    Attribute::Decrypt(true),
                    Attribute::Sign(false),
                    Attribute::Wrap(false),
                    Attribute::Unwrap(false),
                    Attribute::Derive(false),
                    Attribute::Label(b"kek/card".to_vec()),
                    Attribute::Id(b"kek/card#00000009".to_vec()),
                ])
                .unwrap()
        });
        let refusal = softhsm.device(LABEL).inspect().unwrap_err();
        let Pkcs11Fault::Key { key, error: HsmError::Misconfigured(finding) } = refusal else {
            panic!("{refusal}")
        };
        assert_eq!(key, kek(9));
        let told = [Finding::NotAlwaysSensitive, Finding::NotNeverExtractable, Finding::NotLocal];
        assert!(told.contains(&finding), "{finding:?}");
    });
}

#[test]
fn a_byte_flipped_in_the_token_file_that_makes_the_kek_extractable_is_refused() {
    alone("a_byte_flipped_in_the_token_file_that_makes_the_kek_extractable_is_refused", |softhsm| {
        drop(softhsm.prepared());
        // The file is not authenticated: whoever can write it needs no PIN to set this flag.
        let mut flipped = 0;
        for token in std::fs::read_dir(softhsm.tokens()).unwrap().flatten() {
            for file in std::fs::read_dir(token.path()).unwrap().flatten() {
                let mut bytes = std::fs::read(file.path()).unwrap();
                // CKA_EXTRACTABLE (0x162) as a boolean (kind 1) that is false.
                let pattern = [0, 0, 0, 0, 0, 0, 1, 0x62, 0, 0, 0, 0, 0, 0, 0, 1, 0];
                let places = bytes.windows(pattern.len()).position(|window| window == pattern);
                let is_aes = bytes.windows(8).any(|window| window == [0, 0, 0, 0, 0, 0, 0, 0x1f]);
                if let (Some(at), true) = (places, is_aes) {
                    if let Some(byte) = bytes.get_mut(at + pattern.len() - 1) {
                        *byte = 1;
                    }
                    std::fs::write(file.path(), bytes).unwrap();
                    flipped += 1;
                }
            }
        }
        assert_eq!(flipped, 1, "the KEK's file was not found");
        let refusal = softhsm.device(LABEL).inspect().unwrap_err();
        let error = HsmError::Misconfigured(Finding::Extractable);
        assert_eq!(refusal, Pkcs11Fault::Key { key: kek(1), error });
    });
}

#[test]
fn two_keys_of_one_name_are_refused_and_named() {
    alone("two_keys_of_one_name_are_refused_and_named", |softhsm| {
        let device = softhsm.prepared();
        let session = device.session();
        session.new_data_key(&kek(1), &context(&kek(1))).unwrap();
        drop((session, device));
        let _ = by_hand(|session| plant(session, 1, &[]));
        let device = softhsm.device(LABEL);
        let refusal = device.inspect().unwrap_err();
        assert_eq!(refusal, Pkcs11Fault::Key { key: kek(1), error: HsmError::KeyAmbiguous { found: 2 } });
        assert!(refusal.to_string().contains("kek/card#1"), "{refusal}");
        let outcome = device.session().new_data_key(&kek(1), &context(&kek(1))).err();
        assert_eq!(outcome, Some(HsmError::KeyAmbiguous { found: 2 }));
    });
}

#[test]
fn a_key_that_was_given_another_keys_name_is_an_integrity_failure() {
    alone("a_key_that_was_given_another_keys_name_is_an_integrity_failure", |softhsm| {
        let device = softhsm.prepared();
        let rotated =
            KeySpec { label: KeyLabel::MAC_PAN, kind: KeyKind::Mac256, at_least: KeyVersion::FIRST };
        device.session().rotate_key(&rotated, &Approval::Caller).unwrap();
        drop(device);
        // Whoever has the PIN can rename keys: versions 1 and 2 change places.
        by_hand(|session| {
            let (one, two) = (find_one(session, "mac/pan#00000001"), find_one(session, "mac/pan#00000002"));
            session.update_attributes(one, &[Attribute::Id(b"mac/pan#00000002".to_vec())]).unwrap();
            session.update_attributes(two, &[Attribute::Id(b"mac/pan#00000001".to_vec())]).unwrap();
        });
        let session = softhsm.device(LABEL).session();
        for version in [1, 2] {
            let key = KeyLabel::MAC_PAN.at(KeyVersion::new(version).unwrap());
            assert_eq!(session.mac(&key, b"m"), Err(HsmError::Integrity));
        }
        assert!(session.mac(&first(KeyLabel::MAC_REQUEST), b"m").is_ok());
    });
}

#[test]
fn a_fence_that_somebody_took_down_by_hand_is_put_up_again() {
    alone("a_fence_that_somebody_took_down_by_hand_is_put_up_again", |softhsm| {
        let device = softhsm.prepared();
        let spec = KeySpec { label: KeyLabel::KEK_CARD, kind: KeyKind::Kek256, at_least: KeyVersion::FIRST };
        device.session().rotate_key(&spec, &Approval::Caller).unwrap();
        drop(device);
        by_hand(|session| {
            let old = find_one(session, "kek/card#00000001");
            session.update_attributes(old, &[Attribute::Encrypt(true)]).unwrap();
        });
        let device = softhsm.device(LABEL);
        let outcome = device.session().new_data_key(&kek(1), &context(&kek(1))).err();
        assert_eq!(
            outcome,
            Some(HsmError::KeyStatus { have: KeyStatus::Deactivated, need: KeyStatus::Active })
        );
        drop(device);
        let encrypts = by_hand(|session| {
            let old = find_one(session, "kek/card#00000001");
            session.get_attributes(old, &[cryptoki::object::AttributeType::Encrypt]).unwrap()
        });
        assert!(matches!(encrypts.as_slice(), [Attribute::Encrypt(false)]), "{encrypts:?}");
    });
}

#[test]
fn a_wrong_pin_is_presented_once_whatever_the_load() {
    let spy = "/usr/lib/x86_64-linux-gnu/pkcs11-spy.so";
    let name = "a_wrong_pin_is_presented_once_whatever_the_load";
    let log = tempfile::NamedTempFile::new().unwrap();
    let witness = |command: &mut std::process::Command| {
        command.env("PKCS11SPY", MODULE).env("PKCS11SPY_OUTPUT", log.path());
    };
    alone_with(name, witness, |softhsm| {
        let settings = Pkcs11Settings { module: PathBuf::from(spy), ..softhsm.settings(LABEL, "00000000") };
        let device = Pkcs11::new(settings).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let settings = QueueSettings { workers: 4, ..QueueSettings::default() };
        let queue = HsmQueue::start(settings, device.clone().sessions()).unwrap();
        runtime.block_on(async {
            let calls: Vec<_> = (0..200)
                .map(|_| {
                    let queue = queue.clone();
                    tokio::spawn(async move { queue.random(8).await.map(|bytes| bytes.len()) })
                })
                .collect();
            for call in calls {
                assert_eq!(call.await.unwrap(), Err(HsmError::AuthFailed { left: None }));
            }
        });
        assert_eq!(device.login_attempts(), 1);
        drop((queue, device));
        // Another tool between us and the library counted, too.
        let seen = std::fs::read_to_string(std::env::var_os("PKCS11SPY_OUTPUT").unwrap()).unwrap();
        assert_eq!(seen.matches(": C_Login").count(), 1, "{seen}");
    });
}

#[test]
fn somebody_elses_login_proves_no_pin() {
    alone("somebody_elses_login_proves_no_pin", |softhsm| {
        softhsm.prepared();
        // The process is logged in to a token that has no key of ours: a second device with a wrong PIN is told that
        // it is already in, and must not believe it.
        softhsm.init_token("other");
        let empty = softhsm.device("other");
        empty.prepare(&[]).unwrap();
        let wrong = Pkcs11::new(softhsm.settings("other", "00000000")).unwrap();
        assert_eq!(wrong.session().keys(&KeyFilter::default()), Err(HsmError::AuthFailed { left: None }));
    });
}

#[test]
fn a_module_that_would_be_searched_for_is_refused() {
    alone("a_module_that_would_be_searched_for_is_refused", |softhsm| {
        let with = |module: &str| {
            let module = PathBuf::from(module);
            Pkcs11::new(Pkcs11Settings { module, ..softhsm.settings(LABEL, PIN) }).err().unwrap()
        };
        let name = "libsofthsm2.so";
        assert_eq!(with(name), Pkcs11Fault::RelativeModule(PathBuf::from(name)));
        let missing = "/no/such/module.so";
        assert_eq!(with(missing), Pkcs11Fault::NoModule(PathBuf::from(missing)));
        let other = std::fs::canonicalize("/lib/x86_64-linux-gnu/libm.so.6").unwrap();
        assert_eq!(with(other.to_str().unwrap()), Pkcs11Fault::NotAModule(other));
        let label = Pkcs11Settings { token_label: "x".repeat(33), ..softhsm.settings(LABEL, PIN) };
        assert_eq!(Pkcs11::new(label).err(), Some(Pkcs11Fault::TokenLabel));
    });
}

#[test]
fn two_tokens_of_one_label_are_refused() {
    alone("two_tokens_of_one_label_are_refused", |softhsm| {
        drop(softhsm.prepared());
        softhsm.init_token(LABEL);
        let outcome = softhsm.device(LABEL).session().mac(&first(KeyLabel::MAC_PAN), b"m");
        assert_eq!(outcome, Err(HsmError::Misconfigured(Finding::TwoTokens)));
    });
}

#[test]
fn a_token_of_the_other_realm_or_of_none_is_refused() {
    alone("a_token_of_the_other_realm_or_of_none_is_refused", |softhsm| {
        let outcome = softhsm.device(LABEL).session().keys(&KeyFilter::default());
        assert_eq!(outcome, Err(HsmError::Misconfigured(Finding::NoRealm)));
        drop(softhsm.prepared());
        let live = Pkcs11Settings { realm: Realm::Live, ..softhsm.settings(LABEL, PIN) };
        let live = Pkcs11::new(live).unwrap();
        let other = HsmError::Misconfigured(Finding::OtherRealm);
        assert_eq!(live.session().keys(&KeyFilter::default()), Err(other));
        assert_eq!(live.prepare(&FOUR), Err(Pkcs11Fault::Device(other)));
    });
}

#[test]
fn preparing_again_makes_nothing() {
    alone("preparing_again_makes_nothing", |softhsm: &SoftHsm| {
        let before = softhsm.prepared().inspect().unwrap();
        let again = softhsm.device(LABEL).prepare(&FOUR).unwrap();
        assert_eq!(before, again);
        assert_eq!(before.len(), 4);
    });
}
