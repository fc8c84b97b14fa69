//! `hsm-sim tamper`: opens the case.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use hsm_sim::daemon::{Seat, harden_process};
use hsm_sim::state::{Home, LOCK_FILE, StateError};
use rustix::process::{Pid, Signal, kill_process};

use super::{Failure, say};

#[derive(Args)]
pub(super) struct Arguments {
    /// Directory of the device; whoever may write there may open the case, whether the daemon runs or not
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// Second place of the state's generation, where the device has one and its daemon is stopped
    #[arg(long, value_name = "PATH")]
    nv: Option<PathBuf>,
    /// Say that you mean it: every key of the device is destroyed, and what was sealed under them is lost
    #[arg(long, required = true)]
    destroy_keys: bool,
}

/// How long a daemon may take to destroy its keys.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let _ = harden_process();
    match Home::open(&arguments.state) {
        Ok(home) => {
            if !home.is_initialised() && !home.was_zeroised() {
                return Err(Failure::new("there is no device in this directory"));
            }
            let home = match &arguments.nv {
                Some(nv) => home.guarded_by(nv),
                None => home,
            };
            at_rest(home, &arguments.state)?;
        }
        Err(StateError::Held) => running(&arguments.state)?,
        Err(error) => return Err(error.into()),
    }
    say("the device has destroyed its keys and is latched; only status and log are left")?;
    Ok(ExitCode::SUCCESS)
}

/// A device whose state does not open is destroyed all the same, without its log.
fn at_rest(home: Home, dir: &Path) -> Result<(), Failure> {
    match Seat::take(home) {
        Ok((seat, None)) => seat.tamper("case opened while the device was off"),
        // It opens for nobody, and is destroyed all the same.
        Ok((_, Some(_))) | Err(_) => Home::open(dir)?.zeroise(None)?,
    }
    if Home::zeroised_completely(dir) {
        Ok(())
    } else {
        Err(Failure::new("the keys could not be destroyed; destroy the directory"))
    }
}

fn running(dir: &Path) -> Result<(), Failure> {
    let line = std::fs::read_to_string(dir.join(LOCK_FILE)).map_err(Failure::new)?;
    let number = line.trim().parse().ok().and_then(Pid::from_raw);
    let process = number
        .ok_or_else(|| Failure::new("the lock file names no process; stop the daemon and try again"))?;
    kill_process(process, Signal::USR1)
        .map_err(|error| Failure::new(format!("cannot reach the daemon: {error}")))?;
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if Home::zeroised_completely(dir) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(Failure::new("the daemon did not destroy its keys in time; kill it, and run this again"))
}
