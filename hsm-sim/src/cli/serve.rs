//! `hsm-sim serve`: runs the daemon.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use hsm_sim::daemon::{self, Listening, Settings, harden_process};
use hsm_sim::device::Device;
use hsm_sim::state::Home;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::{Failure, say};

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
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let hardened = harden_process();
    // Before anything else, so that a signal during the start is not lost.
    let (stop, signalled) = UnixStream::pair().map_err(Failure::new)?;
    for signal in [SIGTERM, SIGINT] {
        let end = signalled.try_clone().map_err(Failure::new)?;
        signal_hook::low_level::pipe::register(signal, end).map_err(Failure::new)?;
    }
    let home = Home::open(&arguments.state).map_err(Failure::new)?;
    let device = Arc::new(Device::open(home).map_err(Failure::new)?);
    let mut settings = Settings::new(arguments.socket.clone());
    if !arguments.allow_uid.is_empty() {
        settings.allowed_uids = arguments.allow_uid.iter().copied().collect();
    }
    settings.max_connections = usize::from(arguments.max_connections);
    settings.idle = Duration::from_secs(u64::from(arguments.idle));
    let listening = Listening::bind(&settings.socket).map_err(Failure::new)?;
    let ready = serde_json::json!({
        "ready": true,
        "socket": arguments.socket.display().to_string(),
        "realm": device.realm().as_str(),
        "hardened": hardened,
        "latched": device.latched().map(|error| error.code()),
    });
    say(&ready.to_string())?;
    daemon::serve(&listening, &device, &settings, &stop).map_err(Failure::new)?;
    Ok(ExitCode::SUCCESS)
}
