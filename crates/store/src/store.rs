//! The store as its callers see it: commit, read, ready, checkpoint, close.

use crate::act::{Boxed, Typed};
use crate::link::{Home, Link};
use crate::moving::{Move, MoveState, move_of};
use crate::postgres::{self, Readers, Server};
use crate::settings::Tally;
use crate::sqlite::statement::read_error;
use crate::sqlite::{self, Place};
use crate::writer::{Addition, Message, Writer};
use crate::{Counters, Dialect, Prepared, Reader, Row, Rows, Settings, StoreError, Value, Work};
use sqlx::Connection;
use sqlx::sqlite::SqlitePool;
use std::sync::Arc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

/// A database that many may use at once. Cheap to clone; all clones share one queue and one writer.
#[derive(Clone)]
pub struct Store {
    queue: mpsc::Sender<Message>,
    engine: Engine,
    tally: Arc<Tally>,
}

#[derive(Clone)]
enum Engine {
    Sqlite { readers: SqlitePool, place: Arc<Place> },
    Postgres { readers: Arc<Readers> },
}

impl Store {
    /// Opens `sqlite:PATH` (creates the file with mode 0600) or `postgres://USER@HOST[,HOST…]/DATABASE`, brings the
    /// schema up to date where that is allowed, and starts the writer on the current tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::Url`], [`StoreError::NewerSchema`], [`StoreError::OlderSchema`], [`StoreError::Migration`],
    /// [`StoreError::Tls`], [`StoreError::Pooler`], [`StoreError::Login`], [`StoreError::Damaged`], or a transient one.
    pub async fn open(url: &str, settings: Settings) -> Result<Store, StoreError> {
        let (engine, home, link) = if is_postgres(url) {
            let server = Arc::new(Server::parse(url, &settings)?);
            let connection = postgres::open(&server).await?;
            let readers = Readers::new(Arc::clone(&server), &settings);
            let link = Link::Postgres { connection, patience: server.patience };
            (Engine::Postgres { readers }, Home::Postgres(server), link)
        } else {
            let place = Arc::new(Place::parse(url)?);
            let (connection, _, _) = sqlite::prepare(&place, &settings).await?;
            let readers = sqlite::readers(&place, &settings);
            let engine = Engine::Sqlite { readers, place: Arc::clone(&place) };
            (engine, Home::Sqlite(place), Link::Sqlite(connection))
        };
        let tally = Arc::new(Tally::default());
        let (queue, waiting) = mpsc::channel(settings.queue.max(1));
        let settings = Settings { batch: settings.batch.max(1), ..settings };
        let writer = Writer {
            home,
            settings,
            tally: Arc::clone(&tally),
            link: Some((link, tokio::time::Instant::now())),
            away: None,
        };
        tokio::spawn(writer.run(waiting));
        let mut store = Store { queue, engine, tally };
        if !settings.arriving
            && let Some(found) = move_of(&mut store).await?
            && found.state == MoveState::Arriving
        {
            store.close().await;
            return Err(StoreError::Arriving);
        }
        Ok(store)
    }

    /// Brings the schema up to date and, on PostgreSQL, makes the roles and grants them exactly the rights that this
    /// release needs, whatever was there before. Doing it again changes nothing.
    ///
    /// # Errors
    /// As [`Store::open`]; [`StoreError::Denied`] when the login owns neither the tables nor the schema.
    pub async fn prepare(url: &str, settings: Settings) -> Result<Prepared, StoreError> {
        if is_postgres(url) {
            return postgres::prepare(&Server::parse(url, &settings)?).await;
        }
        let place = Place::parse(url)?;
        let (connection, from, to) = sqlite::prepare(&place, &settings).await?;
        let _ = connection.close().await;
        Ok(Prepared {
            dialect: Dialect::Sqlite,
            from,
            to,
            roles: Vec::new(),
            handed_over: 0,
            not_handed_over: 0,
            granted: true,
        })
    }

    /// PostgreSQL: a table in the database that no release of ours made, if there is one.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn stranger(url: &str, settings: Settings) -> Result<Option<String>, StoreError> {
        postgres::stranger(&Server::parse(url, &settings)?).await
    }

    /// Runs `act` in the next transaction and answers once it is durable.
    ///
    /// Acts that arrive while a commit is in flight share the next one, each in its own savepoint: an act that
    /// fails, panics or takes too long is rolled back alone. When the transaction itself fails, every act of it
    /// gets that error. Dropping the returned future does not cancel: the act still happens wholly or not at
    /// all. Inside an act, do nothing but statements: the writer waits for you.
    ///
    /// # Errors
    /// Whatever `act` returns, or as `E`: [`StoreError::Busy`] (queue full, or another process holds the lock),
    /// [`StoreError::Unavailable`], [`StoreError::Damaged`], [`StoreError::Panicked`], [`StoreError::TimedOut`].
    pub async fn commit<T, E, F>(&self, act: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: for<'w> FnOnce(&'w mut Work<'_>) -> Boxed<'w, Result<T, E>> + Send + 'static,
    {
        let (act, answer) = Typed::new(act);
        self.enqueue(Message::Act(Box::new(act)))?;
        // The writer answers every act it took; silence means that its runtime has ended.
        answer.await.unwrap_or_else(|_| Err(StoreError::Unavailable.into()))
    }

    /// Adds `rows` in the next transaction and answers once they are durable: all of them, or none. Cheaper than
    /// [`Store::commit`], because what many requests add to one table goes down in one statement. Rows come after the
    /// acts of their transaction.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when a row found no place: its key is taken, or its sheet's guard keeps it out; else as
    /// [`Store::commit`].
    pub async fn add(&self, rows: Rows) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Message::Add(Addition { rows, reply }))?;
        answer.await.unwrap_or(Err(StoreError::Unavailable))
    }

    /// The first row that one statement gives, or none. Cheaper than a [`Reader`] where one statement is all.
    ///
    /// # Errors
    /// As [`Store::read`], or of the statement.
    pub async fn look(&self, sql: &'static str, args: Vec<Value>) -> Result<Option<Row>, StoreError> {
        match &self.engine {
            Engine::Sqlite { readers, .. } => {
                let mut reader = readers.acquire().await.map_err(|error| read_error(error).error)?;
                Ok(sqlite::statement::fetch_optional(&mut reader, None, sql, args).await?)
            }
            Engine::Postgres { readers } => readers.look(sql, args).await,
        }
    }

    /// A snapshot for reading. It waits for no writer and no writer waits for it.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when every reader stays taken for [`Settings::busy_timeout`], or
    /// [`StoreError::Unavailable`].
    pub async fn read(&self) -> Result<Reader, StoreError> {
        match &self.engine {
            Engine::Sqlite { readers, .. } => {
                readers.begin().await.map(Reader::sqlite).map_err(|error| read_error(error).error)
            }
            Engine::Postgres { readers } => readers.take().await.map(Reader::postgres),
        }
    }

    /// Whether the store can read and take the write lock now. After a failed transaction it also writes, so
    /// that a full disk is not called ready.
    ///
    /// # Errors
    /// What an act or a read would fail with now.
    pub async fn ready(&self) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sqlite { place, .. } => place.check()?,
            Engine::Postgres { .. } => {}
        }
        if let Some(Move { state: MoveState::Leaving | MoveState::Left, .. }) =
            move_of(&mut self.clone()).await?
        {
            return Err(StoreError::Moved);
        }
        let probe = self.tally.suspect();
        self.commit(move |work| {
            Box::pin(async move {
                if probe {
                    work.execute(
                        "INSERT INTO setting (name, value) VALUES ('store.probe', 'written') \
                         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                        Vec::new(),
                    )
                    .await?;
                }
                Ok::<(), StoreError>(())
            })
        })
        .await
    }

    /// SQLite: moves the write-ahead log into the database file and empties it, and gives free pages back: after that
    /// no byte that was deleted before is left in either file. Call it after shredding. PostgreSQL keeps dead rows until
    /// its own vacuum and its log until its archive forgets it; there only a destroyed key ends them.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when a reader kept the log in use (call again), or [`StoreError::Unavailable`].
    pub async fn checkpoint(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Checkpoint(reply))?;
        answer.await.unwrap_or(Err(StoreError::Unavailable))
    }

    /// Finishes what is queued, empties the log and closes. Other clones get [`StoreError::Unavailable`] from
    /// then on.
    pub async fn close(self) {
        let (reply, done) = oneshot::channel();
        // Readers first: the last connection to close is the writer's, and it folds the log into the file.
        match &self.engine {
            Engine::Sqlite { readers, .. } => readers.close().await,
            Engine::Postgres { readers } => readers.close().await,
        }
        if self.queue.send(Message::Close(reply)).await.is_ok() {
            let _ = done.await;
        }
    }

    /// What the writer has done so far.
    pub fn counters(&self) -> Counters {
        self.tally.read()
    }

    /// The SQL that this store speaks.
    pub fn dialect(&self) -> Dialect {
        match &self.engine {
            Engine::Sqlite { .. } => Dialect::Sqlite,
            Engine::Postgres { .. } => Dialect::Postgres,
        }
    }

    fn enqueue(&self, message: Message) -> Result<(), StoreError> {
        self.send(message).inspect_err(|error| {
            if *error == StoreError::Busy {
                self.tally.busy(1);
            }
        })
    }

    fn send(&self, message: Message) -> Result<(), StoreError> {
        self.queue.try_send(message).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Busy,
            TrySendError::Closed(_) => StoreError::Unavailable,
        })
    }
}

fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres:") || url.starts_with("postgresql:")
}
