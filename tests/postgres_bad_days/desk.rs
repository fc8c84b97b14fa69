//! One gateway on a PostgreSQL that has a bad day, and what was acknowledged so far.

use crate::support::wire::{self, Answer};
use crate::support::{System, cards};
use scratch_postgres::Database;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// No answer takes longer: a statement's limit, what its connection gets on top of it, and a new connection.
pub(crate) const BOUND: Duration = Duration::from_secs(15);
/// Service is back this long after the database.
pub(crate) const BACK: Duration = Duration::from_secs(8);

pub(crate) struct Desk {
    pub(crate) system: System,
    client: reqwest::Client,
    cards: u64,
    acknowledged: Vec<String>,
}

impl Desk {
    pub(crate) async fn open(database: Database) -> Desk {
        let system = System::start_on(database).await;
        let client = system.client();
        let mut desk = Desk { system, client, cards: 0, acknowledged: Vec::new() };
        for _ in 0..5 {
            let kept = desk.keep_card().await;
            assert_eq!(kept.status, 201, "{}", kept.text);
        }
        assert_eq!(desk.charge("before").await.status, 201);
        desk
    }

    /// A new card into a token, within the bound.
    pub(crate) async fn keep_card(&mut self) -> Answer {
        self.cards += 1;
        let card = json!({ "number": cards::generated(self.cards), "exp_month": 12, "exp_year": 2034 });
        let answer = self.post("portal", "/v1/tokens", None, &json!({ "card": card })).await;
        if answer.status == 201 {
            self.acknowledged.push(answer.json()["id"].as_str().unwrap().to_owned());
        }
        answer
    }

    /// A charge of the first card, within the bound.
    pub(crate) async fn charge(&self, key: &str) -> Answer {
        let body = json!({ "token": self.acknowledged[0], "amount": "2.00", "currency": "USD" });
        self.post("staff", "/v1/charges", Some(key), &body).await
    }

    pub(crate) async fn post(&self, who: &str, path: &str, key: Option<&str>, body: &Value) -> Answer {
        let mut request =
            self.client.post(format!("{}{path}", self.system.url)).bearer_auth(self.system.key(who));
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let since = Instant::now();
        let answer = Answer::of(request.json(body)).await;
        assert!(since.elapsed() < BOUND, "{path} took {:?}: {}", since.elapsed(), answer.text);
        answer
    }

    /// While it lasts every answer is a 503 of one of these codes.
    pub(crate) async fn away(&mut self, what: &str, codes: &[&str]) {
        let (mut slowest, mut seen) = (Duration::ZERO, Vec::new());
        for round in 0..3 {
            let since = Instant::now();
            let answers = [self.keep_card().await, self.charge(&key(what, round)).await];
            slowest = slowest.max(since.elapsed() / 2);
            for answer in answers {
                assert_eq!(answer.status, 503, "{what}: {}", answer.text);
                assert!(codes.contains(&answer.code().as_str()), "{what}: {}", answer.text);
                assert!(answer.headers.contains_key("retry-after"), "{what}: no Retry-After");
                seen.push(answer.code());
            }
        }
        seen.dedup();
        println!("{what}: {seen:?}, an answer takes up to {slowest:.2?}");
    }

    /// `/readyz` says no, and that the database is why.
    pub(crate) async fn readiness_names(&self, codes: &[&str]) {
        let ask = || wire::plain_client().get(format!("{}/readyz", self.system.ops));
        let report = Answer::of(ask()).await;
        assert_eq!(report.status, 503, "{}", report.text);
        // Readiness gives its parts three seconds; a database that takes longer is reported without more words.
        if let Some(part) =
            report.json()["parts"].as_array().and_then(|parts| parts.iter().find(|part| part["ok"] == false))
        {
            let code = part["code"].as_str().unwrap();
            assert!(codes.contains(&code), "{}", report.text);
            assert!(part["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{}", report.text);
        }
    }

    /// Service is back by itself, nothing is lost, and what was interrupted is done once.
    pub(crate) async fn back(&mut self, what: &str) {
        self.back_within(what, BACK).await;
    }

    pub(crate) async fn back_within(&mut self, what: &str, limit: Duration) {
        let since = Instant::now();
        while self.keep_card().await.status != 201 {
            assert!(since.elapsed() < limit, "{what}: no service after {limit:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        println!("{what}: service after {:.2?}", since.elapsed());
        for round in 0..3 {
            let key = key(what, round);
            let mut charged = self.charge(&key).await;
            while charged.status == 503 && since.elapsed() < limit {
                tokio::time::sleep(Duration::from_millis(50)).await;
                charged = self.charge(&key).await;
            }
            assert_eq!(
                (charged.status.as_u16(), &charged.json()["status"]),
                (201, &json!("succeeded")),
                "{}",
                charged.text
            );
        }
        self.system.wait_ready().await;
        for token in &self.acknowledged {
            let shown = self.system.get("staff", &format!("/v1/tokens/{token}")).await;
            assert_eq!(shown.status, 200, "{}", shown.text);
        }
        self.system.audit_log_is_whole();
        let keys = self.system.count("SELECT COUNT(DISTINCT idempotency_key) AS n FROM charge").await;
        assert_eq!(self.system.count("SELECT COUNT(*) AS n FROM charge").await, keys);
        assert_eq!(self.system.count("SELECT COUNT(*) AS n FROM sandbox_book").await, keys);
    }

    /// The time of the log's last entry, in microseconds.
    pub(crate) async fn last_entry(&self) -> i64 {
        let sql = "SELECT leaf FROM audit_entry WHERE log = 'pangate-test' ORDER BY position DESC LIMIT 1";
        let rows = self.system.rows(sql, Vec::new()).await;
        audit::parse(&rows[0].bytes("leaf").unwrap()).unwrap().time_us
    }
}

pub(crate) fn key(what: &str, round: u32) -> String {
    format!("{}-{round}", what.replace(' ', "-"))
}
