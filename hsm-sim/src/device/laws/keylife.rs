//! A key's life on the device: made, rotated behind a fence, moved one way, used up, destroyed for good.

use hsm::{
    Context, Hsm, HsmError, InputFault, KeyFilter, KeyInfo, KeyKind, KeyLabel, KeyRef, KeySpec, KeyStatus,
    KeyVersion, Realm, WrapSuite,
};

use super::memory;
use super::tickets::{agreed, kek, pair, ticket};
use crate::device::uses::SEAL_LIMIT;
use crate::device::{Device, may_be_destroyed, may_become};

fn version(number: u32) -> KeyVersion {
    KeyVersion::new(number).unwrap()
}

fn context(key: &KeyRef) -> Context {
    Context::data_key(Realm::Live, key, WrapSuite::Aes256GcmData, [1; 16], "clinic", "card", 1).unwrap()
}

fn listed(device: &Device, key: &KeyRef) -> KeyInfo {
    device.keys(&KeyFilter::default()).unwrap().into_iter().find(|info| info.key == *key).unwrap()
}

fn set(device: &Device, key: &KeyRef, status: KeyStatus) -> Result<(), HsmError> {
    let act = format!("status {key} {}", status.as_str());
    device.set_status(key, status, &agreed(device, &act))
}

#[test]
fn rotating_a_kek_is_a_fence_old_seals_open_and_nothing_new_is_sealed_under_the_old() {
    let device = memory();
    let old = KeyLabel::KEK_CARD.at(version(1));
    let (key, sealed) = device.new_data_key(&old, &context(&old)).unwrap();
    let info = device.rotate_key(&kek(), &agreed(&device, "rotate kek/card")).unwrap();
    assert_eq!((info.key.version.get(), info.status), (2, KeyStatus::Active));
    let fenced = HsmError::KeyStatus { have: KeyStatus::Deactivated, need: KeyStatus::Active };
    assert_eq!(device.new_data_key(&old, &context(&old)).err(), Some(fenced));
    assert_eq!(device.open_data_key(&sealed, &context(&old)).unwrap().expose(), key.expose());
    let moved = device.reseal_data_key(&sealed, &context(&old), &info.key, &context(&info.key)).unwrap();
    assert_eq!(device.open_data_key(&moved, &context(&info.key)).unwrap().expose(), key.expose());
    assert!(listed(&device, &old).deactivated.is_some());
}

#[test]
fn no_seal_under_the_old_version_begins_after_the_rotation_was_answered() {
    let device = memory();
    let old = KeyLabel::KEK_CARD.at(version(1));
    let approval = agreed(&device, "rotate kek/card");
    let rotated = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..3000 {
                    let after = rotated.load(std::sync::atomic::Ordering::SeqCst);
                    let sealed = device.new_data_key(&old, &context(&old));
                    assert!(!(after && sealed.is_ok()), "a seal slipped through the fence");
                }
            });
        }
        device.rotate_key(&kek(), &approval).unwrap();
        rotated.store(true, std::sync::atomic::Ordering::SeqCst);
    });
}

#[test]
fn rotating_a_mac_key_keeps_the_older_versions_until_they_are_retired() {
    let device = memory();
    let spec = KeySpec { label: KeyLabel::MAC_PAN, kind: KeyKind::Mac256, at_least: KeyVersion::FIRST };
    let old = KeyLabel::MAC_PAN.at(version(1));
    let before = device.mac(&old, b"m").unwrap();
    let new = device.rotate_key(&spec, &agreed(&device, "rotate mac/pan")).unwrap().key;
    assert_eq!(device.mac(&old, b"m"), Ok(before));
    assert_ne!(device.mac(&new, b"m"), Ok(before));
    set(&device, &old, KeyStatus::Deactivated).unwrap();
    assert!(matches!(device.mac(&old, b"m"), Err(HsmError::KeyStatus { .. })));
}

#[test]
fn rotating_the_signing_key_keeps_the_old_public_half() {
    let device = memory();
    let spec =
        KeySpec { label: KeyLabel::SIGN_AUDIT, kind: KeyKind::SignEd25519, at_least: KeyVersion::FIRST };
    let old = KeyLabel::SIGN_AUDIT.at(version(1));
    let public = listed(&device, &old).public;
    device.rotate_key(&spec, &agreed(&device, "rotate sign/audit")).unwrap();
    assert!(matches!(device.sign(&old, b"m"), Err(HsmError::KeyStatus { .. })));
    device.destroy_key(&old, &agreed(&device, "destroy sign/audit#1")).unwrap();
    assert_eq!(listed(&device, &old).public, public, "old checkpoints can no longer be verified");
}

#[test]
fn every_pair_of_statuses_obeys_the_table_through_the_device() {
    use KeyStatus::{Active, Compromised, Deactivated, Destroyed, PreActive, Suspended};
    let every = [PreActive, Active, Suspended, Deactivated, Compromised, Destroyed];
    let path = |to: KeyStatus| -> &[KeyStatus] {
        match to {
            PreActive => &[],
            Active => &[Active],
            Suspended => &[Active, Suspended],
            Deactivated | Destroyed => &[Active, Deactivated],
            Compromised => &[Compromised],
        }
    };
    let device = memory();
    let context = |key: &KeyRef| context(key);
    for from in every {
        for to in every {
            let key = device.create_key(&kek(), &agreed(&device, "create kek/card")).unwrap().key;
            for step in path(from) {
                set(&device, &key, *step).unwrap();
            }
            if from == Destroyed {
                device.destroy_key(&key, &agreed(&device, &format!("destroy {key}"))).unwrap();
            }
            assert_eq!(listed(&device, &key).status, from);
            assert_eq!(
                device.new_data_key(&key, &context(&key)).is_ok(),
                from.may_protect(),
                "{from:?} seals"
            );
            assert_eq!(set(&device, &key, to).is_ok(), may_become(from, to), "{from:?} to {to:?}");
            if may_become(from, to) {
                assert_eq!(listed(&device, &key).status, to);
            }
        }
        assert_eq!(may_be_destroyed(from), matches!(from, PreActive | Deactivated | Compromised));
    }
}

#[test]
fn a_destroyed_key_is_gone_from_memory_and_disk_and_its_record_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let device = Device::open(super::home(dir.path())).unwrap();
    let officers = |act: &str| pair(ticket(&device, "ada", act, 900), ticket(&device, "grace", act, 900));
    let old = KeyLabel::MAC_PAN.at(version(1));
    let bytes = *device.keyring().live[&old].secret();
    let refused = device.destroy_key(&old, &officers("destroy mac/pan#1"));
    assert_eq!(
        refused.err(),
        Some(HsmError::KeyStatus { have: KeyStatus::Active, need: KeyStatus::Deactivated })
    );
    device.set_status(&old, KeyStatus::Deactivated, &officers("status mac/pan#1 deactivated")).unwrap();
    let record = device.destroy_key(&old, &officers("destroy mac/pan#1")).unwrap();
    let signer = listed(&device, &KeyLabel::SIGN_AUDIT.at(version(1)));
    let public: [u8; 32] = signer.public.unwrap().try_into().unwrap();
    assert!(crate::log::verify_destruction(&public, &record));
    // Nobody with a session can have that signed.
    let statement = hsm::DestructionRecord::statement(&record.key, record.at);
    assert_eq!(device.sign(&signer.key, &statement), Err(HsmError::Denied));
    let mut other = record.clone();
    other.key = KeyLabel::MAC_REQUEST.at(version(1));
    assert!(!crate::log::verify_destruction(&public, &other));
    other = record.clone();
    other.at += std::time::Duration::from_secs(1);
    assert!(!crate::log::verify_destruction(&public, &other));

    let gone = HsmError::KeyStatus { have: KeyStatus::Destroyed, need: KeyStatus::Active };
    assert_eq!(device.mac(&old, b"m"), Err(gone));
    assert_eq!(listed(&device, &old).status, KeyStatus::Destroyed);
    assert!(device.keyring().live.values().all(|object| *object.secret() != bytes));
    drop(device);
    let home = super::reopened(dir.path());
    let root = home.root_key().unwrap();
    for file in [crate::state::CURRENT_FILE, crate::state::PREVIOUS_FILE] {
        let state =
            crate::state::open(&std::fs::read(dir.path().join("state").join(file)).unwrap(), &root).unwrap();
        assert!(state.objects.iter().all(|object| *object.secret() != bytes), "{file}");
        assert_eq!(state.destroyed.len(), 1, "{file}");
    }
    drop(home);
    // The number is never given again.
    let device = Device::open(super::reopened(dir.path())).unwrap();
    assert_eq!(listed(&device, &old).status, KeyStatus::Destroyed);
    let spec = KeySpec { label: KeyLabel::MAC_PAN, kind: KeyKind::Mac256, at_least: KeyVersion::FIRST };
    let act = "rotate mac/pan";
    let approval = pair(ticket(&device, "ada", act, 900), ticket(&device, "grace", act, 900));
    assert_eq!(device.rotate_key(&spec, &approval).unwrap().key.version.get(), 2);
}

#[test]
fn a_key_goes_on_counting_where_another_device_left_off_and_not_beyond_reason() {
    let device = memory();
    let spec = |at_least| KeySpec { at_least: version(at_least), ..kek() };
    let rotate = |spec: &KeySpec| device.rotate_key(spec, &agreed(&device, "rotate kek/card"));
    assert_eq!(rotate(&spec(7)).unwrap().key.version.get(), 7);
    assert_eq!(rotate(&spec(3)).unwrap().key.version.get(), 8);
    assert_eq!(rotate(&spec(u32::MAX)), Err(HsmError::InvalidInput(InputFault::Malformed)));
    assert_eq!(rotate(&spec(9 + 1025)), Err(HsmError::InvalidInput(InputFault::Malformed)));
}

#[test]
fn the_label_that_the_officers_agreed_to_decides_the_kind() {
    let device = memory();
    let spec = KeySpec { kind: KeyKind::Mac256, ..kek() };
    assert_eq!(device.create_key(&spec, &agreed(&device, "create kek/card")), Err(HsmError::Denied));
    let label = KeyLabel::new("kek/clinic").unwrap();
    let spec = KeySpec { label: label.clone(), ..spec };
    assert_eq!(device.create_key(&spec, &agreed(&device, "create kek/clinic")), Err(HsmError::Denied));
    let spec = KeySpec { kind: KeyKind::Kek256, ..spec };
    assert!(device.create_key(&spec, &agreed(&device, "create kek/clinic")).is_ok());
    // A label that announces nothing keeps the kind of its first version.
    let stray = KeySpec { label: KeyLabel::new("stray").unwrap(), ..spec };
    device.create_key(&stray, &agreed(&device, "create stray")).unwrap();
    let other = KeySpec { kind: KeyKind::Mac256, ..stray };
    assert_eq!(device.create_key(&other, &agreed(&device, "create stray")), Err(HsmError::Denied));
}

#[test]
fn a_key_past_its_period_seals_nothing_and_opens_still() {
    let device = memory();
    let key = KeyLabel::KEK_CARD.at(version(1));
    let (made, sealed) = device.new_data_key(&key, &context(&key)).unwrap();
    let expires = listed(&device, &key).expires.unwrap();
    let left = expires.duration_since(std::time::SystemTime::now()).unwrap().as_secs();
    device.clock().skew(i64::try_from(left).unwrap() - 5);
    assert!(device.new_data_key(&key, &context(&key)).is_ok());
    device.clock().skew(i64::try_from(left).unwrap() + 5);
    let ended = HsmError::KeyStatus { have: KeyStatus::Deactivated, need: KeyStatus::Active };
    assert_eq!(device.new_data_key(&key, &context(&key)).err(), Some(ended));
    assert_eq!(listed(&device, &key).status, KeyStatus::Deactivated);
    assert_eq!(device.open_data_key(&sealed, &context(&key)).unwrap().expose(), made.expose());
    // It may be destroyed as what it is, and not be brought back.
    assert!(matches!(set(&device, &key, KeyStatus::Suspended), Err(HsmError::KeyStatus { .. })));
}

#[test]
fn a_kek_at_its_limit_seals_nothing_more_and_opens_still() {
    let device = memory();
    let key = KeyLabel::KEK_CARD.at(version(1));
    let (_, sealed) = device.new_data_key(&key, &context(&key)).unwrap();
    device.keyring().live[&key].uses.stand_at(SEAL_LIMIT - 2);
    assert!(device.new_data_key(&key, &context(&key)).is_ok());
    assert!(device.reseal_data_key(&sealed, &context(&key), &key, &context(&key)).is_ok());
    for outcome in [
        device.new_data_key(&key, &context(&key)).map(drop),
        device.reseal_data_key(&sealed, &context(&key), &key, &context(&key)).map(drop),
    ] {
        assert!(matches!(outcome, Err(HsmError::KeyStatus { .. })), "{outcome:?}");
    }
    assert!(device.open_data_key(&sealed, &context(&key)).is_ok());
    assert_eq!(listed(&device, &key).uses, Some(SEAL_LIMIT));
}

#[test]
fn a_kek_that_sealed_often_is_due_for_rotation_and_the_log_says_so_once() {
    let device = memory();
    let key = KeyLabel::KEK_CARD.at(version(1));
    device.keyring().live[&key].uses.stand_at(crate::device::uses::SEAL_ADVICE - 1);
    for _ in 0..3000 {
        device.new_data_key(&key, &context(&key)).unwrap();
    }
    let page = device.drain(crate::device::Role::Auditor, 0, 100).unwrap();
    let told = page.entries.iter().map(|bytes| crate::log::Entry::decode(bytes).unwrap());
    let advice: Vec<_> = told.filter(|entry| entry.event == crate::log::Event::UsesHigh).collect();
    assert_eq!(advice.len(), 1);
    assert_eq!(advice[0].subject, "kek/card#1");
}

#[test]
fn a_crash_counts_too_many_uses_and_never_too_few() {
    let dir = tempfile::tempdir().unwrap();
    let mut device = Device::open(super::home(dir.path())).unwrap();
    let key = KeyLabel::SIGN_AUDIT.at(version(1));
    let mut done = 0;
    for round in 0..5 {
        for _ in 0..=round * 300 {
            device.sign(&key, b"m").unwrap();
            done += 1;
        }
        // Dropped without a word: nothing is written at the end.
        drop(device);
        device = Device::open(super::reopened(dir.path())).unwrap();
        let counted = listed(&device, &key).uses.unwrap();
        assert!(counted >= done, "{counted} counted of {done}");
    }
}

#[test]
fn a_disk_that_refuses_changes_nothing_and_compares_no_pin() {
    let dir = tempfile::tempdir().unwrap();
    let device = Device::open(super::home(dir.path())).unwrap();
    let act = "rotate kek/card";
    let (first, second) = (ticket(&device, "ada", act, 900), ticket(&device, "grace", act, 900));
    let again = || pair(first.clone(), second.clone());
    // A directory where the new state is to be written: as full a disk as a test can have.
    let in_the_way = dir.path().join("state").join(crate::state::NEW_FILE);
    std::fs::create_dir(&in_the_way).unwrap();
    let broken = HsmError::Internal { code: crate::device::fault::STATE };
    let before = device.keys(&KeyFilter::default()).unwrap();
    assert_eq!(device.rotate_key(&kek(), &again()), Err(broken));
    assert_eq!(device.keys(&KeyFilter::default()).unwrap(), before);
    let (operator, compared) = (crate::device::AccountName::operator(), device.comparisons());
    assert_eq!(device.login(&operator, b"135790"), Err(broken));
    assert_eq!(device.comparisons(), compared, "a PIN was compared for nothing");
    let key = KeyLabel::SIGN_AUDIT.at(version(1));
    assert_eq!(device.sign(&key, b"m"), Err(broken), "a use that the disk does not count");
    std::fs::remove_dir(&in_the_way).unwrap();
    assert!(device.sign(&key, b"m").is_ok());
    assert_eq!(device.rotate_key(&kek(), &again()).unwrap().key.version.get(), 2);
    assert!(device.login(&operator, b"135790").is_ok());
}
