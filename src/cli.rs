//! The command line: one subcommand a file. Exit 0 on success, 1 when a check finds something, 2 on misuse.

pub mod audit;
mod client;
pub mod demo;
pub mod init;
pub mod keys;
pub mod policy;
pub mod scan;
pub mod setup;
pub mod store;
pub mod user;

use clap::{Parser, Subcommand, ValueEnum};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// A payment tokenization gateway: a card goes in, only a token comes out.
#[derive(Debug, Parser)]
#[command(name = "pangate", version, propagate_version = true, arg_required_else_help = true)]
#[command(
    after_help = "Start with `pangate demo`. Exit status: 0 success, 1 a check found something, 2 misuse."
)]
struct CommandLine {
    /// How output is written: for people, or one JSON value a line for programs.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(subcommand)]
    command: Command,
}

/// How output is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON value a line.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a folder with everything that `serve` needs: keys, certificates, settings, the first credential.
    Init(init::Arguments),
    /// Run the gateway.
    Serve {
        /// The settings file.
        #[arg(long, short, env = "PANGATE_CONFIG", default_value = "pangate.toml")]
        config: PathBuf,
    },
    /// Show the main job at work: three real processes on loopback, one journey of a card.
    Demo(demo::Arguments),
    /// Issue, list and revoke API keys.
    User(user::Arguments),
    /// List, rotate, retire, destroy and move keys, with two people.
    Keys(keys::Arguments),
    /// Check the policy folder, and explain who may do what.
    Policy(policy::Arguments),
    /// Prepare a database, and move the vault from SQLite to PostgreSQL.
    Store(store::Arguments),
    /// Verify the audit log.
    Audit(audit::Arguments),
    /// Search files, folders and databases for card numbers.
    Scan(scan::Arguments),
}

/// Parses the command line and runs it.
pub fn main() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(line.format, &format!("the runtime did not start: {error}"), 2),
    };
    let format = line.format;
    runtime.block_on(async move {
        match line.command {
            Command::Init(arguments) => init::run(arguments, format).await,
            Command::Serve { config } => match crate::serve::run(&config).await {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(format, &error.to_string(), 2),
            },
            Command::Demo(arguments) => demo::run(arguments, format).await,
            Command::User(arguments) => user::run(arguments, format).await,
            Command::Keys(arguments) => keys::run(arguments, format).await,
            Command::Policy(arguments) => policy::run(&arguments, format),
            Command::Store(arguments) => store::run(arguments, format).await,
            Command::Audit(arguments) => audit::run(arguments, format).await,
            Command::Scan(arguments) => scan::run(arguments, format).await,
        }
    })
}

/// Writes an error for people or programs and gives the exit status.
pub fn fail(format: Format, message: &str, status: u8) -> ExitCode {
    let mut stderr = std::io::stderr().lock();
    let _ = match format {
        Format::Text => writeln!(stderr, "pangate: {message}"),
        Format::Json => writeln!(stderr, "{}", serde_json::json!({ "error": message })),
    };
    ExitCode::from(status)
}

/// Writes one line of output. A closed pipe is nobody's error.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
