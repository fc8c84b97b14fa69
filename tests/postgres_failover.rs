//! The database is killed under load, alone or with a synchronous standby that is promoted: what a caller was told is
//! there and whole, nothing happens twice, and service resumes by itself (P4, P5, P8, P9).
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot be set up must fail; figures are printed"
)]

mod support;

use scratch_postgres::{Cluster, Database, Pair};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::orders::{Acknowledged, load, nothing_is_lost_or_torn, retry, some_time, until};
use support::{System, charges};

const ROUNDS: usize = 5;
/// Service is back this long after the database takes writes again.
const BACK: Duration = Duration::from_secs(3);

/// A database that can be killed and come back.
trait Mortal {
    fn database(&self) -> Database;
    /// Ends whoever takes writes.
    fn kill(&mut self);
    /// The first thing that is done so that somebody takes writes again.
    fn recover(&mut self);
    /// What is needed before the next accident.
    fn restore(&mut self);
}

/// One server, started again on the same disk.
struct Alone(Cluster, Database);

impl Alone {
    fn start() -> Alone {
        let cluster = Cluster::start("").unwrap();
        let database = cluster.database().unwrap();
        Alone(cluster, database)
    }
}

impl Mortal for Alone {
    fn database(&self) -> Database {
        self.1.clone()
    }
    fn kill(&mut self) {
        self.0.kill();
    }
    fn recover(&mut self) {
        self.0.resume().unwrap();
    }
    fn restore(&mut self) {}
}

impl Mortal for Pair {
    fn database(&self) -> Database {
        self.database.clone()
    }
    fn kill(&mut self) {
        self.primary.kill();
    }
    fn recover(&mut self) {
        self.fail_over().unwrap();
    }
    fn restore(&mut self) {
        self.replace_standby().unwrap();
    }
}

/// Asks until a card of the other tenant is taken again; gives how long that was after the recovery began.
async fn back(system: &System, round: usize, since: Instant) -> Duration {
    let recovered = Instant::now();
    let card = json!({ "number": support::cards::generated(900_000_000 + u64::try_from(round).unwrap()),
                       "exp_month": 12, "exp_year": 2034 });
    loop {
        let answer = system.post("other-portal", "/v1/tokens", &json!({ "card": card })).await;
        if answer.status == 201 {
            return since.elapsed();
        }
        let known = ["store_unavailable", "store_read_only", "store_login"];
        assert!(answer.status == 503 && known.contains(&answer.code().as_str()), "{}", answer.text);
        assert!(answer.headers.contains_key("retry-after"), "{}", answer.text);
        assert!(recovered.elapsed() < BACK, "no service {BACK:?} after the database: {}", answer.text);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn tell(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let (least, median) = (times.first().unwrap(), times.get(times.len() / 2).unwrap());
    println!(
        "{what}: service {least:.2?} to {:.2?} after the recovery began, median {median:.2?}",
        times.last().unwrap()
    );
}

async fn tokens_survive(what: &str, mut server: impl Mortal) {
    let system = System::start_on(server.database()).await;
    let (next, mut told) = (AtomicU64::new(0), Acknowledged::default());
    let (mut interrupted, mut times) = (0, Vec::new());
    for round in 0..ROUNDS {
        let before = told.tokens.len();
        let (stop, shared) = (AtomicBool::new(false), Mutex::new(told));
        let accident = async {
            until(|| shared.lock().unwrap().tokens.len() > before).await;
            tokio::time::sleep(some_time()).await;
            server.kill();
            tokio::time::sleep(Duration::from_millis(100)).await;
            stop.store(true, Ordering::Relaxed);
        };
        tokio::join!(load(&system, &next, &stop, &shared), accident);
        told = shared.into_inner().unwrap();
        let since = Instant::now();
        server.recover();
        times.push(back(&system, round, since).await);
        server.restore();
        interrupted += retry(&system, &mut told).await;
        nothing_is_lost_or_torn(&system, &told).await;
        charges::a_sample_can_be_charged(&system, &told, round).await;
        system.audit_log_is_whole();
    }
    assert!(interrupted > 0, "no request was under way at any kill");
    tell(what, times);
    println!("{what}: {} tokens acknowledged, none missing", told.tokens.len());
}

async fn charges_happen_once(what: &str, mut server: impl Mortal) {
    let system = System::start_on(server.database()).await;
    let tokens = charges::four_cards(&system).await;
    let next = AtomicU64::new(0);
    let (mut charged, mut interrupted, mut times) = (BTreeMap::new(), 0, Vec::new());
    for round in 0..ROUNDS {
        let (stop, answered) = (AtomicBool::new(false), AtomicBool::new(false));
        let accident = async {
            until(|| answered.load(Ordering::Relaxed)).await;
            tokio::time::sleep(some_time()).await;
            server.kill();
            stop.store(true, Ordering::Relaxed);
        };
        let load = charges::charge_all(&system, &tokens, &next, &stop, &answered);
        let (sent, ()) = tokio::join!(load, accident);
        let since = Instant::now();
        server.recover();
        times.push(back(&system, round, since).await);
        server.restore();
        interrupted += charges::charge_again(&system, sent, &mut charged).await;
    }
    assert!(interrupted > 0, "no charge was under way at any kill");
    charges::books_agree(&system, &charged).await;
    system.audit_log_is_whole();
    tell(what, times);
    println!("{what}: {} charges acknowledged, each booked once", charged.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_acknowledged_tokens_survive_kill_9_of_the_database() {
    tokens_survive("database killed", Alone::start()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_acknowledged_tokens_survive_the_failover_to_a_synchronous_standby() {
    tokens_survive("primary killed", Pair::start().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_a_charge_in_flight_at_kill_9_of_the_database_is_charged_once() {
    charges_happen_once("database killed", Alone::start()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_a_charge_in_flight_at_a_failover_is_charged_once() {
    charges_happen_once("primary killed", Pair::start().unwrap()).await;
}
