//! `hsm-sim ceremony accept-rollback`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use hsm_sim::daemon::harden_process;

use super::super::people::{Person, officers_by_pin};
use super::super::{Failure, say, stopped};

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// Directory of the device; its daemon must be stopped
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// Second place of the state's generation
    #[arg(long, value_name = "PATH")]
    nv: PathBuf,
    /// One of two officers and the file with the officer's PIN, as the old state knows it; repeat for the second
    #[arg(long, value_name = "NAME=FILE")]
    officer: Vec<Person>,
    /// Of a device that is split: a share file; repeat until there are enough
    #[arg(long, value_name = "FILE")]
    share_file: Vec<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let _ = harden_process();
    let home = stopped::take_old(&arguments.state, Some(&arguments.nv), &arguments.share_file)?;
    let pins = officers_by_pin(&arguments.officer)?;
    let (from, to) = home.accept_rollback(&pins.borrow()).map_err(Failure::new)?;
    say(&format!("generation {from} is accepted and counts as {to}; the log says who answered for it"))?;
    say(
        "keys and statuses are those of the older state: look for rotations and destructions that were undone",
    )?;
    Ok(ExitCode::SUCCESS)
}
