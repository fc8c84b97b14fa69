//! `kill -9` of the gateway, of the database, and of a primary with a synchronous standby, under load: what was acknowledged is there,
//! and service resumes by itself (P4, P8, P9).
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "setup that fails is a failed test; figures are printed"
)]

use scratch_postgres::{Cluster, Pair};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use store::{Settings, Store, StoreError};
use support::load::{self, Load, Told};

mod support;

const CHILD: &str = "PANGATE_STORE_TEST_CHILD";
const CHILD_ROUND: &str = "PANGATE_STORE_TEST_ROUND";
const KILLS: usize = 20;
/// Service is back this long after the database is.
const BACK: Duration = Duration::from_secs(3);

/// A time of up to a tenth of a second, another in each round: kills fall all over the cycle of a commit.
fn some_time(round: usize) -> Duration {
    Duration::from_micros(u64::try_from(round).unwrap() * 13_137 % 100_000)
}

async fn until_more(told: &Told, than: usize, limit: Duration) {
    let since = Instant::now();
    while told.count() <= than {
        assert!(since.elapsed() < limit, "no service after {limit:?}: {:?}", told.failures().last());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn told_times(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let (least, most) = (times.first().unwrap(), times.last().unwrap());
    println!("{what}: {least:.2?} to {most:.2?}, median {:.2?}", times.get(times.len() / 2).unwrap());
}

async fn nothing_is_missing(what: &str, store: &Store, told: &Told) {
    let counted = load::counted(store, told).await;
    println!(
        "{what}: {} acknowledged, {} found, {} missing",
        counted.acknowledged,
        counted.found,
        counted.missing.len()
    );
    assert!(counted.missing.is_empty(), "lost: {:?}", counted.missing);
    assert!(counted.acknowledged > KILLS, "too little was acknowledged to show anything");
}

/// Writes until it is killed, and prints each name once it is acknowledged.
async fn write_and_print(url: &str, round: &str) {
    // Its name is its own: the session of the one that was killed before has to end first.
    let settings = Settings { sole: Some(11), ..Settings::default() };
    let store = Store::open(url, settings).await.unwrap();
    let told = Told::printing();
    let _running = Load::start(&store, round, &told);
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_row_is_lost_when_the_gateway_is_killed() {
    // The same test binary is the victim, so that no other program has to be built.
    if let Ok(url) = std::env::var(CHILD) {
        return write_and_print(&url, &std::env::var(CHILD_ROUND).unwrap()).await;
    }
    let cluster = Cluster::start("").unwrap();
    let database = cluster.database().unwrap();
    let store = Store::open(&database.url, Settings::default()).await.unwrap();
    load::charge(&store).await.unwrap();
    let told = Told::default();
    for round in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "no_acknowledged_row_is_lost_when_the_gateway_is_killed", "--nocapture"])
            .env(CHILD, &database.url)
            .env(CHILD_ROUND, round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (before, heard) = (told.count(), told.clone());
        let reader =
            std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| heard.hear(&line)));
        until_more(&told, before + 20, Duration::from_secs(20)).await;
        tokio::time::sleep(some_time(round)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        reader.join().unwrap();
    }
    nothing_is_missing("gateway killed", &store, &told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_row_is_lost_when_the_database_is_killed() {
    let mut cluster = Cluster::start("").unwrap();
    let database = cluster.database().unwrap();
    let store = Store::open(&database.url, Settings::default()).await.unwrap();
    load::charge(&store).await.unwrap();
    let (told, mut back) = (Told::default(), Vec::new());
    for round in 0..KILLS {
        let before = told.count();
        let running = Load::start(&store, &round.to_string(), &told);
        until_more(&told, before + 50, Duration::from_secs(20)).await;
        tokio::time::sleep(some_time(round)).await;
        cluster.kill();
        let (at_the_kill, failures) = (told.accident(), told.failures());
        assert!(failures.iter().all(|error| *error == StoreError::Unavailable), "{failures:?}");
        let since = Instant::now();
        cluster.resume().unwrap();
        until_more(&told, at_the_kill, BACK).await;
        back.push(told.back().unwrap().duration_since(since));
        running.stop().await;
    }
    told_times("database killed: service after the server was started again", back);
    nothing_is_missing("database killed", &store, &told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_row_is_lost_when_the_primary_is_killed_and_its_standby_promoted() {
    let mut pair = Pair::start().unwrap();
    let store = Store::open(&pair.database.url, Settings::default()).await.unwrap();
    load::charge(&store).await.unwrap();
    let (told, mut back) = (Told::default(), Vec::new());
    for round in 0..KILLS {
        let before = told.count();
        let running = Load::start(&store, &round.to_string(), &told);
        until_more(&told, before + 50, Duration::from_secs(20)).await;
        tokio::time::sleep(some_time(round)).await;
        pair.primary.kill();
        told.failures();
        let at_the_kill = told.accident();
        // Only a standby answers: it is asked, and not written to.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(told.count(), at_the_kill);
        assert!(told.failures().contains(&StoreError::ReadOnly), "the standby was not found");
        let since = Instant::now();
        pair.fail_over().unwrap();
        until_more(&told, at_the_kill, BACK).await;
        back.push(told.back().unwrap().duration_since(since));
        pair.replace_standby().unwrap();
        running.stop().await;
    }
    told_times("primary killed: service after the promotion was asked for", back);
    nothing_is_missing("primary killed", &store, &told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_that_the_standby_does_not_have() {
    let mut pair = Pair::start().unwrap();
    let settings = Settings { act_timeout: Duration::from_secs(1), ..Settings::default() };
    let store = Store::open(&pair.database.url, settings).await.unwrap();
    load::add(&store, "before").await.unwrap();
    pair.standby.kill();
    let since = Instant::now();
    let answer = load::add(&store, "alone").await;
    assert!(matches!(answer, Err(StoreError::Unavailable)), "{answer:?}");
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    pair.standby.resume().unwrap();
    let since = Instant::now();
    while let Err(error) = load::add(&store, "after").await {
        assert!(since.elapsed() < Duration::from_secs(15), "{error:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("standby back: service after {:.2?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_was_passed_over_is_neither_written_to_nor_believed() {
    let mut pair = Pair::start().unwrap();
    let known = Store::open(&pair.database.url, Settings::default()).await.unwrap();
    load::add(&known, "before").await.unwrap();
    // Nobody fences it: after the promotion it is back and takes writes, with a history of its own.
    pair.primary.kill();
    pair.standby.promote().unwrap();
    load::add(&known, "promoted").await.unwrap();
    pair.primary.configure("synchronous_standby_names = ''").unwrap();
    pair.primary.resume().unwrap();
    assert_eq!(pair.primary.sql("postgres", "SELECT pg_is_in_recovery()").unwrap(), "f");

    // It stands first in the URL, and a gateway that starts anew still finds the other.
    let opened = Store::open(&pair.database.url, Settings::default()).await.unwrap();
    assert_eq!(load::add(&opened, "promoted").await, Err(StoreError::Conflict));
    // While the other is away for a moment, nothing goes to it either.
    pair.standby.stop();
    for store in [&known, &opened] {
        // Rows that were on their way when the line broke may be durable or not; after that it is known what is away.
        let answer = load::add(store, "lost").await;
        assert!(matches!(answer, Err(StoreError::ReadOnly | StoreError::Unavailable)), "{answer:?}");
        assert_eq!(load::add(store, "lost again").await, Err(StoreError::ReadOnly));
    }
    pair.standby.resume().unwrap();
    tokio::time::sleep(Duration::from_millis(150)).await;
    for (store, name) in [(&known, "after"), (&opened, "after as well")] {
        assert_eq!(load::add(store, name).await, Ok(()));
    }
}
