//! The device's log: whole or found out, full and then nothing else is done, taken away by whom the device allows.

use hsm::{Hsm, HsmError, KeyLabel, KeyVersion};

use super::memory;
use super::tickets::{agreed, kek, pair, ticket};
use crate::device::{AccountName, Command, Device, Founding, Realm, Role};
use crate::log::{Actor, Broken, Entry, Event, LogPolicy, SignedHead, Start, verify, verify_head};

fn some_history(device: &Device) -> Vec<Vec<u8>> {
    for _ in 0..3 {
        device.rotate_key(&kek(), &agreed(device, "rotate kek/card")).unwrap();
    }
    device.drain(Role::Auditor, 0, u16::MAX).unwrap().entries
}

#[test]
fn the_whole_log_verifies_and_tells_what_was_done() {
    let device = memory();
    let entries = some_history(&device);
    let checked = verify(device.serial(), Start::of_device(device.serial()), &entries).unwrap();
    let head = device.log_head().unwrap();
    assert_eq!(verify_head(checked.end, &head, &head.public), Ok(()));
    let told: Vec<_> = checked.entries.iter().map(|entry| (entry.event, entry.subject.as_str())).collect();
    let approve = (Event::Command(Command::Approve), "rotate kek/card");
    assert_eq!(told[..3], [approve, approve, (Event::Command(Command::RotateKey), "rotate kek/card")]);
}

#[test]
fn a_signed_head_travels_whole_or_not_at_all_and_no_bit_of_it_changes_unnoticed() {
    let device = memory();
    let entries = some_history(&device);
    let end = verify(device.serial(), Start::of_device(device.serial()), &entries).unwrap().end;
    let signed = device.signed_log_head().unwrap().signed;
    let public = device.log_head().unwrap().public;
    assert_eq!(SignedHead::decode(&signed), Some(device.log_head().unwrap()));
    assert_eq!(SignedHead::decode(&signed[1..]), None);
    assert_eq!(SignedHead::decode(&[&signed[..], &[0]].concat()), None);
    for bit in 0..signed.len() * 8 {
        let mut altered = signed.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let noticed =
            SignedHead::decode(&altered).is_none_or(|head| verify_head(end, &head, &public).is_err());
        assert!(noticed, "bit {bit}");
    }
}

#[test]
fn whatever_is_left_out_swapped_or_altered_is_found() {
    let device = memory();
    let entries = some_history(&device);
    let start = Start::of_device(device.serial());
    let found = |entries: &[Vec<u8>]| verify(device.serial(), start, entries).is_err();
    for at in 0..entries.len() {
        let mut without = entries.clone();
        without.remove(at);
        let head = device.log_head().unwrap();
        let cut = verify(device.serial(), start, &without)
            .map_or(true, |checked| verify_head(checked.end, &head, &head.public).is_err());
        assert!(cut, "entry {at} was left out unnoticed");
        if at > 0 {
            let mut swapped = entries.clone();
            swapped.swap(at - 1, at);
            assert!(found(&swapped));
        }
        for bit in 0..entries[at].len() * 8 {
            let mut altered = entries.clone();
            altered[at][bit / 8] ^= 1 << (bit % 8);
            let head = device.log_head().unwrap();
            let noticed = verify(device.serial(), start, &altered)
                .map_or(true, |checked| verify_head(checked.end, &head, &head.public).is_err());
            assert!(noticed, "entry {at}, bit {bit}");
        }
        let mut doubled = entries.clone();
        doubled.insert(at, entries[at].clone());
        assert!(found(&doubled));
    }
    // Another device's log, however well made, is not this one's.
    let other = memory();
    let theirs = some_history(&other);
    assert_eq!(verify(device.serial(), start, &theirs), Err(Broken::Unlinked(1)));
    // And another device's head is not this one's word.
    let head = other.log_head().unwrap();
    let end = verify(other.serial(), Start::of_device(other.serial()), &theirs).unwrap().end;
    assert_eq!(verify_head(end, &head, &device.log_head().unwrap().public), Err(Broken::Signature));
}

#[test]
fn a_forged_log_with_new_hashes_does_not_match_the_signed_head() {
    let device = memory();
    let entries = some_history(&device);
    // Whoever has the program can chain entries anew; nobody but the device can sign the head.
    let mut ring = crate::log::Ring::new(device.serial(), LogPolicy::default());
    for bytes in &entries[1..] {
        let entry = Entry::decode(bytes).unwrap();
        let Entry { at, actor, event, subject, refused, count, .. } = entry;
        ring.append(device.serial(), at, crate::log::Note { actor, event, subject, refused, count });
    }
    let forged: Vec<_> = ring.entries.iter().map(|entry| entry.to_vec()).collect();
    let end = verify(device.serial(), Start::of_device(device.serial()), &forged).unwrap().end;
    let head = device.log_head().unwrap();
    assert!(matches!(verify_head(end, &head, &head.public), Err(Broken::NotTheHead { .. })));
}

fn small(dir: &std::path::Path, blocks: bool, operator_drains: bool) -> Device {
    let home = super::reopened(dir);
    let mut founding = Founding::with_operator(Realm::Test, b"135790").unwrap();
    founding.add("ada", Role::Officer, b"ada-pin").unwrap();
    founding.add("grace", Role::Officer, b"grace-pin").unwrap();
    founding.log = LogPolicy { capacity: 62, blocks, operator_drains };
    home.initialise(founding).unwrap();
    Device::open(home).unwrap()
}

fn fill(device: &Device) -> u32 {
    let ada = AccountName::new("ada").unwrap();
    let mut done = 0;
    while device.approve(&ada, "rotate kek/card", 900).is_ok() && done < 200 {
        done += 1;
    }
    done
}

#[test]
fn a_full_log_stops_the_device_until_it_is_taken_away() {
    let dir = tempfile::tempdir().unwrap();
    let device = small(dir.path(), true, true);
    let act = "rotate kek/card";
    let early = pair(ticket(&device, "ada", act, 900), ticket(&device, "grace", act, 900));
    assert_eq!(fill(&device), 62 - 3);
    assert!(device.log_full());
    assert_eq!(device.rotate_key(&kek(), &early), Err(HsmError::LogFull));
    assert!(!device.health().unwrap().operational);
    // Starts and logins that find it full are counted, and the count is signed.
    drop(device);
    let device = Device::open(super::reopened(dir.path())).unwrap();
    let operator = AccountName::operator();
    assert_eq!(device.login(&operator, b"135790"), Ok(Role::Operator));
    let head = device.log_head().unwrap();
    assert_eq!((head.counts.unlogged_boots, head.counts.unlogged_events), (1, 1));
    // Looking is not taking away.
    let page = device.drain(Role::Operator, 0, 10).unwrap();
    assert_eq!((page.entries.len(), page.last), (10, 10));
    assert!(device.log_full());
    // Saying what one has is.
    let rest = device.drain(Role::Operator, page.last, u16::MAX).unwrap();
    assert!(!device.log_full());
    assert_eq!(rest.entries.len(), 52);
    let start = Start::of_device(device.serial());
    let first = verify(device.serial(), start, &page.entries).unwrap().end;
    assert!(verify(device.serial(), first, &rest.entries).is_ok(), "two pages do not make one log");
    assert_eq!(device.rotate_key(&kek(), &early).unwrap().key.version.get(), 2);
    assert_eq!(
        device.drain(Role::Operator, 10_000, 1).err(),
        Some(HsmError::InvalidInput(hsm::InputFault::Malformed))
    );
}

#[test]
fn a_log_that_overwrites_never_stops_the_device_and_the_gap_shows() {
    let dir = tempfile::tempdir().unwrap();
    let device = small(dir.path(), false, true);
    assert_eq!(fill(&device), 200);
    let page = device.drain(Role::Auditor, 0, u16::MAX).unwrap();
    assert_eq!(page.entries.len(), 62);
    let outcome = verify(device.serial(), Start::of_device(device.serial()), &page.entries);
    assert!(matches!(outcome, Err(Broken::OutOfOrder { expected: 1, .. })));
}

#[test]
fn the_operator_takes_the_log_away_only_where_the_device_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let device = small(dir.path(), true, false);
    assert_eq!(device.drain(Role::Operator, 0, 1), Err(HsmError::Denied));
    assert!(device.drain(Role::Auditor, 0, 1).is_ok());
}

#[test]
fn repeats_of_a_refusal_are_one_entry_and_a_count() {
    let device = memory();
    let who = Actor::Account(AccountName::operator(), Role::Operator);
    let event = Event::Command(Command::OpenDataKey);
    // Two that take turns are no way around it.
    for turn in 0..1000 {
        let subject = if turn % 2 == 0 { "kek/card#1" } else { "kek/card#2" };
        device.refuse(who.clone(), event, subject, HsmError::Integrity);
    }
    let page = device.drain(Role::Auditor, 0, 100).unwrap();
    let entries: Vec<_> = page.entries.iter().map(|bytes| Entry::decode(bytes).unwrap()).collect();
    let counts: Vec<_> = entries.iter().map(|entry| (entry.subject.as_str(), entry.count)).collect();
    assert_eq!(counts, [("kek/card#1", 1), ("kek/card#2", 1), ("kek/card#1", 499), ("kek/card#2", 499)]);
    // Nor are many different ones a way to lose a count.
    for turn in 0..200_u32 {
        device.refuse(who.clone(), event, &format!("kek/card#{}", 10 + turn % 40), HsmError::Integrity);
    }
    let page = device.drain(Role::Auditor, 4, 1000).unwrap();
    let counts = page.entries.iter().map(|bytes| Entry::decode(bytes).unwrap().count);
    assert_eq!(counts.sum::<u32>(), 200);
    // After a minute the next one is written at once again, with the count before it.
    let (last, subject) = (page.last, "kek/card#7");
    for _ in 0..3 {
        device.refuse(who.clone(), event, subject, HsmError::Integrity);
    }
    device.clock().skew(61);
    device.refuse(who.clone(), event, subject, HsmError::Integrity);
    let page = device.drain(Role::Auditor, last, 1000).unwrap();
    let counts: Vec<_> = page.entries.iter().map(|bytes| Entry::decode(bytes).unwrap().count).collect();
    assert_eq!(counts, [1, 2, 1]);
}

#[test]
fn the_log_survives_a_restart_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut device = Device::open(super::home(dir.path())).unwrap();
    for _ in 0..3 {
        drop(device);
        device = Device::open(super::reopened(dir.path())).unwrap();
    }
    let page = device.drain(Role::Auditor, 0, 100).unwrap();
    let checked = verify(device.serial(), Start::of_device(device.serial()), &page.entries).unwrap();
    assert_eq!(checked.entries.iter().filter(|entry| entry.event == Event::Boot).count(), 4);
    assert!(device.mac(&KeyLabel::MAC_PAN.at(KeyVersion::FIRST), b"m").is_ok());
}
