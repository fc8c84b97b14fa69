//! The promises of the device by itself, in one process: self-test, PINs, conformance.

use std::path::Path;
use std::sync::Arc;

use super::*;
use hsm::{Hsm, KeyFilter, KeyLabel, KeyVersion};

mod keylife;
mod log;
mod tickets;

pub(super) fn home(dir: &Path) -> Home {
    let home = reopened(dir);
    let mut founding = Founding::with_operator(Realm::Test, b"135790").unwrap();
    founding.add("ada", Role::Officer, b"ada-pin").unwrap();
    founding.add("grace", Role::Officer, b"grace-pin").unwrap();
    founding.add("audrey", Role::Auditor, b"audrey-pin").unwrap();
    home.initialise(founding).unwrap();
    home
}

pub(super) fn reopened(dir: &Path) -> Home {
    Home::open(&dir.join("state")).unwrap()
}

fn operator() -> AccountName {
    AccountName::operator()
}

#[test]
fn a_failed_self_test_loads_no_key_and_latches() {
    let dir = tempfile::tempdir().unwrap();
    drop(home(dir.path()));
    for spoiled in selftest::spoiled_vectors() {
        let device = Device::open_with(reopened(dir.path()), &spoiled).unwrap();
        assert!(device.keyring().live.is_empty());
        let key = KeyLabel::MAC_PAN.at(KeyVersion::FIRST);
        assert_eq!(device.mac(&key, b"m"), Err(HsmError::SelfTestFailed));
        assert_eq!(device.keys(&KeyFilter::default()), Err(HsmError::SelfTestFailed));
        assert_eq!(device.login(&operator(), b"135790"), Err(HsmError::SelfTestFailed));
        assert_eq!(device.health().unwrap().latched, Some(HsmError::SelfTestFailed));
    }
}

#[test]
fn two_thousand_wrong_pins_are_ten_comparisons() {
    let dir = tempfile::tempdir().unwrap();
    let mut device = Device::open(home(dir.path())).unwrap();
    let mut compared = 0;
    for guess in 0..2000_u32 {
        let outcome = device.login(&operator(), format!("{guess:06}").as_bytes());
        match guess {
            0..=8 => assert_eq!(outcome, Err(HsmError::AuthFailed { left: u8::try_from(9 - guess).ok() })),
            _ => assert_eq!(outcome, Err(HsmError::AuthLocked)),
        }
        // The count survives a restart, wherever it comes.
        if guess < 12 {
            compared += device.comparisons();
            drop(device);
            device = Device::open(reopened(dir.path())).unwrap();
        }
    }
    assert_eq!(compared + device.comparisons(), 10, "Argon2id ran after the lock");
    assert_eq!(device.login(&operator(), b"135790"), Err(HsmError::AuthLocked));
    // Another account is none the worse.
    let ada = AccountName::new("ada").unwrap();
    assert_eq!(device.login(&ada, b"ada-pin"), Ok(Role::Officer));
    // Two thousand refusals are a handful of entries, and every one is counted.
    let page = device.drain(Role::Auditor, 0, u16::MAX).unwrap();
    let read =
        crate::log::verify(device.serial(), crate::log::Start::of_device(device.serial()), &page.entries);
    let entries = read.unwrap().entries;
    let locked: u32 = entries
        .iter()
        .filter(|entry| entry.refused == Some(HsmError::AuthLocked))
        .map(|entry| entry.count)
        .sum();
    assert_eq!(locked, 2000 - 9 + 1);
    assert!(entries.len() < 60, "{}", entries.len());
}

#[test]
fn parallel_guesses_gain_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let device = Device::open(home(dir.path())).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let device = &device;
            scope.spawn(move || {
                for guess in 0..5 {
                    assert!(device.login(&operator(), format!("wrong-{thread}-{guess}").as_bytes()).is_err());
                }
            });
        }
    });
    assert_eq!(device.comparisons(), 10);
    assert_eq!(device.login(&operator(), b"135790"), Err(HsmError::AuthLocked));
}

#[test]
fn the_right_pin_gives_all_tries_back() {
    let dir = tempfile::tempdir().unwrap();
    let device = Device::open(home(dir.path())).unwrap();
    for _ in 0..9 {
        assert!(device.login(&operator(), b"000000").is_err());
    }
    assert_eq!(device.accounts()[0].pin_state(), PinState::FinalTry);
    assert_eq!(device.login(&operator(), b"135790"), Ok(Role::Operator));
    assert_eq!(device.login(&operator(), b"1"), Err(HsmError::AuthFailed { left: Some(MAX_TRIES - 1) }));
    assert_eq!(device.health().unwrap().pin_tries_left, Some(MAX_TRIES - 1));
}

#[test]
fn an_unknown_name_is_compared_like_a_known_one_and_not_repeated_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let device = Device::open(home(dir.path())).unwrap();
    let nobody = AccountName::new("mallory").unwrap();
    assert_eq!(device.login(&nobody, b"135790"), Err(HsmError::AuthFailed { left: None }));
    let page = device.drain(Role::Auditor, 0, 100).unwrap();
    assert!(page.entries.iter().all(|entry| !entry.windows(7).any(|window| window == b"mallory")));
}

#[test]
fn an_officer_unlocks_the_operator_and_never_an_officer() {
    let dir = tempfile::tempdir().unwrap();
    let device = Device::open(home(dir.path())).unwrap();
    let (ada, grace) = (AccountName::new("ada").unwrap(), AccountName::new("grace").unwrap());
    let who = Actor::Account(ada, Role::Officer);
    for name in [&operator(), &grace] {
        for _ in 0..10 {
            assert!(device.login(name, b"000000").is_err());
        }
        assert_eq!(device.login(name, b"135790"), Err(HsmError::AuthLocked));
    }
    assert_eq!(device.unlock(&who, &operator()), Ok(()));
    assert_eq!(device.login(&operator(), b"135790"), Ok(Role::Operator));
    assert_eq!(device.unlock(&who, &grace), Err(HsmError::Denied));
    assert_eq!(device.login(&grace, b"grace-pin"), Err(HsmError::AuthLocked));
}

#[test]
fn a_changed_pin_is_the_only_one_that_opens() {
    let dir = tempfile::tempdir().unwrap();
    let device = Device::open(home(dir.path())).unwrap();
    let wrong = device.change_pin(&operator(), b"000000", b"246802");
    assert_eq!(wrong, Err(HsmError::AuthFailed { left: Some(9) }));
    assert!(device.change_pin(&operator(), b"135790", b"2468").is_err());
    assert_eq!(device.change_pin(&operator(), b"135790", b"246802"), Ok(()));
    assert!(device.login(&operator(), b"135790").is_err());
    drop(device);
    let device = Device::open(reopened(dir.path())).unwrap();
    assert_eq!(device.login(&operator(), b"246802"), Ok(Role::Operator));
}

#[test]
fn a_zeroised_device_has_no_key_in_memory_or_on_disk_and_keeps_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let device = Device::open(home(dir.path())).unwrap();
    let public = device.log_head().unwrap().public;
    device.zeroise("case opened").unwrap();
    let mut device = Some(device);
    for _ in 0..2 {
        let device = device.take().unwrap_or_else(|| Device::open(reopened(dir.path())).unwrap());
        assert!(device.keyring().live.is_empty());
        assert_eq!(device.latched(), Some(HsmError::Tampered));
        assert_eq!(device.mac(&KeyLabel::MAC_PAN.at(KeyVersion::FIRST), b"m"), Err(HsmError::Tampered));
        // The last word covers the log up to the latch, whatever is written after it.
        let word = device.log_head().unwrap();
        let page = device.drain(Role::Auditor, 0, u16::try_from(word.counts.last).unwrap()).unwrap();
        let start = crate::log::Start::of_device(device.serial());
        let checked = crate::log::verify(device.serial(), start, &page.entries).unwrap();
        assert_eq!(checked.entries.last().unwrap().event, Event::Latched);
        assert_eq!(crate::log::verify_head(checked.end, &word, &public), Ok(()));
    }
}

pub(super) fn memory() -> Arc<Device> {
    Arc::new(Device::in_memory(Realm::Live).unwrap())
}

#[test]
fn the_in_memory_device_conforms() {
    let device = memory();
    let connect = || -> Result<Box<dyn Hsm>, HsmError> { Ok(Box::new(Arc::clone(&device))) };
    let first = |label: KeyLabel| label.at(KeyVersion::FIRST);
    let keys = hsm::conformance::TestKeys {
        realm: Realm::Live,
        kek: first(KeyLabel::KEK_CARD),
        mac: first(KeyLabel::MAC_PAN),
        other_mac: first(KeyLabel::MAC_REQUEST),
        sign: first(KeyLabel::SIGN_AUDIT),
    };
    let approve = |act: &str| tickets::agreed(&device, act);
    let report = hsm::conformance::run_all(&connect, &keys, &approve);
    assert!(report.holds() && report.skipped.is_empty(), "{report:?}");
}
