//! `hsm-sim status`: asks a running device how it is and which keys it holds, and looks at its process from outside.

mod process;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::UNIX_EPOCH;

use clap::Args;
use hsm::{DeviceInfo, Health, Hsm, KeyFilter, KeyInfo};
use hsm_sim::ceremony::{CustodianError, SealedStatus, sealed_status};
use hsm_sim::client::SimClient;

use super::{Failure, Format, read_pin, say, say_json};
use process::Process;

#[derive(Args)]
pub(super) struct Arguments {
    /// The daemon's socket
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    /// File that holds the PIN
    #[arg(long, value_name = "FILE")]
    pin_file: PathBuf,
    /// Whose PIN it is; officers and auditors may ask too
    #[arg(long, value_name = "NAME", default_value = "operator")]
    account: String,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let process = Process::behind(&arguments.socket);
    match sealed_status(&arguments.socket) {
        Ok(sealed) if !sealed.set.is_empty() => {
            print_sealed(&sealed, &process, arguments.format)?;
            return Ok(ExitCode::from(1));
        }
        Err(CustodianError::Refused(error)) => return Err(Failure::new(error)),
        // Open, or away: the client says which, and in which words.
        _ => {}
    }
    let client = SimClient::officer(&arguments.socket, &arguments.account, read_pin(&arguments.pin_file)?);
    let client = client.map_err(Failure::new)?;
    let info = client.describe().map_err(Failure::new)?;
    let health = client.health().map_err(Failure::new)?;
    let keys = if health.latched.is_some() {
        Vec::new()
    } else {
        client.keys(&KeyFilter::default()).map_err(Failure::new)?
    };
    match arguments.format {
        Format::Text => print_text(&info, &health, &keys, &process)?,
        Format::Json => say_json(&document(&info, &health, &keys, &process))?,
    }
    Ok(if health.operational { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn print_sealed(sealed: &SealedStatus, process: &Process, format: Format) -> Result<(), Failure> {
    let (entered, needed) = (sealed.progress.entered, sealed.progress.needed);
    if format == Format::Json {
        return say_json(&serde_json::json!({
            "operational": false, "sealed": true, "shares_entered": entered, "shares_needed": needed,
            "set": sealed.set, "process": process.document(),
        }));
    }
    say("operational  NO")?;
    say(&format!("sealed       {entered} of {needed} shares entered, of set {}", sealed.set))?;
    say("             custodians enter theirs with `hsm-sim unlock --socket ...`")?;
    say(&format!("process      {}", process.line()))
}

fn print_text(
    info: &DeviceInfo,
    health: &Health,
    keys: &[KeyInfo],
    process: &Process,
) -> Result<(), Failure> {
    say(&format!("device       {} {} {} (serial {})", info.vendor, info.model, info.firmware, info.serial))?;
    say(&format!("realm        {}", info.realm.as_str()))?;
    say(&format!("certified    {}", if info.certified { "yes" } else { "no (simulator)" }))?;
    say(&format!("operational  {}", if health.operational { "yes" } else { "NO" }))?;
    if let Some(error) = health.latched {
        say(&format!("shut because {error}"))?;
    }
    say(&format!("generation   {}", health.generation))?;
    say(&format!("uptime       {} s", health.uptime.as_secs()))?;
    say(&format!("process      {}", process.line()))?;
    for info in keys {
        let (kind, status) = (info.kind.as_str(), info.status.as_str());
        say(&format!("key          {:<16} {kind:<16} {status:<12} kcv {}", info.key.to_string(), info.kcv))?;
    }
    Ok(())
}

fn document(info: &DeviceInfo, health: &Health, keys: &[KeyInfo], process: &Process) -> serde_json::Value {
    let keys: Vec<_> = keys.iter().map(key_document).collect();
    serde_json::json!({
        "device": {
            "vendor": info.vendor, "model": info.model, "serial": info.serial,
            "firmware": info.firmware, "realm": info.realm.as_str(), "certified": info.certified,
        },
        "operational": health.operational,
        "sealed": false,
        "latched": health.latched.map(|error| error.code()),
        "pin_tries_left": health.pin_tries_left,
        "generation": health.generation,
        "uptime_seconds": health.uptime.as_secs(),
        "process": process.document(),
        "keys": keys,
    })
}

fn key_document(info: &KeyInfo) -> serde_json::Value {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    serde_json::json!({
        "label": info.key.label.as_str(),
        "version": info.key.version.get(),
        "kind": info.kind.as_str(),
        "status": info.status.as_str(),
        "kcv": info.kcv.to_string(),
        "created_unix": info.created.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        "extractable": info.extractable,
        "public": info.public.as_deref().map(hex),
    })
}
