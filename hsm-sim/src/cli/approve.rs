//! `hsm-sim approve`: an officer's ticket.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use hsm_sim::ceremony::to_hex;
use hsm_sim::client::SimClient;
use hsm_sim::daemon::harden_process;
use zeroize::Zeroizing;

use super::people::Person;
use super::{Failure, Format, read_pin, say, say_json};

const AFTER: &str = "\
Acts, in their one spelling:
  create LABEL                     rotate LABEL
  status LABEL#VERSION STATUS      destroy LABEL#VERSION      export-shares
such as `rotate kek/card` or `status kek/card#1 deactivated`. A ticket is good once, for exactly this act, and only
together with another officer's.";

#[derive(Args)]
#[command(after_help = AFTER)]
pub(super) struct Arguments {
    /// The daemon's socket
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    /// The officer, and the file with the officer's PIN
    #[arg(long, value_name = "NAME=FILE")]
    officer: Person,
    /// What is agreed to
    #[arg(long, value_name = "TEXT")]
    act: String,
    /// Seconds the ticket is good for, at most a day
    #[arg(long, value_name = "SECONDS", default_value_t = 900, value_parser = clap::value_parser!(u32).range(1..=86400))]
    valid: u32,
    /// Where the ticket goes (0600) [default: it is printed]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let _ = harden_process();
    let client = SimClient::officer(
        &arguments.socket,
        &arguments.officer.name,
        read_pin(&arguments.officer.pin_file)?,
    );
    let valid = Duration::from_secs(u64::from(arguments.valid));
    let ticket = client.and_then(|client| client.approve(&arguments.act, valid)).map_err(Failure::new)?;
    let text = Zeroizing::new(to_hex(&ticket));
    if let Some(path) = &arguments.out {
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true).mode(0o600);
        let written = options.open(path).and_then(|mut file| {
            file.write_all(text.as_bytes())
                .and_then(|()| file.write_all(b"\n"))
                .and_then(|()| file.sync_all())
        });
        written.map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))?;
    }
    match (arguments.format, &arguments.out) {
        (Format::Json, out) => say_json(&serde_json::json!({
            "act": arguments.act, "officer": arguments.officer.name, "valid_seconds": arguments.valid,
            "ticket": out.is_none().then(|| text.as_str()),
        }))?,
        (Format::Text, None) => say(&text)?,
        (Format::Text, Some(path)) => {
            say(&format!("{} agrees to `{}`: {}", arguments.officer.name, arguments.act, path.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
