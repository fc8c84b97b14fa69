//! `hsm-sim unlock`: gives a locked device its PIN tries back.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use hsm_sim::daemon::harden_process;
use hsm_sim::state::Home;

use super::{Failure, say};

#[derive(Args)]
pub(super) struct Arguments {
    /// Directory of the device; its daemon must be stopped
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let _ = harden_process();
    Home::open(&arguments.state).and_then(|home| home.unlock()).map_err(Failure::new)?;
    say("all PIN tries are back; find out who guessed before you start the daemon again")?;
    Ok(ExitCode::SUCCESS)
}
