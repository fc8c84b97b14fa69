//! What a page comes to, whichever gateway brings it and however late: on a real store, with a real device's log.

use super::shelf::{Finding, Kept, Stored, keep, stored};
use super::{Head, Place, heads};
use crate::keys::KeysError;
use crate::record::Recorder;
use audit::{Action, LogName};
use hsm::DeviceLogPage;
use hsm_sim::log::{Actor, Event, LogCounts, LogPolicy, Note, Ring, SignedHead};
use store::Store;

const FITS: Kept = Kept::Stored(None);

struct House {
    _folder: tempfile::TempDir,
    store: Store,
    place: Place,
}

/// A device's log, apart from the device.
#[derive(Clone)]
struct Log(Ring);

impl House {
    async fn open() -> House {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("t.db").display());
        let store = Store::open(&url, store::Settings::default()).await.unwrap();
        let place = Place { device: "0a".repeat(16), serial: [10; 16] };
        House { _folder: folder, store, place }
    }

    async fn seen(&self) -> Stored {
        stored(&mut self.store.read().await.unwrap(), &self.place).await.unwrap()
    }

    async fn keep(&self, seen: Stored, page: DeviceLogPage) -> Kept {
        let recorder = Recorder::new(LogName::parse("north").unwrap());
        let place = self.place.clone();
        let kept: Result<Kept, KeysError> = self
            .store
            .commit(move |work| Box::pin(async move { keep(work, &recorder, &place, &seen, &page).await }))
            .await;
        kept.unwrap()
    }

    /// Timeline and number of every stored entry.
    async fn rows(&self) -> Vec<(i64, i64)> {
        let sql = "SELECT timeline, seq FROM device_log ORDER BY timeline, seq";
        let rows = self.store.read().await.unwrap().fetch_all(sql, vec![]).await.unwrap();
        rows.iter().map(|row| (row.integer("timeline").unwrap(), row.integer("seq").unwrap())).collect()
    }

    async fn recorded(&self) -> Vec<Action> {
        let sql = "SELECT leaf FROM audit_entry ORDER BY position";
        let rows = self.store.read().await.unwrap().fetch_all(sql, vec![]).await.unwrap();
        rows.iter().map(|row| audit::parse(&row.bytes("leaf").unwrap()).unwrap().action).collect()
    }
}

impl Log {
    fn new(house: &House) -> Log {
        Log(Ring::new(&house.place.serial, LogPolicy::default()))
    }

    fn write(&mut self, house: &House, entries: u64, subject: &str) {
        for _ in 0..entries {
            let note = Note {
                actor: Actor::Device,
                event: Event::Boot,
                subject: subject.to_owned(),
                refused: None,
                count: 1,
            };
            self.0.append(&house.place.serial, 7, note);
        }
    }

    /// What the device gives to one who has everything up to `safe`.
    fn drain(&mut self, house: &House, safe: u64) -> DeviceLogPage {
        self.0.acknowledge(&house.place.serial, safe).unwrap();
        let (entries, last) = self.0.page(safe, 256, 48 * 1024);
        DeviceLogPage { entries, last, head: self.0.head }
    }
}

#[tokio::test]
async fn a_gateway_that_is_late_with_its_page_finds_nothing_wrong() {
    let house = House::open().await;
    let mut log = Log::new(&house);
    let before = house.seen().await;
    log.write(&house, 5, "");
    let late = log.drain(&house, 0);
    log.write(&house, 3, "");
    assert_eq!(house.keep(before, log.drain(&house, 0)).await, FITS);
    // The same entries again, and fewer than are stored by now.
    assert_eq!(house.keep(before, late).await, FITS);
    // What the device has forgotten since, because the other gateway has it.
    log.write(&house, 2, "");
    assert_eq!(house.keep(before, log.drain(&house, 8)).await, FITS);
    assert_eq!(house.rows().await, (1..=10).map(|seq| (1, seq)).collect::<Vec<_>>());
    assert_eq!(house.recorded().await, []);
}

#[tokio::test]
async fn entries_that_somebody_else_took_are_a_gap_once() {
    let house = House::open().await;
    let mut log = Log::new(&house);
    log.write(&house, 3, "");
    assert_eq!(house.keep(house.seen().await, log.drain(&house, 0)).await, FITS);
    log.write(&house, 4, "");
    let page = log.drain(&house, 5);
    assert_eq!(house.keep(house.seen().await, page.clone()).await, Kept::Stored(Some(Finding::Gap)));
    assert_eq!(house.keep(house.seen().await, page).await, FITS);
    assert_eq!(house.rows().await, [1, 2, 3, 6, 7].map(|seq| (1, seq)));
    assert_eq!(house.recorded().await, [Action::DeviceLogGap]);
}

#[tokio::test]
async fn another_entry_under_a_stored_number_is_broken_and_both_are_kept() {
    let house = House::open().await;
    let mut log = Log::new(&house);
    log.write(&house, 3, "");
    let mut other = log.clone();
    log.write(&house, 2, "one account");
    other.write(&house, 2, "another account");
    assert_eq!(house.keep(house.seen().await, log.drain(&house, 0)).await, FITS);
    let seen = house.seen().await;
    let differs = Kept::Stored(Some(Finding::Broken("entry_differs")));
    assert_eq!(house.keep(seen, other.drain(&house, 0)).await, differs);
    assert_eq!(house.rows().await, [(1, 1), (1, 2), (1, 3), (1, 4), (1, 5), (2, 4), (2, 5)]);
    // The other gateway had looked before; it looks again instead of finding the same once more.
    assert_eq!(house.keep(seen, other.drain(&house, 0)).await, Kept::Overtaken);
    other.write(&house, 1, "");
    assert_eq!(house.keep(house.seen().await, other.drain(&house, 5)).await, FITS);
    assert_eq!(house.recorded().await, [Action::DeviceLogBroken]);
}

#[tokio::test]
async fn a_device_that_was_set_back_is_told_from_a_page_that_is_old() {
    let house = House::open().await;
    let mut log = Log::new(&house);
    let before = house.seen().await;
    log.write(&house, 5, "");
    let (mut set_back, old) = (log.clone(), log.drain(&house, 0));
    log.write(&house, 7, "");
    assert_eq!(house.keep(before, log.drain(&house, 0)).await, FITS);
    assert_eq!(house.keep(before, old).await, FITS);
    // Asked after twelve entries were stored, the device has seven.
    set_back.write(&house, 2, "after the restart");
    let seen = house.seen().await;
    let kept = house.keep(seen, set_back.drain(&house, 0)).await;
    assert_eq!(kept, Kept::Stored(Some(Finding::SetBack)));
    assert_eq!(house.keep(house.seen().await, set_back.drain(&house, 7)).await, FITS);
    set_back.write(&house, 1, "");
    assert_eq!(house.keep(house.seen().await, set_back.drain(&house, 7)).await, FITS);
    let rows = house.rows().await;
    assert_eq!(rows.get(12..), Some(&[(2, 6), (2, 7), (2, 8)][..]));
    assert_eq!(house.recorded().await, [Action::DeviceLogSetBack]);
}

#[tokio::test]
async fn a_device_that_was_set_back_and_stays_silent_is_found_once() {
    let house = House::open().await;
    let mut log = Log::new(&house);
    log.write(&house, 3, "");
    let mut set_back = log.clone();
    log.write(&house, 3, "");
    assert_eq!(house.keep(house.seen().await, log.drain(&house, 0)).await, FITS);
    let silent = set_back.drain(&house, 3);
    assert!(silent.entries.is_empty());
    let kept = house.keep(house.seen().await, silent.clone()).await;
    assert_eq!(kept, Kept::Stored(Some(Finding::SetBack)));
    assert_eq!(house.keep(house.seen().await, silent).await, FITS);
    set_back.write(&house, 1, "");
    assert_eq!(house.keep(house.seen().await, set_back.drain(&house, 3)).await, FITS);
    assert_eq!(house.rows().await.last(), Some(&(2, 4)));
    assert_eq!(house.recorded().await, [Action::DeviceLogSetBack]);
}

#[tokio::test]
async fn a_page_that_does_not_follow_is_kept_and_broken() {
    let house = House::open().await;
    let mut log = Log::new(&house);
    log.write(&house, 3, "");
    assert_eq!(house.keep(house.seen().await, log.drain(&house, 0)).await, FITS);
    let mut other = Log::new(&house);
    other.write(&house, 5, "another history");
    let kept = house.keep(house.seen().await, other.drain(&house, 3)).await;
    assert_eq!(kept, Kept::Stored(Some(Finding::Broken("chain_broken"))));
    assert_eq!(house.rows().await.len(), 5);
    assert_eq!(house.recorded().await, [Action::DeviceLogBroken]);
}

#[tokio::test]
async fn a_head_that_the_device_did_not_sign_is_not_kept() {
    let house = House::open().await;
    let mut log = Log::new(&house);
    log.write(&house, 3, "");
    assert_eq!(house.keep(house.seen().await, log.drain(&house, 0)).await, FITS);
    let counts = LogCounts { last: 3, acknowledged: 0, unlogged_boots: 0, unlogged_events: 0 };
    let forged = SignedHead {
        serial: house.place.serial,
        counts,
        head: log.0.head,
        public: [3; 32],
        signature: [9; 64],
    };
    for (last, serial) in [(3, house.place.serial), (9, house.place.serial), (3, [1; 16])] {
        let counts = LogCounts { last, ..counts };
        let signed = SignedHead { serial, counts, ..forged.clone() }.encode();
        let place = house.place.clone();
        let kept: Result<Head, KeysError> = house
            .store
            .commit(move |work| Box::pin(async move { heads::keep(work, &place, 1, &signed).await }))
            .await;
        assert_eq!(kept.unwrap(), Head::Not(Finding::Broken("head_signature")));
    }
    assert_eq!(house.seen().await.head, None);
}
