//! Connections to whichever host takes writes now, with their sessions set up.

use super::sqlstate::read_error;
use super::{address, pooler, statement};
use crate::{Settings, StoreError};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long one host may take to answer a connection attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How much longer than its own limit a statement may take before its connection is given up.
const GRACE: Duration = Duration::from_secs(1);

/// How long the session of a gateway that was killed may take to end.
const HOLD_WITHIN: Duration = Duration::from_secs(5);

/// The database: one host, or a primary and its standbys of which nobody says which is which.
pub(crate) struct Server {
    hosts: Vec<PgConnectOptions>,
    /// The host that took writes last.
    found: AtomicUsize,
    /// [`Settings::sole`].
    sole: Option<i64>,
    /// The limits of a session, as SQL.
    limits: String,
    /// After this time without an answer the connection is given up.
    pub(crate) patience: Duration,
}

impl Server {
    /// Reads the URL; connects to nobody yet.
    pub(crate) fn parse(url: &str, settings: &Settings) -> Result<Server, StoreError> {
        let limits = format!(
            "SET statement_timeout = {}; SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {}",
            settings.act_timeout.as_millis(),
            settings.lock_timeout.as_millis(),
            (settings.act_timeout * 4).as_millis(),
        );
        Ok(Server {
            hosts: address::parse(url)?,
            found: AtomicUsize::new(0),
            sole: settings.sole,
            limits,
            patience: settings.act_timeout + GRACE,
        })
    }

    /// A connection for the writer: with a session of its own, which a pooler between us may not take away.
    pub(crate) async fn writer(&self) -> Result<PgConnection, StoreError> {
        let mut connection = self.connect().await?;
        pooler::refuse(self, &mut connection).await?;
        if let Some(sole) = self.sole {
            hold(&mut connection, sole).await?;
        }
        Ok(connection)
    }

    /// A connection to the host that takes writes. Every host is asked, the one that was found last first.
    ///
    /// # Errors
    /// [`StoreError::ReadOnly`] when only standbys answer; else what the hosts refused with.
    pub(crate) async fn connect(&self) -> Result<PgConnection, StoreError> {
        let first = self.found.load(Ordering::Relaxed);
        let mut worst = StoreError::Unavailable;
        for offset in 0..self.hosts.len() {
            let at = (first + offset) % self.hosts.len();
            let Some(options) = self.hosts.get(at) else { continue };
            match tokio::time::timeout(CONNECT_TIMEOUT, self.open(options)).await {
                Ok(Ok(connection)) => {
                    self.found.store(at, Ordering::Relaxed);
                    return Ok(connection);
                }
                // A host that says why is worth more than one that is silent.
                Ok(Err(error)) if error != StoreError::Unavailable => worst = error,
                Ok(Err(_)) | Err(_) => {}
            }
        }
        Err(worst)
    }

    /// Opens one session and refuses it when that host takes no writes.
    async fn open(&self, options: &PgConnectOptions) -> Result<PgConnection, StoreError> {
        let mut connection = options.connect().await.map_err(|error| read_error(error).error)?;
        // `transaction_read_only` is on in recovery, where `pg_is_in_recovery()` is true, and where an administrator
        // made the database read-only; engines that only speak PostgreSQL's wire know it as well.
        let row = statement::fetch_optional(
            &mut connection,
            "SELECT current_setting('transaction_read_only') AS read_only, \
             current_setting('synchronous_commit') AS durable",
            Vec::new(),
        )
        .await?
        .ok_or(StoreError::Unavailable)?;
        if row.text("read_only")? == "on" {
            let _ = connection.close().await;
            return Err(StoreError::ReadOnly);
        }
        // An acknowledged token is durable whatever the server's default is; a stronger default is left as it is.
        let limits = match row.text("durable")?.as_str() {
            "off" | "local" => format!("{}; SET synchronous_commit = on", self.limits),
            _ => self.limits.clone(),
        };
        connection.execute(AssertSqlSafe(limits)).await.map_err(|error| read_error(error).error)?;
        Ok(connection)
    }
}

/// Takes a lock that ends with the session and not before.
async fn hold(connection: &mut PgConnection, sole: i64) -> Result<(), StoreError> {
    let end = tokio::time::Instant::now() + HOLD_WITHIN;
    loop {
        let asked = statement::fetch_optional(
            connection,
            "SELECT pg_try_advisory_lock($1) AS held",
            vec![sole.into()],
        )
        .await;
        match asked.map_err(StoreError::from) {
            Ok(Some(row)) if row.integer("held")? == 1 => return Ok(()),
            Ok(_) if tokio::time::Instant::now() < end => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Ok(_) => return Err(StoreError::Taken),
            // An engine that only speaks PostgreSQL's wire may have no such locks; there the operator sees to it.
            Err(StoreError::Statement { .. }) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
