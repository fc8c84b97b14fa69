//! The companion's own SQLite file: opening, migrating, one writer, many readers.
//! No statement of the domain is written here.

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Sqlite, SqliteConnection, Transaction};
use std::path::Path;
use std::time::Duration;

/// How long a request waits for the write lock before it is told to come back.
const WAIT: Duration = Duration::from_secs(2);
const READERS: u32 = 4;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// What went wrong with the database. Never holds a row's content.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Locked, full, or gone. The same request may succeed later.
    #[error("the database is unavailable: check its disk and whether another process holds its lock")]
    Unavailable(#[source] sqlx::Error),
    /// A key that exists already, or a rule of the schema that the write breaks.
    #[error("the write breaks a rule of the schema; nothing was stored")]
    Rule(#[source] sqlx::Error),
    /// A stored value that cannot be what it should be.
    #[error("the stored {column} cannot be read; restore the database from a backup")]
    Corrupt {
        /// Which column.
        column: &'static str,
    },
    /// The file is absent.
    #[error("there is no database at this path; create it with: claims init --config FILE")]
    Absent,
    /// The schema is newer than this program, or was altered.
    #[error("the database's schema is not this program's: run the version that wrote it, or a newer one")]
    Schema(#[source] sqlx::migrate::MigrateError),
    /// The file could not be created.
    #[error("the database file could not be created; check the folder and its permissions")]
    Create(#[source] std::io::Error),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::ColumnNotFound(_) | sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                StoreError::Corrupt { column: "row" }
            }
            // SQLITE_CONSTRAINT and its extended codes (19 in the low byte) are our mistake, not the disk's.
            sqlx::Error::Database(cause)
                if cause
                    .code()
                    .and_then(|code| code.parse::<u32>().ok())
                    .is_some_and(|code| code & 0xff == 19) =>
            {
                StoreError::Rule(error)
            }
            _ => StoreError::Unavailable(error),
        }
    }
}

/// The open database. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Database {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Database {
    /// Creates the file (mode 0600) when it is absent, and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Create`], or as [`Database::open`].
    pub async fn create(path: &Path) -> Result<Self, StoreError> {
        use std::os::unix::fs::OpenOptionsExt;
        // SQLite gives its WAL the mode of the database file, so 0600 here covers both.
        std::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path)
            .map_err(StoreError::Create)?;
        Database::open(path).await
    }

    /// Opens an existing file and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Absent`], [`StoreError::Schema`] or [`StoreError::Unavailable`].
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        if !path.is_file() {
            return Err(StoreError::Absent);
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            // FULL: an answered payment is on the disk, not in a cache of the operating system.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(WAIT);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(WAIT)
            .connect_with(options.clone())
            .await?;
        MIGRATIONS.run(&writer).await.map_err(StoreError::Schema)?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(WAIT)
            .connect_with(options.pragma("query_only", "ON"))
            .await?;
        Ok(Database { writer, readers })
    }

    /// Begins the one write transaction, holding the write lock from its first statement (a later upgrade from
    /// a read lock could fail half-way). Dropping it rolls back.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the lock is not free within 2 seconds.
    pub async fn write(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// Begins a read of one consistent snapshot.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn read(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.readers.begin().await?)
    }

    /// Whether the database can be read and its write lock taken.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn ready(&self) -> Result<(), StoreError> {
        let mut work = self.write().await?;
        sqlx::query("SELECT 1 FROM accounts LIMIT 1").fetch_optional(&mut *work).await?;
        work.rollback().await?;
        Ok(())
    }

    /// Closes every connection; SQLite then folds the WAL into the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// A connection inside a transaction, for reading or writing.
pub type Connection = SqliteConnection;
