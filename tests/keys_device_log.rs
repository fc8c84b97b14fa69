//! The HSM writes down what is done to it, and stops when nobody takes that away: the gateway takes it, keeps it, and
//! notices when it does not fit.
#![expect(clippy::unwrap_used, reason = "test code; a failure must stop the test")]

mod support;

use audit::Action;
use hsm::Hsm;
use hsm_sim::client::{SimClient, Start, verify};
use serde_json::json;
use std::time::{Duration, Instant};
use support::{System, cards};

/// The smallest log that a device can have.
const ROOM: u16 = 62;

/// Each login of an operator is an entry.
fn fill(system: &System, entries: u16) {
    let pin = std::fs::read_to_string(system.path("hsm.pin")).unwrap();
    for _ in 0..entries {
        // The log may be full for as long as the gateway needs to take it.
        let patience = Instant::now() + Duration::from_secs(20);
        while let Err(error) = SimClient::connect(&system.socket(), pin.trim().into()).random(&mut [0; 8]) {
            assert!(Instant::now() < patience, "{error}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The stored log: the device's serial number, and numbers with entries.
async fn stored(system: &System) -> ([u8; 16], Vec<(i64, Vec<u8>)>) {
    let rows = system.rows("SELECT device, seq, entry FROM device_log ORDER BY seq", Vec::new()).await;
    let device = rows.first().unwrap().text("device").unwrap();
    let serial = u128::from_str_radix(&device, 16).unwrap().to_be_bytes();
    let entries = rows.iter().map(|row| (row.integer("seq").unwrap(), row.bytes("entry").unwrap()));
    (serial, entries.collect())
}

async fn pays(system: &System, number: u64) {
    let card = json!({ "number": cards::generated(number), "exp_month": 12, "exp_year": 2034 });
    let answer = system.post("portal", "/v1/tokens", &json!({ "card": card })).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
}

async fn warned(system: &System, code: &str) -> bool {
    let client = support::wire::plain_client();
    let ready = client.get(format!("{}/readyz", system.ops)).send().await.unwrap().text().await.unwrap();
    ready.contains(code)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hsms_log_never_fills_up_and_is_kept_whole() {
    let system = System::start_with_device_log(ROOM).await;
    for round in 0..4 {
        tokio::task::block_in_place(|| fill(&system, ROOM));
        pays(&system, 40 + round).await;
    }
    let patience = Instant::now() + Duration::from_secs(20);
    let (serial, entries) = loop {
        let (serial, entries) = stored(&system).await;
        if entries.len() > 4 * usize::from(ROOM) {
            break (serial, entries);
        }
        assert!(Instant::now() < patience, "only {} entries were stored", entries.len());
        tokio::time::sleep(Duration::from_millis(200)).await;
    };

    let mut bytes: Vec<&[u8]> = entries.iter().map(|(_, entry)| entry.as_slice()).collect();
    let whole = verify(&serial, Start::of_device(&serial), &bytes).unwrap();
    assert_eq!(whole.entries.len(), entries.len());
    assert!(entries.iter().map(|(seq, _)| *seq).eq(1..=i64::try_from(entries.len()).unwrap()));
    assert!(!warned(&system, "device_log").await);
    // What is taken out of the table is missed.
    bytes.remove(20);
    assert!(verify(&serial, Start::of_device(&serial), &bytes).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_does_not_follow_what_was_stored_is_told_and_stops_nobody() {
    let system = System::start_with_device_log(ROOM).await;
    tokio::task::block_in_place(|| fill(&system, 3));
    let patience = Instant::now() + Duration::from_secs(20);
    while system.count("SELECT COUNT(*) AS n FROM device_log").await < 3 {
        assert!(Instant::now() < patience, "too little was stored");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Somebody with the database changes the last entry that was stored.
    let change = "UPDATE device_log SET entry = (SELECT entry FROM device_log WHERE seq = 1) \
                  WHERE seq = (SELECT MAX(seq) FROM device_log)";
    system.change(change, Vec::new()).await;
    tokio::task::block_in_place(|| fill(&system, 3));
    while !warned(&system, "device_log_broken").await {
        assert!(Instant::now() < patience, "readiness does not tell");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let rows = system.rows("SELECT leaf FROM audit_entry", Vec::new()).await;
    let told = rows.iter().map(|row| audit::parse(&row.bytes("leaf").unwrap()).unwrap());
    assert_eq!(told.filter(|entry| entry.action == Action::DeviceLogBroken).count(), 1);
    pays(&system, 50).await;
}
