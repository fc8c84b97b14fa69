//! The databases as their administrator sees them, beside the running programs: rows, changes, a held lock.

use super::System;
use std::time::Duration;
use store::{Row, Settings, Store, StoreError, Value};
use tokio::sync::oneshot;

impl System {
    /// Starts everything, with the gateway on that PostgreSQL.
    pub async fn start_on(database: scratch_postgres::Database) -> System {
        System::start_on_postgres(database, |_| {}).await
    }

    /// The gateway's database, opened once more.
    pub async fn database(&self) -> Store {
        let url = self.store_url();
        let settings = Settings { act_timeout: Duration::from_secs(120), ..Settings::default() };
        Store::open(&url, settings).await.unwrap()
    }

    /// Rows of the gateway's database.
    pub async fn rows(&self, sql: &'static str, args: Vec<Value>) -> Vec<Row> {
        let store = self.database().await;
        let mut reader = store.read().await.unwrap();
        let rows = reader.fetch_all(sql, args).await.unwrap();
        drop(reader);
        store.close().await;
        rows
    }

    /// The text for the database that this run of the tests is for.
    pub fn sql(&self, sqlite: &'static str, postgres: &'static str) -> &'static str {
        if self.postgres.is_some() { postgres } else { sqlite }
    }

    /// The one number that a statement gives.
    pub async fn count(&self, sql: &'static str) -> i64 {
        self.rows(sql, Vec::new()).await.first().unwrap().integer("n").unwrap()
    }

    /// Changes the gateway's database behind its back, as its administrator could; gives the rows it touched.
    pub async fn change(&self, sql: &'static str, args: Vec<Value>) -> u64 {
        let store = self.database().await;
        let changed: Result<u64, StoreError> =
            store.commit(move |work| Box::pin(async move { work.execute(sql, args).await })).await;
        store.close().await;
        changed.unwrap()
    }

    /// Takes the write lock as another writer would and holds it until told to let go.
    pub async fn lock_database(&self) -> HeldLock {
        let store = self.database().await;
        let (held, holds) = oneshot::channel();
        let (release, released) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let done: Result<(), StoreError> = store
                .commit(move |work| {
                    Box::pin(async move {
                        work.execute("DELETE FROM setting WHERE name = 'nothing.of.that.name'", Vec::new())
                            .await?;
                        let _ = held.send(());
                        let _ = released.await;
                        Ok(())
                    })
                })
                .await;
            store.close().await;
            done.unwrap();
        });
        holds.await.expect("the lock is free to take");
        HeldLock { release, task }
    }

    /// Requires what `pangate audit verify` prints for a faultless log.
    pub fn audit_log_is_whole(&self) {
        let config = self.path("pangate.toml").display().to_string();
        let said =
            super::process::run("pangate", &["audit", "verify", "--config", &config, "--format", "json"]);
        assert!(said.contains("\"root\""), "{said}");
    }
}

/// The write lock of the gateway's database, held by somebody else.
pub struct HeldLock {
    release: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl HeldLock {
    /// Lets go of it.
    pub async fn release(self) {
        let _ = self.release.send(());
        self.task.await.unwrap();
    }
}
