//! `hsm-sim init`: makes a device.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use hsm::Realm;
use hsm_sim::daemon::harden_process;
use hsm_sim::state::Home;
use secrecy::ExposeSecret;

use super::{Failure, read_pin, say};

#[derive(Args)]
pub(super) struct Arguments {
    /// Directory for the state and the root key; made with mode 0700 when absent
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// File that holds the PIN, 6 to 128 bytes
    #[arg(long, value_name = "FILE")]
    pin_file: PathBuf,
    /// Which money the device is for; enters everything it seals and cannot be changed later
    #[arg(long, value_enum)]
    realm: RealmName,
}

#[derive(Clone, Copy, ValueEnum)]
enum RealmName {
    /// Real cards
    Live,
    /// Published test cards
    Test,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let _ = harden_process();
    let pin = read_pin(&arguments.pin_file)?;
    let realm = match arguments.realm {
        RealmName::Live => Realm::Live,
        RealmName::Test => Realm::Test,
    };
    let home = Home::open(&arguments.state).map_err(Failure::new)?;
    home.initialise(realm, pin.expose_secret().as_bytes()).map_err(Failure::new)?;
    say("device made: kek/card#1 mac/pan#1 mac/request#1 sign/audit#1")?;
    say("back up the state directory; without root.key and state.bin together its keys are gone")?;
    Ok(ExitCode::SUCCESS)
}
