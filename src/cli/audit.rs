//! `pangate audit verify`: recomputes every log from its stored entries and says size and root, or the first fault.

use super::{Format, fail, say};
use crate::settings::{Database, Settings};
use ::audit::{Fault, Hash, HashText, LogName, Report, Verifier};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use store::{Reader, Store, StoreError, Value};
use tokens::Tenant;

/// Entries are read in pages of so many.
const PAGE: i64 = 1000;

/// Arguments of `pangate audit`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Recompute the Merkle tree (RFC 6962) of every log from its entries.
    ///
    /// Prints the size and the root of each log. Exit status: 0 when every entry is in its place, canonical, and has
    /// the hash that was stored for it; 1 at the first fault, which is named with its position and kind; 2 on misuse.
    ///
    /// An altered, dropped or misplaced entry is found. What agrees with itself is not told apart from the truth by
    /// this alone: entries cut off at the end, or a whole log that was rewritten with its hashes. Note size and root
    /// somewhere else, and compare with --noted: then every change to what was there at that time is found.
    Verify(Verify),
}

#[derive(Debug, Args)]
struct Verify {
    /// The settings file that names the database.
    #[arg(long, short, env = "PANGATE_CONFIG", default_value = "pangate.toml")]
    config: PathBuf,
    /// A database instead of the settings file's, for instance sqlite:/backup/pangate.db or
    /// postgres://auditor@db/vault.
    #[arg(long, value_name = "URL")]
    db: Option<String>,
    /// File of mode 0600 with the password of the login in --db.
    #[arg(long, value_name = "FILE", requires = "db")]
    password_file: Option<PathBuf>,
    /// Only this log.
    #[arg(long)]
    log: Option<String>,
    /// Size and root that were noted earlier, as SIZE:ROOT; needs --log.
    #[arg(long, value_name = "SIZE:ROOT", requires = "log")]
    noted: Option<String>,
}

/// What a faultless log comes to.
#[derive(Debug)]
pub struct Verified {
    /// Which log.
    pub log: LogName,
    /// Its size and root.
    pub report: Report,
}

/// Why a log is not what it should be, or could not be read.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// An entry is wrong.
    #[error("log {log}: {fault}")]
    Fault {
        /// Which log.
        log: LogName,
        /// The first fault.
        fault: Fault,
    },
    /// The tenant beside an entry, by which it is shown, is not the entry's own.
    #[error(
        "log {log}: entry {position}: it is filed under another tenant than its own, and so hidden from its auditor"
    )]
    Tenant {
        /// Which log.
        log: LogName,
        /// Where.
        position: u64,
    },
    /// The tree is another than the one that was noted.
    #[error(
        "log {log}: the first {size} entries are not those that were noted; some were altered, dropped or added"
    )]
    NotAsNoted {
        /// Which log.
        log: LogName,
        /// How many entries were noted.
        size: u64,
    },
    /// There is nothing to verify, where `init` always leaves an entry.
    #[error("the database holds no log entry; entries were dropped, or this is no database of a gateway")]
    Empty,
    /// The stored name of a log is no name.
    #[error(
        "the database holds entries of a log whose name is no log name; they were put there by other means"
    )]
    Name,
    /// The database.
    #[error("the entries could not be read: {0}")]
    Store(#[from] StoreError),
}

/// A size and the root at it.
#[derive(Debug, Clone, Copy)]
pub struct Noted {
    size: u64,
    root: Hash,
}

/// Runs the command.
pub async fn run(arguments: Arguments, format: Format) -> ExitCode {
    let Command::Verify(wanted) = arguments.command;
    let (store, log, noted) = match open(&wanted).await {
        Ok(opened) => opened,
        Err(message) => return fail(format, &message, 2),
    };
    let verified = verify(&store, log.as_ref(), noted).await;
    store.close().await;
    match verified {
        Ok(logs) => {
            for log in &logs {
                say(&line(log, format));
            }
            ExitCode::SUCCESS
        }
        Err(error) => fail(format, &error.to_string(), 1),
    }
}

async fn open(wanted: &Verify) -> Result<(Store, Option<LogName>, Option<Noted>), String> {
    let log = wanted.log.as_deref().map(LogName::parse).transpose().map_err(|error| error.to_string())?;
    let noted = match wanted.noted.as_deref() {
        Some(text) => Some(
            Noted::parse(text).ok_or("--noted is not SIZE:ROOT as `pangate audit verify` printed them")?,
        ),
        None => None,
    };
    let database = match &wanted.db {
        Some(url) => Database { password_file: wanted.password_file.clone(), ..Database::at(url.clone()) },
        None => {
            Settings::read(&wanted.config, &crate::settings::environment())
                .map_err(|error| error.to_string())?
                .store
        }
    };
    // Opening creates what is missing; a mistyped path must not pass for an empty log.
    if let Some(path) = database.url.strip_prefix("sqlite:")
        && !Path::new(path).is_file()
    {
        return Err(format!("{path}: no such database"));
    }
    let store = database.open().await.map_err(|error| error.to_string())?;
    Ok((store, log, noted))
}

fn line(verified: &Verified, format: Format) -> String {
    let Verified { log, report } = verified;
    let root = HashText(&report.root).to_string();
    match format {
        Format::Json => serde_json::json!({ "log": log.as_str(), "size": report.size, "root": root,
            "dated_back": report.dated_back })
        .to_string(),
        Format::Text if report.dated_back > 0 => format!(
            "{log}: {} entries, root {root}; {} dated before their predecessor (a clock was set back, or they were \
             put in another order)",
            report.size, report.dated_back
        ),
        Format::Text => format!("{log}: {} entries, root {root}", report.size),
    }
}

impl Noted {
    fn parse(text: &str) -> Option<Noted> {
        use base64::Engine as _;
        let (size, root) = text.split_once(':')?;
        let root = base64::engine::general_purpose::STANDARD.decode(root).ok()?;
        Some(Noted { size: size.parse().ok()?, root: root.try_into().ok()? })
    }
}

/// Recomputes the named log, or every log of the store, in one snapshot and constant memory.
///
/// # Errors
/// The first fault, or the store's error.
pub async fn verify(
    store: &Store,
    only: Option<&LogName>,
    noted: Option<Noted>,
) -> Result<Vec<Verified>, VerifyError> {
    let mut reader = store.read().await?;
    let rows = reader.fetch_all("SELECT DISTINCT log FROM audit_entry ORDER BY log", vec![]).await?;
    let mut verified = Vec::new();
    for row in &rows {
        let log = LogName::parse(&row.text("log")?).map_err(|_| VerifyError::Name)?;
        if only.is_none_or(|only| only.as_str() == log.as_str()) {
            let report = verify_log(&mut reader, &log, noted).await?;
            verified.push(Verified { log, report });
        }
    }
    if verified.is_empty() { Err(VerifyError::Empty) } else { Ok(verified) }
}

async fn verify_log(reader: &mut Reader, log: &LogName, noted: Option<Noted>) -> Result<Report, VerifyError> {
    let mut verifier = Verifier::new(log.clone());
    let mut after = i64::MIN;
    loop {
        let rows = reader
            .fetch_all(
                "SELECT position, tenant, leaf, leaf_hash FROM audit_entry WHERE log = $1 AND position > $2 \
                 ORDER BY position LIMIT $3",
                vec![Value::from(log.as_str()), Value::from(after), Value::from(PAGE)],
            )
            .await?;
        for row in &rows {
            after = row.integer("position")?;
            // A position below zero cannot be one of ours; it is reported as the gap that it makes.
            let position = u64::try_from(after).unwrap_or(u64::MAX);
            let entry = verifier
                .row(position, &row.bytes("leaf")?, &row.bytes("leaf_hash")?)
                .map_err(|fault| VerifyError::Fault { log: log.clone(), fault })?;
            if row.optional_text("tenant")?.as_deref() != entry.tenant.as_ref().map(Tenant::as_str) {
                return Err(VerifyError::Tenant { log: log.clone(), position });
            }
            as_noted(&verifier.report(), log, noted)?;
        }
        if i64::try_from(rows.len()).unwrap_or(PAGE) < PAGE {
            break;
        }
    }
    let report = verifier.report();
    match noted {
        Some(noted) if report.size < noted.size => {
            Err(VerifyError::NotAsNoted { log: log.clone(), size: noted.size })
        }
        _ => Ok(report),
    }
}

fn as_noted(report: &Report, log: &LogName, noted: Option<Noted>) -> Result<(), VerifyError> {
    match noted {
        Some(noted) if noted.size == report.size && noted.root != report.root => {
            Err(VerifyError::NotAsNoted { log: log.clone(), size: noted.size })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Event, Recorder};
    use ::audit::{Action, FaultKind, Resource};

    async fn log_of(entries: usize) -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("t.db").display());
        let store = Store::open(&url, store::Settings::default()).await.unwrap();
        for _ in 0..entries {
            store
                .commit(|work| {
                    Box::pin(async move {
                        let recorder = Recorder::new(LogName::parse("north").unwrap());
                        let event = Event::success(Action::KeyList, Resource::None);
                        let _receipt = recorder.append(work, &crate::cli::user::console(), event).await?;
                        Ok::<(), StoreError>(())
                    })
                })
                .await
                .unwrap();
        }
        (folder, store)
    }

    async fn tamper(store: &Store, sql: &'static str) {
        let changed: Result<u64, StoreError> =
            store.commit(move |work| Box::pin(async move { work.execute(sql, vec![]).await })).await;
        assert!(changed.unwrap() > 0, "{sql}");
    }

    fn fault(outcome: Result<Vec<Verified>, VerifyError>) -> Fault {
        match outcome {
            Err(VerifyError::Fault { fault, .. }) => fault,
            other => panic!("no fault: {other:?}"),
        }
    }

    #[tokio::test]
    async fn an_untouched_log_has_its_size_and_root() {
        let (_folder, store) = log_of(5).await;
        let logs = verify(&store, None, None).await.unwrap();
        assert_eq!(logs.len(), 1);
        assert_eq!(logs[0].report.size, 5);
        let noted = Noted { size: 5, root: logs[0].report.root };
        assert!(verify(&store, None, Some(noted)).await.is_ok());
    }

    #[tokio::test]
    async fn an_altered_entry_is_found_with_its_position() {
        let (_folder, store) = log_of(5).await;
        tamper(&store, "UPDATE audit_entry SET leaf = CAST(replace(CAST(leaf AS TEXT), 'key_list', 'key_lost') AS BLOB) WHERE position = 2").await;
        let fault = fault(verify(&store, None, None).await);
        assert_eq!((fault.position, fault.kind), (2, FaultKind::HashMismatch));
    }

    #[tokio::test]
    async fn a_dropped_entry_is_found_with_its_position() {
        let (_folder, store) = log_of(5).await;
        tamper(&store, "DELETE FROM audit_entry WHERE position = 3").await;
        let fault = fault(verify(&store, None, None).await);
        assert_eq!((fault.position, fault.kind), (3, FaultKind::Gap));
    }

    #[tokio::test]
    async fn an_entry_filed_under_another_tenant_is_found_with_its_position() {
        let (_folder, store) = log_of(5).await;
        tamper(&store, "UPDATE audit_entry SET tenant = 'south-clinic' WHERE position = 2").await;
        let found = verify(&store, None, None).await;
        assert!(matches!(found, Err(VerifyError::Tenant { position: 2, .. })), "{found:?}");
    }

    #[tokio::test]
    async fn a_misplaced_entry_is_found() {
        let (_folder, store) = log_of(5).await;
        tamper(&store, "UPDATE audit_entry SET position = 9 WHERE position = 1").await;
        assert_eq!(fault(verify(&store, None, None).await).kind, FaultKind::Gap);
    }

    #[tokio::test]
    async fn entries_that_changed_places_with_their_hashes_are_found_by_a_noted_root() {
        let (_folder, store) = log_of(5).await;
        let logs = verify(&store, None, None).await.unwrap();
        let noted = Noted { size: 5, root: logs[0].report.root };
        tamper(&store, "UPDATE audit_entry SET position = 100 WHERE position = 1").await;
        tamper(&store, "UPDATE audit_entry SET position = 1 WHERE position = 2").await;
        tamper(&store, "UPDATE audit_entry SET position = 2 WHERE position = 100").await;
        assert!(matches!(
            verify(&store, None, Some(noted)).await,
            Err(VerifyError::NotAsNoted { size: 5, .. })
        ));
        assert_eq!(verify(&store, None, None).await.unwrap()[0].report.dated_back, 1);
    }

    #[tokio::test]
    async fn a_cut_off_end_is_found_by_a_noted_root() {
        let (_folder, store) = log_of(5).await;
        let logs = verify(&store, None, None).await.unwrap();
        let noted = Noted { size: 5, root: logs[0].report.root };
        tamper(&store, "DELETE FROM audit_entry WHERE position = 4").await;
        assert!(matches!(
            verify(&store, None, Some(noted)).await,
            Err(VerifyError::NotAsNoted { size: 5, .. })
        ));
    }

    #[tokio::test]
    async fn a_log_without_entries_does_not_pass() {
        let (_folder, store) = log_of(0).await;
        assert!(matches!(verify(&store, None, None).await, Err(VerifyError::Empty)));
    }
}
