//! `hsm-sim log`: the device's own log, taken away and checked.

mod archive;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgGroup, Args};
use hsm::Hsm;
use hsm_sim::ceremony::{from_hex, to_hex};
use hsm_sim::client::{SignedHead, SimClient, Start, verify, verify_head};
use hsm_sim::log::Entry;

use super::people::Person;
use super::{Failure, Format, read_pin, say, say_json};
use archive::Archive;

const AFTER: &str = "\
The device keeps an entry until somebody has it safely: --archive appends entries to a file, waits until they are on
disk, and only then lets the device forget them. Every run checks that the file continues without a gap and ends with
the head that the device signed. Without --archive the entries are shown and stay where they are.";

#[derive(Args)]
#[command(after_help = AFTER, group = ArgGroup::new("source").required(true))]
pub(super) struct Arguments {
    /// The daemon's socket
    #[arg(long, value_name = "PATH", group = "source", requires = "auditor")]
    socket: Option<PathBuf>,
    /// The auditor, and the file with the auditor's PIN
    #[arg(long, value_name = "NAME=FILE")]
    auditor: Option<Person>,
    /// Append to this file, and let the device forget what is in it
    #[arg(long, value_name = "FILE", requires = "socket")]
    archive: Option<PathBuf>,
    /// Check such a file; needs no device
    #[arg(long, value_name = "FILE", group = "source")]
    verify: Option<PathBuf>,
    /// The device's public key in hexadecimal, as noted when it was made [default: the one it says, and prints]
    #[arg(long, value_name = "HEX")]
    key: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Entries asked for at once.
const PAGE: u16 = 256;
/// How often the head may move on while the log is taken away.
const ROUNDS: u32 = 100;

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let key = arguments.key.as_deref().map(|key| {
        from_hex::<32>(key).ok_or_else(|| Failure::new("--key is 64 hexadecimal digits in lower case"))
    });
    let key = key.transpose()?;
    if let Some(path) = &arguments.verify {
        let archive = Archive::open(path)?;
        let (head, entries) = (archive.head()?, archive.entries()?);
        check(&head, archive.start(&head)?, &entries, key)?;
        return report(arguments.format, &head, &decoded(&entries)?, 0);
    }
    let (Some(socket), Some(auditor)) = (&arguments.socket, &arguments.auditor) else {
        return Err(Failure::new("name --socket and --auditor, or --verify"));
    };
    let client =
        SimClient::officer(socket, &auditor.name, read_pin(&auditor.pin_file)?).map_err(Failure::new)?;
    match &arguments.archive {
        Some(path) => take_away(&client, path, key, arguments.format),
        None => show(&client, key, arguments.format),
    }
}

/// What fits one page, and nothing is forgotten.
fn show(client: &SimClient, key: Option<[u8; 32]>, format: Format) -> Result<ExitCode, Failure> {
    let page = client.drain_log(0, PAGE).map_err(Failure::new)?;
    let head = client.log_head().map_err(Failure::new)?;
    let start = first_start(&head, &page.entries)?;
    let checked = verify(&head.serial, start, &page.entries).map_err(Failure::new)?;
    let left = head.counts.last.saturating_sub(checked.end.seq);
    if left == 0 {
        verify_head(checked.end, &head, &key.unwrap_or(head.public)).map_err(Failure::new)?;
    }
    report(format, &head, &checked.entries, left)
}

fn take_away(
    client: &SimClient,
    path: &std::path::Path,
    key: Option<[u8; 32]>,
    format: Format,
) -> Result<ExitCode, Failure> {
    let mut archive = Archive::open_or_make(path)?;
    let before = archive.entries()?;
    let mut last = archive.last()?;
    let mut taken = Vec::new();
    let mut rounds = 0..ROUNDS;
    let head = loop {
        // Asking for what follows `last` tells the device that everything up to it is safe.
        let page = client.drain_log(last, PAGE).map_err(Failure::new)?;
        if !page.entries.is_empty() {
            archive.append(&page.entries)?;
            last = page.last;
            taken.extend(page.entries);
            continue;
        }
        let head = client.log_head().map_err(Failure::new)?;
        if head.counts.last == last {
            break head;
        }
        // Others went on working between the two answers.
        rounds
            .next()
            .ok_or_else(|| Failure::new("the log grows faster than it is taken away; run this again"))?;
    };
    let all: Vec<Vec<u8>> = before.into_iter().chain(taken.iter().cloned()).collect();
    check(&head, first_start(&head, &all)?, &all, key)?;
    archive.seal(&head)?;
    report(format, &head, &decoded(&taken)?, 0)
}

/// Where a log begins: with the device, or with an entry whose forerunners are elsewhere.
fn first_start(head: &SignedHead, entries: &[Vec<u8>]) -> Result<Start, Failure> {
    let Some(first) = entries.first() else {
        return Ok(Start { seq: head.counts.last, hash: head.head, at: 0 });
    };
    let first = Entry::decode(first).ok_or_else(|| Failure::new("the first entry is no entry"))?;
    let whole = first.seq == 1;
    let elsewhere = Start { seq: first.seq.saturating_sub(1), hash: first.prev, at: 0 };
    Ok(if whole { Start::of_device(&head.serial) } else { elsewhere })
}

fn check(head: &SignedHead, start: Start, entries: &[Vec<u8>], key: Option<[u8; 32]>) -> Result<(), Failure> {
    let checked = verify(&head.serial, start, entries).map_err(Failure::new)?;
    verify_head(checked.end, head, &key.unwrap_or(head.public)).map_err(Failure::new)
}

fn decoded(entries: &[Vec<u8>]) -> Result<Vec<Entry>, Failure> {
    let read = entries.iter().map(|bytes| Entry::decode(bytes));
    read.collect::<Option<_>>().ok_or_else(|| Failure::new("an entry is no entry"))
}

fn report(format: Format, head: &SignedHead, entries: &[Entry], left: u64) -> Result<ExitCode, Failure> {
    match format {
        Format::Json => {
            let lines: Vec<_> = entries.iter().map(Entry::to_string).collect();
            say_json(&serde_json::json!({
                "device": to_hex(&head.serial), "key": to_hex(&head.public), "last": head.counts.last,
                "head": to_hex(&head.head), "unlogged_boots": head.counts.unlogged_boots,
                "unlogged_events": head.counts.unlogged_events, "entries": lines, "left": left, "whole": left == 0,
            }))?;
        }
        Format::Text => {
            entries.iter().try_for_each(|entry| say(&entry.to_string()))?;
            say(&format!("device {} key {}", to_hex(&head.serial), to_hex(&head.public)))?;
            let counts = head.counts;
            if counts.unlogged_boots + counts.unlogged_events > 0 {
                say(&format!(
                    "not logged because the log was full: {} starts, {} other events",
                    counts.unlogged_boots, counts.unlogged_events
                ))?;
            }
            if left > 0 {
                say(&format!("{left} more entries; take the log away with --archive"))?;
            } else {
                say(&format!("whole up to entry {}, whose head the device signed", counts.last))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
