//! The baseline: what SQLite itself does with a row of the same bytes, one or many a durable commit.

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};
use std::path::Path;
use std::time::{Duration, Instant};

/// Rows a second with `batch` rows a commit, WAL and `synchronous=FULL`, as the store runs.
pub(crate) async fn inserts(folder: &Path, batch: u32, length: Duration) -> f64 {
    let options = SqliteConnectOptions::new()
        .filename(folder.join(format!("raw-{batch}.db")))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let mut connection = options.connect().await.unwrap();
    sqlx::query("CREATE TABLE IF NOT EXISTS raw (token TEXT PRIMARY KEY, fingerprint BLOB UNIQUE, envelope BLOB) STRICT")
        .execute(&mut connection)
        .await
        .unwrap();
    let started = Instant::now();
    let mut rows = 0u32;
    while started.elapsed() < length {
        let mut transaction = connection.begin().await.unwrap();
        for _ in 0..batch {
            let token = tokens::Token::mint(tokens::Realm::Test).unwrap();
            sqlx::query("INSERT INTO raw (token, fingerprint, envelope) VALUES ($1, $2, $3)")
                .bind(token.as_str())
                .bind(token.as_str().as_bytes())
                .bind(vec![7u8; 256])
                .execute(&mut *transaction)
                .await
                .unwrap();
            rows += 1;
        }
        transaction.commit().await.unwrap();
    }
    f64::from(rows) / started.elapsed().as_secs_f64()
}
