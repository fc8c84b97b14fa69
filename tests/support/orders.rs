//! A load of tokens, and the count afterwards: what was acknowledged is there and whole, and nothing else is.

use super::wire::Answer;
use super::{System, cards};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How many send at once.
pub const CONNECTIONS: usize = 16;

/// One request to make tokens, with the key under which it is repeated until it is answered.
#[derive(Clone)]
pub struct Order {
    pub key: String,
    pub path: &'static str,
    pub body: Value,
    pub numbers: Vec<String>,
}

impl Order {
    /// The `n`th: one card, one card that may be reused, or a batch of three, each a card that no other order has.
    pub fn nth(n: u64) -> Order {
        let numbers: Vec<String> = (0..3).map(|place| cards::generated(n * 3 + place)).collect();
        let card =
            |number: &String| json!({ "number": number, "exp_month": 12, "exp_year": 2034, "cvc": "737" });
        let (path, body, used) = match n % 5 {
            0 => ("/v1/tokens/batch", json!({ "cards": numbers.iter().map(card).collect::<Vec<_>>() }), 3),
            1 => ("/v1/tokens", json!({ "card": card(&numbers[0]), "reuse": true }), 1),
            _ => ("/v1/tokens", json!({ "card": card(&numbers[0]) }), 1),
        };
        Order { key: format!("order-{n}"), path, body, numbers: numbers[..used].to_vec() }
    }

    pub async fn send(&self, system: &System, client: &reqwest::Client) -> Option<Answer> {
        let request = client.post(format!("{}{}", system.url, self.path)).bearer_auth(system.key("portal"));
        Answer::try_of(request.header("Idempotency-Key", &self.key).json(&self.body)).await.ok()
    }
}

/// What was promised to callers: each token, and the card that it stands for.
#[derive(Default)]
pub struct Acknowledged {
    pub tokens: BTreeMap<String, String>,
    pub unanswered: Vec<Order>,
}

impl Acknowledged {
    pub fn note(&mut self, order: &Order, answer: &Answer) {
        let body = answer.json();
        let lines = body["data"].as_array().cloned().unwrap_or_else(|| vec![body]);
        assert_eq!(lines.len(), order.numbers.len(), "{}", answer.text);
        for (line, number) in lines.iter().zip(&order.numbers) {
            let token = line["id"].as_str().expect("a token in every line").to_owned();
            assert_eq!(line["card"]["last4"], last4(number));
            assert!(self.tokens.insert(token, number.clone()).is_none(), "one token for two orders");
        }
    }
}

pub fn last4(number: &str) -> &str {
    number.get(number.len() - 4..).unwrap()
}

pub fn is_done(answer: &Answer) -> bool {
    answer.status.is_success()
}

/// A time of up to four tenths of a second that nobody chose.
pub fn some_time() -> Duration {
    let mut draw = [0; 2];
    getrandom::fill(&mut draw).unwrap();
    Duration::from_millis(u64::from(u16::from_le_bytes(draw) % 400))
}

/// Waits for the first answer of a load, but not for ever.
pub async fn until(answered: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if answered() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(answered(), "nothing was answered in twenty seconds");
}

/// Sixteen connections make tokens until `accident` has happened. What got no answer is kept for the retry.
pub async fn load(system: &System, next: &AtomicU64, stop: &AtomicBool, told: &Mutex<Acknowledged>) {
    let posts = (0..CONNECTIONS).map(|_| async {
        let client = system.client();
        while !stop.load(Ordering::Relaxed) {
            let order = Order::nth(next.fetch_add(1, Ordering::Relaxed));
            let answer = order.send(system, &client).await;
            let mut told = told.lock().unwrap();
            match answer.filter(is_done) {
                Some(answer) => told.note(&order, &answer),
                None => told.unanswered.push(order),
            }
        }
    });
    join_all(posts).await;
}

/// Repeats what got no answer until it has one, and once more: the second time the same answer comes again.
pub async fn retry(system: &System, told: &mut Acknowledged) -> usize {
    let client = system.client();
    let unanswered = std::mem::take(&mut told.unanswered);
    let retried = unanswered.len();
    for order in unanswered {
        let mut answer = None;
        for _ in 0..100 {
            answer = order.send(system, &client).await;
            if answer.as_ref().is_some_and(is_done) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let answer = answer.unwrap();
        assert!(is_done(&answer), "{}", answer.text);
        told.note(&order, &answer);
        let again = order.send(system, &client).await.unwrap();
        assert_eq!((again.status, &again.text), (answer.status, &answer.text));
        assert_eq!(again.headers["idempotent-replayed"], "true");
    }
    retried
}

/// Every acknowledged token is shown, with its own last four; the store holds those cards and no other.
pub async fn nothing_is_lost_or_torn(system: &System, told: &Acknowledged) {
    let client = system.client();
    let wanted: Vec<(&String, &String)> = told.tokens.iter().collect();
    let client = &client;
    let looks =
        (0..CONNECTIONS).map(|lane| wanted.iter().skip(lane).step_by(CONNECTIONS)).map(|share| async move {
            for (token, number) in share {
                let request =
                    client.get(format!("{}/v1/tokens/{token}", system.url)).bearer_auth(system.key("staff"));
                let shown = Answer::of(request).await;
                assert_eq!(shown.status, 200, "{}", shown.text);
                assert_eq!(shown.json()["card"]["last4"], last4(number));
            }
        });
    join_all(looks).await;
    let own = "SELECT token, envelope FROM card WHERE tenant = $1";
    let rows = system.rows(own, vec![super::TENANT.into()]).await;
    let stored: BTreeSet<String> = rows.iter().map(|row| row.text("token").unwrap()).collect();
    let promised: BTreeSet<String> = told.tokens.keys().cloned().collect();
    assert_eq!(stored, promised, "the store holds exactly what was acknowledged");
    assert!(rows.iter().all(|row| row.bytes("envelope").unwrap().len() == 120));
}
