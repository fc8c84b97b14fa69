//! What added rows may rely on: durable together or not at all, alone in their failure, numbered without a gap.
#![expect(clippy::unwrap_used, reason = "a test's setup that fails is a failed test")]

use std::time::Duration;
use store::{Column, Kind, Needs, Numbered, Rows, Settings, Sheet, Store, StoreError, Value};
use support::Place;

mod support;

static SETTING: Sheet = Sheet {
    table: "setting",
    columns: &[Column { name: "name", kind: Kind::Text }, Column { name: "value", kind: Kind::Text }],
    needs: None,
    numbered: None,
};

/// A setting whose value names another, which must be there.
static FOLLOWER: Sheet = Sheet {
    needs: Some(Needs { table: "setting", key: "name", column: "value", condition: "held.value <> 'ended'" }),
    ..SETTING
};

static ENTRY: Sheet = Sheet {
    table: "audit_entry",
    columns: &[
        Column { name: "log", kind: Kind::Text },
        Column { name: "tenant", kind: Kind::Text },
        Column { name: "leaf", kind: Kind::Bytes },
        Column { name: "leaf_hash", kind: Kind::Bytes },
    ],
    needs: None,
    numbered: Some(Numbered { column: "position", within: "log" }),
};

async fn open(place: &Place) -> Store {
    Store::open(&place.url(), Settings::default()).await.unwrap()
}

/// A setting with its entry, as a token is added with its own.
fn request(name: &str, value: &str) -> Rows {
    let mut rows = Rows::new();
    rows.add(&SETTING, vec![name.into(), value.into()]);
    rows.add(&ENTRY, vec!["gate".into(), Value::Null, name.as_bytes().into(), [7_u8; 32].into()]);
    rows
}

fn follower(name: &str, of: &str) -> Rows {
    let mut rows = Rows::new();
    rows.add(&FOLLOWER, vec![name.into(), of.into()]);
    rows
}

async fn names(store: &Store) -> Vec<String> {
    let mut reader = store.read().await.unwrap();
    let rows = reader.fetch_all("SELECT name FROM setting ORDER BY name", Vec::new()).await.unwrap();
    rows.iter().map(|row| row.text("name").unwrap()).collect()
}

async fn entries(store: &Store) -> Vec<(i64, String)> {
    let mut reader = store.read().await.unwrap();
    let rows = reader
        .fetch_all("SELECT position, leaf FROM audit_entry WHERE log = 'gate' ORDER BY position", Vec::new())
        .await
        .unwrap();
    rows.iter()
        .map(|row| (row.integer("position").unwrap(), String::from_utf8(row.bytes("leaf").unwrap()).unwrap()))
        .collect()
}

/// Holds the writer, so that what is asked for meanwhile shares the next transaction.
async fn hold(store: &Store) -> tokio::sync::oneshot::Sender<()> {
    let (release, held) = tokio::sync::oneshot::channel::<()>();
    let (started, running) = tokio::sync::oneshot::channel::<()>();
    let store = store.clone();
    tokio::spawn(async move {
        let act = store.commit(|_| {
            Box::pin(async move {
                let _ = started.send(());
                let _ = held.await;
                Ok::<(), StoreError>(())
            })
        });
        act.await.unwrap();
    });
    running.await.unwrap();
    release
}

async fn together(store: &Store, requests: Vec<Rows>) -> Vec<Result<(), StoreError>> {
    let release = hold(store).await;
    let asked: Vec<_> = requests
        .into_iter()
        .map(|rows| {
            let store = store.clone();
            tokio::spawn(async move { store.add(rows).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    release.send(()).unwrap();
    let mut answers = Vec::new();
    for one in asked {
        answers.push(one.await.unwrap());
    }
    answers
}

async fn a_hundred_requests_go_down_together_and_are_numbered_without_a_gap(place: Place) {
    let store = open(&place).await;
    let before = store.counters();
    let answers = together(&store, (0..100).map(|n| request(&format!("n{n:02}"), "x")).collect()).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let after = store.counters();
    assert_eq!(after.acts - before.acts, 101);
    assert!(after.commits - before.commits <= 4, "{before:?} {after:?}");
    assert_eq!(names(&store).await.len(), 100);
    let entries = entries(&store).await;
    assert_eq!(entries.iter().map(|(at, _)| *at).collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    let mut told: Vec<_> = entries.into_iter().map(|(_, name)| name).collect();
    told.sort();
    assert_eq!(told, names(&store).await);
}

async fn a_row_without_a_place_fails_its_request_alone_and_takes_its_other_rows_with_it(place: Place) {
    let store = open(&place).await;
    store.add(request("taken", "first")).await.unwrap();
    let answers = together(
        &store,
        vec![
            request("left", "x"),
            request("taken", "second"),
            follower("stray", "nobody"),
            request("twin", "x"),
            request("twin", "y"),
            request("right", "x"),
        ],
    )
    .await;
    let refused = answers.iter().filter(|answer| **answer == Err(StoreError::Conflict)).count();
    assert_eq!((refused, answers.iter().filter(|answer| answer.is_ok()).count()), (3, 3), "{answers:?}");
    assert_eq!(names(&store).await, ["left", "right", "taken", "twin"]);
    let entries = entries(&store).await;
    assert_eq!(entries.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(entries.first().map(|(_, name)| name.as_str()), Some("taken"));
}

async fn a_row_comes_to_be_only_beside_the_one_that_it_needs(place: Place) {
    let store = open(&place).await;
    store.add(request("alive", "x")).await.unwrap();
    store.add(request("dead", "ended")).await.unwrap();
    let answers =
        together(&store, vec![follower("a", "alive"), follower("b", "dead"), follower("c", "nobody")]).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    assert_eq!(names(&store).await, ["a", "alive", "dead"]);
}

async fn a_value_that_breaks_a_rule_fails_its_request_alone(place: Place) {
    let store = open(&place).await;
    let mut wrong = request("wrong", "x");
    wrong.add(&ENTRY, vec!["gate".into(), Value::Null, vec![1_u8].into(), vec![1_u8].into()]);
    let answers = together(&store, vec![request("a", "x"), wrong, request("b", "x")]).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 2, "{answers:?}");
    assert!(answers.contains(&Err(StoreError::Constraint)) || answers.contains(&Err(StoreError::Conflict)));
    assert_eq!(names(&store).await, ["a", "b"]);
}

async fn rows_and_acts_share_a_transaction_and_see_each_other_in_order(place: Place) {
    let store = open(&place).await;
    let release = hold(&store).await;
    let act = tokio::spawn({
        let store = store.clone();
        async move {
            store
                .commit(|work| {
                    Box::pin(async move {
                        work.execute("INSERT INTO setting (name, value) VALUES ('acted', 'x')", Vec::new())
                            .await
                    })
                })
                .await
        }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    let rows = tokio::spawn({
        let store = store.clone();
        async move { (store.add(request("acted", "y")).await, store.add(request("added", "y")).await) }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    release.send(()).unwrap();
    assert_eq!(act.await.unwrap(), Ok(1));
    assert_eq!(rows.await.unwrap(), (Err(StoreError::Conflict), Ok(())));
    assert_eq!(names(&store).await, ["acted", "added"]);
}

async fn many_rows_of_one_request_are_one_thing(place: Place) {
    let store = open(&place).await;
    let mut rows = Rows::new();
    for n in 0..300 {
        rows.add(&SETTING, vec![format!("n{n:03}").into(), "x".into()]);
    }
    store.add(rows).await.unwrap();
    let mut again = Rows::new();
    for n in 299..600 {
        again.add(&SETTING, vec![format!("n{n:03}").into(), "x".into()]);
    }
    assert_eq!(store.add(again).await, Err(StoreError::Conflict));
    assert_eq!(names(&store).await.len(), 300);
}

support::on_both! {
    a_hundred_requests_go_down_together_and_are_numbered_without_a_gap,
    a_row_without_a_place_fails_its_request_alone_and_takes_its_other_rows_with_it,
    a_row_comes_to_be_only_beside_the_one_that_it_needs,
    a_value_that_breaks_a_rule_fails_its_request_alone,
    rows_and_acts_share_a_transaction_and_see_each_other_in_order,
    many_rows_of_one_request_are_one_thing,
}
