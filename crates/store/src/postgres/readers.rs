//! Connections for reading: a bounded number, opened when first used, kept while they work.

use super::patience::timed;
use super::{Server, statement};
use crate::failure::Failure;
use crate::{Row, Settings, StoreError, Value};
use sqlx::{Connection, PgConnection};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The readers of one store.
pub(crate) struct Readers {
    server: Arc<Server>,
    places: Arc<Semaphore>,
    idle: Mutex<Vec<PgConnection>>,
    wait: Duration,
}

impl Readers {
    pub(crate) fn new(server: Arc<Server>, settings: &Settings) -> Arc<Readers> {
        let places = usize::try_from(settings.max_readers.max(1)).unwrap_or(1);
        Arc::new(Readers {
            server,
            places: Arc::new(Semaphore::new(places)),
            idle: Mutex::new(Vec::new()),
            wait: settings.busy_timeout,
        })
    }

    /// A place among the readers, with a connection.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when every place stays taken, or what the hosts refuse with.
    pub(crate) async fn take(self: &Arc<Self>) -> Result<Snapshot, StoreError> {
        let place = tokio::time::timeout(self.wait, Arc::clone(&self.places).acquire_owned())
            .await
            .map_err(|_| StoreError::Busy)?
            .map_err(|_| StoreError::Unavailable)?;
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let (connection, rested) = match kept {
            Some(connection) => (connection, true),
            None => (self.server.connect().await?, false),
        };
        Ok(Snapshot {
            connection: Some(connection),
            rested,
            begun: false,
            readers: Arc::clone(self),
            place: Some(place),
        })
    }

    /// One statement outside of any transaction: it is a snapshot by itself, and needs one message.
    pub(crate) async fn look(
        self: &Arc<Self>,
        sql: &'static str,
        args: Vec<Value>,
    ) -> Result<Option<Row>, StoreError> {
        let mut snapshot = self.take().await?;
        let mut connection = snapshot.connection.take().ok_or(StoreError::Unavailable)?;
        let asking = statement::first(&mut connection, sql, &args);
        let mut answer = self.replaced_once(&mut snapshot.rested, asking).await;
        if answer.is_none() {
            connection = self.server.connect().await?;
            let asking = statement::first(&mut connection, sql, &args);
            answer = Some(timed(self.server.patience, asking).await);
        }
        let answer = answer.unwrap_or(Err(Failure::fatal(StoreError::Unavailable)));
        snapshot.put_back(connection, answer)
    }

    /// The answer; none when the connection had ended while it lay idle (a restart, a failover), so that a new one is
    /// worth a try. A server that is silent until our patience is over is not asked again.
    async fn replaced_once<T>(
        &self,
        rested: &mut bool,
        asking: impl Future<Output = Result<T, Failure>>,
    ) -> Option<Result<T, Failure>> {
        let rested = std::mem::replace(rested, false);
        match tokio::time::timeout(self.server.patience, asking).await {
            Ok(Err(failure)) if failure.ends_transaction && rested => {
                self.clear();
                None
            }
            Ok(answer) => Some(answer),
            Err(_) => {
                self.clear();
                Some(Err(Failure::fatal(StoreError::Unavailable)))
            }
        }
    }

    /// Gives up what is idle: it leads where the connection led that has just failed.
    fn clear(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Lets nobody in any more and closes what is idle.
    pub(crate) async fn close(&self) {
        self.places.close();
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for connection in idle {
            let _ = connection.close().await;
        }
    }

    fn keep(&self, connection: PgConnection) {
        if !self.places.is_closed() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}

/// One reader's hold on a connection, with a snapshot from its first statement on.
pub(crate) struct Snapshot {
    connection: Option<PgConnection>,
    /// It lay idle since it was used last.
    rested: bool,
    begun: bool,
    readers: Arc<Readers>,
    place: Option<OwnedSemaphorePermit>,
}

impl Snapshot {
    pub(crate) async fn fetch_optional(
        &mut self,
        sql: &'static str,
        args: Vec<Value>,
    ) -> Result<Option<Row>, StoreError> {
        let mut connection = self.begin().await?;
        let patience = self.readers.server.patience;
        let answer = timed(patience, statement::fetch_optional(&mut connection, sql, args)).await;
        self.put_back(connection, answer)
    }

    pub(crate) async fn fetch_all(
        &mut self,
        sql: &'static str,
        args: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        let mut connection = self.begin().await?;
        let patience = self.readers.server.patience;
        let answer = timed(patience, statement::fetch_all(&mut connection, sql, args)).await;
        self.put_back(connection, answer)
    }

    /// The connection, taken out while a statement runs: whoever gives up waiting drops it with the statement.
    async fn begin(&mut self) -> Result<PgConnection, StoreError> {
        let mut connection = self.connection.take().ok_or(StoreError::Unavailable)?;
        if !self.begun {
            const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
            let asking = statement::control(&mut connection, BEGIN);
            match self.readers.replaced_once(&mut self.rested, asking).await {
                Some(answer) => answer?,
                None => {
                    connection = self.readers.server.connect().await?;
                    timed(self.readers.server.patience, statement::control(&mut connection, BEGIN)).await?;
                }
            }
            self.begun = true;
        }
        Ok(connection)
    }

    fn put_back<T>(&mut self, connection: PgConnection, answer: Result<T, Failure>) -> Result<T, StoreError> {
        // After an error the transaction is of no use, and the connection may be gone with it.
        if answer.is_ok() {
            self.connection = Some(connection);
        }
        Ok(answer?)
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let (Some(mut connection), place) = (self.connection.take(), self.place.take()) else { return };
        if !self.begun {
            self.readers.keep(connection);
            return;
        }
        let readers = Arc::clone(&self.readers);
        // Without a runtime the connection is closed, which ends the snapshot as well.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let patience = readers.server.patience;
            if timed(patience, statement::control(&mut connection, "ROLLBACK")).await.is_ok() {
                readers.keep(connection);
            }
            drop(place);
        });
    }
}
