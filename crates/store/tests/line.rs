//! The way to the database is slow, silent, or forgets: every answer has its bound, and the store finds its way back.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "setup that fails is a failed test; figures are printed"
)]

use scratch_postgres::{Cluster, Line};
use std::time::{Duration, Instant};
use store::{Settings, Store, StoreError};
use support::load;

mod support;

/// One that many statements fit into, and short enough to be waited for.
const STATEMENT: Duration = Duration::from_secs(1);
/// A statement's limit with what its connection gets on top of it, and a new connection with its first questions.
const BOUND: Duration = Duration::from_secs(10);

struct Place {
    _cluster: Cluster,
    line: Line,
    store: Store,
}

async fn open(sole: Option<i64>) -> Place {
    let cluster = Cluster::start("").unwrap();
    let database = cluster.database().unwrap();
    let line = Line::to(cluster.port()).unwrap();
    let settings = Settings { act_timeout: STATEMENT, sole, ..Settings::default() };
    let store = Store::open(&line.url(&database.url, cluster.port()), settings).await.unwrap();
    load::charge(&store).await.unwrap();
    look(&store).await.unwrap();
    Place { _cluster: cluster, line, store }
}

async fn look(store: &Store) -> Result<(), StoreError> {
    store.look("SELECT name FROM setting LIMIT 1", Vec::new()).await.map(|_| ())
}

/// The answer, within the bound.
async fn soon<T>(what: &str, answer: impl Future<Output = T>) -> T {
    let since = Instant::now();
    let answer = tokio::time::timeout(BOUND, answer).await;
    println!("{what}: {:.2?}", since.elapsed());
    assert!(answer.is_ok(), "{what}: no answer within {BOUND:?}");
    answer.unwrap()
}

async fn back(store: &Store, what: &str, limit: Duration) {
    let since = Instant::now();
    loop {
        let name = format!("{what} {:?}", Instant::now());
        let answers = (load::add(store, &name).await, look(store).await);
        if answers == (Ok(()), Ok(())) {
            println!("{what}: service after {:.2?}", since.elapsed());
            return;
        }
        assert!(since.elapsed() < limit, "{what}: {answers:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_line_hangs_nobody_and_service_is_back_with_it() {
    let place = open(None).await;
    place.line.silence();
    for _ in 0..3 {
        let (wrote, acted, read) = tokio::join!(
            soon("a write on a silent line", load::add(&place.store, "silent")),
            soon("an act on a silent line", load::refund(&place.store, "silent".into())),
            soon("a read on a silent line", look(&place.store)),
        );
        let away = Err(StoreError::Unavailable);
        assert_eq!((wrote, acted, read), (away, away, away));
    }
    place.line.restore();
    back(&place.store, "the line carries again", Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_falls_silent_while_a_connection_is_made_hangs_nobody() {
    let place = open(Some(7)).await;
    for silent_after in [50, 150, 250, 350] {
        let (store, line) = (&place.store, &place.line);
        line.forget();
        assert!(soon("a write on a forgotten connection", load::add(store, "lost")).await.is_err());
        // Every message takes its time, so that the silence falls among a new connection's first words.
        line.delay(Duration::from_millis(20));
        let silence = async {
            tokio::time::sleep(Duration::from_millis(silent_after)).await;
            line.silence();
        };
        let name = format!("silent after {silent_after} ms");
        let write = soon("a write on a connection in the making", load::add(store, &name));
        let (answer, ()) = tokio::join!(write, silence);
        // On a busy machine the silence may come when the row is down.
        assert!(matches!(answer, Ok(()) | Err(StoreError::Unavailable)), "{answer:?}");
        line.restore();
        back(store, "after the silence", BOUND).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_a_firewall_forgot_keeps_its_own_gateway_out_no_longer_than_a_moment() {
    let place = open(Some(7)).await;
    place.line.forget();
    // The server still has the old session, with its lock on the gateway's name.
    back(&place.store, "forgotten connections", Duration::from_secs(6)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_line_is_slow_and_nothing_else() {
    let place = open(None).await;
    place.line.delay(Duration::from_millis(40));
    let answers = (
        soon("a write on a slow line", load::add(&place.store, "slow")).await,
        soon("an act on a slow line", load::refund(&place.store, "slow".into())).await,
        soon("a read on a slow line", look(&place.store)).await,
    );
    assert_eq!(answers, (Ok(()), Ok(()), Ok(())));
    place.line.delay(STATEMENT);
    let answer = soon("a write on a line that is too slow", load::add(&place.store, "too-slow")).await;
    assert!(matches!(answer, Err(StoreError::Unavailable | StoreError::TimedOut)), "{answer:?}");
    place.line.restore();
    back(&place.store, "the line is fast again", Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_no_reader_meets_its_dead_connection() {
    let mut cluster = Cluster::start("").unwrap();
    let database = cluster.database().unwrap();
    let store = Store::open(&database.url, Settings::default()).await.unwrap();
    let mut readers = Vec::new();
    for _ in 0..4 {
        let mut reader = store.read().await.unwrap();
        reader.fetch_optional("SELECT 1 AS n", Vec::new()).await.unwrap();
        readers.push(reader);
    }
    drop(readers);
    tokio::time::sleep(Duration::from_millis(200)).await;
    cluster.stop();
    cluster.resume().unwrap();
    for _ in 0..8 {
        assert_eq!(look(&store).await, Ok(()));
    }
    assert_eq!(load::add(&store, "after").await, Ok(()));
}
