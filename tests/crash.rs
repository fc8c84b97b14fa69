//! `kill -9` under load: what was acknowledged is there and whole, and nothing happens twice (P4, P5, P8).
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot be set up must fail"
)]

mod support;

use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use support::wire::Answer;
use support::{System, cards};

const CONNECTIONS: usize = 16;
const ROUNDS: usize = 10;

/// One request to make tokens, with the key under which it is repeated until it is answered.
#[derive(Clone)]
struct Order {
    key: String,
    path: &'static str,
    body: Value,
    numbers: Vec<String>,
}

impl Order {
    /// The `n`th: one card, one card that may be reused, or a batch of three, each a card that no other order has.
    fn nth(n: u64) -> Order {
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

    async fn send(&self, system: &System, client: &reqwest::Client) -> Option<Answer> {
        let request = client.post(format!("{}{}", system.url, self.path)).bearer_auth(system.key("portal"));
        Answer::try_of(request.header("Idempotency-Key", &self.key).json(&self.body)).await.ok()
    }
}

/// What was promised to callers: each token, and the card that it stands for.
#[derive(Default)]
struct Acknowledged {
    tokens: BTreeMap<String, String>,
    unanswered: Vec<Order>,
}

impl Acknowledged {
    fn note(&mut self, order: &Order, answer: &Answer) {
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

fn last4(number: &str) -> &str {
    number.get(number.len() - 4..).unwrap()
}

fn is_done(answer: &Answer) -> bool {
    answer.status.is_success()
}

/// A time of up to four tenths of a second that nobody chose.
fn some_time() -> Duration {
    let mut draw = [0; 2];
    getrandom::fill(&mut draw).unwrap();
    Duration::from_millis(u64::from(u16::from_le_bytes(draw) % 400))
}

/// Waits for the first answer of a load, but not for ever.
async fn until(answered: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if answered() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(answered(), "nothing was answered in twenty seconds");
}

/// Sixteen connections make tokens until `accident` has happened. What got no answer is kept for the retry.
async fn load(system: &System, next: &AtomicU64, stop: &AtomicBool, told: &Mutex<Acknowledged>) {
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
async fn retry(system: &System, told: &mut Acknowledged) -> usize {
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
async fn nothing_is_lost_or_torn(system: &System, told: &Acknowledged) {
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
    let rows = system.rows("SELECT token, envelope, data_key_id FROM card", Vec::new()).await;
    let stored: BTreeSet<String> = rows.iter().map(|row| row.text("token").unwrap()).collect();
    let promised: BTreeSet<String> = told.tokens.keys().cloned().collect();
    assert_eq!(stored, promised, "the store holds exactly what was acknowledged");
    assert!(rows.iter().all(|row| row.bytes("envelope").unwrap().len() == 120));
}

async fn charge(system: &System, client: &reqwest::Client, token: &str, key: &str) -> Option<Answer> {
    let body = json!({ "token": token, "amount": "7.50", "currency": "USD", "reference": "crash" });
    let request = client.post(format!("{}/v1/charges", system.url)).bearer_auth(system.key("staff"));
    Answer::try_of(request.header("Idempotency-Key", key).json(&body)).await.ok()
}

/// Opens the envelopes of a sample: only a whole card is approved by the processor.
async fn a_sample_can_be_charged(system: &System, told: &Acknowledged, round: usize) {
    let client = system.client();
    let step = (told.tokens.len() / 10).max(1);
    for (token, number) in told.tokens.iter().step_by(step) {
        let answer = charge(system, &client, token, &format!("sample-{round}-{token}")).await.unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text);
        assert_eq!(answer.json()["status"], "succeeded", "{}", answer.text);
        assert_eq!(answer.json()["card"]["last4"], last4(number));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Victim {
    Gateway,
    Hsm,
}

async fn rounds_of_kill_9(victim: Victim) {
    let mut system = System::start().await;
    let (next, mut told) = (AtomicU64::new(0), Acknowledged::default());
    let mut interrupted = 0;
    for round in 0..ROUNDS {
        let before = told.tokens.len();
        let pid = match victim {
            Victim::Gateway => system.gateway().id(),
            Victim::Hsm => system.hsm().id(),
        };
        let stop = AtomicBool::new(false);
        let shared = Mutex::new(told);
        let accident = async {
            // The load is up once something was acknowledged; a kill before that would try nothing.
            until(|| shared.lock().unwrap().tokens.len() > before).await;
            tokio::time::sleep(some_time()).await;
            support::process::kill_9_by_id(pid);
            tokio::time::sleep(Duration::from_millis(20)).await;
            stop.store(true, Ordering::Relaxed);
        };
        tokio::join!(load(&system, &next, &stop, &shared), accident);
        told = shared.into_inner().unwrap();
        match victim {
            Victim::Gateway => {
                system.gateway().kill_9();
                system.start_gateway();
            }
            Victim::Hsm => {
                system.hsm().kill_9();
                system.start_hsm();
            }
        }
        system.wait_ready().await;
        interrupted += retry(&system, &mut told).await;
        nothing_is_lost_or_torn(&system, &told).await;
        a_sample_can_be_charged(&system, &told, round).await;
        system.audit_log_is_whole();
    }
    assert!(interrupted > 0, "no request was under way at any kill");
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_acknowledged_tokens_survive_kill_9_of_the_gateway() {
    rounds_of_kill_9(Victim::Gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_acknowledged_tokens_survive_kill_9_of_the_hsm() {
    rounds_of_kill_9(Victim::Hsm).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_a_charge_in_flight_at_kill_9_is_charged_once() {
    let mut system = System::start().await;
    let client = system.client();
    let mut tokens = Vec::new();
    for n in 0..4 {
        let order = Order::nth(n * 5 + 2);
        let answer = order.send(&system, &client).await.unwrap();
        tokens.push(answer.json()["id"].as_str().unwrap().to_owned());
    }
    let next = AtomicU64::new(0);
    let mut charges: BTreeMap<String, String> = BTreeMap::new();
    let mut interrupted = 0;
    for _ in 0..ROUNDS {
        let pid = system.gateway().id();
        let stop = AtomicBool::new(false);
        let answered = AtomicBool::new(false);
        let accident = async {
            until(|| answered.load(Ordering::Relaxed)).await;
            tokio::time::sleep(some_time()).await;
            support::process::kill_9_by_id(pid);
            stop.store(true, Ordering::Relaxed);
        };
        let lanes = join_all((0..CONNECTIONS).map(|_| async {
            let (client, mut sent) = (system.client(), Vec::new());
            while !stop.load(Ordering::Relaxed) {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let key = format!("charge-{n}");
                let token = &tokens[usize::try_from(n).unwrap() % tokens.len()];
                let answer = charge(&system, &client, token, &key).await;
                answered.store(true, Ordering::Relaxed);
                sent.push((key, token.clone(), answer));
            }
            sent
        }));
        let (sent, ()) = tokio::join!(lanes, accident);
        system.gateway().kill_9();
        system.start_gateway();
        system.wait_ready().await;
        let client = system.client();
        for (key, token, answer) in sent.into_iter().flatten() {
            let first = answer.filter(is_done);
            interrupted += usize::from(first.is_none());
            let again = charge(&system, &client, &token, &key).await.unwrap();
            assert_eq!(again.status, 201, "{}", again.text);
            if let Some(first) = first {
                assert_eq!(again.text, first.text, "the stored answer comes again");
                assert_eq!(again.headers["idempotent-replayed"], "true");
            }
            assert_eq!(again.json()["status"], "succeeded", "{}", again.text);
            charges.insert(key, again.json()["id"].as_str().unwrap().to_owned());
        }
    }
    assert!(interrupted > 0, "no charge was under way at any kill");
    books_agree(&system, &charges).await;
    system.audit_log_is_whole();
}

/// One charge and one line in the processor's books for each key, and they name the same money.
async fn books_agree(system: &System, charges: &BTreeMap<String, String>) {
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
