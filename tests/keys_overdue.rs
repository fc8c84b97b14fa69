//! Keys past their time: told on readiness, in the metrics, in the log and by the command line; data keys are replaced
//! by themselves. A wrong policy stops the start and names its line.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail")]

mod support;

use audit::Action;
use serde_json::json;
use std::process::Command;
use std::time::{Duration, Instant};
use support::process::program;
use support::{System, cards};

async fn restart(system: &mut System, policy: impl FnOnce(String) -> String) {
    system.gateway().terminate();
    system.write_key_policy(policy);
    system.start_gateway();
    system.wait_ready().await;
}

/// `pangate keys …` as the auditor: exit status and what it printed.
fn keys(system: &System, words: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(program("pangate"))
        .arg("keys")
        .args(words)
        .env("PANGATE_URL", &system.url)
        .env("PANGATE_CA", system.path("tls/ca.pem"))
        .env("PANGATE_AUDITOR_TOKEN", system.key("auditor"))
        .env("PANGATE_ADMIN_TOKEN", system.key("admin"))
        .env("PANGATE_HSM_SOCKET", system.socket())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

async fn ops(system: &System, path: &str) -> String {
    let client = support::wire::plain_client();
    client.get(format!("{}{path}", system.ops)).send().await.unwrap().text().await.unwrap()
}

/// Waits until it holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds().await {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overdue_key_is_told_everywhere_and_a_data_key_replaces_itself() {
    let mut system = System::start().await;
    assert_eq!(keys(&system, &["status"]).0, Some(0), "fresh keys are not overdue");
    let card = json!({ "number": cards::generated(5), "exp_month": 12, "exp_year": 2034 });
    let token = system.post("portal", "/v1/tokens", &json!({ "card": card, "reuse": true })).await;
    assert_eq!(token.status, 201);

    // The data key was made a year ago; the fingerprint key may protect for a second.
    let year = 365 * 24 * 3600 * 1_000_000_i64;
    let aged = system.sql(
        "UPDATE data_key SET created_at = created_at - $1",
        "UPDATE data_key SET created_at = created_at - $1::int8 * interval '1 microsecond'",
    );
    system.change(aged, vec![year.into()]).await;
    restart(&mut system, |text| {
        text.replacen(
            "cryptoperiod = \"730d\"\nwarn_before = \"60d\"",
            "cryptoperiod = \"1s\"\nwarn_before = \"0s\"",
            1,
        )
    })
    .await;
    until("readiness does not tell", async || ops(&system, "/readyz").await.contains("mac/pan")).await;
    let ready = ops(&system, "/readyz").await;
    assert!(ready.contains("\"ready\":true") && ready.contains("mac/pan"), "{ready}");
    until("the metrics do not tell", async || {
        ops(&system, "/metrics").await.contains("pangate_keys_overdue{key=\"mac/pan\"} 1")
    })
    .await;
    let (status, said) = keys(&system, &["status"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("mac/pan#1") && said.contains("overdue"), "{said}");

    // The tenant's data key was replaced without anybody asking.
    let left = "SELECT COUNT(*) AS n FROM card WHERE data_key_id IN \
                (SELECT data_key_id FROM data_key WHERE status <> 'active')";
    until("the data key was not replaced", async || {
        system.count("SELECT COUNT(*) AS n FROM data_key WHERE epoch = 2").await == 1
            && system.count(left).await == 0
    })
    .await;

    // Once a day, however often the gateway is started.
    restart(&mut system, |text| text).await;
    until("readiness does not tell", async || ops(&system, "/readyz").await.contains("mac/pan")).await;
    let rows = system.rows("SELECT leaf FROM audit_entry", Vec::new()).await;
    let told = rows
        .iter()
        .map(|row| audit::parse(&row.bytes("leaf").unwrap()).unwrap())
        .filter(|entry| entry.action == Action::KeyOverdue)
        .count();
    assert_eq!(told, 2, "the fingerprint key and the data key, each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_rotate_a_key_on_the_command_line() {
    let system = System::start().await;
    let card = json!({ "number": cards::generated(6), "exp_month": 12, "exp_year": 2034 });
    system.post("portal", "/v1/tokens", &json!({ "card": card })).await;
    let pin = |name: &str| system.path(&format!("{name}.pin")).display().to_string();
    let (ada, otto) = (pin("ada"), pin("otto"));
    let officer = |name: &'static str, pin| ["--officer", name, "--officer-pin-file", pin];

    let (status, said) = keys(
        &system,
        &[&["--format", "json", "rotate", "kek/card", "--reason", "yearly"][..], &officer("ada", &ada)]
            .concat(),
    );
    assert_eq!(status, Some(0), "{said}");
    let approval: serde_json::Value = serde_json::from_str(said.trim()).unwrap();
    let id = approval["id"].as_str().unwrap();
    let (status, said) = keys(&system, &["approvals"]);
    assert!(status == Some(0) && said.contains(id) && said.contains("yearly"), "{said}");
    let (status, said) = keys(&system, &[&["approve", id][..], &officer("ada", &ada)].concat());
    assert!(status == Some(1) && said.contains("second_person_required"), "{said}");
    let (status, said) =
        keys(&system, &[&["approve", id, "--as", "admin"][..], &officer("otto", &otto)].concat());
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("agreeing to: rotate kek/card") && said.contains("done"), "{said}");
    let (status, said) = keys(&system, &["list"]);
    assert!(status == Some(0) && said.contains("kek/card") && said.contains("deactivated"), "{said}");
    let (status, said) = keys(&system, &["jobs"]);
    assert!(status == Some(0) && said.contains("rotate kek/card"), "{said}");
    assert_eq!(keys(&system, &["destroy", "kek/card", "9"]).0, Some(1));
    let (status, said) = keys(&system, &["rotate", "--token-file", "/nowhere", "kek/card"]);
    assert_eq!(status, Some(2), "{said}");
    let (status, said) = keys(&system, &["ceremony"]);
    assert!(status == Some(0) && said.contains("hsm-sim ceremony"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_policy_stops_the_start_and_names_its_line() {
    let mut system = System::start().await;
    system.gateway().terminate();
    system.write_key_policy(|text| text.replace("batch_rows = 100", "batch_rows = 0"));
    let file = std::fs::read_to_string(system.path("policy/keys.toml")).unwrap();
    let line = file.lines().position(|line| line.starts_with("batch_rows")).unwrap() + 1;
    let output = Command::new(program("pangate"))
        .args(["serve", "--config", &system.path("pangate.toml").display().to_string()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("keys.toml") && said.contains(&format!("line {line}")), "{said}");
}
