//! The one task that writes: it gathers what waits, runs it in one transaction, and answers after the COMMIT.

use super::connect::Place;
use super::statement;
use crate::act::{Act, Held};
use crate::settings::Tally;
use crate::work::Work;
use crate::{Settings, StoreError};
use sqlx::{Connection, SqliteConnection};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// What the writer is asked for.
pub(crate) enum Message {
    /// Run an act in the next transaction.
    Act(Box<dyn Act>),
    /// Move the write-ahead log into the file and empty it.
    Checkpoint(oneshot::Sender<Result<(), StoreError>>),
    /// Close the connection and end, once everything queued before is done.
    Close(oneshot::Sender<()>),
}

/// The owner of the writing connection.
pub(crate) struct Writer {
    pub(crate) place: Arc<Place>,
    pub(crate) settings: Settings,
    pub(crate) tally: Arc<Tally>,
    /// Missing after a failed transaction; the next batch opens a new one, and so the store heals by itself.
    pub(crate) connection: Option<SqliteConnection>,
}

impl Writer {
    /// Serves the queue until it closes.
    pub(crate) async fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        let mut closing = None;
        while let Some(first) = queue.recv().await {
            // Those whom the last commit answered, and who write again, get to the queue before the next batch
            // leaves: one turn of the scheduler, no timer.
            tokio::task::yield_now().await;
            let (batch, control) = self.gather(first, &mut queue);
            if !batch.is_empty() {
                self.commit(batch).await;
            }
            match control {
                Some(Message::Checkpoint(reply)) => {
                    let _ = reply.send(self.checkpoint().await);
                }
                Some(Message::Close(reply)) => {
                    closing = Some(reply);
                    break;
                }
                Some(Message::Act(_)) | None => {}
            }
        }
        if let Some(connection) = self.connection.take() {
            let _ = connection.close().await;
        }
        if let Some(reply) = closing {
            let _ = reply.send(());
        }
    }

    /// Everything that waits now, up to the cap; a control message ends the batch and comes after it.
    fn gather(
        &self,
        first: Message,
        queue: &mut mpsc::Receiver<Message>,
    ) -> (Vec<Box<dyn Act>>, Option<Message>) {
        let mut batch = Vec::new();
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Act(act) => batch.push(act),
                control => return (batch, Some(control)),
            }
            next = if batch.len() < self.settings.batch { queue.try_recv().ok() } else { None };
        }
        (batch, None)
    }

    /// One transaction for the batch. Nobody is answered before its fate is known, and all share it.
    async fn commit(&mut self, batch: Vec<Box<dyn Act>>) {
        let mut held = Vec::with_capacity(batch.len());
        let mut waiting = batch.into_iter();
        let fate = self.transact(&mut waiting, &mut held).await;
        let size = u64::try_from(held.len() + waiting.len()).unwrap_or(u64::MAX);
        match fate {
            Ok(()) => {
                let kept = held.iter().filter(|answer| answer.succeeded()).count();
                self.tally.committed(u64::try_from(kept).unwrap_or(u64::MAX));
            }
            Err(StoreError::Busy) => self.tally.busy(size),
            Err(_) => self.tally.failed(),
        }
        for answer in held {
            answer.answer(fate);
        }
        if let Err(error) = fate {
            for act in waiting {
                act.refuse(error);
            }
        }
    }

    async fn transact(
        &mut self,
        waiting: &mut impl Iterator<Item = Box<dyn Act>>,
        held: &mut Vec<Box<dyn Held>>,
    ) -> Result<(), StoreError> {
        self.place.check()?;
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.place.writer(&self.settings).await?,
        };
        // Statements that belong together go to the connection's thread in one message: each message costs two
        // thread switches.
        match statement::execute(&mut connection, None, "BEGIN IMMEDIATE; SAVEPOINT act", Vec::new()).await {
            Ok(_) => {}
            Err(failure) if failure.error == StoreError::Busy => {
                // No transaction was begun, so this connection is as good as before.
                self.connection = Some(connection);
                return Err(StoreError::Busy);
            }
            Err(failure) => return Err(abandon(connection, failure.error).await),
        }
        match run_all(&mut connection, waiting, held, &self.settings).await {
            Ok(()) => {
                self.connection = Some(connection);
                Ok(())
            }
            Err(error) => Err(abandon(connection, error).await),
        }
    }

    async fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.place.check()?;
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.place.writer(&self.settings).await?,
        };
        let answer = empty_log(&mut connection).await;
        self.connection = Some(connection);
        answer
    }
}

/// Runs every act between BEGIN and COMMIT, each in the savepoint `act`.
async fn run_all(
    connection: &mut SqliteConnection,
    waiting: &mut impl Iterator<Item = Box<dyn Act>>,
    held: &mut Vec<Box<dyn Held>>,
    settings: &Settings,
) -> Result<(), StoreError> {
    let mut boundary = Boundary::Fresh;
    for act in waiting {
        let mut work = Work::sqlite(connection, boundary.before_next());
        let answer = act.run(&mut work, settings.act_timeout).await;
        let (broken, untouched) = (work.broken(), work.untouched());
        let keep = answer.succeeded();
        held.push(answer);
        if let Some(error) = broken {
            return Err(error);
        }
        if !untouched {
            boundary = if keep { Boundary::Keep } else { Boundary::Undo };
        }
    }
    // A savepoint that is gone means that the database ended the transaction by itself.
    statement::execute(connection, None, boundary.at_the_end(), Vec::new()).await.map_err(|failure| {
        match failure.error {
            StoreError::Statement { .. } => StoreError::Unavailable,
            error => error,
        }
    })?;
    Ok(())
}

/// What has to become of the savepoint that is open.
#[derive(Clone, Copy)]
enum Boundary {
    /// Nothing was written under it.
    Fresh,
    /// Its act succeeded.
    Keep,
    /// Its act failed.
    Undo,
}

impl Boundary {
    fn before_next(self) -> Option<&'static str> {
        match self {
            Boundary::Fresh => None,
            Boundary::Keep => Some("RELEASE act; SAVEPOINT act"),
            // The savepoint itself stays, for the next act.
            Boundary::Undo => Some("ROLLBACK TO act"),
        }
    }

    fn at_the_end(self) -> &'static str {
        match self {
            Boundary::Fresh | Boundary::Keep => "RELEASE act; COMMIT",
            Boundary::Undo => "ROLLBACK TO act; RELEASE act; COMMIT",
        }
    }
}

/// Closes a connection whose transaction failed, so that nothing of it can reach the file.
async fn abandon(mut connection: SqliteConnection, error: StoreError) -> StoreError {
    let _ = statement::execute(&mut connection, None, "ROLLBACK", Vec::new()).await;
    let _ = connection.close().await;
    error
}

async fn empty_log(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    statement::execute(connection, None, "PRAGMA incremental_vacuum", Vec::new()).await?;
    let row =
        statement::fetch_optional(connection, None, "PRAGMA wal_checkpoint(TRUNCATE)", Vec::new()).await?;
    match row.map(|row| row.integer("busy")).transpose()? {
        Some(0) => Ok(()),
        _ => Err(StoreError::Busy),
    }
}
