//! `pangate store`: prepares a database for the gateway, and moves the vault from a file to a server.

mod compare;
mod copy;
mod migrate;
mod prepare;
mod progress;
mod reopen;

use super::{Format, fail};
use crate::settings::{Database, DatabaseError, Settings};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use store::StoreError;

/// Arguments of `pangate store`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring a database's schema up to date; on PostgreSQL also make the roles and grant them their rights.
    ///
    /// Run it with a login that owns the database, or one of role pangate_migrator, before the first start and at
    /// every new release; doing it again changes nothing. The roles are for logins to be members of: pangate_gateway
    /// runs the gateway, pangate_auditor reads logs, books and masked cards, pangate_migrator owns the tables.
    ///
    /// Exit status: 0 when the database is ready; 1 when this login could not do all of it, and what to run is
    /// printed; 2 when the database is not reached or not allowed.
    Prepare(prepare::Prepare),
    /// Move the vault from a SQLite file to an empty PostgreSQL database.
    ///
    /// The file is fenced first: from then on no gateway can write to it, also one that still runs, so that nothing
    /// that a caller was told is left behind. Then every row is copied, all of it is read again on both sides and
    /// compared, and the audit logs are recomputed on both sides. The database opens to gateways only after that,
    /// and the move is recorded in its audit log.
    ///
    /// Killed at any point it goes on where it was when it is run again. A move that is not to be finished is given
    /// up with `pangate store reopen`. Exit status: 0 when the vault has moved; 1 when the two sides differ; 2 when
    /// a database is not reached, or the target holds something else.
    Migrate(migrate::Migrate),
    /// Give up a move that was not finished: the SQLite file takes writes again.
    Reopen(reopen::Reopen),
}

/// Why the command did not do what it was asked for.
enum Ended {
    /// Something was looked at and is not as it should be.
    Found(String),
    /// It could not be done, or not like this.
    Misuse(String),
}

impl From<DatabaseError> for Ended {
    fn from(error: DatabaseError) -> Ended {
        Ended::Misuse(error.to_string())
    }
}

/// Runs the command.
pub async fn run(arguments: Arguments, format: Format) -> ExitCode {
    let ended = match arguments.command {
        Command::Prepare(wanted) => prepare::run(&wanted, format).await,
        Command::Migrate(wanted) => migrate::run(&wanted, format).await,
        Command::Reopen(wanted) => reopen::run(&wanted, format).await,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(Ended::Found(message)) => fail(format, &message, 1),
        Err(Ended::Misuse(message)) => fail(format, &message, 2),
    }
}

fn settings(config: &Path) -> Result<Settings, Ended> {
    Settings::read(config, &crate::settings::environment()).map_err(|error| Ended::Misuse(error.to_string()))
}

/// A database that is named on the command line.
fn named(url: &str, password_file: Option<&PathBuf>) -> Result<Database, Ended> {
    let database = Database { password_file: password_file.cloned(), ..Database::at(url.to_owned()) };
    if database.holds_a_password() {
        return Err(Ended::Misuse(
            "everybody on this machine reads a password in a command; write it to a file of mode 0600 and name that \
             with --password-file"
                .to_owned(),
        ));
    }
    Ok(database)
}

/// The SQLite file that the settings name. Opening would create it where it is missing.
fn file(database: &Database) -> Result<&Path, Ended> {
    let Some(path) = database.url.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path))
    else {
        return Err(Ended::Misuse("store.url is no SQLite file, and only those move".to_owned()));
    };
    let path = Path::new(path);
    if path.is_file() {
        Ok(path)
    } else {
        Err(Ended::Misuse(format!("{}: no such database", path.display())))
    }
}

/// What went wrong with one of the two databases.
fn on(side: &str) -> impl Fn(StoreError) -> Ended {
    let side = side.to_owned();
    move |error| Ended::Misuse(format!("{side}: {error}"))
}
