//! Two devices at once, while a vault moves from one to the other: every call finds the device that holds its key, new
//! keys are made on the new one, and no data key is carried across. On two real tokens.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test code; a failure must stop the test")]

mod softhsm;

use std::time::{Duration, Instant};

use hsm::{
    Approval, Context, HsmError, HsmQueue, KeyFilter, KeyInfo, KeyKind, KeyLabel, KeyRef, KeySpec, KeyStatus,
    KeyVersion, QueueSettings, Realm, SealedDataKey, WrapSuite,
};
use softhsm::{FOUR, SoftHsm, alone, first};

const NEW: &str = "new";

fn context(kek: &KeyRef) -> Context {
    Context::data_key(Realm::Test, kek, WrapSuite::Aes256GcmData, [7; 16], "clinic", "card", 1).unwrap()
}

fn queue(device: hsm::pkcs11::Pkcs11) -> HsmQueue {
    HsmQueue::start(QueueSettings { workers: 2, ..QueueSettings::default() }, device.sessions()).unwrap()
}

/// The old device with its four keys, and a new one that has none.
fn pair(softhsm: &SoftHsm) -> (HsmQueue, HsmQueue) {
    softhsm.init_token(NEW);
    let old = softhsm.prepared();
    let new = softhsm.device(NEW);
    new.prepare(&[]).unwrap();
    (queue(old), queue(new))
}

fn moving(name: &str, body: impl AsyncFnOnce(&SoftHsm, HsmQueue, HsmQueue)) {
    alone(name, |softhsm| {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let (old, new) = pair(softhsm);
            body(softhsm, old, new).await;
        });
    });
}

async fn rotate(queue: &HsmQueue, label: KeyLabel, kind: KeyKind, at_least: u32) -> KeyInfo {
    let at_least = KeyVersion::new(at_least).unwrap();
    queue.rotate_key(KeySpec { label, kind, at_least }, Approval::Caller).await.unwrap()
}

async fn seal(queue: &HsmQueue, kek: &KeyRef) -> SealedDataKey {
    queue.new_data_key(kek.clone(), context(kek)).await.unwrap().1
}

#[test]
fn every_key_is_served_by_the_device_that_holds_it() {
    moving("every_key_is_served_by_the_device_that_holds_it", async |_, old, new| {
        let before = seal(&old, &first(KeyLabel::KEK_CARD)).await;
        let fingerprint = old.mac(first(KeyLabel::MAC_PAN), b"m".to_vec().into()).await.unwrap();
        old.attach(new.clone());
        for (label, kind) in FOUR {
            let made = rotate(&old, label.clone(), kind, 2).await;
            assert_eq!(made.key, label.at(KeyVersion::new(2).unwrap()), "a key goes on counting");
        }
        // The new device has the second versions and the old one the first; together they list all eight.
        let there = new.keys(KeyFilter::default()).await.unwrap();
        assert!(there.len() == 4 && there.iter().all(|info| info.key.version.get() == 2), "{there:?}");
        let all = old.keys(KeyFilter::default()).await.unwrap();
        assert!(all.len() == 8 && all.is_sorted_by(|a, b| a.key < b.key), "{all:?}");
        let macs = old.keys(KeyFilter { label: Some(KeyLabel::MAC_PAN), kind: None }).await.unwrap();
        assert_eq!(macs.len(), 2);

        let second = KeyLabel::KEK_CARD.at(KeyVersion::new(2).unwrap());
        let after = seal(&old, &second).await;
        for sealed in [&before, &after] {
            old.open_data_key(sealed.clone(), context(&sealed.kek)).await.unwrap();
        }
        assert_eq!(old.mac(first(KeyLabel::MAC_PAN), b"m".to_vec().into()).await, Ok(fingerprint));
        let renewed = KeyLabel::MAC_PAN.at(KeyVersion::new(2).unwrap());
        assert_ne!(old.mac(renewed, b"m".to_vec().into()).await.unwrap(), fingerprint);
        old.sign(KeyLabel::SIGN_AUDIT.at(KeyVersion::new(2).unwrap()), b"m".to_vec()).await.unwrap();
        old.sign(first(KeyLabel::SIGN_AUDIT), b"m".to_vec()).await.unwrap();
        assert!(old.health().await.unwrap().operational);
        let unknown = KeyLabel::MAC_PAN.at(KeyVersion::new(9).unwrap());
        assert_eq!(old.mac(unknown, b"m".to_vec().into()).await, Err(HsmError::KeyNotFound));
    });
}

#[test]
fn no_data_key_is_carried_from_one_device_to_the_other() {
    moving("no_data_key_is_carried_from_one_device_to_the_other", async |_, old, new| {
        let (from, to) = (first(KeyLabel::KEK_CARD), KeyLabel::KEK_CARD.at(KeyVersion::new(2).unwrap()));
        let sealed = seal(&old, &from).await;
        old.attach(new);
        rotate(&old, KeyLabel::KEK_CARD, KeyKind::Kek256, 2).await;
        let outcome = old.reseal_data_key(sealed, context(&from), to.clone(), context(&to)).await;
        assert_eq!(outcome, Err(HsmError::Denied));
    });
}

#[test]
fn a_key_is_retired_and_destroyed_where_it_is() {
    moving("a_key_is_retired_and_destroyed_where_it_is", async |_, old, new| {
        let gone = first(KeyLabel::MAC_PAN);
        old.attach(new.clone());
        rotate(&old, KeyLabel::MAC_PAN, KeyKind::Mac256, 2).await;
        old.mac(gone.clone(), b"m".to_vec().into()).await.unwrap();
        old.set_status(gone.clone(), KeyStatus::Deactivated, Approval::Caller).await.unwrap();
        let record = old.destroy_key(gone.clone(), Approval::Caller).await.unwrap();
        assert_eq!(record.key, gone);
        assert!(old.mac(gone, b"m".to_vec().into()).await.is_err());
        let kept = KeyLabel::MAC_PAN.at(KeyVersion::new(2).unwrap());
        assert!(new.mac(kept, b"m".to_vec().into()).await.is_ok());
    });
}

#[test]
fn attaching_is_seen_by_every_clone_and_can_be_taken_back() {
    moving("attaching_is_seen_by_every_clone_and_can_be_taken_back", async |_, old, new| {
        let clone = old.clone();
        old.attach(new.clone());
        old.attach(new.clone());
        let made = rotate(&clone, KeyLabel::KEK_CARD, KeyKind::Kek256, 2).await.key;
        let sealed = seal(&clone, &made).await;
        assert!(clone.detach());
        assert!(!clone.detach(), "it was attached twice, or the last device was let go");
        let outcome = old.open_data_key(sealed.clone(), context(&made)).await.err();
        assert_eq!(outcome, Some(HsmError::KeyNotFound));
        // The other device was not harmed, and what it holds is found again when it is attached again.
        assert!(new.open_data_key(sealed.clone(), context(&made)).await.is_ok());
        old.attach(new);
        assert!(old.open_data_key(sealed, context(&made)).await.is_ok());
    });
}

#[test]
fn of_a_version_that_both_claim_the_older_devices_counts() {
    moving("of_a_version_that_both_claim_the_older_devices_counts", async |softhsm, old, _| {
        softhsm.init_token("third");
        let third = softhsm.device("third");
        // A token that came after the library was started is there when it is started anew, once others let go of it.
        let patience = Instant::now() + Duration::from_secs(10);
        while let Err(fault) = third.prepare(&FOUR) {
            assert!(Instant::now() < patience, "{fault}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let sealed = seal(&old, &first(KeyLabel::KEK_CARD)).await;
        old.attach(queue(third));
        assert!(old.open_data_key(sealed.clone(), context(&sealed.kek)).await.is_ok());
        assert_eq!(old.keys(KeyFilter::default()).await.unwrap().len(), 4);
    });
}

#[test]
fn one_library_serves_both_and_both_come_back_when_it_is_started_anew() {
    moving(
        "one_library_serves_both_and_both_come_back_when_it_is_started_anew",
        async |softhsm, old, new| {
            old.attach(new);
            rotate(&old, KeyLabel::MAC_PAN, KeyKind::Mac256, 2).await;
            let (one, two) = (first(KeyLabel::MAC_PAN), KeyLabel::MAC_PAN.at(KeyVersion::new(2).unwrap()));
            let mac = async |key: &KeyRef| old.mac(key.clone(), b"m".to_vec().into()).await;
            let (before_one, before_two) = (mac(&one).await, mac(&two).await);
            assert!(before_one.is_ok() && before_two.is_ok());
            for _ in 0..3 {
                softhsm.take_away();
                assert!(mac(&one).await.is_err() && mac(&two).await.is_err());
                assert!(old.keys(KeyFilter::default()).await.is_err());
                softhsm.bring_back();
                let back = Instant::now();
                while mac(&one).await != before_one || mac(&two).await != before_two {
                    assert!(back.elapsed() < Duration::from_secs(2), "not back");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        },
    );
}
