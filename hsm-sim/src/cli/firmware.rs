//! `hsm-sim firmware`: which program this is, and an officer's word that the device may be opened by it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use hsm_sim::client::AccountName;
use hsm_sim::daemon::harden_process;
use hsm_sim::firmware::Firmware;
use secrecy::ExposeSecret;

use super::people::Person;
use super::{Failure, Format, read_pin, say, say_json, stopped};

const AFTER: &str = "\
The device knows the SHA-256 of the program that first opened it, and `serve` refuses to start as another. After an
upgrade, with the daemon stopped:
  hsm-sim firmware show                      (compare with the published SHA-256)
  hsm-sim firmware accept --state ./hsm --officer olga=olga.pin";

#[derive(Args)]
#[command(after_help = AFTER)]
pub(super) struct Arguments {
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// Print the SHA-256 of this program
    Show {
        /// How to print
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// An officer accepts this program as the one that opens the device; the device's log says who
    Accept(Accept),
}

#[derive(Args)]
struct Accept {
    /// Directory of the device; its daemon must be stopped
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// Second place of the state's generation, where the device has one
    #[arg(long, value_name = "PATH")]
    nv: Option<PathBuf>,
    /// The officer and the file with the officer's PIN
    #[arg(long, value_name = "NAME=FILE")]
    officer: Person,
    /// Of a device that is split: a share file; repeat until there are enough
    #[arg(long, value_name = "FILE")]
    share_file: Vec<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let program = running()?;
    match &arguments.act {
        Act::Show { format: Format::Text } => say(&program.to_string())?,
        Act::Show { format: Format::Json } => {
            say_json(&serde_json::json!({ "sha256": program.to_string() }))?
        }
        Act::Accept(accept) => accepted(accept, program)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The program that runs.
pub(super) fn running() -> Result<Firmware, Failure> {
    Firmware::running().map_err(|error| Failure::new(format!("cannot read the program that runs: {error}")))
}

fn accepted(accept: &Accept, program: Firmware) -> Result<(), Failure> {
    let _ = harden_process();
    let mut home = stopped::take_for(None, &accept.state, accept.nv.as_deref(), &accept.share_file)?;
    let name = AccountName::new(&accept.officer.name);
    let name = name.map_err(|fault| Failure::new(format!("{}: {fault}", accept.officer.name)))?;
    let pin = read_pin(&accept.officer.pin_file)?;
    let before = home.accept_program(program, &(name, pin.expose_secret().as_bytes()))?;
    say(&format!("accepted {program}"))?;
    match before {
        Some(before) => say(&format!("instead of {before}")),
        None => say("the device knew no program before"),
    }
}
