//! Durable acts a second through the group commit, beside plain inserts on the same file system in the same run.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints its table, and stops when its setup fails"
)]

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};
use std::path::Path;
use std::time::{Duration, Instant};
use store::{Settings, Store, StoreError};
use tempfile::TempDir;

const SPAN: Duration = Duration::from_secs(3);
const INSERT: &str = "INSERT INTO audit_entry (log, position, leaf, leaf_hash) VALUES ('bench', $1, $2, $3)";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // Not the temporary directory: that may be memory, where a sync costs nothing.
        let dir =
            TempDir::new_in(std::env::var("CARGO_TARGET_TMPDIR").unwrap_or_else(|_| ".".into())).unwrap();
        let single = raw(&dir.path().join("raw-1.db"), 1).await;
        let sixty_four = raw(&dir.path().join("raw-64.db"), 64).await;
        println!("raw inserts, 1 row a commit   {single:>9} rows/s");
        println!("raw inserts, 64 rows a commit {sixty_four:>9} rows/s");
        println!("committers      acts/s   acts/commit   x of 1-row   % of 64-row    p50 us    p99 us");
        for committers in [1, 16, 64, 256] {
            let line = grouped(&dir.path().join(format!("grouped-{committers}.db")), committers).await;
            println!(
                "{committers:>10} {:>11} {:>13} {:>9}.{:02} {:>13} {:>9} {:>9}",
                line.rate,
                line.group,
                line.rate / single.max(1),
                line.rate * 100 / single.max(1) % 100,
                line.rate * 100 / sixty_four.max(1),
                line.p50,
                line.p99,
            );
        }
    });
}

struct Line {
    rate: u64,
    group: u64,
    p50: u128,
    p99: u128,
}

fn url(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

/// Rows a second of a plain connection with the same durability, `rows` in each transaction.
async fn raw(path: &Path, rows: u32) -> u64 {
    Store::open(&url(path), Settings::default()).await.unwrap().close().await;
    let mut connection: SqliteConnection = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging()
        .connect()
        .await
        .unwrap();
    let began = Instant::now();
    let mut position = 0i64;
    while began.elapsed() < SPAN {
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
        for _ in 0..rows {
            let row = sqlx::query(INSERT).bind(position).bind(vec![7u8; 300]).bind(vec![7u8; 32]);
            row.execute(&mut connection).await.unwrap();
            position += 1;
        }
        sqlx::query("COMMIT").execute(&mut connection).await.unwrap();
    }
    let rate = per_second(position.unsigned_abs(), began.elapsed());
    connection.close().await.unwrap();
    rate
}

async fn grouped(path: &Path, committers: i64) -> Line {
    let store = Store::open(&url(path), Settings::default()).await.unwrap();
    let began = Instant::now();
    let tasks: Vec<_> = (0..committers)
        .map(|committer| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut waits = Vec::new();
                for n in 0.. {
                    if began.elapsed() >= SPAN {
                        break;
                    }
                    let position = n * committers + committer;
                    let asked = Instant::now();
                    let done: Result<u64, StoreError> = store
                        .commit(move |work| {
                            Box::pin(async move {
                                let args = vec![position.into(), vec![7u8; 300].into(), vec![7u8; 32].into()];
                                work.execute(INSERT, args).await
                            })
                        })
                        .await;
                    done.unwrap();
                    waits.push(asked.elapsed().as_micros());
                }
                waits
            })
        })
        .collect();
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(task.await.unwrap());
    }
    let (counters, rate) = (store.counters(), per_second(waits.len().try_into().unwrap(), began.elapsed()));
    store.close().await;
    waits.sort_unstable();
    let at = |percent: usize| waits.get(waits.len() * percent / 100).copied().unwrap_or(0);
    Line { rate, group: counters.acts / counters.commits.max(1), p50: at(50), p99: at(99) }
}

fn per_second(count: u64, span: Duration) -> u64 {
    let millis = u64::try_from(span.as_millis()).unwrap().max(1);
    count * 1_000 / millis
}
