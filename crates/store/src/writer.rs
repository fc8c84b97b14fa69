//! The one task that writes: it gathers what waits, runs it in one transaction, and answers after the COMMIT.

use crate::act::{Act, Held};
use crate::link::{Home, Link};
use crate::rows::Rows;
use crate::settings::Tally;
use crate::work::Work;
use crate::{Dialect, Settings, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

mod adding;

/// How long a place that could not be reached is left alone: those who wait meanwhile are answered at once.
const PAUSE: Duration = Duration::from_millis(100);

/// After this time without work a connection is asked whether it is there before it is relied on.
const IDLE: Duration = Duration::from_millis(20);

/// What the writer is asked for.
pub(crate) enum Message {
    /// Run an act in the next transaction.
    Act(Box<dyn Act>),
    /// Add rows in the next transaction.
    Add(Addition),
    /// Move the write-ahead log into the file and empty it.
    Checkpoint(oneshot::Sender<Result<(), StoreError>>),
    /// Close the connection and end, once everything queued before is done.
    Close(oneshot::Sender<()>),
}

/// One request's rows, and where its answer goes.
pub(crate) struct Addition {
    pub(crate) rows: Rows,
    pub(crate) reply: oneshot::Sender<Result<(), StoreError>>,
}

/// Those who share the next transaction.
#[derive(Default)]
struct Batch {
    acts: Vec<Box<dyn Act>>,
    additions: Vec<Addition>,
}

impl Batch {
    fn len(&self) -> usize {
        self.acts.len() + self.additions.len()
    }
}

/// The owner of the writing connection.
pub(crate) struct Writer {
    pub(crate) home: Home,
    pub(crate) settings: Settings,
    pub(crate) tally: Arc<Tally>,
    /// Missing after a failed transaction; the next batch opens a new one, and so the store heals by itself.
    pub(crate) link: Option<(Link, Instant)>,
    /// What opening failed with last, and when.
    pub(crate) away: Option<(StoreError, Instant)>,
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
            if batch.len() > 0 {
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
                Some(Message::Act(_) | Message::Add(_)) | None => {}
            }
        }
        if let Some((link, _)) = self.link.take() {
            link.close().await;
        }
        if let Some(reply) = closing {
            let _ = reply.send(());
        }
    }

    /// Everything that waits now, up to the cap; a control message ends the batch and comes after it.
    fn gather(&self, first: Message, queue: &mut mpsc::Receiver<Message>) -> (Batch, Option<Message>) {
        let mut batch = Batch::default();
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Act(act) => batch.acts.push(act),
                Message::Add(addition) => batch.additions.push(addition),
                control => return (batch, Some(control)),
            }
            next = if batch.len() < self.settings.batch { queue.try_recv().ok() } else { None };
        }
        (batch, None)
    }

    /// One transaction for the batch. Nobody is answered before its fate is known, and all share it.
    async fn commit(&mut self, batch: Batch) {
        let size = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let mut held = Vec::with_capacity(batch.acts.len());
        let mut waiting = batch.acts.into_iter();
        let mut added = Vec::new();
        let fate = self.transact(&mut waiting, &mut held, &batch.additions, &mut added).await;
        match fate {
            Ok(()) => {
                let kept = held.iter().filter(|answer| answer.succeeded()).count()
                    + added.iter().filter(|answer| answer.is_ok()).count();
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
        let mut added = added.into_iter();
        for addition in batch.additions {
            let own = added.next().unwrap_or(Err(StoreError::Unavailable));
            // Who asked may have gone; then nobody waits for this answer.
            let _ = addition.reply.send(fate.and(own));
        }
    }

    async fn transact(
        &mut self,
        waiting: &mut impl ExactSizeIterator<Item = Box<dyn Act>>,
        held: &mut Vec<Box<dyn Held>>,
        additions: &[Addition],
        added: &mut Vec<Result<(), StoreError>>,
    ) -> Result<(), StoreError> {
        self.home.check()?;
        let mut link = self.link().await?;
        if held.is_empty() && waiting.len() == 0 {
            match adding::add_whole(&mut link, additions).await {
                Ok(true) => {
                    added.extend(additions.iter().map(|_| Ok(())));
                    self.keep(link);
                    return Ok(());
                }
                // Somebody's row has no place: one request after the other.
                Ok(false) => {}
                Err(failure) if failure.error == StoreError::Busy && !failure.ends_transaction => {
                    self.keep(link);
                    return Err(StoreError::Busy);
                }
                Err(failure) => return Err(abandon(link, failure.error).await),
            }
        }
        // Statements that belong together go to the database in one message.
        let asked = Instant::now();
        match link.begin().await {
            Ok(()) => {}
            Err(failure) if failure.error == StoreError::Busy => {
                // No transaction was begun, so this connection is as good as before.
                self.keep(link);
                return Err(StoreError::Busy);
            }
            Err(failure)
                if link.dialect() == Dialect::Postgres
                    && failure.ends_transaction
                    && asked.elapsed() < self.settings.act_timeout =>
            {
                // It ended while it lay idle (a restart, a failover) and says so at once, where a hanging server is
                // silent. A new one, and then the truth.
                link.close().await;
                link = self.home.writer(&self.settings).await?;
                if let Err(failure) = link.begin().await {
                    return Err(abandon(link, failure.error).await);
                }
            }
            Err(failure) => return Err(abandon(link, failure.error).await),
        }
        match run_all(&mut link, waiting, held, additions, added, &self.settings).await {
            Ok(()) => {
                self.keep(link);
                Ok(())
            }
            Err(error) => Err(abandon(link, error).await),
        }
    }

    /// The connection that is there, or a new one. After a failure to open one, the next try waits a moment.
    async fn link(&mut self) -> Result<Link, StoreError> {
        if let Some((mut link, used)) = self.link.take() {
            // It may have ended while it lay idle: a restart, a failover. Asked first, nobody's rows are lost with it.
            if used.elapsed() < IDLE || link.is_there().await {
                return Ok(link);
            }
            drop(link);
        }
        if let Some((error, since)) = self.away
            && since.elapsed() < PAUSE
        {
            return Err(error);
        }
        match self.home.writer(&self.settings).await {
            Ok(link) => {
                self.away = None;
                Ok(link)
            }
            Err(error) => {
                self.away = Some((error, Instant::now()));
                Err(error)
            }
        }
    }

    fn keep(&mut self, link: Link) {
        self.link = Some((link, Instant::now()));
    }

    async fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.home.check()?;
        let mut link = self.link().await?;
        let answer = match link.dialect() {
            Dialect::Sqlite => empty_log(&mut link).await,
            // PostgreSQL's log is its own, and is read by its standbys.
            Dialect::Postgres => Ok(()),
        };
        self.keep(link);
        answer
    }
}

/// Runs every act between BEGIN and COMMIT, each in the savepoint `act`, and then adds the rows.
async fn run_all(
    link: &mut Link,
    waiting: &mut impl Iterator<Item = Box<dyn Act>>,
    held: &mut Vec<Box<dyn Held>>,
    additions: &[Addition],
    added: &mut Vec<Result<(), StoreError>>,
    settings: &Settings,
) -> Result<(), StoreError> {
    let mut boundary = Boundary::Fresh;
    for act in waiting {
        let mut work = Work::new(link, boundary.before_next());
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
    if !additions.is_empty() {
        boundary = adding::add_all(link, boundary, additions, added).await?;
    }
    // A savepoint that is gone means that the database ended the transaction by itself.
    link.control(boundary.at_the_end()).await.map_err(|failure| match failure.error {
        StoreError::Statement { .. } => StoreError::Unavailable,
        error => error,
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
            Boundary::Keep => Some("RELEASE SAVEPOINT act; SAVEPOINT act"),
            // The savepoint itself stays, for the next act.
            Boundary::Undo => Some("ROLLBACK TO SAVEPOINT act"),
        }
    }

    fn at_the_end(self) -> &'static str {
        match self {
            Boundary::Fresh | Boundary::Keep => "RELEASE SAVEPOINT act; COMMIT",
            Boundary::Undo => "ROLLBACK TO SAVEPOINT act; RELEASE SAVEPOINT act; COMMIT",
        }
    }
}

/// Closes a connection whose transaction failed, so that nothing of it can become durable.
async fn abandon(mut link: Link, error: StoreError) -> StoreError {
    if link.dialect() == Dialect::Sqlite {
        let _ = link.control("ROLLBACK").await;
    }
    link.close().await;
    error
}

async fn empty_log(link: &mut Link) -> Result<(), StoreError> {
    link.control("PRAGMA incremental_vacuum").await?;
    let row = link.fetch_optional(None, "PRAGMA wal_checkpoint(TRUNCATE)", Vec::new()).await?;
    match row.map(|row| row.integer("busy")).transpose()? {
        Some(0) => Ok(()),
        _ => Err(StoreError::Busy),
    }
}
