//! A part goes away and comes back: meanwhile 503 with its own code at once, afterwards service within a second and
//! without anybody's help, with nothing lost and nothing done twice (P8, P9).
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot be set up must fail")]

mod support;

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::wire::Answer;
use support::{System, cards};

/// An answer that takes longer is a hang to whoever waits.
const AT_ONCE: Duration = Duration::from_secs(4);
/// Service is back this long after the part.
const BACK: Duration = Duration::from_secs(1);

/// A system, one client that stays connected, and the tokens that were acknowledged so far.
struct Desk {
    system: System,
    client: reqwest::Client,
    cards: u64,
    acknowledged: Vec<String>,
}

impl Desk {
    async fn open(system: System) -> Desk {
        let client = system.client();
        let mut desk = Desk { system, client, cards: 0, acknowledged: Vec::new() };
        // The tenant's data key is made and every connection is up before anything breaks.
        assert_eq!(desk.keep_card(true).await.status, 201);
        assert_eq!(desk.pay("before", "1.00").await.status, 201);
        desk
    }

    async fn send(&self, key: &str, path: &str, idempotency: Option<&str>, body: &Value) -> Answer {
        let mut request =
            self.client.post(format!("{}{path}", self.system.url)).bearer_auth(self.system.key(key));
        if let Some(idempotency) = idempotency {
            request = request.header("Idempotency-Key", idempotency);
        }
        Answer::of(request.json(body)).await
    }

    /// A new card into a token; one that may be reused needs the HSM for its fingerprint.
    async fn keep_card(&mut self, reuse: bool) -> Answer {
        self.cards += 1;
        let card = json!({ "number": cards::generated(self.cards), "exp_month": 12, "exp_year": 2034 });
        let answer = self.send("portal", "/v1/tokens", None, &json!({ "card": card, "reuse": reuse })).await;
        if answer.status == 201 {
            self.acknowledged.push(answer.json()["id"].as_str().unwrap().to_owned());
        }
        answer
    }

    /// A portal payment by card.
    async fn pay(&self, key: &str, amount: &str) -> Answer {
        let payment = self.system.payment("4242424242424242", amount);
        self.send("portal", "/portal/payments", Some(key), &payment).await
    }

    /// Every token that was acknowledged, before and during the outage, is still there.
    async fn nothing_is_lost(&self) {
        for token in &self.acknowledged {
            let shown = self.system.get("staff", &format!("/v1/tokens/{token}")).await;
            assert_eq!(shown.status, 200, "{}", shown.text);
        }
        self.system.audit_log_is_whole();
    }

    /// `/readyz` says no, and that this part alone is why.
    async fn readiness_names(&self, part: &str, code: &str) {
        let since = Instant::now();
        let answer =
            Answer::of(support::wire::plain_client().get(format!("{}/readyz", self.system.ops))).await;
        assert!(since.elapsed() < AT_ONCE, "readiness took {:?}", since.elapsed());
        assert_eq!(answer.status, 503, "{}", answer.text);
        assert!(seconds(&answer) >= 1);
        let report = answer.json();
        assert_eq!(report["ready"], false);
        let away: Vec<&Value> =
            report["parts"].as_array().unwrap().iter().filter(|part| part["ok"] == false).collect();
        assert_eq!(away.len(), 1, "{report}");
        assert_eq!((&away[0]["part"], &away[0]["code"]), (&json!(part), &json!(code)), "{report}");
    }
}

fn seconds(answer: &Answer) -> u64 {
    answer.headers["retry-after"].to_str().unwrap().parse().unwrap()
}

/// The answer of an outage: soon, 503, its own code, and when to come again.
#[track_caller]
fn is_away(answer: &Answer, since: Instant, code: &str) {
    answer.is_problem(503, code);
    assert!(since.elapsed() < AT_ONCE, "the answer took {:?}", since.elapsed());
    assert!(seconds(answer) >= 1, "Retry-After is missing or zero");
}

/// Asks every 50 ms from `since` on until it works, which must be within a second.
#[expect(clippy::print_stdout, reason = "the figure behind the promise, shown with --nocapture")]
async fn back_within_a_second(what: &str, since: Instant, mut works: impl AsyncFnMut() -> Answer) -> Answer {
    loop {
        let answer = works().await;
        let took = since.elapsed();
        if answer.status.is_success() {
            println!("{what}: service resumed after {} ms", took.as_millis());
            assert!(took <= BACK, "{what}: service resumed only after {took:?}");
            return answer;
        }
        assert!(answer.status.is_server_error() || answer.status == 409, "{}", answer.text);
        assert!(took <= BACK, "{what}: still away after {took:?}: {}", answer.text);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// `kill -9`, and later a new process.
    Killed,
    /// `SIGSTOP`, and later `SIGCONT`: connections stay open and nothing answers.
    Hung,
}

async fn the_hsm_goes(way: Way) {
    let mut desk = Desk::open(System::start().await).await;
    match way {
        Way::Killed => desk.system.hsm().kill_9(),
        Way::Hung => desk.system.hsm().signal("STOP"),
    }
    for round in 0..3 {
        let since = Instant::now();
        is_away(&desk.keep_card(true).await, since, "hsm_unavailable");
        let since = Instant::now();
        is_away(&desk.pay(&format!("away-{round}"), "2.00").await, since, "hsm_unavailable");
        // What needs no key of the device goes on.
        assert_eq!(desk.keep_card(false).await.status, 201);
    }
    desk.readiness_names("hsm", "hsm_unavailable").await;
    match way {
        Way::Killed => desk.system.start_hsm(),
        Way::Hung => desk.system.hsm().signal("CONT"),
    }
    let since = Instant::now();
    back_within_a_second("HSM", since, async || desk.keep_card(true).await).await;
    assert_eq!(desk.pay("away-0", "2.00").await.status, 201);
    desk.nothing_is_lost().await;
    assert_eq!(desk.system.count("SELECT COUNT(*) AS n FROM sandbox_book").await, 2);
    desk.system.wait_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_service_resumes_within_a_second_after_the_hsm_was_killed() {
    the_hsm_goes(Way::Killed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_service_resumes_within_a_second_after_the_hsm_hung() {
    the_hsm_goes(Way::Hung).await;
}

async fn the_companion_goes(way: Way) {
    let mut desk = Desk::open(System::start().await).await;
    match way {
        Way::Killed => desk.system.companion().kill_9(),
        Way::Hung => desk.system.companion().signal("STOP"),
    }
    for round in 0..3 {
        let since = Instant::now();
        is_away(&desk.pay(&format!("away-{round}"), "2.00").await, since, "companion_unavailable");
        assert_eq!(desk.keep_card(true).await.status, 201, "the vault does not need the companion");
    }
    desk.readiness_names("companion", "companion_unavailable").await;
    match way {
        Way::Killed => desk.system.start_companion(),
        Way::Hung => desk.system.companion().signal("CONT"),
    }
    let since = Instant::now();
    back_within_a_second("companion", since, async || desk.pay("away-0", "2.00").await).await;
    for round in 1..3 {
        let since = Instant::now();
        back_within_a_second("companion, another key", since, async || {
            desk.pay(&format!("away-{round}"), "2.00").await
        })
        .await;
    }
    desk.nothing_is_lost().await;
    // One before, three retried: each was charged once, and the companion posted each once.
    assert_eq!(desk.system.count("SELECT COUNT(*) AS n FROM charge").await, 4);
    assert_eq!(desk.system.count("SELECT COUNT(*) AS n FROM sandbox_book").await, 4);
    assert_eq!(desk.system.count("SELECT SUM(captured_minor) AS n FROM charge").await, 700);
    let account = desk.system.claims_get(&format!("/v1/accounts/{}", desk.system.account)).await.json();
    assert_eq!(account["payments"].as_array().unwrap().len(), 4, "{account}");
    desk.system.wait_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_p9_a_payment_retried_after_the_companion_was_killed_is_charged_once() {
    the_companion_goes(Way::Killed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_p9_a_payment_retried_after_the_companion_hung_is_charged_once() {
    the_companion_goes(Way::Hung).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_service_resumes_within_a_second_after_the_database_was_locked() {
    let mut desk = Desk::open(System::start_on_sqlite().await).await;
    let lock = desk.system.lock_database().await;
    for round in 0..3 {
        let since = Instant::now();
        is_away(&desk.keep_card(false).await, since, "store_busy");
        let since = Instant::now();
        is_away(&desk.pay(&format!("away-{round}"), "2.00").await, since, "store_busy");
    }
    desk.readiness_names("store", "store_busy").await;
    let since = Instant::now();
    lock.release().await;
    back_within_a_second("database lock", since, async || desk.keep_card(false).await).await;
    assert_eq!(desk.pay("away-0", "2.00").await.status, 201);
    desk.nothing_is_lost().await;
    assert_eq!(desk.system.count("SELECT COUNT(*) AS n FROM sandbox_book").await, 2);
    desk.system.wait_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_service_resumes_within_a_second_after_the_disk_was_full() {
    let (disk, system) = System::start_on_small_disk(16 * 1024 * 1024).await;
    let mut desk = Desk::open(system).await;
    disk.fill();
    // What is left of the write-ahead log's last page may still take a few.
    let mut full = 0;
    for _ in 0..50 {
        let since = Instant::now();
        let answer = desk.keep_card(false).await;
        if answer.status != 201 {
            is_away(&answer, since, "store_full");
            full += 1;
        }
    }
    assert!(full > 3, "the disk was never full");
    let since = Instant::now();
    is_away(&desk.pay("away", "2.00").await, since, "store_full");
    desk.readiness_names("store", "store_full").await;
    let since = Instant::now();
    disk.empty();
    back_within_a_second("disk", since, async || desk.keep_card(false).await).await;
    assert_eq!(desk.pay("away", "2.00").await.status, 201);
    desk.nothing_is_lost().await;
    assert_eq!(desk.system.count("SELECT COUNT(*) AS n FROM sandbox_book").await, 2);
    desk.system.wait_ready().await;
    drop(desk);
    drop(disk);
}
