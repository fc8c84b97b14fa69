//! A load of charges, and the books afterwards: each key was charged once, on both sides.

use super::System;
use super::orders::{Acknowledged, CONNECTIONS, Order, is_done, last4};
use super::wire::Answer;
use futures_util::future::join_all;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A charge that was sent: its key, its token, and the answer if there was one.
pub type Sent = (String, String, Option<Answer>);

pub async fn charge(system: &System, client: &reqwest::Client, token: &str, key: &str) -> Option<Answer> {
    let body = json!({ "token": token, "amount": "7.50", "currency": "USD", "reference": "crash" });
    let request = client.post(format!("{}/v1/charges", system.url)).bearer_auth(system.key("staff"));
    Answer::try_of(request.header("Idempotency-Key", key).json(&body)).await.ok()
}

/// Opens the envelopes of a sample: only a whole card is approved by the processor.
pub async fn a_sample_can_be_charged(system: &System, told: &Acknowledged, round: usize) {
    let client = system.client();
    let step = (told.tokens.len() / 10).max(1);
    for (token, number) in told.tokens.iter().step_by(step) {
        let answer = charge(system, &client, token, &format!("sample-{round}-{token}")).await.unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text);
        assert_eq!(answer.json()["status"], "succeeded", "{}", answer.text);
        assert_eq!(answer.json()["card"]["last4"], last4(number));
    }
}

/// Four cards to charge.
pub async fn four_cards(system: &System) -> Vec<String> {
    let client = system.client();
    let mut tokens = Vec::new();
    for n in 0..4 {
        let answer = Order::nth(n * 5 + 2).send(system, &client).await.unwrap();
        tokens.push(answer.json()["id"].as_str().unwrap().to_owned());
    }
    tokens
}

/// Sixteen connections charge until `stop`.
pub async fn charge_all(
    system: &System,
    tokens: &[String],
    next: &AtomicU64,
    stop: &AtomicBool,
    answered: &AtomicBool,
) -> Vec<Sent> {
    let lanes = (0..CONNECTIONS).map(|_| async {
        let (client, mut sent) = (system.client(), Vec::new());
        while !stop.load(Ordering::Relaxed) {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let key = format!("charge-{n}");
            let token = &tokens[usize::try_from(n).unwrap() % tokens.len()];
            let answer = charge(system, &client, token, &key).await;
            answered.store(true, Ordering::Relaxed);
            sent.push((key, token.clone(), answer));
        }
        sent
    });
    join_all(lanes).await.into_iter().flatten().collect()
}

/// Sends every charge once more: each is charged by then, and an answer that was given before comes again. Gives how many
/// had none.
pub async fn charge_again(system: &System, sent: Vec<Sent>, charges: &mut BTreeMap<String, String>) -> usize {
    let client = system.client();
    let mut interrupted = 0;
    for (key, token, answer) in sent {
        let first = answer.filter(is_done);
        interrupted += usize::from(first.is_none());
        let again = charge(system, &client, &token, &key).await.unwrap();
        assert_eq!(again.status, 201, "{}", again.text);
        if let Some(first) = first {
            assert_eq!(again.text, first.text, "the stored answer comes again");
            assert_eq!(again.headers["idempotent-replayed"], "true");
        }
        assert_eq!(again.json()["status"], "succeeded", "{}", again.text);
        charges.insert(key, again.json()["id"].as_str().unwrap().to_owned());
    }
    interrupted
}

/// One charge and one line in the processor's books for each key, and they name the same money.
pub async fn books_agree(system: &System, charges: &BTreeMap<String, String>) {
    let ours = "SELECT id, idempotency_key, amount_minor, captured_minor, status FROM charge";
    let rows = system.rows(ours, Vec::new()).await;
    let stored: BTreeMap<String, String> =
        rows.iter().map(|row| (row.text("idempotency_key").unwrap(), row.text("id").unwrap())).collect();
    assert_eq!(rows.len(), charges.len());
    assert_eq!(&stored, charges);
    for row in &rows {
        assert_eq!(row.text("status").unwrap(), "succeeded");
        assert_eq!(
            (row.integer("amount_minor").unwrap(), row.integer("captured_minor").unwrap()),
            (750, 750)
        );
    }
    let theirs = "SELECT idempotency_key, kind, amount_minor, outcome FROM sandbox_book";
    let rows = system.rows(theirs, Vec::new()).await;
    let booked: BTreeSet<String> = rows.iter().map(|row| row.text("idempotency_key").unwrap()).collect();
    assert_eq!(rows.len(), charges.len(), "the processor charged once for each key");
    assert_eq!(booked, charges.values().cloned().collect::<BTreeSet<_>>());
    assert!(
        rows.iter()
            .all(|row| row.text("kind").unwrap() == "capture" && row.integer("amount_minor").unwrap() == 750)
    );
}
