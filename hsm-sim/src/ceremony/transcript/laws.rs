//! A transcript proves what it says to whoever knows the device's key.

use super::*;
use crate::ceremony::shamir::laws::{people, root};
use crate::ceremony::split;

fn transcript() -> Transcript {
    let root = root(2);
    let shares = split(&root, [3; 16], hsm::Realm::Test, 3, &people(5)).unwrap();
    let custody = Custody::of(&shares, &root, 1_790_000_000).unwrap();
    Transcript::of_split(&custody, &["olga".to_owned(), "otto".to_owned()], "sign/audit#1", &[8; 32])
}

#[test]
fn it_reads_back_and_names_everybody_and_no_part_of_the_key() {
    let written = transcript().write();
    let read = Transcript::read(&written, Some(&primitives::public_key(&[8; 32]))).unwrap();
    assert_eq!(read.write(), written);
    for word in
        ["officer olga", "officer otto", "threshold 3 of 5", "share 5 emil check", "realm test", "2026-09-21"]
    {
        assert!(written.contains(word), "{word}: {written}");
    }
    assert!(!written.contains(&to_hex(root(2).expose().first_chunk::<8>().unwrap())));
}

#[test]
fn any_bit_altered_is_noticed() {
    let written = transcript().write();
    for at in 0..written.len() * 8 {
        let mut bytes = written.clone().into_bytes();
        bytes[at / 8] ^= 1 << (at % 8);
        if let Ok(text) = String::from_utf8(bytes) {
            assert!(Transcript::read(&text, None).is_err(), "bit {at}");
        }
    }
}

#[test]
fn another_devices_signature_is_not_taken_for_this_ones() {
    let written = transcript().write();
    assert_eq!(
        Transcript::read(&written, Some(&primitives::public_key(&[9; 32]))),
        Err(TranscriptError::OtherKey)
    );
}
