//! Two officers, two tickets, one act, once, in time; nothing else moves a key.

use hsm::{Approval, Hsm, HsmError, KeyKind, KeyLabel, KeySpec, KeyVersion};
use zeroize::Zeroizing;

use super::memory;
use crate::device::{Account, AccountName, Act, Device, PinVerifier, Role};

pub(super) fn ticket(device: &Device, officer: &str, act: &str, seconds: u32) -> Vec<u8> {
    device.approve(&AccountName::new(officer).unwrap(), act, seconds).unwrap()
}

pub(super) fn pair(first: Vec<u8>, second: Vec<u8>) -> Approval {
    Approval::Tickets { first: Zeroizing::new(first), second: Zeroizing::new(second) }
}

pub(super) fn agreed(device: &Device, act: &str) -> Approval {
    pair(ticket(device, "first", act, 900), ticket(device, "second", act, 900))
}

pub(super) fn kek() -> KeySpec {
    KeySpec { label: KeyLabel::KEK_CARD, kind: KeyKind::Kek256, at_least: KeyVersion::FIRST }
}

#[test]
fn two_officers_agree_and_the_act_is_done_once() {
    let device = memory();
    let approval = agreed(&device, "create kek/card");
    assert_eq!(device.create_key(&kek(), &approval).unwrap().key.version.get(), 2);
    assert_eq!(device.create_key(&kek(), &approval), Err(HsmError::Denied), "a ticket was used twice");
}

#[test]
fn whatever_is_not_two_tickets_of_two_officers_for_this_act_is_denied() {
    let device = memory();
    let act = "create kek/card";
    let one = || ticket(&device, "first", act, 900);
    let two = || ticket(&device, "second", act, 900);
    let same = one();
    let foreign = memory();
    let forged = |bit: usize| {
        let mut bytes = two();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    };
    let mut longer = two();
    longer.push(0);
    let mut attempts = vec![
        Approval::Caller,
        pair(same.clone(), same),
        pair(one(), one()),
        pair(one(), Vec::new()),
        pair(one(), longer),
        pair(one(), ticket(&device, "second", "rotate kek/card", 900)),
        pair(one(), ticket(&device, "second", "create mac/pan", 900)),
        pair(one(), ticket(&foreign, "second", act, 900)),
    ];
    attempts.extend((0..two().len() * 8).step_by(3).map(|bit| pair(one(), forged(bit))));
    attempts.extend((0..two().len()).map(|len| pair(two()[..len].to_vec(), one())));
    for approval in &attempts {
        assert_eq!(device.create_key(&kek(), approval), Err(HsmError::Denied));
    }
    assert!(device.create_key(&kek(), &pair(two(), one())).is_ok(), "the right two tickets still do");
}

#[test]
fn a_ticket_ends_at_its_time() {
    let device = memory();
    let approval = agreed(&device, "create kek/card");
    device.clock().skew(900);
    assert_eq!(device.create_key(&kek(), &approval), Err(HsmError::Denied));
    device.clock().skew(895);
    assert!(device.create_key(&kek(), &approval).is_ok());
}

#[test]
fn a_used_ticket_stays_used_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let device = Device::open(super::home(dir.path())).unwrap();
    let act = "create kek/card";
    let (first, second) = (ticket(&device, "ada", act, 900), ticket(&device, "grace", act, 900));
    let again = || pair(first.clone(), second.clone());
    assert!(device.create_key(&kek(), &again()).is_ok());
    drop(device);
    let device = Device::open(super::reopened(dir.path())).unwrap();
    assert_eq!(device.create_key(&kek(), &again()), Err(HsmError::Denied));
    assert_eq!(device.keys(&hsm::KeyFilter::default()).unwrap().len(), 5);
}

#[test]
fn tickets_survive_a_restart_and_a_refused_act_does_not_use_them_up() {
    let dir = tempfile::tempdir().unwrap();
    let device = Device::open(super::home(dir.path())).unwrap();
    let act = "destroy kek/card#1";
    let (first, second) = (ticket(&device, "ada", act, 900), ticket(&device, "grace", act, 900));
    let again = || pair(first.clone(), second.clone());
    let key = KeyLabel::KEK_CARD.at(KeyVersion::FIRST);
    assert!(matches!(device.destroy_key(&key, &again()), Err(HsmError::KeyStatus { .. })));
    let rotate = "rotate kek/card";
    let tickets = pair(ticket(&device, "ada", rotate, 900), ticket(&device, "grace", rotate, 900));
    device.rotate_key(&kek(), &tickets).unwrap();
    drop(device);
    let device = Device::open(super::reopened(dir.path())).unwrap();
    assert!(device.destroy_key(&key, &again()).is_ok());
}

#[test]
fn only_an_act_in_its_one_spelling_gets_a_ticket_and_no_longer_than_a_day() {
    let device = memory();
    let officer = AccountName::new("first").unwrap();
    for act in ["", "create", "anything", "destroy kek/card", "status kek/card#1 gone", "Create kek/card"] {
        assert!(matches!(device.approve(&officer, act, 900), Err(HsmError::InvalidInput(_))), "{act}");
    }
    for seconds in [0, 86_401, u32::MAX] {
        assert!(matches!(
            device.approve(&officer, "rotate kek/card", seconds),
            Err(HsmError::InvalidInput(_))
        ));
    }
    assert!(device.approve(&officer, "rotate kek/card", 86_400).is_ok());
}

#[test]
fn a_ticket_of_somebody_who_is_no_officer_is_worth_nothing() {
    let device = memory();
    let act = Act::Create(KeyLabel::KEK_CARD);
    {
        let mut ledger = device.ledger();
        let name = AccountName::new("upstart").unwrap();
        let account = Account::new(name, Role::Operator, PinVerifier::unusable().unwrap());
        ledger.accounts.push(account);
    }
    // The session refuses to give an operator a ticket at all; were there one all the same, it carries nothing.
    let stray = ticket(&device, "upstart", &act.to_string(), 900);
    let good = ticket(&device, "first", &act.to_string(), 900);
    assert_eq!(device.create_key(&kek(), &pair(good, stray)), Err(HsmError::Denied));
}

#[test]
fn a_used_ticket_is_not_used_again_by_setting_the_clock_back() {
    let device = memory();
    let act = "create kek/card";
    let (first, second) = (ticket(&device, "first", act, 900), ticket(&device, "second", act, 900));
    let again = || pair(first.clone(), second.clone());
    device.create_key(&kek(), &again()).unwrap();
    // Past their expiry the device forgets them; another act makes it write.
    device.clock().skew(1000);
    device.create_key(&kek(), &agreed(&device, act)).unwrap();
    assert!(device.ledger().spent.tickets.len() == 2);
    device.clock().skew(0);
    assert_eq!(device.create_key(&kek(), &again()), Err(HsmError::Denied));
}
