//! Charges and refunds over real sockets: once, never more than was captured, and by whom it may be.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot be set up must fail")]

mod support;

use serde_json::{Value, json};
use support::System;
use support::wire::Answer;

/// A token for the card, made to be kept.
async fn token(system: &System, portal: &str, number: &str) -> String {
    let card = json!({ "number": number, "exp_month": 12, "exp_year": 2034 });
    let answer = system.post(portal, "/v1/tokens", &json!({ "card": card })).await;
    assert_eq!(answer.status.as_u16(), 201, "{}", answer.text);
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// Posts JSON with the named credential under an idempotency key.
async fn keyed(system: &System, who: &str, path: &str, key: &str, body: &Value) -> Answer {
    let request = system.client().post(format!("{}{path}", system.url)).bearer_auth(system.key(who));
    Answer::of(request.header("idempotency-key", key).json(body)).await
}

/// A captured charge of that amount in US dollars.
async fn charged(system: &System, key: &str, amount: &str) -> String {
    let token = token(system, "portal", "4242424242424242").await;
    let body = json!({ "token": token, "amount": amount, "currency": "USD", "reference": "st-1" });
    let answer = keyed(system, "staff", "/v1/charges", key, &body).await;
    assert_eq!(answer.status.as_u16(), 201, "{}", answer.text);
    answer.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_a_charge_happens_once_whatever_is_retried() {
    let system = System::start().await;
    let token = token(&system, "portal", "4242424242424242").await;
    let body = json!({ "token": token, "amount": "125.40", "currency": "USD", "reference": "st-1" });

    system.post("staff", "/v1/charges", &body).await.is_problem(400, "idempotency_key_required");
    let first = keyed(&system, "staff", "/v1/charges", "one", &body).await;
    assert_eq!(first.status.as_u16(), 201, "{}", first.text);
    let charge = first.json();
    assert_eq!((&charge["status"], &charge["captured"]), (&json!("succeeded"), &json!("125.40")));
    assert_eq!(charge["card"], json!({ "brand": "visa", "last4": "4242" }));

    let refund = json!({ "charge": charge["id"], "amount": "5.00", "reason": "goodwill" });
    assert_eq!(keyed(&system, "staff", "/v1/refunds", "r", &refund).await.status.as_u16(), 201);
    let again = keyed(&system, "staff", "/v1/charges", "one", &body).await;
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    assert_eq!(again.headers["idempotent-replayed"], "true");

    let mut other = body.clone();
    other["amount"] = json!("125.41");
    keyed(&system, "staff", "/v1/charges", "one", &other).await.is_problem(422, "idempotency_key_reused");
    let list = system.get("staff", "/v1/charges").await.json();
    assert_eq!((list["data"].as_array().unwrap().len(), &list["has_more"]), (1, &json!(false)));
    assert_eq!(list["data"][0]["refunded"], json!("5.00"));

    for (number, code) in [("4000000000000002", "card_declined"), ("4000000000009995", "insufficient_funds")]
    {
        let declined = json!({ "token": self::token(&system, "portal", number).await, "amount": "1.00", "currency": "USD" });
        let answer = keyed(&system, "staff", "/v1/charges", number.split_at(12).1, &declined).await;
        assert_eq!(answer.status.as_u16(), 201, "{}", answer.text);
        assert_eq!(
            (&answer.json()["status"], &answer.json()["decline_code"]),
            (&json!("declined"), &json!(code))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_an_answer_that_never_came_is_asked_for_under_the_same_key() {
    let mut system = System::start().await;
    let token = token(&system, "portal", "4000000000004087").await;
    let body = json!({ "token": token, "amount": "10.00", "currency": "USD" });

    let lost = keyed(&system, "staff", "/v1/charges", "lost", &body).await;
    lost.is_problem(503, "outcome_in_doubt");
    assert!(lost.headers.contains_key("retry-after"));
    system.gateway().kill_9();
    system.start_gateway();
    system.wait_ready().await;

    let found = keyed(&system, "staff", "/v1/charges", "lost", &body).await;
    assert_eq!(
        (found.status.as_u16(), &found.json()["status"]),
        (201, &json!("succeeded")),
        "{}",
        found.text
    );
    assert_eq!(system.get("staff", "/v1/charges").await.json()["data"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_refunds_never_exceed_the_capture() {
    let system = System::start().await;
    let charge = charged(&system, "c", "100.00").await;
    let refund = |amount: &str| json!({ "charge": charge, "amount": amount, "reason": "duplicate" });

    let path = "/v1/refunds";
    keyed(&system, "staff", path, "a", &refund("100.01")).await.is_problem(422, "refund_exceeds_capture");
    keyed(&system, "staff", path, "b", &refund("0.00")).await.is_problem(422, "invalid_amount");
    keyed(&system, "companion", path, "c", &refund("1.00")).await.is_problem(403, "forbidden");
    keyed(&system, "other-staff", path, "d", &refund("1.00")).await.is_problem(404, "unknown_charge");

    let (client, url, key) =
        (system.client(), format!("{}{path}", system.url), system.key("staff").to_owned());
    let racing = (0..20).map(|n| {
        let request = client.post(&url).bearer_auth(&key).header("idempotency-key", format!("race-{n}"));
        Answer::of(request.json(&refund("30.00")))
    });
    let answers = futures_util::future::join_all(racing).await;
    let succeeded = answers.iter().filter(|answer| answer.status.as_u16() == 201).count();
    assert_eq!(succeeded, 3);
    for answer in answers.iter().filter(|answer| answer.status.as_u16() != 201) {
        answer.is_problem(422, "refund_exceeds_capture");
    }

    let rest = json!({ "charge": charge, "reason": "billing_error" });
    let last = keyed(&system, "staff", path, "rest", &rest).await.json();
    assert_eq!((&last["amount"], &last["status"]), (&json!("10.00"), &json!("succeeded")));
    keyed(&system, "staff", path, "more", &rest).await.is_problem(422, "refund_exceeds_capture");
    let shown = system.get("staff", &format!("/v1/charges/{charge}")).await.json();
    assert_eq!((&shown["captured"], &shown["refunded"]), (&json!("100.00"), &json!("100.00")));

    let first = system.get("staff", "/v1/refunds?limit=3").await.json();
    assert_eq!((first["data"].as_array().unwrap().len(), &first["has_more"]), (3, &json!(true)));
    let next = format!("/v1/refunds?limit=3&after={}", first["next"].as_str().unwrap());
    let second = system.get("staff", &next).await.json();
    assert_eq!((second["data"].as_array().unwrap().len(), &second["next"]), (1, &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_refund_waits_for_a_second_person() {
    let system = System::start().await;
    let charge = charged(&system, "c", "600.00").await;
    let body = json!({ "charge": charge, "amount": "250.00", "reason": "insurance_paid_later" });

    let asked = keyed(&system, "staff", "/v1/refunds", "big", &body).await;
    assert_eq!(
        (asked.status.as_u16(), &asked.json()["status"]),
        (201, &json!("pending_approval")),
        "{}",
        asked.text
    );
    let refund = asked.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/refunds/{refund}/approve");
    system.post("staff", &path, &json!({})).await.is_problem(403, "second_person_required");
    system.post("other-staff", &path, &json!({})).await.is_problem(404, "unknown_refund");

    let approved = system.post("second-staff", &path, &json!({})).await;
    assert_eq!(approved.status.as_u16(), 200, "{}", approved.text);
    assert_eq!(
        (&approved.json()["status"], &approved.json()["approved_by"]),
        (&json!("succeeded"), &json!("second-staff"))
    );
    let again = system.post("second-staff", &path, &json!({})).await;
    assert_eq!((again.status, again.text), (approved.status, approved.text));
    let shown = system.get("staff", &format!("/v1/charges/{charge}")).await.json();
    assert_eq!(shown["refunded"], json!("250.00"));
}
