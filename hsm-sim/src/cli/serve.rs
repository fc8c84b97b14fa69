//! `hsm-sim serve`: runs the daemon.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use hsm::Realm;
use hsm_sim::daemon::{self, Inputs, Listening, Seat, Settings, harden_process};
use hsm_sim::state::{Home, StateError};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};

use super::{Failure, RealmName, say};

#[derive(Args)]
pub(super) struct Arguments {
    /// Directory that `init` made; held for as long as the daemon runs
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// Where to make the socket (mode 0660); its directory is made with mode 0700 when absent
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    /// A user id that may connect, judged by the kernel's peer credentials; repeat for more [default: own user]
    #[arg(long, value_name = "UID")]
    allow_uid: Vec<u32>,
    /// Connections at once; one more is told that the device is overloaded
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    max_connections: u16,
    /// Seconds a session may be silent before it is closed
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    idle: u32,
    /// Second place for the state's generation, best on another mount: a state directory that was set back is then
    /// noticed. Once used, it must always be named
    #[arg(long, value_name = "PATH")]
    nv: Option<PathBuf>,
    /// A file with one custodian's share, to open a sealed device at once; repeat until there are enough. Without it
    /// the daemon waits for `hsm-sim unlock --socket`
    #[arg(long, value_name = "FILE")]
    share_file: Vec<PathBuf>,
    /// Refuse to serve a device of the other realm
    #[arg(long, value_enum)]
    realm: Option<RealmName>,
    /// Where to make the control handle (mode 0600), which orders faults for tests; refused in the live realm
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let hardening = harden_process();
    // Before anything else, so that a signal during the start is not lost.
    let (stop, stopped) = UnixStream::pair().map_err(Failure::new)?;
    let (tamper, opened) = UnixStream::pair().map_err(Failure::new)?;
    for (signal, end) in [(SIGTERM, &stopped), (SIGINT, &stopped), (SIGUSR1, &opened)] {
        let end = end.try_clone().map_err(Failure::new)?;
        signal_hook::low_level::pipe::register(signal, end).map_err(Failure::new)?;
    }
    let mut home = Home::open(&arguments.state).map_err(Failure::new)?.opened_by(super::firmware::running()?);
    if let Some(nv) = &arguments.nv {
        home = home.guarded_by(nv);
    }
    let (seat, trouble) = Seat::take(home).map_err(Failure::new)?;
    if let Some(why) = trouble {
        complain(&why);
    }
    let latched = seat.device().and_then(|device| device.latched());
    let fits = arguments.realm.is_none_or(|realm| Realm::from(realm) == seat.realm()) || latched.is_some();
    if !fits {
        return Err(Failure::new("this device is of the other realm; live and test keys never mix"));
    }
    for file in &arguments.share_file {
        let share = super::read_share_file(file)?;
        seat.enter(share).map_err(|why| Failure::new(format!("{}: {why}", file.display())))?;
    }
    let mut settings = Settings::new(arguments.socket.clone());
    if !arguments.allow_uid.is_empty() {
        settings.allowed_uids = arguments.allow_uid.iter().copied().collect();
    }
    settings.max_connections = usize::from(arguments.max_connections);
    settings.idle = Duration::from_secs(u64::from(arguments.idle));
    let control = arguments.control.as_deref().map(|path| control_handle(path, &seat)).transpose()?;
    settings.faults = control.is_some().then(Arc::default);
    let listening = Listening::bind(&settings.socket).map_err(Failure::new)?;
    let seat = Arc::new(seat);
    let ready = serde_json::json!({
        "ready": true,
        "socket": arguments.socket.display().to_string(),
        "realm": seat.realm().as_str(),
        "hardened": hardening.holds(),
        "hardening": hardening,
        "rollback_guard": arguments.nv.is_some(),
        "control": arguments.control.is_some(),
        "sealed": seat.sealed().map(|sealed| serde_json::json!({
            "shares_entered": sealed.progress.entered, "shares_needed": sealed.progress.needed,
        })),
        "latched": seat.device().and_then(|device| device.latched()).map(|error| error.code()),
    });
    say(&ready.to_string())?;
    let inputs = Inputs { stop: &stop, tamper: &tamper, control: control.as_ref() };
    daemon::serve(&listening, &seat, &settings, &inputs).map_err(Failure::new)?;
    Ok(ExitCode::SUCCESS)
}

/// A device that handles real cards has no handle that makes it fail.
fn control_handle(path: &Path, seat: &Seat) -> Result<Listening, Failure> {
    let known = seat.device().is_none_or(|device| device.latched().is_none());
    if seat.realm() == Realm::Live || !known {
        return Err(Failure::new("--control is for working devices of the test realm only; leave it out"));
    }
    Listening::bind_private(path).map_err(Failure::new)
}

fn complain(why: &StateError) {
    let _ = writeln!(std::io::stderr(), "hsm-sim: {why}. Serving without keys, so that callers are told");
}
