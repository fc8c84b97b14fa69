//! Two gateways on one PostgreSQL, each with its own log: no race between them makes two of anything, no sum gets past
//! its bound, what one ends is ended at the other, and work on keys is done once (P5, P8, P12).
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot be set up must fail"
)]

mod support;

use futures_util::future::join_all;
use scratch_postgres::Cluster;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::{Duration, Instant};
use support::second::Second;
use support::wire::Answer;
use support::{OTHER, System, TENANT, cards};

const SECOND: &str = "pangate-second";

struct Two {
    system: System,
    second: Second,
    /// One client for each gateway, as long as the test.
    clients: [(String, reqwest::Client); 2],
}

impl Two {
    async fn start() -> Two {
        Two::over(System::start_on(Cluster::shared_database().unwrap()).await)
    }

    /// The same, with another `policy/keys.toml`.
    async fn start_with(policy: impl FnOnce(String) -> String) -> Two {
        let mut system = System::start_on(Cluster::shared_database().unwrap()).await;
        system.gateway().terminate();
        system.write_key_policy(policy);
        system.start_gateway();
        system.wait_ready().await;
        Two::over(system)
    }

    fn over(system: System) -> Two {
        let second = system.second_gateway(SECOND);
        let clients = [(system.url.clone(), system.client()), (second.url.clone(), system.client())];
        Two { system, second, clients }
    }

    /// Posts to the gateway of that number, even or odd, until it has time for it.
    async fn post(&self, gateway: usize, who: &str, path: &str, key: Option<&str>, body: &Value) -> Answer {
        let (url, client) = &self.clients[gateway % 2];
        for _ in 0..200 {
            let mut request =
                client.post(format!("{url}{path}")).bearer_auth(self.system.key(who)).json(body);
            if let Some(key) = key {
                request = request.header("Idempotency-Key", key);
            }
            let answer = Answer::of(request).await;
            // Busy, or its twin is at it: the same is to be asked for again.
            if answer.status != 503 && answer.code() != "idempotency_in_flight" {
                return answer;
            }
            let again = ["store_busy", "outcome_in_doubt", "processor_unavailable", "idempotency_in_flight"];
            assert!(again.contains(&answer.code().as_str()), "{}", answer.text);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the gateway never had time")
    }

    async fn get(&self, gateway: usize, who: &str, path: &str) -> Answer {
        let (url, client) = &self.clients[gateway % 2];
        Answer::of(client.get(format!("{url}{path}")).bearer_auth(self.system.key(who))).await
    }

    async fn token(&self, gateway: usize, who: &str, n: u64) -> String {
        let card = json!({ "number": cards::generated(n), "exp_month": 12, "exp_year": 2034 });
        let made = self.post(gateway, who, "/v1/tokens", None, &json!({ "card": card, "reuse": true })).await;
        assert_eq!(made.status, 201, "{}", made.text);
        made.json()["id"].as_str().unwrap().to_owned()
    }

    async fn charged(&self, amount: &str) -> String {
        let token = self.token(0, "portal", 1).await;
        let body = json!({ "token": token, "amount": amount, "currency": "USD" });
        let charge = self.post(0, "staff", "/v1/charges", Some("charge"), &body).await;
        assert_eq!(charge.status, 201, "{}", charge.text);
        charge.json()["id"].as_str().unwrap().to_owned()
    }

    /// Both logs are whole, and both gateways wrote to theirs.
    async fn logs_are_whole(&self) {
        self.system.audit_log_is_whole();
        self.second.audit_log_is_whole();
        let logs = self.system.count("SELECT COUNT(DISTINCT log) AS n FROM audit_entry").await;
        assert_eq!(logs, 2);
    }

    /// The job once it is over, however it ended; the first gateway is asked.
    async fn ended(&self, id: &str, limit: Duration) -> Value {
        let until = Instant::now() + limit;
        loop {
            let job = self.get(0, "chief-auditor", &format!("/v1/jobs/{id}")).await.json();
            if matches!(job["state"].as_str(), Some("done" | "failed")) {
                return job;
            }
            assert!(Instant::now() < until, "the job does not end: {job}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_one_card_raced_at_two_gateways_gets_one_token() {
    let two = Two::start().await;
    let made = join_all((0..240_u64).map(|n| {
        let two = &two;
        async move { (n / 8, two.token(usize::try_from(n).unwrap(), "portal", 1000 + n / 8).await) }
    }))
    .await;
    let mut tokens: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for (card, token) in made {
        tokens.entry(card).or_default().insert(token);
    }
    assert!(tokens.values().all(|of_one| of_one.len() == 1), "{tokens:?}");
    assert_eq!(two.system.count("SELECT COUNT(*) AS n FROM card").await, 30);
    // The two made one data key of it as well.
    assert_eq!(two.system.count("SELECT COUNT(*) AS n FROM data_key").await, 1);
    two.logs_are_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_one_key_sent_to_two_gateways_at_once_is_one_act() {
    let two = Two::start().await;
    let token = two.token(0, "portal", 1).await;
    let card = json!({ "number": cards::generated(2), "exp_month": 12, "exp_year": 2034 });
    for (who, path, body, count) in [
        (
            "staff",
            "/v1/charges",
            json!({ "token": token, "amount": "2.00", "currency": "USD" }),
            "SELECT COUNT(*) AS n FROM charge",
        ),
        ("portal", "/v1/tokens", json!({ "card": card }), "SELECT COUNT(*) - 1 AS n FROM card"),
        (
            "portal",
            "/v1/tokens",
            json!({ "card": card, "reuse": true }),
            "SELECT COUNT(*) - 40 AS n FROM card",
        ),
    ] {
        let answers = join_all((0..160_usize).map(|n| {
            let (two, body, key) = (&two, &body, format!("{path}-{}-{}", body["reuse"], n / 4));
            async move {
                let answer = two.post(n, who, path, Some(&key), body).await;
                assert_eq!(answer.status, 201, "{}", answer.text);
                (key, answer.text)
            }
        }))
        .await;
        let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (key, text) in answers {
            told.entry(key).or_default().insert(text);
        }
        assert_eq!(told.len(), 40);
        assert!(told.values().all(|texts| texts.len() == 1), "one key was answered in two ways: {told:?}");
        let made = two.system.count(count).await;
        assert_eq!(made, if body["reuse"] == true { 2 } else { 40 }, "{path}");
    }
    assert_eq!(two.system.count("SELECT COUNT(*) AS n FROM sandbox_book").await, 40);
    two.logs_are_whole().await;
}

/// A hundred refunds of one charge, half of them at each gateway.
async fn a_hundred_refunds(two: &Two, charge: &str, amount: &str) -> Vec<Answer> {
    join_all((0..100_usize).map(|n| {
        let body = json!({ "charge": charge, "amount": amount, "reason": "goodwill" });
        async move { two.post(n, "staff", "/v1/refunds", Some(&format!("refund-{n}")), &body).await }
    }))
    .await
}

fn with_status(answers: &[Answer], status: &str) -> usize {
    answers.iter().filter(|answer| answer.status == 201 && answer.json()["status"] == status).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_a_hundred_refunds_at_two_gateways_never_exceed_the_capture() {
    let two = Two::start().await;
    let charge = two.charged("100.00").await;
    let answers = a_hundred_refunds(&two, &charge, "3.00").await;
    assert_eq!(with_status(&answers, "succeeded"), 33);
    for refused in answers.iter().filter(|answer| answer.status != 201) {
        refused.is_problem(422, "refund_exceeds_capture");
    }
    assert_eq!(two.system.count("SELECT refunded_minor AS n FROM charge").await, 9900);
    let booked = "SELECT SUM(amount_minor)::int8 AS n FROM sandbox_book WHERE kind = 'refund'";
    assert_eq!(two.system.count(booked).await, 9900, "the processor gave back what we booked");
    two.logs_are_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_refunds_split_over_two_gateways_do_not_get_past_the_second_person() {
    let two = Two::start().await;
    let charge = two.charged("9000.00").await;
    let answers = a_hundred_refunds(&two, &charge, "60.00").await;
    // Four of them stay below 250 dollars; every further one waits for somebody else.
    assert_eq!(with_status(&answers, "succeeded"), 4);
    assert_eq!(with_status(&answers, "pending_approval"), 96);
    let booked = "SELECT SUM(amount_minor)::int8 AS n FROM sandbox_book WHERE kind = 'refund'";
    assert_eq!(two.system.count(booked).await, 24_000);
    two.logs_are_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_one_approval_given_at_two_gateways_pays_once() {
    let two = Two::start().await;
    let charge = two.charged("900.00").await;
    let body = json!({ "charge": charge, "amount": "300.00", "reason": "goodwill" });
    let asked = two.post(0, "staff", "/v1/refunds", Some("large"), &body).await.json();
    assert_eq!(asked["status"], "pending_approval");
    let path = format!("/v1/refunds/{}/approve", asked["id"].as_str().unwrap());
    let body = json!({});
    let answers = join_all((0..20).map(|n| two.post(n, "second-staff", &path, None, &body))).await;
    for answer in &answers {
        assert!(answer.status.is_success() || answer.status == 409, "{}", answer.text);
    }
    assert!(answers.iter().any(|answer| answer.status.is_success()));
    let booked = "SELECT SUM(amount_minor)::int8 AS n FROM sandbox_book WHERE kind = 'refund'";
    assert_eq!(two.system.count(booked).await, 30_000);
    assert_eq!(two.system.count("SELECT refunded_minor AS n FROM charge").await, 30_000);
    two.logs_are_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p12_a_rotation_begun_at_both_gateways_is_done_once() {
    let two = Two::start().await;
    for n in 0..300 {
        two.token(n, "other-portal", 5000 + u64::try_from(n).unwrap()).await;
    }
    let path = format!("/v1/tenants/{OTHER}/rotate-data-key");
    let body = json!({});
    let asked = join_all((0..20).map(|n| two.post(n, "chief-auditor", &path, None, &body))).await;
    let mut jobs = BTreeSet::new();
    for answer in asked {
        assert!(answer.status.is_success() || answer.status == 409, "{}", answer.text);
        if answer.status.is_success() {
            jobs.insert(answer.json()["id"].as_str().unwrap().to_owned());
        }
    }
    assert!(!jobs.is_empty());
    for job in &jobs {
        let over = two.ended(job, Duration::from_secs(60)).await;
        assert_eq!(over["state"], "done", "{over}");
    }
    let jobs = i64::try_from(jobs.len()).unwrap();
    let rotations = "SELECT COUNT(*) AS n FROM job WHERE kind LIKE '%data_key%' OR subject = 'south-clinic'";
    assert_eq!(two.system.count(rotations).await, jobs);
    // Each job made one data key and moved every card to it once.
    let keys = "SELECT COUNT(*) AS n FROM data_key WHERE tenant = 'south-clinic' AND class = 'card'";
    assert_eq!(two.system.count(keys).await, jobs + 1);
    assert_eq!(two.system.count("SELECT SUM(done)::int8 AS n FROM job").await, 300 * jobs);
    let left = "SELECT COUNT(*) AS n FROM card WHERE data_key_id <> (SELECT data_key_id FROM data_key \
                WHERE tenant = 'south-clinic' ORDER BY epoch DESC LIMIT 1)";
    assert_eq!(two.system.count(left).await, 0);
    two.logs_are_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p12_a_job_whose_gateway_is_killed_is_ended_by_the_other() {
    let slow = |text: String| {
        text.replace("rows_per_second = 2000", "rows_per_second = 40")
            .replace("batch_rows = 100", "batch_rows = 10")
    };
    let mut two = Two::start_with(slow).await;
    for n in 0..400 {
        two.token(n, "other-portal", 6000 + u64::try_from(n).unwrap()).await;
    }
    let path = format!("/v1/tenants/{OTHER}/rotate-data-key");
    let begun = two.post(1, "chief-auditor", &path, None, &json!({})).await;
    assert!(begun.status.is_success(), "{}", begun.text);
    let job = begun.json()["id"].as_str().unwrap().to_owned();
    let owner = "SELECT COALESCE(owner, '') AS owner FROM job WHERE done > 0";
    let owner = loop {
        match two.system.rows(owner, Vec::new()).await.first() {
            Some(row) => break row.text("owner").unwrap(),
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    // Whichever of the two took it dies in the middle of it.
    let was_second = owner.contains(SECOND);
    if was_second {
        two.second.process.kill_9()
    } else {
        two.system.gateway().kill_9()
    }
    if !was_second {
        two.clients.swap(0, 1);
    }
    let over = two.ended(&job, Duration::from_secs(90)).await;
    assert_eq!(over["state"], "done", "{over}");
    assert_eq!(two.system.count("SELECT COUNT(DISTINCT data_key_id) AS n FROM card").await, 1);
    if was_second {
        two.second.restart()
    } else {
        two.system.start_gateway()
    }
    for n in 0..400 {
        two.token(n, "other-portal", 6000 + u64::try_from(n).unwrap()).await;
    }
    assert_eq!(
        two.system.count("SELECT COUNT(*) AS n FROM card").await,
        400,
        "every card still finds its token"
    );
    two.logs_are_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shredded_at_one_gateway_is_gone_at_the_other() {
    let two = Two::start().await;
    let charge = async |gateway: usize, token: &str, key: &str| {
        let body = json!({ "token": token, "amount": "2.00", "currency": "USD" });
        two.post(gateway, "staff", "/v1/charges", Some(key), &body).await
    };
    let one = two.token(1, "portal", 1).await;
    let rest = two.token(1, "portal", 2).await;
    assert_eq!(charge(1, &one, "before").await.status, 201);

    let (url, client) = &two.clients[0];
    let shredded = client.delete(format!("{url}/v1/tokens/{one}")).bearer_auth(two.system.key("admin"));
    let shredded = Answer::of(shredded).await;
    assert_eq!(shredded.status, 200, "{}", shredded.text);
    two.get(1, "staff", &format!("/v1/tokens/{one}")).await.is_problem(410, "token_gone");
    charge(1, &one, "after").await.is_problem(410, "token_gone");
    assert_eq!(charge(1, &rest, "another").await.status, 201);

    let asked = two.post(0, "auditor", &format!("/v1/tenants/{TENANT}/shred"), None, &json!({})).await.json();
    let approve = format!("/v1/approvals/{}/approve", asked["id"].as_str().unwrap());
    let job =
        two.post(1, "admin", &approve, None, &json!({})).await.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(two.ended(&job, Duration::from_secs(60)).await["state"], "done");
    for gateway in 0..2 {
        two.get(gateway, "staff", &format!("/v1/tokens/{rest}")).await.is_problem(410, "token_gone");
        charge(gateway, &rest, &format!("gone-{gateway}")).await.is_problem(410, "token_gone");
    }
    two.logs_are_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_gateway_of_the_same_name_is_refused_and_the_first_goes_on() {
    let two = Two::start().await;
    for log in ["pangate-test", SECOND] {
        let said = two.system.second_gateway_refused(log);
        assert!(said.contains("another gateway with the same audit.log name"), "{said}");
    }
    two.token(0, "portal", 1).await;
    two.token(1, "portal", 2).await;
    two.logs_are_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_beside_busy_gateways_costs_no_request() {
    let two = Two::start().await;
    let config = two.system.path("pangate.toml").display().to_string();
    let console = std::thread::spawn(move || {
        for n in 0..12 {
            let name = format!("clerk-{n}");
            let arguments =
                ["user", "add", &name, "--role", "staff", "--tenant", TENANT, "--config", &config];
            let done = Command::new(support::process::program("pangate")).args(arguments).output().unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
    });
    let mut answers = Vec::new();
    let mut n = 0;
    while !console.is_finished() {
        let round = join_all((0..16).map(|lane| {
            let card =
                json!({ "number": cards::generated(7000 + n + lane), "exp_month": 12, "exp_year": 2034 });
            let (url, client) = &two.clients[usize::try_from(lane).unwrap() % 2];
            let request = client.post(format!("{url}/v1/tokens")).bearer_auth(two.system.key("portal"));
            Answer::of(request.json(&json!({ "card": card })))
        }))
        .await;
        n += 16;
        answers.extend(round);
    }
    console.join().unwrap();
    let refused: Vec<_> =
        answers.iter().filter(|answer| answer.status != 201).map(|answer| &answer.text).collect();
    assert!(refused.is_empty(), "{} of {}: {:?}", refused.len(), answers.len(), refused.first());
    two.logs_are_whole().await;
}
