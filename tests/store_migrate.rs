//! `pangate store migrate` end to end: a real gateway on a file, killed moves, and the same gateway on PostgreSQL with
//! the same HSM. Nothing that a caller was told is lost, and nothing else is opened.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot be set up must fail")]

mod support;

use scratch_postgres::{Cluster, Database};
use serde_json::{Value, json};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use store::{Settings, Store, StoreError, TABLES};
use support::process::{program, tried};
use support::wire::Answer;
use support::{System, cards};

const CARDS: [&str; 3] = ["4242424242424242", "5555555555554444", "4000056655665556"];

async fn keyed(system: &System, who: &str, path: &str, key: &str, body: &Value) -> Answer {
    let request = system.client().post(format!("{}{path}", system.url)).bearer_auth(system.key(who));
    Answer::of(request.header("Idempotency-Key", key).json(body)).await
}

/// A request, and the answer that was acknowledged for it.
struct Told {
    who: &'static str,
    path: &'static str,
    key: String,
    body: Value,
    answer: Answer,
}

impl Told {
    async fn ask(system: &System, who: &'static str, path: &'static str, key: &str, body: Value) -> Told {
        let answer = keyed(system, who, path, key, &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        Told { who, path, key: key.to_owned(), body, answer }
    }

    fn id(&self) -> String {
        self.answer.json()["id"].as_str().unwrap().to_owned()
    }

    async fn is_replayed(&self, system: &System) {
        let again = keyed(system, self.who, self.path, &self.key, &self.body).await;
        assert_eq!((again.status, &again.text), (self.answer.status, &self.answer.text), "{}", self.path);
        assert_eq!(again.headers["idempotent-replayed"], "true");
    }
}

/// A life on the file: tokens, payments, charges, refunds, a rotation, a destroyed card.
struct Life {
    told: Vec<Told>,
    token: String,
    charge: String,
    shredded: String,
}

impl Life {
    async fn lived(system: &System) -> Life {
        let mut told = Vec::new();
        for n in 0..12 {
            let card =
                json!({ "number": cards::generated(n), "exp_month": 12, "exp_year": 2034, "cvc": "737" });
            let body = json!({ "card": card, "reuse": n % 3 == 0, "metadata": { "bed": "Süd-7" } });
            told.push(Told::ask(system, "portal", "/v1/tokens", &format!("t-{n}"), body).await);
        }
        let (token, shredded) = (told[0].id(), told[1].id());
        for (n, number) in CARDS.iter().enumerate() {
            let body = system.payment(number, "7.50");
            told.push(Told::ask(system, "portal", "/portal/payments", &format!("p-{n}"), body).await);
        }
        let charge = json!({ "token": token, "amount": "100.00", "currency": "USD", "reference": "st-9" });
        let charge = Told::ask(system, "staff", "/v1/charges", "c", charge).await;
        let refund = json!({ "charge": charge.id(), "amount": "5.00", "reason": "goodwill" });
        told.push(Told::ask(system, "staff", "/v1/refunds", "r", refund).await);
        let charge_id = charge.id();
        told.push(charge);
        for name in ["kek/card", "mac/pan", "mac/request"] {
            let job = system.rotate(name).await;
            system.job_done(job["id"].as_str().unwrap()).await;
        }
        let shred = system.client().delete(format!("{}/v1/tokens/{shredded}", system.url));
        assert_eq!(Answer::of(shred.bearer_auth(system.key("admin"))).await.status, 200);
        told.remove(1);
        Life { told, token, charge: charge_id, shredded }
    }

    /// All of it goes on where it was.
    async fn goes_on(&self, system: &System) {
        for told in &self.told {
            told.is_replayed(system).await;
        }
        let charge = json!({ "token": self.token, "amount": "3.00", "currency": "USD" });
        let charged = keyed(system, "staff", "/v1/charges", "after", &charge).await;
        assert_eq!(
            (charged.status.as_u16(), &charged.json()["status"]),
            (201, &json!("succeeded")),
            "{}",
            charged.text
        );
        let over = json!({ "charge": self.charge, "amount": "95.01", "reason": "goodwill" });
        keyed(system, "staff", "/v1/refunds", "over", &over).await.is_problem(422, "refund_exceeds_capture");
        let rest = json!({ "charge": self.charge, "amount": "95.00", "reason": "goodwill" });
        let refunded = keyed(system, "staff", "/v1/refunds", "rest", &rest).await;
        assert_eq!(refunded.status, 201, "{}", refunded.text);
        let card = json!({ "number": cards::generated(0), "exp_month": 12, "exp_year": 2034, "cvc": "737" });
        let known = system.post("portal", "/v1/tokens", &json!({ "card": card, "reuse": true })).await;
        assert_eq!(known.json()["id"], json!(self.token), "the card still has its token");
        let gone = json!({ "token": self.shredded, "amount": "3.00", "currency": "USD" });
        keyed(system, "staff", "/v1/charges", "gone", &gone).await.is_problem(410, "token_gone");
        let fresh = json!({ "card": { "number": cards::generated(77), "exp_month": 12, "exp_year": 2034 } });
        assert_eq!(system.post("portal", "/v1/tokens", &fresh).await.status, 201);
    }
}

/// The command on the system's settings, with that database as the target.
fn arguments(system: &System, target: &Database, batch: &str) -> Vec<String> {
    let config = system.path("pangate.toml").display().to_string();
    let words =
        ["store", "migrate", "--to", &target.url, "--config", &config, "--batch", batch, "--format", "json"];
    words.map(str::to_owned).to_vec()
}

fn migrate(system: &System, target: &Database) -> (i32, String) {
    let arguments = arguments(system, target, "1024");
    tried("pangate", &arguments.iter().map(String::as_str).collect::<Vec<_>>(), &[])
}

fn reopen(system: &System) -> (i32, String) {
    let config = system.path("pangate.toml").display().to_string();
    tried("pangate", &["store", "reopen", "--config", &config], &[])
}

fn begun(system: &System, target: &Database, batch: &str) -> Child {
    Command::new(program("pangate"))
        .args(arguments(system, target, batch))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The target as the move sees it.
async fn opened(target: &Database) -> Store {
    Store::open(&target.url, Settings { arriving: true, ..Settings::default() }).await.unwrap()
}

async fn rows(store: &Store) -> u64 {
    let mut sum = 0;
    for table in &TABLES {
        sum += table.count(&mut store.clone()).await.unwrap();
    }
    sum
}

/// Kills a move, one row a transaction, once that many rows are there; gives how many there were then.
async fn killed_at(system: &System, target: &Database, at: u64) -> u64 {
    let store = opened(target).await;
    let mut child = begun(system, target, "1");
    let until = Instant::now() + Duration::from_secs(60);
    while rows(&store).await < at && child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < until, "the move does not get on");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let there = rows(&store).await;
    store.close().await;
    there
}

/// What the command says of a move that came to its end.
fn last_line(said: &str) -> Value {
    let mut lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let found = lines.find(|line| line["moved"] == true);
    assert!(found.is_some(), "{said}");
    found.unwrap()
}

fn shows_no_card(said: &str) {
    for number in CARDS.iter().map(|number| (*number).to_owned()).chain((0..12).map(cards::generated)) {
        assert!(!said.contains(&number), "a card number was printed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_moves_to_postgres_through_kills_and_everything_goes_on_there() {
    let mut system = System::start_on_sqlite().await;
    let life = Life::lived(&system).await;
    let target = Cluster::shared_database().unwrap();

    let mut there = 0;
    for step in [1, 25, 40, 60] {
        let now = killed_at(&system, &target, there + step).await;
        assert!(now >= there, "what was copied stays copied");
        there = now;
        // Nobody writes to the file any more, and nobody opens what is not whole.
        let card =
            json!({ "card": { "number": cards::generated(500 + step), "exp_month": 12, "exp_year": 2034 } });
        system.post("portal", "/v1/tokens", &card).await.is_problem(503, "store_unavailable");
        let early = Store::open(&target.url, Settings::default()).await.err();
        assert_eq!(early, Some(StoreError::Arriving));
    }
    system.gateway().terminate();
    let config = system.path("pangate.toml").display().to_string();
    let (status, said) = tried("pangate", &["serve", "--config", &config], &[]);
    assert!(status == 2 && said.contains("the vault has moved"), "{said}");
    let elsewhere = [("PANGATE_STORE__URL", target.url.as_str())];
    let (status, said) = tried("pangate", &["serve", "--config", &config], &elsewhere);
    assert!(status == 2 && said.contains("still being moved"), "{said}");

    let source = Store::open(&system.store_url(), Settings::default()).await.unwrap();
    let total = rows(&source).await;
    source.close().await;
    assert!(there > 100 && there < total, "{there} of {total} rows: the kills were in the midst of it");
    let (status, said) = migrate(&system, &target);
    assert_eq!(status, 0, "{said}");
    shows_no_card(&said);
    let told = last_line(&said);
    let moved: u64 =
        told["tables"].as_array().unwrap().iter().map(|table| table["rows"].as_u64().unwrap()).sum();
    assert_eq!(moved, total);
    let (size, root) =
        (told["logs"][0]["size"].clone(), told["logs"][0]["root"].as_str().unwrap().to_owned());
    let (_, said) = tried("pangate", &["audit", "verify", "--config", &config, "--format", "json"], &[]);
    let on_file: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&on_file["size"], &on_file["root"]), (&size, &json!(root)));

    let file_url = system.store_url();
    system.is_now_on(target.clone());
    let noted = format!("{size}:{root}");
    let verify = ["audit", "verify", "--config", &config, "--log", "pangate-test", "--noted", &noted];
    let (status, said) = tried("pangate", &verify, &[]);
    assert_eq!(status, 0, "{said}");
    system.start_gateway();
    system.wait_ready().await;
    life.goes_on(&system).await;
    system.audit_log_is_whole();
    assert_eq!(tried("pangate", &verify, &[]).0, 0, "the log goes on from the same root");
    let entries = "SELECT COUNT(*) AS n FROM audit_entry WHERE log = 'pangate-test' \
                   AND convert_from(leaf, 'UTF8') LIKE '%\"store_migrate\"%'";
    assert_eq!(system.count(entries).await, 1);

    // The file is out of use for good.
    let old = [("PANGATE_STORE__URL", file_url.as_str())];
    system.gateway().terminate();
    let (status, said) = tried("pangate", &["serve", "--config", &config], &old);
    assert!(status == 2 && said.contains("the vault has moved"), "{said}");
    let (status, said) = tried("pangate", &["store", "reopen", "--config", &config], &old);
    assert!(status == 2 && said.contains("the vault has left"), "{said}");
    let other = Cluster::shared_database().unwrap();
    let again = ["store", "migrate", "--to", &other.url, "--config", &config];
    let (status, said) = tried("pangate", &again, &old);
    assert!(status == 2 && said.contains("not moved twice"), "{said}");
    let again = ["store", "migrate", "--to", &target.url, "--config", &config];
    let (status, said) = tried("pangate", &again, &old);
    assert!(status == 0 && said.contains("an earlier run"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_goes_on_from_the_moments_between_its_two_databases() {
    let system = System::start_on_sqlite().await;
    let target = Cluster::shared_database().unwrap();
    // It died when the file was fenced and the target knew nothing yet.
    let file = Store::open(&system.store_url(), Settings::default()).await.unwrap();
    file.fence("hand").await.unwrap();
    let (status, said) = migrate(&system, &target);
    assert_eq!(status, 0, "{said}");
    assert_eq!(last_line(&said)["by_this_run"], true);
    // It died when the target was open and the file had not heard of it.
    let state = || async {
        let row = file.look("SELECT value FROM setting WHERE name = 'store.move'", Vec::new()).await.unwrap();
        row.unwrap().text("value").unwrap()
    };
    assert_eq!(state().await, "left hand");
    file.fence("hand").await.unwrap();
    assert_eq!(state().await, "leaving hand");
    let entries = "SELECT COUNT(*) AS n FROM audit_entry";
    let there = Store::open(&target.url, Settings::default()).await.unwrap();
    let before = there.look(entries, Vec::new()).await.unwrap().unwrap().integer("n").unwrap();
    let (status, said) = migrate(&system, &target);
    assert_eq!(status, 0, "{said}");
    assert_eq!((&last_line(&said)["by_this_run"], state().await.as_str()), (&json!(false), "left hand"));
    let after = there.look(entries, Vec::new()).await.unwrap().unwrap().integer("n").unwrap();
    assert_eq!(after, before, "a move is recorded once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gateway_acknowledged_while_the_move_began_is_on_the_other_side() {
    let mut system = System::start_on_sqlite().await;
    let target = Cluster::shared_database().unwrap();
    opened(&target).await.close().await;
    let over = AtomicBool::new(false);
    let load = async {
        let (mut acknowledged, mut refused, mut n) = (Vec::new(), 0, 1000);
        while !over.load(Ordering::Relaxed) {
            n += 1;
            let card =
                json!({ "card": { "number": cards::generated(n), "exp_month": 12, "exp_year": 2034 } });
            let answer = system.post("portal", "/v1/tokens", &card).await;
            match answer.status.as_u16() {
                201 => acknowledged.push(answer.json()["id"].as_str().unwrap().to_owned()),
                503 => refused += 1,
                _ => assert_eq!(answer.status, 201, "{}", answer.text),
            }
        }
        (acknowledged, refused)
    };
    let moving = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let mut child = begun(&system, &target, "64");
        let status = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        over.store(true, Ordering::Relaxed);
        status
    };
    let ((acknowledged, refused), status) = tokio::join!(load, moving);
    assert!(status.success(), "{status}");
    assert!(acknowledged.len() > 5 && refused > 0, "{} and {refused}", acknowledged.len());

    system.gateway().terminate();
    system.is_now_on(target);
    system.start_gateway();
    system.wait_ready().await;
    for token in acknowledged {
        assert_eq!(system.get("portal", &format!("/v1/tokens/{token}")).await.status, 200, "{token}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_is_given_up_leaves_the_file_as_it_was() {
    let system = System::start_on_sqlite().await;
    let target = Cluster::shared_database().unwrap();
    assert!(killed_at(&system, &target, 5).await >= 5);
    let card = json!({ "card": { "number": cards::generated(1), "exp_month": 12, "exp_year": 2034 } });
    system.post("portal", "/v1/tokens", &card).await.is_problem(503, "store_unavailable");
    let ready = support::wire::plain_client().get(format!("{}/readyz", system.ops));
    let ready = Answer::of(ready).await;
    assert!(ready.status == 503 && ready.text.contains("moved"), "{}", ready.text);
    let (status, said) = reopen(&system);
    assert_eq!(status, 0, "{said}");
    // The gateway that ran all the while goes on.
    assert_eq!(system.post("portal", "/v1/tokens", &card).await.status, 201);
    let (status, said) = reopen(&system);
    assert!(status == 2 && said.contains("no move was begun"), "{said}");
    let (status, said) = migrate(&system, &target);
    assert!(status == 2 && said.contains("holds something else"), "{said}");
    assert_eq!(system.post("portal", "/v1/tokens", &card).await.status, 201, "a refused move fences nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_not_empty_or_was_meddled_with_is_refused() {
    let system = System::start_on_sqlite().await;
    for n in 0..20 {
        let card = json!({ "card": { "number": cards::generated(n), "exp_month": 12, "exp_year": 2034 } });
        assert_eq!(system.post("portal", "/v1/tokens", &card).await.status, 201);
    }
    let cluster = Cluster::start("").unwrap();
    let foreign = cluster.database().unwrap();
    cluster.sql(&foreign.name, "CREATE TABLE invoices (id int)").unwrap();
    let (status, said) = migrate(&system, &foreign);
    assert!(status == 2 && said.contains("invoices"), "{said}");
    assert_eq!(
        cluster.sql(&foreign.name, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").unwrap(),
        "1"
    );

    let meddled = cluster.database().unwrap();
    assert!(killed_at(&system, &meddled, 30).await >= 30);
    cluster.sql(&meddled.name, "UPDATE credential SET role = 'admin' WHERE role = 'portal'").unwrap();
    let (status, said) = migrate(&system, &meddled);
    assert!(status == 1 && said.contains("credential") && said.contains("not the same"), "{said}");
    assert_eq!(Store::open(&meddled.url, Settings::default()).await.err(), Some(StoreError::Arriving));

    // A row more than the file has, in a table that was copied already.
    let more = cluster.database().unwrap();
    let (status, said) = reopen(&system);
    assert_eq!(status, 0, "{said}");
    assert!(killed_at(&system, &more, 30).await >= 30);
    cluster.sql(&more.name, "INSERT INTO setting VALUES ('aaa', 'planted')").unwrap();
    let (status, said) = migrate(&system, &more);
    assert!(status == 1 && said.contains("table setting"), "{said}");

    let config = system.path("pangate.toml").display().to_string();
    for (to, why) in [
        ("postgres://a:secret@127.0.0.1/b", "--password-file"),
        ("sqlite:elsewhere.db", "PostgreSQL"),
        ("postgres://postgres@127.0.0.1:1/none", "unavailable"),
    ] {
        let (status, said) = tried("pangate", &["store", "migrate", "--to", to, "--config", &config], &[]);
        assert!(status == 2 && said.contains(why) && !said.contains("secret"), "{said}");
    }
}
