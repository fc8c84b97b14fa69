//! What an act may rely on: it is durable or absent, alone in its failure, and never waits without a bound.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's setup that fails is a failed test; acts panic on purpose"
)]

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::task::Poll;
use std::time::{Duration, Instant};
use store::{Dialect, Fetch, Settings, Store, StoreError, Value, Work};
use support::Place;

mod support;

const INSERT: &str = "INSERT INTO setting (name, value) VALUES ($1, $2)";

async fn open(dir: &Place, settings: Settings) -> Store {
    Store::open(&dir.url(), settings).await.unwrap()
}

async fn put(store: &Store, name: String, value: &'static str) -> Result<(), StoreError> {
    store
        .commit(move |work| {
            Box::pin(async move {
                work.execute(INSERT, vec![name.into(), value.into()]).await?;
                Ok(())
            })
        })
        .await
}

/// Every setting, through the trait that acts and readers share.
async fn settings_in(from: &mut impl Fetch) -> Vec<(String, String)> {
    let rows = from.fetch_all("SELECT name, value FROM setting ORDER BY name", Vec::new()).await.unwrap();
    rows.iter().map(|row| (row.text("name").unwrap(), row.text("value").unwrap())).collect()
}

async fn all(store: &Store) -> Vec<(String, String)> {
    settings_in(&mut store.read().await.unwrap()).await
}

async fn a_hundred_concurrent_acts_share_few_commits(dir: Place) {
    let store = open(&dir, Settings::default()).await;
    let tasks: Vec<_> = (0..100)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { put(&store, format!("n{n}"), "x").await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let counters = store.counters();
    assert_eq!(counters.acts, 100);
    assert!(counters.commits <= 25, "{counters:?}");
    assert_eq!(all(&store).await.len(), 100);
}

async fn an_act_that_fails_is_rolled_back_alone(dir: Place) {
    let store = open(&dir, Settings::default()).await;
    put(&store, "taken".into(), "first").await.unwrap();
    let before = store.counters().commits;
    let refused = store.commit(|work| {
        Box::pin(async move {
            work.execute(INSERT, vec!["half".into(), "written".into()]).await?;
            Err::<(), StoreError>(StoreError::Constraint)
        })
    });
    let (left, failed, twin, right) = tokio::join!(
        put(&store, "left".into(), "x"),
        refused,
        put(&store, "taken".into(), "second"),
        put(&store, "right".into(), "x"),
    );
    assert_eq!(
        (left, failed, twin, right),
        (Ok(()), Err(StoreError::Constraint), Err(StoreError::Conflict), Ok(()))
    );
    assert_eq!(store.counters().commits - before, 1, "the four shared one transaction");
    let names: Vec<_> = all(&store).await;
    let expected =
        [("left", "x"), ("right", "x"), ("taken", "first")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    assert_eq!(names, expected);
}

async fn an_act_that_panics_or_dawdles_stops_neither_writer_nor_neighbours(dir: Place) {
    let store = open(&dir, Settings { act_timeout: Duration::from_millis(100), ..Settings::default() }).await;
    let panics = store.commit(|work| {
        Box::pin(async move {
            work.execute(INSERT, vec!["panicked".into(), "x".into()]).await?;
            panic!("on purpose");
            #[expect(unreachable_code, reason = "gives the closure its type")]
            Ok::<(), StoreError>(())
        })
    });
    let panics_at_once =
        store.commit(|_| -> std::pin::Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>> {
            panic!("on purpose, before there is a future")
        });
    let dawdles = store.commit(|work| {
        Box::pin(async move {
            work.execute(INSERT, vec!["dawdled".into(), "x".into()]).await?;
            std::future::pending::<()>().await;
            Ok::<(), StoreError>(())
        })
    });
    let answers = tokio::join!(
        put(&store, "a".into(), "x"),
        panics,
        panics_at_once,
        dawdles,
        put(&store, "b".into(), "x")
    );
    let (panicked, timed_out) = (Err(StoreError::Panicked), Err(StoreError::TimedOut));
    assert_eq!(answers, (Ok(()), panicked, panicked, timed_out, Ok(())));
    put(&store, "c".into(), "x").await.unwrap();
    let names: Vec<_> = all(&store).await.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "b", "c"]);
}

async fn an_act_whose_caller_went_away_still_happens_wholly(dir: Place) {
    let store = open(&dir, Settings::default()).await;
    {
        let mut act = Box::pin(put(&store, "orphan".into(), "x"));
        // One poll puts it into the queue; then the caller hangs up.
        assert!(std::future::poll_fn(|cx| Poll::Ready(act.as_mut().poll(cx).is_pending())).await);
    }
    put(&store, "later".into(), "x").await.unwrap();
    assert_eq!(all(&store).await.len(), 2);
}

async fn a_full_queue_answers_busy_at_once(dir: Place) {
    let store = open(&dir, Settings { queue: 4, batch: 1, ..Settings::default() }).await;
    let (release, held) = tokio::sync::oneshot::channel::<()>();
    let (started, running) = tokio::sync::oneshot::channel::<()>();
    let blocker = tokio::spawn({
        let store = store.clone();
        async move {
            let hold = store.commit(|_| {
                Box::pin(async move {
                    let _ = started.send(());
                    let _ = held.await;
                    Ok::<(), StoreError>(())
                })
            });
            hold.await
        }
    });
    running.await.unwrap();
    let waiting: Vec<_> = (0..4)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { put(&store, format!("n{n}"), "x").await })
        })
        .collect();
    tokio::task::yield_now().await;
    let asked = Instant::now();
    assert_eq!(put(&store, "fifth".into(), "x").await, Err(StoreError::Busy));
    assert!(asked.elapsed() < Duration::from_millis(50));
    assert_eq!(store.counters().busy, 1);
    release.send(()).unwrap();
    blocker.await.unwrap().unwrap();
    for task in waiting {
        task.await.unwrap().unwrap();
    }
    assert_eq!(all(&store).await.len(), 4);
}

async fn a_reader_sees_one_moment_and_cannot_write(dir: Place) {
    let store = open(&dir, Settings::default()).await;
    put(&store, "before".into(), "x").await.unwrap();
    let mut reader = store.read().await.unwrap();
    assert_eq!(settings_in(&mut reader).await.len(), 1);
    put(&store, "after".into(), "x").await.unwrap();
    assert_eq!(settings_in(&mut reader).await.len(), 1);
    assert!(reader.fetch_all("DELETE FROM setting", Vec::new()).await.is_err());
    drop(reader);
    assert_eq!(all(&store).await.len(), 2);
}

async fn readers_are_bounded_and_come_back(dir: Place) {
    let settings =
        Settings { max_readers: 2, busy_timeout: Duration::from_millis(100), ..Settings::default() };
    let store = open(&dir, settings).await;
    let held = (store.read().await.unwrap(), store.read().await.unwrap());
    assert_eq!(store.read().await.map(|_| ()), Err(StoreError::Busy));
    drop(held);
    assert_eq!(store.ready().await, Ok(()));
}

async fn columns_are_read_as_what_they_are_or_not_at_all(dir: Place) {
    let store = open(&dir, Settings::default()).await;
    let mut reader = store.read().await.unwrap();
    let args =
        vec![Value::from(7i64), "text".into(), vec![1u8, 2].into(), Value::from(None::<i64>), true.into()];
    let sql = match store.dialect() {
        Dialect::Sqlite => "SELECT $1 AS i, $2 AS t, $3 AS b, $4 AS n, $5 AS y",
        Dialect::Postgres => {
            "SELECT $1::int8 AS i, $2::text AS t, $3::bytea AS b, $4::text AS n, $5::bool AS y"
        }
    };
    let row = reader.fetch_optional(sql, args).await.unwrap().unwrap();
    assert_eq!(row.integer("i"), Ok(7));
    assert_eq!(row.text("t").as_deref(), Ok("text"));
    assert_eq!(row.bytes("b"), Ok(vec![1, 2]));
    assert_eq!(row.optional_integer("n"), Ok(None));
    assert_eq!(row.optional_text("n"), Ok(None));
    assert_eq!(row.optional_bytes("n"), Ok(None));
    assert_eq!(row.integer("y"), Ok(1));
    assert_eq!(row.integer("n"), Err(StoreError::Corrupt { column: "n" }));
    assert_eq!(row.integer("t"), Err(StoreError::Corrupt { column: "t" }));
    assert_eq!(row.text("missing"), Err(StoreError::Corrupt { column: "missing" }));
}

async fn the_schema_refuses_a_refund_above_what_was_captured_and_a_second_reusable_token(dir: Place) {
    let store = open(&dir, Settings::default()).await;
    let charge = "INSERT INTO charge (id, tenant, token, brand, last4, amount_minor, currency, captured_minor, \
                  refunded_minor, status, idempotency_key, principal, processor, created_at, updated_at) \
                  VALUES ('ch_a', 'north', 'tok', 'visa', '4242', 100, 'USD', 100, $1, 'succeeded', 'k', 'portal', \
                  'sandbox', $2, $2)";
    let card = "INSERT INTO card (tenant, token, fingerprint, fingerprint_version, reusable, envelope, brand, last4, \
                exp_month, exp_year, format, created_at, shredded_at) \
                VALUES ('north', $1, $2, 1, 1, $2, 'visa', '4242', 1, 2030, 'opaque', $3, $4)";
    let run = |sql: &'static str, args: fn() -> Vec<Value>| {
        store.commit(move |work: &mut Work<'_>| Box::pin(async move { work.execute(sql, args()).await }))
    };
    let card_of = |token: &'static str, shredded_at: Option<i64>| {
        let args = vec![token.into(), vec![1u8].into(), 1.into(), shredded_at.into()];
        store.commit(move |work: &mut Work<'_>| Box::pin(async move { work.execute(card, args).await }))
    };
    assert_eq!(run(charge, || vec![101.into(), 1.into()]).await, Err(StoreError::Constraint));
    assert_eq!(run(charge, || vec![100.into(), 1.into()]).await, Ok(1));
    assert_eq!(card_of("a", None).await, Ok(1));
    assert_eq!(card_of("b", None).await, Err(StoreError::Conflict));
    assert_eq!(card_of("c", Some(9)).await, Ok(1), "a shredded one does not count");
    let text = run(charge, || vec!["text".into(), 1.into()]).await;
    assert!(text.is_err(), "a column holds what it declares: {text:?}");
}

#[tokio::test]
async fn the_file_belongs_to_its_owner_alone_and_odd_urls_are_refused() {
    let dir = Place::sqlite();
    let store = open(&dir, Settings::default()).await;
    put(&store, "a".into(), "x").await.unwrap();
    for name in ["pangate.db", "pangate.db-wal", "pangate.db-shm"] {
        let mode = std::fs::metadata(dir.folder().unwrap().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    for url in [
        "",
        "sqlite:",
        "sqlite::memory:",
        "sqlite:x?mode=memory",
        "postgres:",
        "mysql://localhost/x",
        "pangate.db",
    ] {
        assert_eq!(Store::open(url, Settings::default()).await.map(|_| ()), Err(StoreError::Url), "{url}");
    }
}

/// What one act of the model does.
#[derive(Debug, Clone)]
enum Step {
    Put(u8),
    PutThenFail(u8),
    PutThenPanic(u8),
    Remove(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..8u8).prop_map(Step::Put),
        2 => (0..8u8).prop_map(Step::PutThenFail),
        1 => (0..8u8).prop_map(Step::PutThenPanic),
        3 => (0..8u8).prop_map(Step::Remove),
    ]
}

async fn perform(store: &Store, step: Step, value: usize) -> Result<u64, StoreError> {
    store
        .commit(move |work| {
            Box::pin(async move {
                let value = value.to_string();
                match step {
                    Step::Put(key) => work.execute(INSERT, vec![key.to_string().into(), value.into()]).await,
                    Step::PutThenFail(key) | Step::PutThenPanic(key) => {
                        work.execute(INSERT, vec![key.to_string().into(), value.into()]).await?;
                        assert!(matches!(step, Step::PutThenFail(_)), "on purpose");
                        Err(StoreError::Constraint)
                    }
                    Step::Remove(key) => {
                        work.execute("DELETE FROM setting WHERE name = $1", vec![key.to_string().into()])
                            .await
                    }
                }
            })
        })
        .await
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Acts queue in the order in which they were asked for, so one after the other is the model of all at once,
    /// whatever the size of the groups.
    #[test]
    fn acts_in_groups_do_what_acts_one_by_one_would(
        steps in prop::collection::vec(step(), 1..60), batch in 1usize..9, on_postgres: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = if on_postgres { Place::postgres() } else { Place::sqlite() };
            let store = open(&dir, Settings { batch, ..Settings::default() }).await;
            let mut model = BTreeMap::new();
            let mut expected = Vec::new();
            for (value, step) in steps.iter().enumerate() {
                expected.push(match step {
                    Step::Put(key) | Step::PutThenFail(key) | Step::PutThenPanic(key)
                        if model.contains_key(&key.to_string()) => Err(StoreError::Conflict),
                    Step::Put(key) => { model.insert(key.to_string(), value.to_string()); Ok(1) }
                    Step::PutThenFail(_) => Err(StoreError::Constraint),
                    Step::PutThenPanic(_) => Err(StoreError::Panicked),
                    Step::Remove(key) => Ok(u64::from(model.remove(&key.to_string()).is_some())),
                });
            }
            let acts = steps.into_iter().enumerate().map(|(value, step)| perform(&store, step, value));
            let answers = futures_util::future::join_all(acts).await;
            assert_eq!(answers, expected);
            assert_eq!(all(&store).await, model.into_iter().collect::<Vec<_>>());
        });
    }
}

support::on_both! {
    a_hundred_concurrent_acts_share_few_commits,
    an_act_that_fails_is_rolled_back_alone,
    an_act_that_panics_or_dawdles_stops_neither_writer_nor_neighbours,
    an_act_whose_caller_went_away_still_happens_wholly,
    a_full_queue_answers_busy_at_once,
    a_reader_sees_one_moment_and_cannot_write,
    readers_are_bounded_and_come_back,
    columns_are_read_as_what_they_are_or_not_at_all,
    the_schema_refuses_a_refund_above_what_was_captured_and_a_second_reusable_token,
}
