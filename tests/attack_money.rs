//! What an attacker tried on money and its record: each is a way around P5, P8 or P10 that must stay closed.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot be set up must fail")]

mod support;

use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;
use support::System;
use support::process::{self, program};
use support::wire::Answer;

/// Approves at the processor, and the answer never arrives.
const SILENT: &str = "4000000000004087";
const GOOD: &str = "4242424242424242";

/// Posts JSON with that bearer key under an idempotency key.
async fn keyed(system: &System, bearer: &str, path: &str, key: &str, body: &Value) -> Answer {
    let request = system.client().post(format!("{}{path}", system.url)).bearer_auth(bearer);
    Answer::of(request.header("idempotency-key", key).json(body)).await
}

async fn pay(system: &System, key: &str, body: &Value) -> Answer {
    keyed(system, system.key("portal"), "/portal/payments", key, body).await
}

async fn balance(system: &System) -> String {
    let statement = system.claims_get(&format!("/v1/statements/{}", system.statement)).await;
    assert_eq!(statement.status.as_u16(), 200, "{}", statement.text);
    statement.json()["balance"].as_str().unwrap().to_owned()
}

/// The one token that was made so far.
async fn only_token(system: &System) -> String {
    let rows = system.rows("SELECT token FROM card", Vec::new()).await;
    assert_eq!(rows.len(), 1);
    rows[0].text("token").unwrap()
}

/// Requires that neither staff nor the companion can charge the token for that amount.
async fn nothing_is_open(system: &System, token: &str, amount: &str) {
    let body = json!({ "token": token, "amount": amount, "currency": "USD" });
    for who in ["staff", "companion"] {
        let key = format!("leftover-{who}-{amount}");
        keyed(system, system.key(who), "/v1/charges", &key, &body).await.is_problem(409, "no_open_payment");
    }
}

/// Runs `pangate` with the system's settings; gives its exit code and all that it said.
fn pangate(system: &System, arguments: &[&str]) -> (i32, String) {
    let config = system.path("pangate.toml");
    let done = Command::new(program("pangate")).args(arguments).arg("--config").arg(config).output().unwrap();
    let said = [done.stdout, done.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    (done.status.code().unwrap(), said)
}

/// Sends a process of ours a signal.
fn send(signal: &str, id: u32) {
    assert!(Command::new("kill").args([&format!("-{signal}"), &id.to_string()]).status().unwrap().success());
}

async fn charged(system: &System, amount: &str) -> String {
    let card = json!({ "number": GOOD, "exp_month": 12, "exp_year": 2034 });
    let token = system.post("portal", "/v1/tokens", &json!({ "card": card })).await.json()["id"].clone();
    let body = json!({ "token": token, "amount": amount, "currency": "USD" });
    let charge = keyed(system, system.key("staff"), "/v1/charges", "c", &body).await;
    assert_eq!(charge.status.as_u16(), 201, "{}", charge.text);
    charge.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_a_payment_that_the_companion_refused_leaves_nothing_to_charge() {
    let system = System::start().await;

    let refused = pay(&system, "too-much", &system.payment(GOOD, "99999.00")).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (422, "amount_exceeds_balance"));
    let token = only_token(&system).await;
    nothing_is_open(&system, &token, "99999.00").await;

    // Without a key as well.
    let refused = system.post("portal", "/portal/payments", &system.payment(GOOD, "88888.00")).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (422, "amount_exceeds_balance"));
    nothing_is_open(&system, &token, "88888.00").await;
    assert_eq!(system.count("SELECT COUNT(*) AS n FROM sandbox_book").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_a_declined_card_leaves_nothing_to_charge() {
    let system = System::start().await;

    let declined = pay(&system, "poor", &system.payment("4000000000009995", "20.00")).await;
    assert_eq!((declined.status.as_u16(), declined.code().as_str()), (402, "insufficient_funds"));

    nothing_is_open(&system, &only_token(&system).await, "20.00").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_a_payment_repeated_through_every_outage_is_charged_once_and_no_more() {
    let mut system = System::start().await;
    let body = system.payment(SILENT, "11.00");

    system.companion().kill_9();
    for _ in 0..3 {
        pay(&system, "again", &body).await.is_problem(503, "companion_unavailable");
    }
    nothing_is_open(&system, &only_token(&system).await, "11.00").await;
    system.start_companion();
    system.wait_ready().await;
    let lost = pay(&system, "again", &body).await;
    assert_eq!(lost.status.as_u16(), 503, "{}", lost.text);
    system.gateway().kill_9();
    system.start_gateway();
    system.wait_ready().await;
    let found = pay(&system, "again", &body).await;
    assert_eq!(
        (found.status.as_u16(), &found.json()["status"]),
        (201, &json!("succeeded")),
        "{}",
        found.text
    );

    nothing_is_open(&system, &only_token(&system).await, "11.00").await;
    assert_eq!(system.count("SELECT COUNT(*) AS n FROM sandbox_book").await, 1);
    assert_eq!(balance(&system).await, "48189.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_an_open_payment_is_spent_by_one_of_many_and_the_others_end_with_a_reason() {
    let mut system = System::start().await;
    let body = system.payment(GOOD, "77.00");
    let companion = system.companion().id();
    send("STOP", companion);
    let (answer, charges) = tokio::join!(pay(&system, "slow", &body), async {
        let open = "SELECT COUNT(*) AS n FROM purpose WHERE spent_by IS NULL";
        for _ in 0..100 {
            if system.count(open).await == 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let body = json!({ "token": only_token(&system).await, "amount": "77.00", "currency": "USD" });
        let keys: Vec<String> = (0..10).map(|n| format!("race-{n}")).collect();
        let racing = keys.iter().map(|key| keyed(&system, system.key("staff"), "/v1/charges", key, &body));
        let charges = futures_util::future::join_all(racing).await;
        send("CONT", companion);
        charges
    });

    assert_eq!(charges.iter().filter(|charge| charge.status.as_u16() == 201).count(), 1);
    assert_eq!(charges.iter().filter(|charge| charge.code() == "no_open_payment").count(), 9);
    // The companion's own charge came too late: an end with a reason, and nothing held back from the statement.
    let answer = if answer.status.as_u16() == 503 { pay(&system, "slow", &body).await } else { answer };
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (422, "no_open_payment"), "{}", answer.text);
    let rest = pay(&system, "rest", &system.payment(GOOD, "48200.00")).await;
    assert_eq!(rest.status.as_u16(), 201, "{}", rest.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_a_charge_that_nobody_comes_back_for_reaches_the_statement() {
    let system = System::start().await;

    let lost = pay(&system, "gone", &system.payment(SILENT, "11.00")).await;
    assert_eq!(lost.status.as_u16(), 503, "{}", lost.text);
    for _ in 0..90 {
        if balance(&system).await != "48200.00" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    assert_eq!(balance(&system).await, "48189.00");
    assert_eq!(system.count("SELECT COUNT(*) AS n FROM sandbox_book").await, 1);
    let receipt = pay(&system, "gone", &system.payment(SILENT, "11.00")).await;
    assert_eq!((receipt.status.as_u16(), &receipt.json()["balance"]), (201, &json!("48189.00")));
    assert_eq!(balance(&system).await, "48189.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_one_key_of_two_portals_is_two_payments() {
    let system = System::start().await;
    let added = ["user", "add", "portal-two", "--role", "portal", "--tenant", support::TENANT];
    let (code, said) = pangate(&system, &[&added[..], &["--format", "json"]].concat());
    assert_eq!(code, 0, "{said}");
    let second: Value = serde_json::from_str(said.trim()).unwrap();
    let second = second["key"].as_str().unwrap();

    let body = system.payment(GOOD, "30.00");
    let mine = pay(&system, "one", &body).await;
    let theirs = keyed(&system, second, "/portal/payments", "one", &body).await;
    let other = keyed(&system, second, "/portal/payments", "two", &system.payment(GOOD, "5.00")).await;
    let also = pay(&system, "two", &system.payment(GOOD, "6.00")).await;

    for answer in [&mine, &theirs, &other, &also] {
        assert_eq!(answer.status.as_u16(), 201, "{}", answer.text);
        assert!(!answer.headers.contains_key("idempotent-replayed"));
    }
    assert_ne!(mine.json()["id"], theirs.json()["id"]);
    assert_eq!(balance(&system).await, "48129.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_in_parts_needs_a_second_person_like_the_whole() {
    let system = System::start().await;
    let charge = charged(&system, "600.00").await;
    let refund = |amount: &str| json!({ "charge": charge, "amount": amount, "reason": "goodwill" });
    let staff = system.key("staff");

    let first = keyed(&system, staff, "/v1/refunds", "a", &refund("249.99")).await;
    assert_eq!(
        (first.status.as_u16(), &first.json()["status"]),
        (201, &json!("succeeded")),
        "{}",
        first.text
    );
    let second = keyed(&system, staff, "/v1/refunds", "b", &refund("249.99")).await;
    assert_eq!(second.json()["status"], json!("pending_approval"), "{}", second.text);
    let cent = keyed(&system, system.key("second-staff"), "/v1/refunds", "c", &refund("0.01")).await;
    assert_eq!(cent.json()["status"], json!("pending_approval"), "{}", cent.text);
    assert_eq!(system.count("SELECT COUNT(*) AS n FROM sandbox_book WHERE kind = 'refund'").await, 1);

    let path = format!("/v1/refunds/{}/approve", second.json()["id"].as_str().unwrap());
    let approved = system.post("second-staff", &path, &json!({})).await;
    assert_eq!(approved.json()["status"], json!("succeeded"), "{}", approved.text);
    // The key's first answer again, whatever came after it.
    let again = keyed(&system, staff, "/v1/refunds", "b", &refund("249.99")).await;
    assert_eq!((again.status, again.text), (second.status, second.text));
    assert_eq!(again.headers["idempotent-replayed"], "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_a_caller_asks_what_its_own_key_came_to() {
    let system = System::start().await;
    let charge = charged(&system, "12.00").await;

    let path = "/v1/charges?idempotency_key=c";
    let mine = system.get("staff", path).await.json();
    assert_eq!(mine["data"][0]["id"], json!(charge));
    for other in ["second-staff", "companion", "other-staff"] {
        assert_eq!(system.get(other, path).await.json()["data"], json!([]), "{other}");
    }
    system.get("portal", path).await.is_problem(403, "forbidden");
    system.get("staff", &format!("{path}&limit=1")).await.is_problem(422, "unknown_field");
}

#[tokio::test(flavor = "multi_thread")]
async fn p5_an_entry_filed_under_another_tenant_is_found() {
    let system = System::start().await;
    system.get("staff", "/v1/charges").await;
    system.audit_log_is_whole();

    let sql = "UPDATE audit_entry SET tenant = 'south-clinic' WHERE tenant = 'north-clinic' \
               AND position = (SELECT MAX(position) FROM audit_entry WHERE tenant = 'north-clinic')";
    assert_eq!(system.change(sql, Vec::new()).await, 1);

    let (code, said) = pangate(&system, &["audit", "verify"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("another tenant"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn p10_a_revocation_that_revoked_nothing_is_recorded_as_refused() {
    let system = System::start().await;

    let (code, said) = pangate(&system, &["user", "revoke", "nobody-here"]);

    assert_ne!(code, 0, "{said}");
    let last = "SELECT leaf FROM audit_entry ORDER BY position DESC LIMIT 50";
    let rows = system.rows(last, Vec::new()).await;
    let leaf = rows
        .iter()
        .map(|row| String::from_utf8(row.bytes("leaf").unwrap()).unwrap())
        .find(|leaf| leaf.contains("nobody-here"));
    assert!(leaf.unwrap().contains("\"outcome\":\"refused\",\"reason\":\"no_live_key\""));
    process::run(
        "pangate",
        &["audit", "verify", "--config", &system.path("pangate.toml").display().to_string()],
    );
}
