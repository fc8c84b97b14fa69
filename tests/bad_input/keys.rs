//! Idempotency keys that are reused, too long, unprintable or missing.

use crate::support::raw::{once, post};
use crate::support::wire::Answer;
use crate::support::{System, raw};
use crate::{Refused, all_recorded, refusal, unharmed};
use serde_json::json;

const ROUTE: &str = "/portal/payments";

#[tokio::test(flavor = "multi_thread")]
async fn p10_keys_that_are_no_keys_are_refused() {
    let system = System::start().await;
    let body = serde_json::to_vec(&system.payment("4242424242424242", "1.00")).unwrap();
    let long = "k".repeat(256);
    let mut refusals: Vec<Refused> = Vec::new();
    for (what, key, expected) in [
        ("empty", b"".as_slice(), (400, "idempotency_key_invalid")),
        ("too long", long.as_bytes(), (400, "idempotency_key_invalid")),
        ("a space inside", b"a b", (400, "idempotency_key_invalid")),
        ("a tab inside", b"a\tb", (400, "idempotency_key_invalid")),
        ("beyond ASCII", "schlüssel".as_bytes(), (400, "idempotency_key_invalid")),
        ("a control character", b"a\x01b", (400, "ambiguous_request")),
        ("NUL", b"a\0b", (400, "ambiguous_request")),
        ("a card number", b"4111-1111-1111-1111", (400, "stray_pan")),
        ("two keys", b"a\r\nIdempotency-Key: b", (400, "ambiguous_request")),
    ] {
        let head = raw::head(&system, "POST", ROUTE);
        let rest = format!("\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
        let request = [head.as_bytes(), b"Idempotency-Key: ", key, rest.as_bytes(), &body].concat();
        let answer = once(&system, &request).await.unwrap();
        refusals.push(refusal(what, (answer.status, &answer.body), expected));
    }
    all_recorded(&system, &refusals).await;
    unharmed(&system).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_a_key_of_255_characters_is_a_key_and_money_needs_one() {
    let system = System::start().await;
    let body = system.payment("4242424242424242", "1.00");
    let request = system.client().post(format!("{}{ROUTE}", system.url)).bearer_auth(system.key("portal"));
    let paid = Answer::of(request.header("Idempotency-Key", "k".repeat(255)).json(&body)).await;
    assert_eq!(paid.status, 201, "{}", paid.text);
    let charge = paid.json()["charge"].clone();
    let mut refusals = Vec::new();
    for (path, body) in [
        ("/v1/charges", json!({ "token": "tok_test_none", "amount": "1.00", "currency": "USD" })),
        ("/v1/refunds", json!({ "charge": charge, "reason": "insurance_paid_later" })),
    ] {
        let answer = system.post("staff", path, &body).await;
        refusals.push(refusal(
            path,
            (answer.status.as_u16(), &answer.text),
            (400, "idempotency_key_required"),
        ));
    }
    all_recorded(&system, &refusals).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_a_reused_key_is_refused_in_whatever_the_body_differs() {
    let system = System::start().await;
    let send = async |key: &str, body: &serde_json::Value| {
        let request =
            system.client().post(format!("{}{ROUTE}", system.url)).bearer_auth(system.key("portal"));
        Answer::of(request.header("Idempotency-Key", key).json(body)).await
    };
    let first = system.payment("4242424242424242", "1.00");
    assert_eq!(send("one", &first).await.status, 201);
    let mut note = first.clone();
    note["note"] = json!("again");
    let mut code = first.clone();
    code["card"]["cvc"] = json!("999");
    let others =
        [system.payment("5555555555554444", "1.00"), system.payment("4242424242424242", "1.01"), note];
    let mut refusals = Vec::new();
    for other in &others {
        let answer = send("one", other).await;
        refusals.push(refusal(
            "reused",
            (answer.status.as_u16(), &answer.text),
            (422, "idempotency_key_reused"),
        ));
    }
    // P3: nothing that is stored depends on the verification code, so another code is no other request.
    let retried = send("one", &code).await;
    assert_eq!(retried.status, 201);
    assert_eq!(retried.headers["idempotent-replayed"], "true");
    // A body that is refused before it counts does not use its key up.
    let mut broken = first.clone();
    broken["amount"] = json!("nothing");
    let answer = send("two", &broken).await;
    refusals.push(refusal("broken", (answer.status.as_u16(), &answer.text), (422, "invalid_amount")));
    assert_eq!(send("two", &first).await.status, 201);
    assert_eq!(system.posted_payments().await, 2);
    all_recorded(&system, &refusals).await;
    let whole = post(&system, ROUTE, "application/json", b"{}");
    assert!(once(&system, &whole).await.is_some(), "the gateway serves on");
}
