//! A hostile insider at the life of keys, played with real processes: an act of two people done by one, a rotation that
//! strands rows, a shredded card that lives on elsewhere, a device that answers too late.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot be set up must fail")]

#[path = "attack_keys/device.rs"]
mod device;
#[path = "attack_keys/people.rs"]
mod people;
#[path = "attack_keys/rows.rs"]
mod rows;
mod support;

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::process::{self, Process};
use support::wire::Answer;
use support::{System, cards, free_port};

/// The system with another `policy/keys.toml`.
async fn start(policy: impl FnOnce(String) -> String) -> System {
    let mut system = System::start().await;
    system.gateway().terminate();
    system.write_key_policy(policy);
    system.start_gateway();
    system.wait_ready().await;
    system
}

/// A second gateway on the same database and device; its address comes with it.
fn second_gateway(system: &System) -> (Process, String) {
    let [port, ops] = [free_port(), free_port()];
    let own = |url: &str| url.rsplit(':').next().unwrap().to_owned();
    let settings = std::fs::read_to_string(system.path("pangate.toml"))
        .unwrap()
        .replace(&format!("127.0.0.1:{}", own(&system.url)), &format!("127.0.0.1:{port}"))
        .replace(&format!("127.0.0.1:{}", own(&system.ops)), &format!("127.0.0.1:{ops}"))
        .replace("log = \"pangate-test\"", "log = \"pangate-second\"");
    let file = system.path("second.toml");
    std::fs::write(&file, settings).unwrap();
    let arguments = ["serve", "--config", &file.display().to_string()];
    let process = Process::start("pangate", &arguments, &system.path("logs/second.log"));
    (process, format!("https://localhost:{port}"))
}

/// `pangate user …` at the console; gives what it printed.
fn user(system: &System, words: &[&str]) -> Value {
    let config = system.path("pangate.toml").display().to_string();
    let said =
        process::run("pangate", &[&["user"], words, &["--config", &config, "--format", "json"]].concat());
    serde_json::from_str(said.trim()).unwrap()
}

async fn token_at(system: &System, url: &str, key: &str, n: u64) -> String {
    let card = json!({ "number": cards::generated(n), "exp_month": 12, "exp_year": 2034 });
    let body = json!({ "card": card, "reuse": true });
    let request = system.client().post(format!("{url}/v1/tokens")).bearer_auth(system.key(key));
    let answer = Answer::of(request.json(&body)).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.json()["id"].as_str().unwrap().to_owned()
}

async fn charge_at(system: &System, url: &str, token: &str, once: &str) -> Answer {
    let body = json!({ "token": token, "amount": "2.00", "currency": "USD" });
    let request = system.client().post(format!("{url}/v1/charges")).bearer_auth(system.key("staff"));
    Answer::of(request.header("Idempotency-Key", once).json(&body)).await
}

/// The job once it is over, however it ended.
async fn ended(system: &System, id: &str) -> Value {
    let until = Instant::now() + Duration::from_secs(90);
    loop {
        let job = system.get("chief-auditor", &format!("/v1/jobs/{id}")).await.json();
        if matches!(job["state"].as_str(), Some("done" | "failed")) {
            return job;
        }
        assert!(Instant::now() < until, "the job does not end: {job}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until a count is 0.
async fn until_none(system: &System, sql: &'static str, limit: Duration) {
    let until = Instant::now() + limit;
    while system.count(sql).await > 0 {
        assert!(Instant::now() < until, "rows are left: {sql}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
