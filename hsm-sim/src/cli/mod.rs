//! The four commands. Exit codes: 0 done, 1 the command failed or found something, 2 misuse.

mod init;
mod serve;
mod status;
mod unlock;

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use secrecy::SecretString;
use zeroize::Zeroizing;

const AFTER: &str = "\
Example:
  printf 135790 > pin && chmod 600 pin
  hsm-sim init   --state ./hsm --pin-file pin --realm test
  hsm-sim serve  --state ./hsm --socket ./run/hsm.sock &
  hsm-sim status --socket ./run/hsm.sock --pin-file pin

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
    /// Make a device: its root key, its sealed state, and version 1 of its four keys
    Init(init::Arguments),
    /// Serve a device until SIGTERM or SIGINT
    Serve(serve::Arguments),
    /// Ask a running device how it is; exit code 1 when it is not operational
    Status(status::Arguments),
    /// Give a device that locked after ten wrong PINs its tries back; its daemon must be stopped
    Unlock(unlock::Arguments),
}

/// Why a command ended without doing what was asked; says what to do.
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(why: impl Display) -> Self {
        Self(why.to_string())
    }
}

pub(crate) fn run() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Init(arguments) => init::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Unlock(arguments) => unlock::run(&arguments),
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
pub(crate) fn say(line: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|error| Failure::new(format!("cannot print: {error}")))
}

/// Reads a PIN from a file: at most 130 bytes, one trailing line end not counted.
pub(crate) fn read_pin(path: &Path) -> Result<SecretString, Failure> {
    let unreadable = |error: io::Error| Failure::new(format!("cannot read the PIN file: {error}"));
    let mut bytes = Zeroizing::new([0_u8; 131]);
    let mut file = std::fs::File::open(path).map_err(unreadable)?;
    let mut filled = 0;
    while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read(room).map_err(unreadable)? {
            0 => break,
            count => filled += count,
        }
    }
    let text = bytes.get(..filled).and_then(|bytes| std::str::from_utf8(bytes).ok());
    let text = text.ok_or_else(|| Failure::new("the PIN file is not text; write the PIN alone into it"))?;
    Ok(SecretString::from(text.strip_suffix('\n').unwrap_or(text)))
}
