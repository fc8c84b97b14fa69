//! `hsm-sim ceremony`: the root key among custodians, and what officers answer for at a device that does not run.

mod accept;
mod split;
mod verify;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Failure;

const AFTER: &str = "\
A ceremony, with the daemon stopped and two officers and the custodians present:
  hsm-sim ceremony split --state ./hsm --threshold 3 --out ./shares \\
      --custodian anna --custodian ben --custodian carla --custodian dora --custodian emil \\
      --officer olga=olga.pin --officer otto=otto.pin
  hsm-sim ceremony verify --transcript ./shares/transcript.txt
Then every custodian takes the one file, alone, and no copy stays behind. To open the device afterwards:
  hsm-sim serve  --state ./hsm --socket ./run/hsm.sock &
  hsm-sim unlock --socket ./run/hsm.sock --share-file share-anna.txt     (and two more, each by its custodian)";

#[derive(Args)]
#[command(after_help = AFTER)]
pub(super) struct Arguments {
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// Give the device a new root key that only custodians together have; the file root.key goes
    Split(split::Arguments),
    /// Check the signature of a transcript, and shares against it
    Verify(verify::Arguments),
    /// Two officers accept a state that was set back to an earlier time
    AcceptRollback(accept::Arguments),
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    match &arguments.act {
        Act::Split(arguments) => split::run(arguments),
        Act::Verify(arguments) => verify::run(arguments),
        Act::AcceptRollback(arguments) => accept::run(arguments),
    }
}
