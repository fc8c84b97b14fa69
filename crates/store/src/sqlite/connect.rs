//! Opening a SQLite file: its place, its mode, its pragmas, its schema.

use super::statement::read_error;
use crate::{Settings, StoreError};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/sqlite");

/// Which file this store writes. Remembers the file itself, not only its name.
pub(crate) struct Place {
    path: PathBuf,
    identity: OnceLock<(u64, u64)>,
}

impl Place {
    /// Reads `sqlite:PATH`.
    pub(crate) fn parse(url: &str) -> Result<Self, StoreError> {
        let path = url.strip_prefix("sqlite:").ok_or(StoreError::Url)?;
        let path = path.strip_prefix("//").unwrap_or(path);
        // A memory database loses acknowledged writes; options in the URL would go around the pragmas below.
        if path.is_empty() || path.starts_with(':') || path.contains('?') {
            return Err(StoreError::Url);
        }
        Ok(Place { path: PathBuf::from(path), identity: OnceLock::new() })
    }

    /// Creates the file when it is missing. Either way only its owner may read it afterwards; SQLite gives the
    /// write-ahead log and the shared index the same mode.
    fn create(&self) -> Result<(), StoreError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.path)
            .map_err(|_| StoreError::Unavailable)?;
        file.set_permissions(Permissions::from_mode(0o600)).map_err(|_| StoreError::Unavailable)?;
        let found = file.metadata().map_err(|_| StoreError::Unavailable)?;
        let _ = self.identity.set((found.dev(), found.ino()));
        Ok(())
    }

    /// Whether the name still leads to the file that was opened. A write to a file that was moved away or
    /// deleted succeeds and is lost; it must not be acknowledged.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let found = fs::metadata(&self.path).map_err(|_| StoreError::Unavailable)?;
        if self.identity.get() == Some(&(found.dev(), found.ino())) {
            Ok(())
        } else {
            Err(StoreError::Unavailable)
        }
    }

    /// Opens the one connection that writes.
    pub(crate) async fn writer(&self, settings: &Settings) -> Result<SqliteConnection, StoreError> {
        self.check()?;
        let mut options = self.options(settings);
        // Both are kept in the file. Asking for `auto_vacuum` takes the write lock, so only a new file is asked.
        if fs::metadata(&self.path).is_ok_and(|found| found.len() == 0) {
            options = options.auto_vacuum(SqliteAutoVacuum::Incremental);
        }
        options = options.journal_mode(SqliteJournalMode::Wal).pragma("temp_store", "MEMORY");
        let mut connection = options.connect().await.map_err(|error| read_error(error).error)?;
        // What an added row without a place runs into (`rows::layer_of_sqlite`); it never holds a row.
        let placed = "CREATE TEMP TABLE placed (whole INTEGER NOT NULL CHECK (whole = 1))";
        super::statement::execute(&mut connection, None, placed, Vec::new()).await?;
        Ok(connection)
    }

    /// What every connection is set to. None of it takes a lock: a reader opens while another process writes.
    fn options(&self, settings: &Settings) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(&self.path)
            .create_if_missing(false)
            .busy_timeout(settings.busy_timeout)
            // FULL: the log is synced at every commit, or an acknowledged token would not survive power loss.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // Deleted and shredded bytes are overwritten; the bundled library has this off.
            .pragma("secure_delete", "ON")
            // A long reader may let the log grow; the next checkpoint cuts it back to this many bytes.
            .pragma("journal_size_limit", "67108864")
            // A schema that somebody edited may not call functions; damaged pages are found when read.
            .pragma("trusted_schema", "OFF")
            .pragma("cell_size_check", "ON")
            .statement_cache_capacity(256)
            .disable_statement_logging()
    }
}

/// Creates the file, brings the schema up to date, and returns the writing connection with the version that was there
/// and the one that is.
pub(crate) async fn prepare(
    place: &Place,
    settings: &Settings,
) -> Result<(SqliteConnection, i64, i64), StoreError> {
    const ATTEMPTS: u32 = 4;
    place.create()?;
    let mut connection = place.writer(settings).await?;
    let from = applied(&mut connection).await?;
    for attempt in 1.. {
        if applied(&mut connection).await? > latest() {
            return Err(StoreError::NewerSchema);
        }
        // `run` gives a future that cannot move between threads (its bound on `Acquire`); this one can.
        match MIGRATIONS.run_direct(None, &mut connection, false).await {
            Ok(()) => break,
            Err(MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..)) => {
                return Err(StoreError::NewerSchema);
            }
            // Two processes that open a new file at once: one migrates, the other finds it done on looking again.
            Err(MigrateError::Execute(_) | MigrateError::ExecuteMigration(..)) if attempt < ATTEMPTS => {
                let _ = connection.close().await;
                tokio::time::sleep(Duration::from_millis(50)).await;
                connection = place.writer(settings).await?;
            }
            Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => {
                let error = read_error(error).error;
                return Err(if error.is_transient() { error } else { StoreError::Migration });
            }
            Err(_) => return Err(StoreError::Migration),
        }
    }
    Ok((connection, from, latest()))
}

/// The connections for reading. They open when first used.
pub(crate) fn readers(place: &Place, settings: &Settings) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(settings.max_readers.max(1))
        .acquire_timeout(settings.busy_timeout)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_lazy_with(place.options(settings).pragma("query_only", "ON"))
}

fn latest() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Version of the schema that is there; zero for none.
async fn applied(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let stepped = |error| read_error(error).error;
    let found = sqlx::query("SELECT 1 FROM sqlite_schema WHERE name = '_sqlx_migrations'")
        .fetch_optional(&mut *connection)
        .await
        .map_err(stepped)?;
    if found.is_none() {
        return Ok(0);
    }
    sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
        .fetch_one(&mut *connection)
        .await
        .map_err(stepped)
}
