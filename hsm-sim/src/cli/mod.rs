//! The commands. Exit codes: 0 done, 1 the command failed or found something, 2 misuse.

mod approve;
mod ceremony;
mod fault;
mod files;
mod firmware;
mod init;
mod log;
mod people;
mod serve;
mod status;
mod stopped;
mod tamper;
mod unlock;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use hsm::Realm;
use hsm_sim::state::StateError;

use files::{read_pin, read_share_file, read_ticket};

const AFTER: &str = "\
Example:
  printf 135790 > pin && chmod 600 pin
  hsm-sim init   --state ./hsm --pin-file pin --realm test
  hsm-sim serve  --state ./hsm --socket ./run/hsm.sock &
  hsm-sim status --socket ./run/hsm.sock --pin-file pin

With officers, who alone together change keys, an auditor, and the root key among custodians:
  hsm-sim init ... --officer olga=olga.pin --officer otto=otto.pin --auditor vera=vera.pin
  hsm-sim ceremony --help

This is a simulator for development and tests. It is no certified HSM: whoever is root on its host can read its keys.

Exit codes: 0 done; 1 the command failed or found something; 2 misuse.";

/// A software HSM on a Unix socket: keys live in this process and in a sealed state file, and nowhere else.
#[derive(Parser)]
#[command(name = "hsm-sim", version, about, after_help = AFTER, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a device: its root key, its sealed state, its accounts, and version 1 of its four keys
    Init(init::Arguments),
    /// Split the root key among custodians, verify what that left behind, accept a state that was set back
    Ceremony(ceremony::Arguments),
    /// Serve a device until SIGTERM or SIGINT
    Serve(serve::Arguments),
    /// Ask a running device how it is; exit code 1 when it is not operational
    Status(status::Arguments),
    /// Read the device's own log, take it away into a file, or check such a file
    Log(log::Arguments),
    /// Open a sealed device with a custodian's share, or give a locked account its PIN tries back
    Unlock(unlock::Arguments),
    /// Get an officer's ticket for one act on the device's keys
    Approve(approve::Arguments),
    /// Open the case: the device destroys its keys, on disk too, and never works again
    Tamper(tamper::Arguments),
    /// Say which program this is, or accept it as the one that opens the device
    Firmware(firmware::Arguments),
    /// Order faults of a test device through its control handle
    Fault(fault::Arguments),
}

/// Why a command ended without doing what was asked; says what to do.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(why: impl Display) -> Self {
        Self(why.to_string())
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        Self::new(error)
    }
}

/// How to print.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Lines for people
    Text,
    /// One JSON document
    Json,
}

/// Which money a device is for.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RealmName {
    /// Real cards
    Live,
    /// Published test cards
    Test,
}

impl From<RealmName> for Realm {
    fn from(name: RealmName) -> Self {
        match name {
            RealmName::Live => Self::Live,
            RealmName::Test => Self::Test,
        }
    }
}

pub(crate) fn run() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Init(arguments) => init::run(&arguments),
        Command::Ceremony(arguments) => ceremony::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Log(arguments) => log::run(&arguments),
        Command::Unlock(arguments) => unlock::run(&arguments),
        Command::Approve(arguments) => approve::run(&arguments),
        Command::Tamper(arguments) => tamper::run(&arguments),
        Command::Firmware(arguments) => firmware::run(&arguments),
        Command::Fault(arguments) => fault::run(&arguments),
    };
    match outcome {
        Ok(code) => code,
        Err(Failure(why)) => {
            let _ = writeln!(io::stderr(), "hsm-sim: {why}");
            ExitCode::from(1)
        }
    }
}

/// Prints one line and sends it on its way.
fn say(line: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|error| Failure::new(format!("cannot print: {error}")))
}

/// Prints one JSON document on one line.
fn say_json(document: &serde_json::Value) -> Result<(), Failure> {
    say(&document.to_string())
}
