//! `hsm-sim unlock`: opens a sealed device, one custodian at a time, or gives locked accounts their PIN tries back.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgGroup, Args};
use hsm_sim::ceremony::{SealedStatus, Share, call_off, enter_share, sealed_status};
use hsm_sim::client::{AccountName, SimClient};
use hsm_sim::daemon::harden_process;
use zeroize::Zeroizing;

use super::files::parse_share;
use super::people::Person;
use super::{Failure, Format, read_pin, read_share_file, say, say_json, stopped};

#[derive(Args)]
#[command(group = ArgGroup::new("where").required(true))]
pub(super) struct Arguments {
    /// Directory of a stopped device, to give every locked account its PIN tries back
    #[arg(long, value_name = "DIR", group = "where")]
    state: Option<PathBuf>,
    /// Second place of the state's generation, where the device has one
    #[arg(long, value_name = "PATH", requires = "state")]
    nv: Option<PathBuf>,
    /// Socket of a running daemon: a sealed device takes one custodian's share
    #[arg(long, value_name = "PATH", group = "where")]
    socket: Option<PathBuf>,
    /// With --socket: the custodian's share, one; without it the share is typed, and the screen is cleared afterwards.
    /// With --state, of a device that is split: repeat until there are enough
    #[arg(long, value_name = "FILE")]
    share_file: Vec<PathBuf>,
    /// Wipe the shares that were entered so far
    #[arg(long, requires = "socket", conflicts_with = "share_file")]
    call_off: bool,
    /// Of an open device: the operator or auditor that locked after ten wrong PINs
    #[arg(long, value_name = "NAME", requires = "socket", requires = "officer")]
    account: Option<String>,
    /// The officer who unlocks the account, and the file with the officer's PIN
    #[arg(long, value_name = "NAME=FILE", requires = "account")]
    officer: Option<Person>,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let _ = harden_process();
    let Some(socket) = &arguments.socket else { return tries_back(arguments) };
    if let Some((account, officer)) = arguments.account.as_ref().zip(arguments.officer.as_ref()) {
        let client = SimClient::officer(socket, &officer.name, read_pin(&officer.pin_file)?);
        let account = AccountName::new(account).map_err(Failure::new)?;
        client.and_then(|client| client.unlock(&account)).map_err(Failure::new)?;
        say("its PIN tries are back; find out who guessed")?;
        return Ok(ExitCode::SUCCESS);
    }
    let status = if arguments.call_off {
        call_off(socket)
    } else {
        // Before anybody types: is a share wanted at all?
        let before = sealed_status(socket).map_err(Failure::new)?;
        let share = match arguments.share_file.as_slice() {
            [file] => read_share_file(file)?,
            [] => typed(&before)?,
            _ => {
                return Err(Failure::new("one share at a time: every custodian enters the own share, alone"));
            }
        };
        enter_share(socket, &share)
    };
    report(&status.map_err(Failure::new)?, arguments.format)?;
    Ok(ExitCode::SUCCESS)
}

fn tries_back(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Some(dir) = &arguments.state else { return Err(Failure::new("name --state or --socket")) };
    stopped::take(dir, arguments.nv.as_deref(), &arguments.share_file)?.unlock()?;
    say("all PIN tries are back; find out who guessed before you start the daemon again")?;
    Ok(ExitCode::SUCCESS)
}

/// Reads lines until the end mark or an empty line after the last one.
fn typed(status: &SealedStatus) -> Result<Share, Failure> {
    let screen = io::stdin().is_terminal();
    if screen {
        say(&format!(
            "share {} of {} for set {}: type the numbered lines, then an empty one",
            status.progress.entered.saturating_add(1),
            status.progress.needed,
            status.set
        ))?;
    }
    let mut text = Zeroizing::new(String::with_capacity(4096));
    let mut numbered = false;
    for line in io::stdin().lock().lines() {
        let line = Zeroizing::new(line.map_err(Failure::new)?);
        if text.len() + line.len() + 1 > 4096
            || line.starts_with("END ")
            || (numbered && line.trim().is_empty())
        {
            break;
        }
        numbered |= line.trim_start().starts_with(|first: char| first.is_ascii_digit());
        text.push_str(&line);
        text.push('\n');
    }
    if screen {
        let _ = write!(io::stdout(), "\u{1b}[3J\u{1b}[2J\u{1b}[H");
    }
    parse_share(text.as_bytes())
}

fn report(status: &SealedStatus, format: Format) -> Result<(), Failure> {
    let (entered, needed) = (status.progress.entered, status.progress.needed);
    let open = status.set.is_empty();
    match format {
        Format::Json => say_json(&serde_json::json!({
            "open": open, "shares_entered": entered, "shares_needed": needed, "set": status.set,
        })),
        Format::Text if open => say("the device is open"),
        Format::Text => {
            say(&format!("{entered} of {needed} shares entered; the device stays sealed until the last"))
        }
    }
}
