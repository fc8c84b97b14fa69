//! What the store does when the world around it breaks: kill, full disk, foreign lock, lost file, newer schema.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "setup that fails is a failed test; the child reports by print"
)]

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use store::{Settings, Store, StoreError, Value};
use tempfile::TempDir;

const INSERT: &str = "INSERT INTO setting (name, value) VALUES ($1, $2)";
const CHILD: &str = "PANGATE_STORE_TEST_CHILD";

fn url(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

fn file(dir: &TempDir) -> PathBuf {
    dir.path().join("pangate.db")
}

async fn put(store: &Store, name: String, value: String) -> Result<(), StoreError> {
    store
        .commit(move |work| {
            Box::pin(async move {
                work.execute(INSERT, vec![name.into(), value.into()]).await?;
                Ok(())
            })
        })
        .await
}

async fn pragma(store: &Store, sql: &'static str) {
    let done: Result<_, StoreError> = store
        .commit(move |work| Box::pin(async move { work.fetch_all(sql, Vec::new()).await.map(|_| ()) }))
        .await;
    done.unwrap();
}

async fn count(store: &Store) -> i64 {
    let mut reader = store.read().await.unwrap();
    let row = reader.fetch_optional("SELECT count(*) AS n FROM setting", Vec::new()).await.unwrap();
    row.unwrap().integer("n").unwrap()
}

async fn stranger(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}

/// Commits for ever from sixteen tasks and prints each name once it is acknowledged.
async fn commit_and_print(path: &str, round: &str) {
    let store = Store::open(path, Settings::default()).await.unwrap();
    let tasks = (0..16).map(|task| {
        let (store, round) = (store.clone(), round.to_owned());
        tokio::spawn(async move {
            for n in 0..u32::MAX {
                let name = format!("{round}-{task}-{n}");
                put(&store, name.clone(), "x".repeat(300)).await.unwrap();
                println!("acknowledged {name}.");
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_act_is_lost_when_the_process_is_killed() {
    // The same test binary is the victim, so that no other program has to be built.
    if let Ok(path) = std::env::var(CHILD) {
        return commit_and_print(&path, &std::env::var("PANGATE_STORE_TEST_ROUND").unwrap()).await;
    }
    let dir = TempDir::new().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..20u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "no_acknowledged_act_is_lost_when_the_process_is_killed", "--nocapture"])
            .env(CHILD, url(&file(&dir)))
            .env("PANGATE_STORE_TEST_ROUND", round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (first, seen) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            let mut names = Vec::new();
            for line in lines.map_while(Result::ok) {
                // The full stop tells a whole line from one that the kill cut.
                let whole = line.split_once("acknowledged ").and_then(|(_, name)| name.strip_suffix('.'));
                if let Some(name) = whole {
                    names.push(name.to_owned());
                    let _ = first.send(());
                }
            }
            names
        });
        seen.recv_timeout(Duration::from_secs(20)).unwrap();
        // Kills fall all over the cycle of begin, write, sync and answer.
        std::thread::sleep(Duration::from_micros(round * 13_137 % 150_000));
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged.extend(reader.join().unwrap());
    }
    assert!(acknowledged.len() >= 20);
    let store = Store::open(&url(&file(&dir)), Settings::default()).await.unwrap();
    let mut reader = store.read().await.unwrap();
    for name in &acknowledged {
        let row = reader
            .fetch_optional("SELECT value FROM setting WHERE name = $1", vec![name.as_str().into()])
            .await;
        assert_eq!(
            row.unwrap().map(|row| row.text("value").unwrap().len()),
            Some(300),
            "{name} was lost or torn"
        );
    }
    let check = reader.fetch_optional("PRAGMA integrity_check", Vec::new()).await.unwrap().unwrap();
    assert_eq!(check.text("integrity_check").as_deref(), Ok("ok"));
}

#[tokio::test]
async fn a_full_disk_fails_the_whole_batch_and_the_store_recovers_by_itself() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(&url(&file(&dir)), Settings::default()).await.unwrap();
    put(&store, "before".into(), "x".into()).await.unwrap();
    // The page limit makes SQLite answer FULL exactly as a full disk does. It belongs to the connection, and the
    // store gives the connection up with the failed transaction: that is when the disk is back.
    pragma(&store, "PRAGMA max_page_count = 1").await;
    let big = "x".repeat(40_000);
    let (small, full, behind) = tokio::join!(
        put(&store, "small".into(), "x".into()),
        put(&store, "big".into(), big.clone()),
        put(&store, "behind".into(), "x".into()),
    );
    assert_eq!(small, Err(StoreError::Full), "it shared the transaction that failed");
    assert_eq!(full, Err(StoreError::Full));
    assert_eq!(behind, Err(StoreError::Full));
    assert_eq!(store.counters().failed, 1);
    assert_eq!(count(&store).await, 1, "nothing of the batch is there");
    assert_eq!(store.ready().await, Ok(()));
    put(&store, "big".into(), big).await.unwrap();
    put(&store, "small".into(), "x".into()).await.unwrap();
}

#[tokio::test]
async fn a_refusal_that_rests_on_a_lost_neighbour_is_not_told() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(&url(&file(&dir)), Settings::default()).await.unwrap();
    pragma(&store, "PRAGMA max_page_count = 1").await;
    // The twin would be a Conflict, but with a row that never came to be.
    let (first, twin, big) = tokio::join!(
        put(&store, "same".into(), "x".into()),
        put(&store, "same".into(), "y".into()),
        put(&store, "big".into(), "x".repeat(40_000)),
    );
    let lost = Err(StoreError::Full);
    assert_eq!((first, twin, big), (lost, lost, lost));
    assert_eq!(put(&store, "same".into(), "y".into()).await, Ok(()));
}

#[tokio::test]
async fn an_act_cannot_write_on_after_the_database_gave_up_its_transaction() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(&url(&file(&dir)), Settings::default()).await.unwrap();
    pragma(&store, "PRAGMA max_page_count = 1").await;
    let stubborn: Result<(), StoreError> = store
        .commit(|work| {
            Box::pin(async move {
                let first = work.execute(INSERT, vec!["big".into(), "x".repeat(40_000).into()]).await;
                assert_eq!(first, Err(StoreError::Full));
                let second = work.execute(INSERT, vec!["small".into(), "x".into()]).await;
                assert_eq!(second, Err(StoreError::Full));
                Ok(())
            })
        })
        .await;
    assert_eq!(stubborn, Err(StoreError::Full));
    assert_eq!(count(&store).await, 0);
}

#[tokio::test]
async fn a_lock_held_by_another_process_is_busy_and_ends_with_the_lock() {
    let dir = TempDir::new().unwrap();
    let settings = Settings { busy_timeout: Duration::from_millis(200), ..Settings::default() };
    let store = Store::open(&url(&file(&dir)), settings).await.unwrap();
    let mut other = stranger(&file(&dir)).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let asked = Instant::now();
    let (one, two) = tokio::join!(put(&store, "a".into(), "x".into()), put(&store, "b".into(), "x".into()));
    assert_eq!((one, two), (Err(StoreError::Busy), Err(StoreError::Busy)));
    assert!(asked.elapsed() >= Duration::from_millis(150), "it waited for the lock first");
    assert_eq!(store.ready().await, Err(StoreError::Busy));
    assert_eq!(count(&store).await, 0, "reading goes on");
    sqlx::query("COMMIT").execute(&mut other).await.unwrap();
    let released = Instant::now();
    put(&store, "a".into(), "x".into()).await.unwrap();
    assert_eq!(store.ready().await, Ok(()));
    assert!(released.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_file_that_was_moved_away_takes_no_acknowledged_write_with_it() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(&url(&file(&dir)), Settings::default()).await.unwrap();
    let away = dir.path().join("elsewhere.db");
    std::fs::rename(file(&dir), &away).unwrap();
    assert_eq!(put(&store, "a".into(), "x".into()).await, Err(StoreError::Unavailable));
    assert_eq!(store.ready().await, Err(StoreError::Unavailable));
    std::fs::write(file(&dir), b"").unwrap();
    assert_eq!(
        put(&store, "a".into(), "x".into()).await,
        Err(StoreError::Unavailable),
        "another file in its place"
    );
    std::fs::rename(&away, file(&dir)).unwrap();
    assert_eq!(store.ready().await, Ok(()));
    put(&store, "a".into(), "x".into()).await.unwrap();
}

#[tokio::test]
async fn deleted_bytes_are_in_no_file_after_a_checkpoint() {
    const CANARY: &str = "canary-sealed-envelope-bytes";
    let dir = TempDir::new().unwrap();
    let store = Store::open(&url(&file(&dir)), Settings::default()).await.unwrap();
    let found = || {
        std::fs::read_dir(dir.path()).unwrap().any(|entry| {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes())
        })
    };
    put(&store, "canary".into(), CANARY.repeat(400)).await.unwrap();
    store.checkpoint().await.unwrap();
    assert!(found(), "the search itself works");
    let removed: Result<u64, StoreError> = store
        .commit(|work| {
            Box::pin(async move {
                work.execute("DELETE FROM setting WHERE name = $1", vec!["canary".into()]).await
            })
        })
        .await;
    assert_eq!(removed, Ok(1));
    store.checkpoint().await.unwrap();
    assert!(!found());
}

#[tokio::test]
async fn a_newer_schema_a_changed_migration_and_a_foreign_file_are_refused() {
    let dir = TempDir::new().unwrap();
    Store::open(&url(&file(&dir)), Settings::default()).await.unwrap().close().await;
    let mut other = stranger(&file(&dir)).await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'later', 1, x'00', 0)";
    sqlx::query(newer).execute(&mut other).await.unwrap();
    let reopened = Store::open(&url(&file(&dir)), Settings::default()).await.map(|_| ());
    assert_eq!(reopened, Err(StoreError::NewerSchema));
    sqlx::query("DELETE FROM _sqlx_migrations WHERE version = 9999").execute(&mut other).await.unwrap();
    sqlx::query("UPDATE _sqlx_migrations SET checksum = x'00'").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    let reopened = Store::open(&url(&file(&dir)), Settings::default()).await.map(|_| ());
    assert_eq!(reopened, Err(StoreError::Migration));
    let foreign = dir.path().join("foreign.db");
    std::fs::write(
        &foreign,
        "this is no database at all, and long enough to have a header of its own ".repeat(20),
    )
    .unwrap();
    let opened = Store::open(&url(&foreign), Settings::default()).await.map(|_| ());
    assert_eq!(opened, Err(StoreError::Damaged));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_open_a_new_file_at_once_and_write_through_it() {
    let dir = TempDir::new().unwrap();
    let opening: Vec<_> = (0..4)
        .map(|n| {
            let url = url(&file(&dir));
            tokio::spawn(async move {
                let store = Store::open(&url, Settings::default()).await?;
                put(&store, format!("n{n}"), "x".into()).await?;
                Ok::<Store, StoreError>(store)
            })
        })
        .collect();
    let mut stores = Vec::new();
    for task in opening {
        stores.push(task.await.unwrap().unwrap());
    }
    assert_eq!(count(stores.first().unwrap()).await, 4);
}

#[tokio::test]
async fn closing_finishes_what_is_queued_and_leaves_one_file() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(&url(&file(&dir)), Settings::default()).await.unwrap();
    let left = store.clone();
    let (queued, ()) = tokio::join!(put(&store, "queued".into(), "x".into()), store.clone().close());
    assert_eq!(queued, Ok(()));
    assert_eq!(put(&left, "late".into(), "x".into()).await, Err(StoreError::Unavailable));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "the log was folded into the file");
    let again = Store::open(&url(&file(&dir)), Settings::default()).await.unwrap();
    let mut reader = again.read().await.unwrap();
    let vacuum = reader.fetch_optional("PRAGMA auto_vacuum", Vec::new()).await.unwrap().unwrap();
    assert_eq!(vacuum.integer("auto_vacuum"), Ok(2), "incremental");
    let secure = reader.fetch_optional("PRAGMA secure_delete", Vec::<Value>::new()).await.unwrap().unwrap();
    assert_eq!(secure.integer("secure_delete"), Ok(1));
    assert_eq!(count(&again).await, 1);
}
