//! `pangate store migrate`.

use super::compare::{self, Compared};
use super::{Ended, Format, copy, file, named, on, prepare, settings};
use crate::cli::audit::Verified;
use crate::cli::say;
use crate::cli::user::console;
use crate::record::{Event, Recorder};
use crate::settings::{Database, Settings};
use audit::{Action, HashText, LogName, Resource};
use clap::Args;
use std::path::PathBuf;
use store::{Move, MoveState, Store, StoreError, TABLES, move_of};

#[derive(Debug, Args)]
pub(super) struct Migrate {
    /// The settings file that names the SQLite file, and the audit log in which the move is recorded.
    #[arg(long, short, env = "PANGATE_CONFIG", default_value = "pangate.toml")]
    config: PathBuf,
    /// The empty database, as postgres://MIGRATOR@HOST[,HOST…]/DATABASE, with the login that owns it or one of role
    /// pangate_migrator.
    #[arg(long, value_name = "URL")]
    to: String,
    /// File of mode 0600 with the password of the login in --to.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Rows that are copied in one transaction.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=16_384))]
    batch: u32,
}

/// What the move came to.
struct Moved {
    tables: Vec<Compared>,
    logs: Vec<Verified>,
}

pub(super) async fn run(wanted: &Migrate, format: Format) -> Result<(), Ended> {
    let settings = settings(&wanted.config)?;
    file(&settings.store)?;
    let target = named(&wanted.to, wanted.password_file.as_ref())?;
    if !wanted.to.starts_with("postgres") {
        return Err(Ended::Misuse(
            "--to names a PostgreSQL database: postgres://USER@HOST/DATABASE".to_owned(),
        ));
    }
    let log =
        LogName::parse(&settings.audit.log).map_err(|error| Ended::Misuse(format!("audit.log: {error}")))?;
    if let Some(table) = target.stranger().await? {
        return Err(Ended::Misuse(format!(
            "the target holds the table {table}, which is none of pangate's; name an empty database"
        )));
    }
    if let Some(message) = prepare::missing(&prepare::prepare(&target).await?) {
        return Err(Ended::Found(message));
    }
    let moved = go(&settings, &target, &log, wanted.batch, format).await?;
    report(&moved, &log, wanted, format);
    Ok(())
}

/// Opens both sides, moves, and closes them whatever came of it.
async fn go(
    settings: &Settings,
    target: &Database,
    log: &LogName,
    batch: u32,
    format: Format,
) -> Result<Option<Moved>, Ended> {
    let source = settings.store.open_for_move(None).await?;
    let target = match target.open_for_move(Some(log)).await {
        Ok(target) => target,
        Err(error) => {
            source.close().await;
            return Err(error.into());
        }
    };
    let sides = Sides { source, target, batch, format };
    let moved = sides.all(log).await;
    sides.source.close().await;
    sides.target.close().await;
    moved
}

struct Sides {
    source: Store,
    target: Store,
    batch: u32,
    format: Format,
}

impl Sides {
    /// The whole move; nothing to tell when an earlier run had come to its end.
    async fn all(&self, log: &LogName) -> Result<Option<Moved>, Ended> {
        let Some(id) = self.begin().await? else { return Ok(None) };
        for table in &TABLES {
            copy::copy(table, &self.source, &self.target, self.batch, self.format).await?;
        }
        let mut tables = Vec::new();
        for table in &TABLES {
            let compared =
                compare::compare(table, &self.source, &self.target, self.batch, self.format).await?;
            tables.push(compared);
        }
        let logs = compare::logs(&self.source, &self.target).await?;
        self.finish(&id, log).await.map_err(on("the target"))?;
        self.source.leave(&id).await.map_err(on("the file"))?;
        Ok(Some(Moved { tables, logs }))
    }

    /// Finds out how far an earlier run came, fences the file and reserves the target. Gives the move's id, or none
    /// when all is done.
    async fn begin(&self) -> Result<Option<String>, Ended> {
        let (from, to) = (on("the file"), on("the target"));
        let here = move_of(&mut self.source.clone()).await.map_err(&from)?;
        let there = move_of(&mut self.target.clone()).await.map_err(&to)?;
        let id = match (here, there) {
            (None, None) => {
                self.target_is_empty().await?;
                tokens::random_letters(32).map_err(|error| Ended::Misuse(error.to_string()))?
            }
            (Some(here), None) if here.state == MoveState::Leaving => here.id,
            (Some(here), Some(there)) if here.id == there.id => {
                if there.state == MoveState::Arrived {
                    self.source.leave(&here.id).await.map_err(&from)?;
                    return Ok(None);
                }
                here.id
            }
            (Some(Move { state: MoveState::Left, .. }), _) => {
                return Err(Ended::Misuse(
                    "this vault has moved to another database already; it is not moved twice".to_owned(),
                ));
            }
            (_, Some(_)) => return Err(occupied()),
            (Some(_), None) => return Err(Ended::Misuse("the file is in another move".to_owned())),
        };
        self.source.fence(&id).await.map_err(&from)?;
        match self.target.expect_arrival(&id).await {
            Ok(()) => Ok(Some(id)),
            Err(StoreError::Conflict) if self.is_ours(&id).await? => Ok(Some(id)),
            Err(StoreError::Conflict) => Err(occupied()),
            Err(error) => Err(to(error)),
        }
    }

    async fn is_ours(&self, id: &str) -> Result<bool, Ended> {
        let there = move_of(&mut self.target.clone()).await.map_err(on("the target"))?;
        Ok(there.is_some_and(|there| there.id == id && there.state == MoveState::Arriving))
    }

    async fn target_is_empty(&self) -> Result<(), Ended> {
        for table in &TABLES {
            if table.last_key(&mut self.target.clone()).await.map_err(on("the target"))?.is_some() {
                return Err(occupied());
            }
        }
        Ok(())
    }

    /// Opens the target to gateways, with the entry that says how it came about.
    async fn finish(&self, id: &str, log: &LogName) -> Result<(), StoreError> {
        let (id, recorder) = (id.to_owned(), Recorder::new(log.clone()));
        self.target
            .commit(move |work| {
                Box::pin(async move {
                    store::arrive(work, &id).await?;
                    let event = Event::success(Action::StoreMigrate, Resource::Log(recorder.log().clone()));
                    let _receipt = recorder.append(work, &console(), event).await?;
                    Ok(())
                })
            })
            .await
    }
}

fn occupied() -> Ended {
    Ended::Misuse(
        "the target holds something else; name an empty database (a move that was given up leaves rows behind: drop \
         that database and make it anew)"
            .to_owned(),
    )
}

/// The URL with the login replaced by a word for the gateway's.
fn gateway_url(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("postgres", url));
    let hosts = rest.split_once('@').map_or(rest, |(_, hosts)| hosts);
    format!("{scheme}://LOGIN@{hosts}")
}

fn report(moved: &Option<Moved>, log: &LogName, wanted: &Migrate, format: Format) {
    let url = gateway_url(&wanted.to);
    if format == Format::Json {
        let (tables, logs) = moved.as_ref().map(lines).unwrap_or_default();
        say(&serde_json::json!({ "moved": true, "by_this_run": moved.is_some(), "tables": tables, "logs": logs,
            "recorded_in": log.as_str(), "settings": { "store": { "url": url } } })
        .to_string());
        return;
    }
    match moved {
        None => say("an earlier run had moved the vault; the file is marked as left"),
        Some(Moved { tables, logs }) => {
            let rows: u64 = tables.iter().map(|table| table.rows).sum();
            say(&format!("{} tables with {rows} rows are the same on both sides:", tables.len()));
            for Compared { table, rows, digest } in tables {
                say(&format!("  {table:<14} {rows:>9} rows  sha256 {digest}"));
            }
            for Verified { log, report } in logs {
                let root = HashText(&report.root);
                say(&format!("log {log}: {} entries, root {root}, the same on both sides", report.size));
            }
            say(&format!("the move is the next entry of log {log}; the file takes no writes any more"));
        }
    }
    say(
        "put this into pangate.toml, with a LOGIN that is a member of pangate_gateway, and restart the gateway:",
    );
    say(&format!("  [store]\n  url = \"{url}\"\n  password_file = \"FILE of mode 0600\""));
    say("the file still holds sealed cards: keep it until the new database is backed up, then destroy it");
}

fn lines(moved: &Moved) -> (Vec<serde_json::Value>, Vec<serde_json::Value>) {
    let tables = moved.tables.iter().map(|Compared { table, rows, digest }| {
        serde_json::json!({ "table": table, "rows": rows, "sha256": digest })
    });
    let logs = moved.logs.iter().map(|Verified { log, report }| {
        serde_json::json!({ "log": log.as_str(), "size": report.size, "root": HashText(&report.root).to_string() })
    });
    (tables.collect(), logs.collect())
}
