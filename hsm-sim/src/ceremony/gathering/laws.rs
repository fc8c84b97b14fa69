//! One custodian at a time, and nothing but the right shares of the right set opens.

use hsm::Realm;

use super::*;
use crate::ceremony::shamir::laws::{people, root, twin};
use crate::ceremony::split;

fn ceremony(realm: Realm, serial: [u8; 16]) -> (RootKey, Vec<Share>, Custody) {
    let root = root(4);
    let shares = split(&root, serial, realm, 3, &people(5)).unwrap();
    let custody = Custody::of(&shares, &root, 1_790_000_000).unwrap();
    (root, shares, custody)
}

#[test]
fn the_third_share_opens_and_the_first_two_do_not() {
    let (root, shares, custody) = ceremony(Realm::Test, [1; 16]);
    let mut gathering = Gathering::new(Custody::read(custody.write().as_bytes()).unwrap());
    assert!(gathering.enter(twin(&shares[4])).unwrap().is_none());
    assert!(gathering.enter(twin(&shares[0])).unwrap().is_none());
    assert_eq!(gathering.progress(), Progress { entered: 2, needed: 3 });
    let key = gathering.enter(twin(&shares[2])).unwrap().unwrap();
    assert_eq!(key.expose(), root.expose());
    assert_eq!(gathering.progress().entered, 0, "shares stay behind after the key was made");
}

#[test]
fn a_wrong_share_is_told_to_its_custodian_and_costs_the_others_nothing() {
    let (_, shares, custody) = ceremony(Realm::Test, [1; 16]);
    let (_, live, _) = ceremony(Realm::Live, [1; 16]);
    let (_, other, _) = ceremony(Realm::Test, [2; 16]);
    let (_, older, _) = ceremony(Realm::Test, [1; 16]);
    let mut gathering = Gathering::new(custody);
    gathering.enter(twin(&shares[0])).unwrap();
    for (share, why) in
        [(&live[1], "the other realm"), (&other[1], "another device"), (&older[1], "another ceremony")]
    {
        match gathering.enter(twin(share)) {
            Err(EntryError::Foreign(said)) => assert_eq!(said, why),
            _ => panic!("{why}"),
        }
    }
    assert!(matches!(gathering.enter(twin(&shares[0])), Err(EntryError::Again(_))));
    // Ben's share under Carla's name, and Carla's part altered.
    let mut renamed = twin(&shares[1]);
    renamed.custodian = "carla".parse().unwrap();
    assert!(matches!(gathering.enter(renamed), Err(EntryError::NotTheirs(_))));
    let mut altered = twin(&shares[2]);
    altered.part = secrecy::SecretBox::init_with_mut(|out: &mut [u8; 32]| out.fill(9));
    assert!(matches!(gathering.enter(altered), Err(EntryError::NotTheirs(_))));
    assert_eq!(gathering.progress().entered, 1);
    gathering.enter(twin(&shares[1])).unwrap();
    assert!(gathering.enter(twin(&shares[2])).unwrap().is_some());
}

#[test]
fn shares_do_not_wait_for_ever() {
    let (_, shares, custody) = ceremony(Realm::Test, [1; 16]);
    let mut gathering = Gathering::new(custody);
    gathering.enter(twin(&shares[0])).unwrap();
    let now = Instant::now();
    gathering.expire(now + PATIENCE - Duration::from_secs(60));
    assert_eq!(gathering.ids(), [1]);
    gathering.expire(now + PATIENCE);
    assert_eq!(gathering.progress().entered, 0);
}

#[test]
fn a_forged_share_that_fits_the_record_wipes_all() {
    let (_, shares, custody) = ceremony(Realm::Test, [1; 16]);
    let mut gathering = Gathering::new(custody);
    gathering.enter(twin(&shares[0])).unwrap();
    gathering.enter(twin(&shares[1])).unwrap();
    let mut forged = twin(&shares[2]);
    forged.mac[0] ^= 1;
    assert!(matches!(gathering.enter(forged), Err(EntryError::Combine(CombineError::Altered(_)))));
    assert_eq!(gathering.progress().entered, 0);
}

#[test]
fn an_altered_record_is_found_when_the_device_opens() {
    let (root, shares, custody) = ceremony(Realm::Test, [1; 16]);
    let text = custody.write();
    let altered = text.replace("\"emil\"", "\"eve\"");
    assert_ne!(text, altered);
    let mut gathering = Gathering::new(Custody::read(altered.as_bytes()).unwrap());
    for share in &shares[..2] {
        gathering.enter(twin(share)).unwrap();
    }
    assert!(matches!(gathering.enter(twin(&shares[2])), Err(EntryError::Custody(CustodyError::Altered))));
    // Any character of the record, changed, is no record or not this one.
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        if let Ok(read) = Custody::read(&bytes) {
            assert!(read == custody || read.confirm(&root).is_err(), "byte {at}");
        }
    }
}
