//! Connections to whichever host takes writes now, with their sessions set up.

use super::patience::timed;
use super::sole::Sole;
use super::sqlstate::read_error;
use super::{address, pooler, statement};
use crate::{Settings, StoreError};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

/// How long the hosts may take to answer a connection attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// After this time without an answer from one host the next one is asked as well.
const NEXT_AFTER: Duration = Duration::from_millis(300);
/// How much longer than its own limit a statement may take before its connection is given up.
const GRACE: Duration = Duration::from_secs(1);

/// What a session is to know before it is used: whether its host takes writes, how durable a commit is by default, and
/// on which branch of history the host is. A promoted standby begins a new branch (a timeline), so of two hosts that
/// both take writes the one with the lower number was passed over, and what it says is old.
const STANDING: &str = "SELECT current_setting('transaction_read_only') AS read_only, \
                        current_setting('synchronous_commit') AS durable, \
                        CASE WHEN pg_is_in_recovery() THEN '' ELSE pg_walfile_name(pg_current_wal_lsn()) END AS branch";
/// The same of an engine that only speaks PostgreSQL's wire and knows no branches.
const STANDING_ELSEWHERE: &str = "SELECT current_setting('transaction_read_only') AS read_only, \
                                  current_setting('synchronous_commit') AS durable, '' AS branch";

/// The statement that adds rows takes longer to plan than to run, and its plan is the same for one row as for sixty.
const PLAN_ONCE: &str = "SET plan_cache_mode = force_generic_plan";

/// The database: one host, or a primary and its standbys of which nobody says which is which.
pub(crate) struct Server {
    hosts: Vec<PgConnectOptions>,
    /// The host that took writes last.
    found: AtomicUsize,
    /// The newest branch of history that was seen; -1 before the first.
    branch: AtomicI64,
    sole: Option<Sole>,
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
            branch: AtomicI64::new(-1),
            sole: settings.sole.map(Sole::new),
            limits,
            patience: settings.act_timeout + GRACE,
        })
    }

    /// A connection for the writer: with a session of its own, which a pooler between us may not take away.
    pub(crate) async fn writer(&self) -> Result<PgConnection, StoreError> {
        let mut connection = self.connect().await?;
        tokio::time::timeout(CONNECT_TIMEOUT, pooler::refuse(self, &mut connection))
            .await
            .unwrap_or(Err(StoreError::Unavailable))?;
        if let Some(sole) = &self.sole {
            sole.hold(&mut connection).await?;
        }
        let planned = timed(self.patience, statement::control(&mut connection, PLAN_ONCE)).await;
        match planned.map_err(StoreError::from) {
            // An engine that only speaks PostgreSQL's wire may not know the setting; then it plans as it likes.
            Ok(()) | Err(StoreError::Statement { .. }) => Ok(connection),
            Err(error) => Err(error),
        }
    }

    /// A connection to the host that takes writes: the one that was found last is asked first, the others when it
    /// refuses or is silent. At the very first all are asked, for the newest branch of history.
    ///
    /// # Errors
    /// [`StoreError::ReadOnly`] when only standbys answer; else what the hosts refused with.
    pub(crate) async fn connect(&self) -> Result<PgConnection, StoreError> {
        let first = self.found.load(Ordering::Relaxed);
        let is_new = self.branch.load(Ordering::Relaxed) < 0;
        let mut left = (0..self.hosts.len()).map(|offset| (first + offset) % self.hosts.len());
        let mut asked = FuturesUnordered::new();
        let mut worst = StoreError::Unavailable;
        let mut best: Option<(i64, usize, PgConnection)> = None;
        let end = tokio::time::Instant::now() + CONNECT_TIMEOUT;
        loop {
            let wanted = asked.is_empty() || is_new;
            let next = if wanted { left.next() } else { None };
            if let Some(at) = next {
                asked.push(self.ask(at));
                continue;
            }
            if asked.is_empty() {
                break;
            }
            tokio::select! {
                answer = asked.next() => match answer {
                    Some(Ok(found)) if is_new && self.hosts.len() > 1 => {
                        if best.as_ref().is_none_or(|(branch, ..)| *branch < found.0) {
                            best = Some(found);
                        }
                    }
                    Some(Ok(found)) => {
                        best = Some(found);
                        break;
                    }
                    // A host that says why is worth more than one that is silent.
                    Some(Err(error)) if error != StoreError::Unavailable => worst = error,
                    Some(Err(_)) | None => {}
                },
                () = tokio::time::sleep(NEXT_AFTER), if !is_new => asked.extend(left.next().map(|at| self.ask(at))),
                () = tokio::time::sleep_until(end) => break,
            }
        }
        let (branch, at, connection) = best.ok_or(worst)?;
        self.branch.fetch_max(branch, Ordering::Relaxed);
        self.found.store(at, Ordering::Relaxed);
        Ok(connection)
    }

    async fn ask(&self, at: usize) -> Result<(i64, usize, PgConnection), StoreError> {
        let options = self.hosts.get(at).ok_or(StoreError::Unavailable)?;
        let (branch, connection) = self.open(options).await?;
        Ok((branch, at, connection))
    }

    /// Opens one session and refuses it when that host takes no writes, or was passed over.
    async fn open(&self, options: &PgConnectOptions) -> Result<(i64, PgConnection), StoreError> {
        let mut connection = options.connect().await.map_err(|error| read_error(error).error)?;
        let asked = statement::fetch_optional(&mut connection, STANDING, Vec::new()).await;
        let row = match asked.map_err(StoreError::from) {
            Err(StoreError::Statement { .. } | StoreError::Denied) => {
                statement::fetch_optional(&mut connection, STANDING_ELSEWHERE, Vec::new()).await?
            }
            answer => answer?,
        }
        .ok_or(StoreError::Unavailable)?;
        // The first eight digits of a log file's name.
        let branch = row.text("branch")?;
        let branch = branch.get(..8).and_then(|digits| i64::from_str_radix(digits, 16).ok()).unwrap_or(0);
        // `transaction_read_only` is on in recovery, and where an administrator made the database read-only.
        if row.text("read_only")? == "on" || branch < self.branch.load(Ordering::Relaxed) {
            let _ = connection.close().await;
            return Err(StoreError::ReadOnly);
        }
        // An acknowledged token is durable whatever the server's default is; a stronger default is left as it is.
        let limits = match row.text("durable")?.as_str() {
            "off" | "local" => format!("{}; SET synchronous_commit = on", self.limits),
            _ => self.limits.clone(),
        };
        connection.execute(AssertSqlSafe(limits)).await.map_err(|error| read_error(error).error)?;
        Ok((branch, connection))
    }
}
