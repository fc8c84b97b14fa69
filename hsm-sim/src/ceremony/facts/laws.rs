//! A transcript that a device signed shows a ceremony, or says why it does not.

use super::*;
use crate::ceremony::shamir::laws::{people, root};
use crate::ceremony::{Custody, split};
use crate::device::primitives;

const SEED: [u8; 32] = [8; 32];

fn written(officers: &[&str]) -> String {
    let root = root(2);
    let shares = split(&root, [3; 16], Realm::Test, 3, &people(5)).unwrap();
    let custody = Custody::of(&shares, &root, 1_790_000_000).unwrap();
    let officers: Vec<String> = officers.iter().map(|name| (*name).to_owned()).collect();
    Transcript::of_split(&custody, &officers, "device", &SEED).write()
}

/// The transcript as a device would sign it after this change, which is how a forger with the key would write it.
fn altered(from: &str, to: &str) -> Transcript {
    let text = written(&["olga", "otto"]);
    assert!(text.contains(from), "{from}");
    Transcript::signed_again(&text.replace(from, to), &SEED)
}

#[test]
fn what_was_done_reads_back() {
    let text = written(&["olga", "otto"]);
    let facts = Transcript::read(&text, Some(&primitives::public_key(&SEED))).unwrap().facts().unwrap();
    assert_eq!((facts.made, facts.device, facts.realm), (1_790_000_000, [3; 16], Realm::Test));
    assert_eq!((facts.threshold, facts.shares.len()), (3, 5));
    assert_eq!(facts.officers.iter().map(AccountName::as_str).collect::<Vec<_>>(), ["olga", "otto"]);
    assert_eq!(facts.shares[4].0.as_str(), "emil");
    assert!(text.contains(&format!("share 5 emil check {}", facts.shares[4].1)));
    assert!(text.contains(&format!("root-check {}", facts.root_check)));
}

#[test]
fn one_person_alone_is_no_ceremony() {
    for officers in [&[][..], &["olga"], &["olga", "olga"]] {
        let read = Transcript::read(&written(officers), None).unwrap();
        assert_eq!(read.facts(), Err(FactsError::Officers), "{officers:?}");
    }
    assert_eq!(altered("share 4 dora", "share 4 anna").facts(), Err(FactsError::Custodians));
    assert_eq!(altered("threshold 3 of 5", "threshold 1 of 5").facts(), Err(FactsError::Threshold));
    assert_eq!(altered("threshold 3 of 5", "threshold 6 of 5").facts(), Err(FactsError::Threshold));
}

#[test]
fn lines_that_no_split_writes_are_refused() {
    for (from, to) in [
        ("act split", "act join"),
        ("threshold 3 of 5", "threshold 3 of 4"),
        ("threshold 3 of 5", "threshold 3 of 6"),
        ("share 2 ", "share 3 "),
        ("realm test", "realm demo"),
        ("officer otto", "officer Otto!"),
        ("signer device", "observer vera\nsigner device"),
    ] {
        assert_eq!(altered(from, to).facts(), Err(FactsError::Lines), "{to}");
    }
}
