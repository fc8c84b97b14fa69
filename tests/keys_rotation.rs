//! Keys rotate while patients pay: no request fails, nothing is left on an old key, and a rotation that is killed
//! anywhere goes on where it was (P12).
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot be set up must fail")]

#[path = "keys_rotation/load.rs"]
mod load;
mod support;

use load::Load;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::process::{self, Process};
use support::{OTHER, System, TENANT, cards, free_port};

/// Small batches, so that a rotation takes many steps.
fn slowly(rows_per_second: u32, batch_rows: u32) -> impl FnOnce(String) -> String {
    move |text| {
        text.replace("rows_per_second = 2000", &format!("rows_per_second = {rows_per_second}"))
            .replace("batch_rows = 100", &format!("batch_rows = {batch_rows}"))
            .replace("audit_every_rows = 100000", "audit_every_rows = 10")
    }
}

async fn start(policy: impl FnOnce(String) -> String) -> System {
    let mut system = System::start().await;
    system.gateway().terminate();
    system.write_key_policy(policy);
    system.start_gateway();
    system.wait_ready().await;
    system
}

/// Reusable tokens of that many cards, the first of them numbered `from`.
async fn tokens(system: &System, key: &str, from: u64, count: u64) -> Vec<(String, String)> {
    let mut made = Vec::new();
    for n in from..from + count {
        let number = cards::generated(n);
        made.push((token_of(system, key, &number).await, number));
    }
    made
}

async fn token_of(system: &System, key: &str, number: &str) -> String {
    let card = json!({ "number": number, "exp_month": 12, "exp_year": 2034, "cvc": "737" });
    let answer = system.post(key, "/v1/tokens", &json!({ "card": card, "reuse": true })).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.json()["id"].as_str().unwrap().to_owned()
}

async fn can_be_charged(system: &System, token: &str) {
    let body = json!({ "token": token, "amount": "3.00", "currency": "USD" });
    let request = system.client().post(format!("{}/v1/charges", system.url)).bearer_auth(system.key("staff"));
    let answer =
        support::wire::Answer::of(request.header("Idempotency-Key", format!("after-{token}")).json(&body))
            .await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["status"]),
        (201, &json!("succeeded")),
        "{}",
        answer.text
    );
}

const ON_OLD_KEK: &str = "SELECT COUNT(*) AS n FROM data_key WHERE destroyed_at IS NULL AND kek_version < 2";
const ON_OLD_MAC: &str =
    "SELECT COUNT(*) AS n FROM card WHERE fingerprint IS NOT NULL AND fingerprint_version < 2";
const ON_OLD_DATA_KEY: &str = "SELECT COUNT(*) AS n FROM card WHERE data_key_id IN \
                               (SELECT data_key_id FROM data_key WHERE status <> 'active')";

#[tokio::test(flavor = "multi_thread")]
async fn p12_every_kind_of_key_rotates_under_load_and_no_request_fails() {
    let system = start(slowly(400, 10)).await;
    let known = tokens(&system, "portal", 900_000, 40).await;
    tokens(&system, "other-portal", 910_000, 3).await;
    let load = Load::begin(&system, known.iter().map(|(token, _)| token.clone()).collect());
    load.answered(50).await;

    for name in ["kek/card", "mac/pan", "mac/request", "sign/audit"] {
        let job = system.rotate(name).await;
        let done = system.job_done(job["id"].as_str().unwrap()).await;
        assert_eq!((&done["from_version"], &done["to_version"]), (&json!(1), &json!(2)), "{done}");
        load.answered(20).await;
    }
    let path = format!("/v1/tenants/{TENANT}/rotate-data-key");
    let nothing = json!({});
    let (one, other) =
        tokio::join!(system.post("auditor", &path, &nothing), system.post("admin", &path, &nothing));
    assert_eq!((one.status.as_u16(), other.status.as_u16()), (202, 202), "{}\n{}", one.text, other.text);
    assert_eq!(one.json()["id"], other.json()["id"], "two starts are one job");
    system.job_done(one.json()["id"].as_str().unwrap()).await;
    load.answered(50).await;
    let retired =
        system.two_people("/v1/keys/mac/pan/versions/1/retire", "status mac/pan#1 deactivated").await;
    system.job_done(retired["id"].as_str().unwrap()).await;
    load.answered(50).await;

    let told = load.end().await;
    assert!(told.failed.is_empty(), "{} of {} failed: {:?}", told.failed.len(), told.answered, told.failed);
    for sql in [ON_OLD_KEK, ON_OLD_MAC, ON_OLD_DATA_KEY] {
        assert_eq!(system.count(sql).await, 0, "{sql}");
    }
    let epochs = "SELECT COUNT(*) AS n FROM data_key WHERE tenant = 'north-clinic'";
    assert_eq!(system.count(epochs).await, 2, "the work was done once");
    for (token, number) in known.iter().step_by(8) {
        can_be_charged(&system, token).await;
        assert_eq!(token_of(&system, "portal", number).await, *token, "the card still has its token");
    }
    let keys = system.get("auditor", "/v1/keys").await.json();
    let line = |name: &str, version: u64| {
        keys["data"]
            .as_array()
            .unwrap()
            .iter()
            .find(|key| key["name"] == name && key["version"] == version)
            .cloned()
    };
    for (name, version, status) in [
        ("kek/card", 1, "deactivated"),
        ("kek/card", 2, "active"),
        ("mac/pan", 1, "deactivated"),
        ("mac/pan", 2, "active"),
        ("mac/request", 1, "active"),
        ("sign/audit", 1, "deactivated"),
    ] {
        assert_eq!(line(name, version).unwrap()["status"], status, "{name}#{version}");
    }
    system.audit_log_is_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_the_request_key_was_rotated_gets_the_first_answer() {
    let system = System::start().await;
    let card = json!({ "card": { "number": cards::generated(1), "exp_month": 12, "exp_year": 2034 } });
    let post = async |body: &Value| {
        let request =
            system.client().post(format!("{}/v1/tokens", system.url)).bearer_auth(system.key("portal"));
        support::wire::Answer::of(request.header("Idempotency-Key", "once").json(body)).await
    };
    let first = post(&card).await;
    let job = system.rotate("mac/request").await;
    system.job_done(job["id"].as_str().unwrap()).await;
    let again = post(&card).await;
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    let other = json!({ "card": { "number": cards::generated(2), "exp_month": 12, "exp_year": 2034 } });
    post(&other).await.is_problem(422, "idempotency_key_reused");
    // While a stored answer is compared under it, it cannot be retired.
    let asked =
        system.ask("/v1/keys/mac/request/versions/1/retire", "status mac/request#1 deactivated").await;
    asked.is_problem(409, "key_still_needed");
}

/// How far the job is, from the database: the gateway may be gone.
async fn done(system: &System, id: &str) -> (String, i64) {
    let rows = system.rows("SELECT state, done FROM job WHERE id = $1", vec![id.into()]).await;
    (rows[0].text("state").unwrap(), rows[0].integer("done").unwrap())
}

/// Kills the gateway after every batch until the job is done; gives how often.
async fn kill_at_every_batch(system: &mut System, id: &str) -> u32 {
    let (mut kills, mut before) = (0, -1);
    let until = Instant::now() + Duration::from_secs(180);
    loop {
        assert!(Instant::now() < until, "the job does not end");
        let (state, now) = done(system, id).await;
        if state == "done" {
            return kills;
        }
        assert_eq!(state, "running");
        assert!(now >= before, "a batch was lost");
        if now > before {
            before = now;
            system.gateway().kill_9();
            kills += 1;
            system.start_gateway();
        }
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p12_a_rotation_that_is_killed_after_every_batch_goes_on_and_ends() {
    let mut system = start(slowly(20, 5)).await;
    let known = tokens(&system, "portal", 920_000, 30).await;
    let config = system.path("pangate.toml").display().to_string();
    for n in 0..6 {
        let tenant = format!("clinic-{n}");
        let name = format!("portal-of-{n}");
        let said = process::run(
            "pangate",
            &[
                "user", "add", &name, "--role", "portal", "--tenant", &tenant, "--config", &config,
                "--format", "json",
            ],
        );
        let key: Value = serde_json::from_str(said.trim()).unwrap();
        let card = json!({ "card": { "number": cards::generated(n), "exp_month": 12, "exp_year": 2034 } });
        let request = system.client().post(format!("{}/v1/tokens", system.url)).json(&card);
        let made = support::wire::Answer::of(request.bearer_auth(key["key"].as_str().unwrap())).await;
        assert_eq!(made.status, 201, "{}", made.text);
    }

    let mut kills = 0;
    let job = system.rotate("mac/pan").await;
    kills += kill_at_every_batch(&mut system, job["id"].as_str().unwrap()).await;
    system.wait_ready().await;
    let job = system.post("admin", &format!("/v1/tenants/{TENANT}/rotate-data-key"), &json!({})).await.json();
    kills += kill_at_every_batch(&mut system, job["id"].as_str().unwrap()).await;
    system.wait_ready().await;
    let job = system.rotate("kek/card").await;
    kills += kill_at_every_batch(&mut system, job["id"].as_str().unwrap()).await;
    system.wait_ready().await;

    // A gateway that is faster than its watcher ends two batches before a kill.
    assert!(kills >= 6, "only {kills} kills");
    for sql in [ON_OLD_KEK, ON_OLD_MAC, ON_OLD_DATA_KEY] {
        assert_eq!(system.count(sql).await, 0, "{sql}");
    }
    for (token, number) in known.iter().step_by(7) {
        can_be_charged(&system, token).await;
        assert_eq!(token_of(&system, "portal", number).await, *token);
    }
    system.audit_log_is_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_gateway_takes_over_when_the_lease_is_over() {
    let mut system = start(slowly(2, 1)).await;
    tokens(&system, "other-portal", 930_000, 12).await;
    let [port, ops] = [free_port(), free_port()];
    let settings = std::fs::read_to_string(system.path("pangate.toml")).unwrap();
    let own = |url: &str| url.rsplit(':').next().unwrap().to_owned();
    let settings = settings
        .replace(&format!("127.0.0.1:{}", own(&system.url)), &format!("127.0.0.1:{port}"))
        .replace(&format!("127.0.0.1:{}", own(&system.ops)), &format!("127.0.0.1:{ops}"))
        .replace("log = \"pangate-test\"", "log = \"pangate-second\"");
    let file = system.path("second.toml");
    std::fs::write(&file, settings).unwrap();
    let path = format!("/v1/tenants/{OTHER}/rotate-data-key");
    let started = system.post("chief-auditor", &path, &json!({})).await;
    assert_eq!(started.status, 202, "{}", started.text);
    let id = started.json()["id"].as_str().unwrap().to_owned();
    while done(&system, &id).await.1 < 2 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    system.gateway().kill_9();
    let (_, before) = done(&system, &id).await;
    let second = Process::start(
        "pangate",
        &["serve", "--config", &file.display().to_string()],
        &system.path("logs/second.log"),
    );
    let until = Instant::now() + Duration::from_secs(90);
    while done(&system, &id).await.0 != "done" {
        assert!(Instant::now() < until, "nobody took it over");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(before < 12, "the first gateway did it all");
    assert_eq!(system.count(ON_OLD_DATA_KEY).await, 0);
    drop(second);
}
