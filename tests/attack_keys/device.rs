//! A device that answers too late or not at all, and what an act on keys leaves lying about.

use super::{charge_at, ended, start, token_at};
use crate::support::needles::Needles;
use crate::support::process::{self, Process};
use crate::support::{System, TENANT};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The same device once more, with a handle that makes it fail.
fn faulty(system: &mut System) -> Process {
    system.hsm().terminate();
    let [state, control] = ["hsm", "hsm.control"].map(|name| system.path(name).display().to_string());
    let socket = system.socket().display().to_string();
    let arguments = ["serve", "--state", &state, "--socket", &socket, "--control", &control];
    Process::start("hsm-sim", &arguments, &system.path("logs/hsm-sim.log"))
}

fn order(system: &System, rules: &Value) {
    let script = system.path("script.json");
    std::fs::write(&script, json!({ "rules": rules }).to_string()).unwrap();
    let (control, script) = (system.path("hsm.control").display().to_string(), script.display().to_string());
    process::run("hsm-sim", &["fault", "--control", &control, "--script", &script]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_does_it_too_late_does_it_once_and_the_job_goes_on() {
    let mut system = System::start().await;
    let _device = faulty(&mut system);
    system.wait_ready().await;
    token_at(&system, &system.url, "portal", 1).await;
    let late = |min: u64| json!({ "delay": { "min_us": min, "max_us": min } });
    for (rules, version) in [
        // The first try comes through after it was given up, while the second waits: its tickets are spent by then.
        (
            json!([
                { "on": "rotate_key", "first": 1, "times": 1, "do": late(2_700_000) },
                { "on": "rotate_key", "first": 2, "times": 1, "do": late(900_000) },
            ]),
            2,
        ),
        (json!([{ "on": "rotate_key", "times": 1, "do": "hold_reply" }]), 3),
        (json!([{ "on": "rotate_key", "times": 1, "do": "drop_reply" }]), 4),
    ] {
        order(&system, &rules);
        let job = system.rotate("kek/card").await;
        let done = system.job_done(job["id"].as_str().unwrap()).await;
        assert_eq!(done["to_version"], version, "{rules}");
        assert_eq!(system.versions("kek/card").await.len(), version, "{rules}");
    }
    let left = "SELECT COUNT(*) AS n FROM data_key WHERE destroyed_at IS NULL AND kek_version < 4";
    assert_eq!(system.count(left).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_never_comes_wakes_everybody_who_waits_for_the_key() {
    let mut system = System::start().await;
    let _device = faulty(&mut system);
    system.wait_ready().await;
    let token = token_at(&system, &system.url, "portal", 1).await;
    let act = format!("/v1/tenants/{TENANT}/rotate-data-key");
    order(&system, &json!([{ "on": "open_data_key", "times": 2, "do": "hold_reply" }]));
    // A new epoch: nobody has the key in memory.
    let job = system.post("admin", &act, &json!({})).await.json()["id"].as_str().unwrap().to_owned();
    let begun = Instant::now();
    let charges = (0..30).map(|n| {
        let (system, token) = (&system, &token);
        async move { charge_at(system, &system.url, token, &format!("waiting-{n}")).await }
    });
    for answer in futures_util::future::join_all(charges).await {
        assert!(matches!(answer.status.as_u16(), 201 | 503), "{} {}", answer.status, answer.text);
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "somebody waited for a reply that was lost");
    assert_eq!(charge_at(&system, &system.url, &token, "after").await.status, 201);
    assert_eq!(ended(&system, &job).await["state"], "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_outlasts_a_device_that_stands_still() {
    let mut system = start(|text| {
        text.replace("rows_per_second = 2000", "rows_per_second = 20")
            .replace("batch_rows = 100", "batch_rows = 4")
    })
    .await;
    let mut tokens = Vec::new();
    for n in 300..330 {
        tokens.push(token_at(&system, &system.url, "portal", n).await);
    }
    let job = system.rotate("mac/pan").await["id"].as_str().unwrap().to_owned();
    assert_eq!(charge_at(&system, &system.url, &tokens[0], "opened").await.status, 201);
    system.hsm().signal("STOP");
    let begun = Instant::now();
    let held = system.get("auditor", &format!("/v1/jobs/{job}")).await;
    assert_eq!(held.status, 200, "{}", held.text);
    // The key lies in memory: cards that are known are charged, nothing new is taken.
    assert_eq!(charge_at(&system, &system.url, &tokens[1], "grace").await.status, 201);
    let body =
        json!({ "card": { "number": "4242424242424242", "exp_month": 12, "exp_year": 2034 }, "reuse": true });
    let refused = system.post("portal", "/v1/tokens", &body).await;
    refused.is_problem(503, "hsm_unavailable");
    assert!(begun.elapsed() < Duration::from_secs(10), "a request hung on the device");
    tokio::time::sleep(Duration::from_secs(3)).await;
    system.hsm().signal("CONT");
    assert_eq!(ended(&system, &job).await["state"], "done");
    let left = "SELECT COUNT(*) AS n FROM card WHERE fingerprint IS NOT NULL AND fingerprint_version < 2";
    assert_eq!(system.count(left).await, 0);
    assert!(!system.gateway_log().contains("panicked"), "{}", system.gateway_log());
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_and_pins_are_left_nowhere() {
    let mut system = System::start().await;
    token_at(&system, &system.url, "portal", 1).await;
    let mut needles = Needles::none();
    for name in ["ada", "otto", "hsm"] {
        let pin = std::fs::read_to_string(system.path(&format!("{name}.pin"))).unwrap();
        needles.add(format!("PIN of {name}"), pin.trim().as_bytes().to_vec());
    }
    let ticket = |needles: &mut Needles, officer: &str, act: &str| {
        let text = system.ticket(officer, act);
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        needles.add(format!("{officer}'s ticket"), bytes.clone());
        // What is random in it, in the other alphabet as well.
        needles.add(format!("{officer}'s ticket in base64"), STANDARD.encode(&bytes).into_bytes());
        needles.add(format!("{officer}'s ticket in base64url"), text.clone().into_bytes());
        text
    };
    let act = "rotate mac/request";
    let path = "/v1/keys/mac/request/rotate";
    // One that is rejected with its ticket, one that is used.
    let first = ticket(&mut needles, "ada", act);
    let asked = system.post("auditor", path, &json!({ "device_ticket": first })).await.json();
    let shown = system.get("admin", "/v1/approvals").await.text;
    assert!(!shown.contains(&first), "a ticket is shown to others");
    let id = asked["id"].as_str().unwrap();
    assert_eq!(system.post("admin", &format!("/v1/approvals/{id}/reject"), &json!({})).await.status, 200);
    let [first, second] = ["ada", "otto"].map(|officer| ticket(&mut needles, officer, act));
    let asked = system.post("auditor", path, &json!({ "device_ticket": first })).await.json();
    let id = asked["id"].as_str().unwrap();
    let yes = json!({ "act": act, "device_ticket": second });
    let begun = system.post("admin", &format!("/v1/approvals/{id}/approve"), &yes).await;
    assert_eq!(begun.status, 200, "{}", begun.text);
    system.job_done(begun.json()["id"].as_str().unwrap()).await;
    for row in system.rows("SELECT leaf FROM audit_entry", Vec::new()).await {
        assert!(needles.find(&row.bytes("leaf").unwrap()).is_empty(), "in the log");
    }
    for row in system.rows("SELECT act FROM approval", Vec::new()).await {
        assert!(needles.find(row.text("act").unwrap().as_bytes()).is_empty(), "in an approval");
    }

    let processes = [system.gateway().id(), system.hsm().id(), system.companion().id()];
    for pid in processes {
        for name in ["cmdline", "environ"] {
            let text = std::fs::read(format!("/proc/{pid}/{name}")).unwrap();
            let found = needles.find(&text);
            assert!(found.is_empty(), "{name} of {pid}: {}", found[0].name);
        }
    }
    for pid in &processes[..2] {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    }

    // The gateway's end empties the write-ahead log.
    assert!(system.gateway().terminate());
    for file in system.files() {
        let secret = file.extension().is_some_and(|ending| ending == "pin");
        if secret {
            continue;
        }
        let found = needles.find(&std::fs::read(&file).unwrap());
        assert!(found.is_empty(), "{}: {}", file.display(), found[0].name);
    }
}
