//! The main job over the wire: a card goes in, only a token comes out (P1, P2, P8).
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail")]

mod support;

use serde_json::{Value, json};
use support::wire::Answer;
use support::{System, cards};

/// The three ways in which a portal may send the same payment.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Json,
    Form,
    Multipart,
}

const SHAPES: [Shape; 3] = [Shape::Json, Shape::Form, Shape::Multipart];

fn fields(payment: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut fields = Vec::new();
    for (name, value) in payment.as_object().unwrap() {
        match value.as_object() {
            Some(card) => {
                fields.extend(card.iter().map(|(inner, value)| (format!("{name}[{inner}]"), text(value))))
            }
            None => fields.push((name.clone(), text(value))),
        }
    }
    fields
}

async fn pay(system: &System, client: &reqwest::Client, shape: Shape, payment: &Value) -> Answer {
    let request = client.post(format!("{}/portal/payments", system.url)).bearer_auth(system.key("portal"));
    Answer::of(match shape {
        Shape::Json => request.json(payment),
        Shape::Form => request.form(&fields(payment)),
        Shape::Multipart => {
            let form = fields(payment)
                .into_iter()
                .fold(reqwest::multipart::Form::new(), |form, (name, value)| form.text(name, value));
            request.multipart(form)
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn p2_every_published_card_pays_or_declines_as_documented_in_all_three_body_kinds() {
    let system = System::start().await;
    let client = system.client();
    for number in cards::PUBLISHED {
        for shape in SHAPES {
            let answer = pay(&system, &client, shape, &system.payment(number, "1.00")).await;
            let last4 = cards::last4(number);
            match cards::decline_of(number) {
                None => {
                    assert_eq!(answer.status, 201, "{last4} {shape:?}: {}", answer.text);
                    let body = answer.json();
                    assert_eq!(body["status"], "succeeded", "{body}");
                    assert_eq!(body["card"]["last4"], last4);
                    assert_eq!((&body["amount"], &body["currency"]), (&json!("1.00"), &json!("USD")));
                    assert!(body["id"].as_str().unwrap().starts_with("pay_"));
                    assert!(body["charge"].as_str().unwrap().starts_with("ch_"));
                }
                Some(code) => answer.is_problem(402, code),
            }
            assert!(!answer.text.contains(number));
        }
    }
    for number in cards::BAD {
        for shape in SHAPES {
            pay(&system, &client, shape, &system.payment(number, "1.00"))
                .await
                .is_problem(422, "invalid_card_number");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_the_companion_sees_a_token_a_brand_and_four_digits() {
    let system = System::start().await;
    let answer =
        system.post("portal", "/portal/payments", &system.payment("5555555555554444", "125.40")).await;
    assert_eq!(answer.status, 201, "{}", answer.text);

    let account = system.claims_get(&format!("/v1/accounts/{}", system.account)).await;
    let payment = &account.json()["payments"][0];
    assert_eq!(payment["card"], json!({ "brand": "mastercard", "last4": "4444" }));
    assert_eq!(payment["amount"], "125.40");
    assert!(!account.text.contains("5555555555554444"));

    let statement = system.claims_get(&format!("/v1/statements/{}", system.statement)).await.json();
    assert_eq!(statement["balance"], answer.json()["balance"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_a_repeated_payment_gets_the_stored_answer_and_charges_once() {
    let system = System::start().await;
    let payment = system.payment("4242424242424242", "20.00");
    let send = async |body: &Value| {
        let request = system.client().post(format!("{}/portal/payments", system.url));
        Answer::of(request.bearer_auth(system.key("portal")).header("Idempotency-Key", "once").json(body))
            .await
    };

    let first = send(&payment).await;
    let second = send(&payment).await;
    let other = send(&system.payment("4242424242424242", "21.00")).await;

    assert_eq!(first.status, 201, "{}", first.text);
    assert_eq!((second.status, &second.text), (first.status, &first.text));
    assert_eq!(second.headers["idempotent-replayed"], "true");
    other.is_problem(422, "idempotency_key_reused");
    let account = system.claims_get(&format!("/v1/accounts/{}", system.account)).await.json();
    assert_eq!(account["payments"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_concurrent_twins_pay_once() {
    let system = System::start().await;
    let payment = system.payment("4242424242424242", "30.00");
    let client = system.client();
    let twins = (0..20).map(|_| {
        let request =
            client.post(format!("{}/portal/payments", system.url)).bearer_auth(system.key("portal"));
        Answer::of(request.header("Idempotency-Key", "twin").json(&payment))
    });
    let answers = futures_util::future::join_all(twins).await;
    assert!(answers.iter().any(|answer| answer.status == 201));
    for answer in &answers {
        assert!(answer.status == 201 || answer.code() == "idempotency_in_flight", "{}", answer.text);
    }
    let account = system.claims_get(&format!("/v1/accounts/{}", system.account)).await.json();
    assert_eq!(account["payments"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_and_http_1_serve_the_same() {
    let system = System::start().await;
    let body = json!({ "card": { "number": "4111111111111111", "exp_month": 1, "exp_year": 2031 } });
    let both = [system.client(), support::wire::client_http1(&system.path("tls/ca.pem"))];
    let mut versions = Vec::new();
    for client in both {
        let request =
            client.post(format!("{}/v1/tokens", system.url)).bearer_auth(system.key("portal")).json(&body);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 201);
        versions.push(response.version());
    }
    assert_eq!(versions, [http::Version::HTTP_2, http::Version::HTTP_11]);
}
