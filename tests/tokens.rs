//! `/v1/tokens` over the wire: formats, reuse, batches, other tenants, shredding (P4, P11).
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot be set up must fail"
)]

mod support;

use serde_json::{Value, json};
use std::collections::BTreeSet;
use support::wire::Answer;
use support::{System, cards};

fn card(number: &str) -> Value {
    json!({ "number": number, "exp_month": 12, "exp_year": 2034, "cvc": cards::cvc_for(number) })
}

fn id(answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn p11_a_token_says_only_what_the_contract_says() {
    let system = System::start().await;
    let answer = system
        .post(
            "portal",
            "/v1/tokens",
            &json!({ "card": card("378282246310005"), "metadata": { "chart": "a" } }),
        )
        .await;
    let body = answer.json();
    let token = id(&answer);
    assert!(token.starts_with("tok_test_") && token.bytes().all(|b| !b.is_ascii_digit()));
    assert_eq!(body["card"], json!({ "brand": "amex", "last4": "0005", "exp_month": 12, "exp_year": 2034 }));
    assert_eq!(body["metadata"], json!({ "chart": "a" }));
    for hidden in ["3782", "fingerprint", "bin", "1234"] {
        assert!(!answer.text.contains(hidden), "{hidden} in {}", answer.text);
    }
    let shown = system.get("staff", &format!("/v1/tokens/{token}")).await;
    assert_eq!(shown.json()["card"], body["card"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_racing_reuse_posts_give_one_token() {
    let system = System::start().await;
    let client = system.client();
    let body = json!({ "card": card("4242424242424242"), "reuse": true });
    let posts = (0..100).map(|_| {
        let request = client.post(format!("{}/v1/tokens", system.url)).bearer_auth(system.key("portal"));
        Answer::of(request.json(&body))
    });
    let tokens: BTreeSet<String> = futures_util::future::join_all(posts).await.iter().map(id).collect();
    assert_eq!(tokens.len(), 1);

    let other = system.post("other-portal", "/v1/tokens", &body).await;
    assert!(!tokens.contains(&id(&other)), "two tenants share a token");
    let fresh = system.post("portal", "/v1/tokens", &json!({ "card": card("4242424242424242") })).await;
    assert!(!tokens.contains(&id(&fresh)), "without reuse a token is new");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_shaped_token_keeps_length_and_last_four_and_is_no_card() {
    let system = System::start().await;
    for number in ["4242424242424242", "378282246310005", "6205500000000000004"] {
        let body = json!({ "card": card(number), "format": "card_shaped" });
        let token = id(&system.post("portal", "/v1/tokens", &body).await);
        assert_eq!(token.len(), number.len());
        assert!(token.starts_with('9') && token.ends_with(&number[number.len() - 4..]));
        let shown = system.get("portal", &format!("/v1/tokens/{token}")).await;
        assert_eq!(shown.status, 200, "{}", shown.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_gives_one_result_for_each_card() {
    let system = System::start().await;
    let cards: Vec<Value> =
        ["4242424242424242", "4242424242424241", "5555555555554444"].into_iter().map(card).collect();
    let answer = system.post("portal", "/v1/tokens/batch", &json!({ "cards": cards })).await;
    assert!(answer.status.is_success(), "{}", answer.text);
    let data = answer.json()["data"].clone();
    assert!(data[0]["id"].is_string() && data[2]["id"].is_string(), "{data}");
    assert_eq!(data[1]["code"], "invalid_card_number");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_token_is_answered_like_an_unknown_one() {
    let system = System::start().await;
    let token = id(&system.post("portal", "/v1/tokens", &json!({ "card": card("4242424242424242") })).await);
    let foreign = system.get("other-staff", &format!("/v1/tokens/{token}")).await;
    let unknown = system
        .get("other-staff", &format!("/v1/tokens/{}", tokens::Token::mint(tokens::Realm::Test).unwrap()))
        .await;
    let strange = system.get("other-staff", "/v1/tokens/whatever").await;
    for answer in [&foreign, &unknown, &strange] {
        answer.is_problem(404, "unknown_token");
    }
    let without_id = |answer: &Answer| {
        let mut body = answer.json();
        body.as_object_mut().unwrap().remove("request_id");
        body
    };
    assert_eq!(without_id(&foreign), without_id(&unknown));
    let charge = json!({ "token": token, "amount": "1.00", "currency": "USD" });
    let request =
        system.client().post(format!("{}/v1/charges", system.url)).bearer_auth(system.key("other-staff"));
    Answer::of(request.header("Idempotency-Key", "foreign").json(&charge))
        .await
        .is_problem(404, "unknown_token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shredded_card_is_gone_for_everyone() {
    let system = System::start().await;
    let token = id(&system
        .post("portal", "/v1/tokens", &json!({ "card": card("4242424242424242"), "reuse": true }))
        .await);
    let path = format!("/v1/tokens/{token}");
    let delete = |key: &str| {
        system.client().delete(format!("{}{path}", system.url)).bearer_auth(system.key(key).to_owned())
    };
    Answer::of(delete("staff")).await.is_problem(403, "forbidden");
    assert_eq!(Answer::of(delete("admin")).await.status, 200);
    Answer::of(delete("admin")).await.is_problem(410, "token_gone");
    system.get("portal", &path).await.is_problem(410, "token_gone");
    let charge = json!({ "token": token, "amount": "1.00", "currency": "USD" });
    let request = system.client().post(format!("{}/v1/charges", system.url)).bearer_auth(system.key("staff"));
    Answer::of(request.header("Idempotency-Key", "late").json(&charge)).await.is_problem(410, "token_gone");
    let again = system
        .post("portal", "/v1/tokens", &json!({ "card": card("4242424242424242"), "reuse": true }))
        .await;
    assert_ne!(id(&again), token, "a shredded card is collected anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_gives_the_stored_token_again() {
    let system = System::start().await;
    let client = system.client();
    let send = async |key: &str, number: &str| {
        let request =
            client.post(format!("{}/v1/tokens", system.url)).bearer_auth(system.key(key).to_owned());
        Answer::of(request.header("Idempotency-Key", "one").json(&json!({ "card": card(number) }))).await
    };
    let first = send("portal", "4242424242424242").await;
    let again = send("portal", "4242424242424242").await;
    assert_eq!(again.text, first.text);
    assert_eq!(again.headers["idempotent-replayed"], "true");
    send("portal", "5555555555554444").await.is_problem(422, "idempotency_key_reused");
    assert_ne!(
        id(&send("other-portal", "4242424242424242").await),
        id(&first),
        "keys belong to their caller"
    );
}
