//! What a signing key signed is verified for ever: the public half of every version is kept when the version is
//! rotated, destroyed, or left behind on another device, and the audit log carries it too.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot be set up must fail")]

#[allow(dead_code, clippy::allow_attributes, reason = "each test program uses the part that it needs")]
#[path = "keys_migration/houses.rs"]
mod houses;
mod support;

use audit::{Action, Outcome, Resource};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use houses::To;
use hsm::{DestructionRecord, Hsm, KeyLabel, KeyRef, KeyVersion};
use hsm_sim::client::SimClient;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};
use support::{System, process};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

fn signing_key(version: u32) -> KeyRef {
    KeyLabel::SIGN_AUDIT.at(KeyVersion::new(version).unwrap())
}

/// The signing keys as an auditor sees them, by version.
async fn halves(system: &System) -> Vec<Value> {
    let listed = system.get("auditor", "/v1/keys").await;
    assert_eq!(listed.status, 200, "{}", listed.text);
    listed.json()["signing_keys"].as_array().unwrap().clone()
}

fn public(half: &Value) -> [u8; 32] {
    STANDARD.decode(half["public_key"].as_str().unwrap()).unwrap().try_into().unwrap()
}

/// Whether the half of that version, as it is listed, verifies the signature.
async fn verifies(system: &System, version: u64, message: &[u8], signature: &[u8]) -> bool {
    let halves = halves(system).await;
    let half = halves.iter().find(|half| half["name"] == "sign/audit" && half["version"] == version).unwrap();
    assert_eq!(half["algorithm"], "ed25519");
    let key = VerifyingKey::from_bytes(&public(half)).unwrap();
    key.verify_strict(message, &Signature::from_slice(signature).unwrap()).is_ok()
}

/// The gateway's device signs with that version, as it does for the gateway.
fn signed(system: &System, version: u32, message: &[u8]) -> [u8; 64] {
    let pin = std::fs::read_to_string(system.path("hsm.pin")).unwrap();
    let client = SimClient::connect(&system.socket(), SecretString::from(pin.trim()));
    client.sign(&signing_key(version), message).unwrap()
}

/// Bytes spelt in the letters a to p.
fn spelt(text: &str) -> Vec<u8> {
    let nibbles: Vec<u8> = text.bytes().map(|letter| letter - b'a').collect();
    nibbles.chunks_exact(2).map(|two| two[0] << 4 | two[1]).collect()
}

/// What the log says of signing keys.
async fn recorded(system: &System) -> Vec<(u32, [u8; 32], Outcome)> {
    let rows = system.rows("SELECT leaf FROM audit_entry ORDER BY position", Vec::new()).await;
    let entries = rows.iter().map(|row| audit::parse(&row.bytes("leaf").unwrap()).unwrap());
    entries
        .filter(|entry| entry.action == Action::SigningKeySeen)
        .filter_map(|entry| match entry.resource {
            Resource::SigningKey { version, public, .. } => Some((version, public, entry.outcome)),
            _ => None,
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_still_verifies_after_its_key_was_rotated_destroyed_and_left_behind() {
    let mut system = System::start().await;
    houses::token(&mut system);
    houses::restart(&mut system).await;
    let message = b"pangate-test\n41\nroot\n";
    let signature = signed(&system, 1, message);
    assert!(verifies(&system, 1, message, &signature).await);
    assert!(!verifies(&system, 1, b"pangate-test\n42\nroot\n", &signature).await);

    // Rotated, which retires the old version in the same step.
    let job = system.rotate("sign/audit").await;
    system.job_done(job["id"].as_str().unwrap()).await;
    assert_eq!(system.versions("sign/audit").await[0]["status"], "deactivated");
    assert!(verifies(&system, 1, message, &signature).await);
    let second = signed(&system, 2, message);

    // Destroyed; the device's record of that is signed by the version after it.
    let path = "/v1/keys/sign/audit/versions/1/destroy";
    let job = system.two_people(path, "destroy sign/audit#1").await;
    let gone = system.job_done(job["id"].as_str().unwrap()).await;
    let left = system.versions("sign/audit").await;
    assert!(left.iter().all(|line| line["version"] != 1 || line["status"] == "destroyed"), "{left:?}");
    assert!(verifies(&system, 1, message, &signature).await);
    let at = OffsetDateTime::parse(gone["outcome"]["destroyed_at"].as_str().unwrap(), &Rfc3339).unwrap();
    let statement = DestructionRecord::statement(&signing_key(1), SystemTime::from(at));
    let record = spelt(gone["outcome"]["signature"].as_str().unwrap());
    assert!(verifies(&system, 2, &statement, &record).await);

    // Moved, and the device that signed is switched off.
    houses::name_target(&system, &houses::token_lines());
    let id = houses::begin(&system, To::Token).await;
    system.job_done(&id).await;
    houses::swap(&system);
    system.gateway().terminate();
    system.hsm().kill_9();
    system.start_gateway();
    system.wait_ready().await;
    assert!(verifies(&system, 1, message, &signature).await);
    assert!(verifies(&system, 2, message, &second).await);
    assert!(verifies(&system, 2, &statement, &record).await);
    assert!(!verifies(&system, 3, message, &second).await, "each version has a half of its own");

    let halves = halves(&system).await;
    assert_eq!(halves.len(), 3, "{halves:?}");
    for (half, held) in halves.iter().zip([false, false, true]) {
        assert_eq!((&half["held"], half["ended_at"].is_null()), (&json!(held), held), "{half}");
    }
    assert_eq!(halves[0]["device"], halves[1]["device"]);
    assert_ne!(halves[1]["device"], halves[2]["device"]);

    // The log says the same, so a row that was altered would be found out; and so does the command line.
    let told: Vec<_> = halves.iter().map(public).collect();
    let log: Vec<_> = recorded(&system).await;
    assert_eq!(log.iter().map(|seen| seen.1).collect::<Vec<_>>(), told);
    assert!(log.iter().zip(1..).all(|(seen, version)| (seen.0, seen.2) == (version, Outcome::Success)));
    pangate::cli::setup::write_secret(&system.path("auditor.key"), system.key("auditor")).unwrap();
    let (ca, key) = (system.path("tls/ca.pem"), system.path("auditor.key"));
    let list = process::run(
        "pangate",
        &[
            "keys",
            "list",
            "--url",
            &system.url,
            "--ca",
            ca.to_str().unwrap(),
            "--token-file",
            key.to_str().unwrap(),
        ],
    );
    for half in &halves {
        assert!(list.contains(half["public_key"].as_str().unwrap()), "{list}");
    }
    system.audit_log_is_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_half_cannot_be_changed_or_taken_away_and_one_that_was_is_told() {
    let system = System::start().await;
    assert_eq!(halves(&system).await.len(), 1);
    let store = system.database().await;
    let emptied = system.sql(
        "UPDATE signing_key SET public = zeroblob(32)",
        "UPDATE signing_key SET public = decode(repeat('00', 32), 'hex')",
    );
    for sql in [emptied, "DELETE FROM signing_key"] {
        let tried: Result<u64, store::StoreError> =
            store.commit(move |work| Box::pin(async move { work.execute(sql, Vec::new()).await })).await;
        assert!(tried.is_err(), "{sql}");
    }
    store.close().await;

    // Somebody who owns the database takes the guard away first.
    let unguarded =
        system.sql("DROP TRIGGER signing_key_is_fixed", "DROP TRIGGER signing_key_is_fixed ON signing_key");
    system.change(unguarded, Vec::new()).await;
    assert_eq!(system.change(emptied, Vec::new()).await, 1);
    let listed = halves(&system).await;
    assert_eq!((public(&listed[0]), &listed[0]["held"]), ([0; 32], &json!(false)));
    tokio::time::sleep(Duration::from_millis(200)).await;
    halves(&system).await;
    let log = recorded(&system).await;
    assert_eq!(log.len(), 2, "told once a day, however often it is seen");
    assert_eq!(
        (log[0].1, log[0].2),
        (log[1].1, Outcome::Success),
        "the log knows the half that was first seen"
    );
    assert_eq!(log[1].2, Outcome::Failed);
}
