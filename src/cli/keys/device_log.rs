//! The HSMs' own logs, read from the gateway and checked here: the chain entry by entry, and the device's signature.
//! Only the entries' bytes are believed, and of those only what the chain and the signature cover.

use super::Ended;
use super::reach::{Reach, text};
use crate::cli::{Format, say};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use hsm_sim::client::{Broken, LogEntry, SignedHead, Start, from_hex, to_hex, verify, verify_head};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What is read and against what it is checked.
#[derive(Debug, Args)]
pub(super) struct Wanted {
    /// Only this device: the first 8 to 12 digits of its serial number.
    #[arg(long, value_name = "SERIAL")]
    device: Option<String>,
    /// The device's public key in hexadecimal, as noted when it was made [default: the one its first head came with]
    #[arg(long, value_name = "HEX", requires = "device", value_parser = public_key)]
    device_key: Option<[u8; 32]>,
    /// Check, and do not show the entries.
    #[arg(long)]
    no_entries: bool,
}

/// A device and one of its timelines.
type Name = (String, i64);

/// What was read of one timeline.
#[derive(Default)]
struct Chain {
    /// Where the check goes on.
    end: Option<Start>,
    first: u64,
    entries: u64,
    /// The hash of every entry, for the head and for a timeline that leaves this one.
    hashes: BTreeMap<u64, [u8; 32]>,
    faults: Vec<String>,
}

/// Reads all of it, shows it, and says whether it is whole.
pub(super) async fn run(reach: &Reach, wanted: &Wanted, format: Format) -> Result<(), Ended> {
    let (mut chains, mut timelines) = (BTreeMap::<Name, Chain>::new(), BTreeMap::<Name, Value>::new());
    let mut after = String::new();
    loop {
        let device = wanted.device.as_ref().map(|device| format!("&device={device}")).unwrap_or_default();
        let page = reach.get(&format!("/v1/device-log?limit=500{after}{device}")).await?;
        let mut here = Vec::new();
        for line in members(&page, "data") {
            let name = name(line);
            if !wanted.no_entries {
                show(line, &name, format);
            }
            take(&mut chains, &name, line);
            here.push(name);
        }
        for timeline in members(&page, "timelines") {
            // The heads of the page that has a timeline's last entries belong to what was read.
            let name = name(timeline);
            if here.contains(&name) || !timelines.contains_key(&name) {
                timelines.insert(name, timeline.clone());
            }
        }
        match text(&page, "next") {
            "" => break,
            next => after = format!("&after={next}"),
        }
    }
    verdict(chains, &timelines, wanted.device_key, format)
}

/// One more entry of a chain.
fn take(chains: &mut BTreeMap<Name, Chain>, name: &Name, line: &Value) {
    let seq = line.get("seq").and_then(Value::as_u64).unwrap_or_default();
    let bytes = STANDARD.decode(text(line, "entry")).unwrap_or_default();
    let left = chains.get(&(name.0.clone(), name.1.saturating_sub(1)));
    let left = seq.checked_sub(1).and_then(|before| left?.hashes.get(&before).copied());
    let chain = chains.entry(name.clone()).or_default();
    chain.entries = chain.entries.saturating_add(1);
    let Some(serial) = from_hex(&name.0) else {
        return chain.faults.push("the device has no serial number of ours".to_owned());
    };
    let own = LogEntry::decode(&bytes).filter(|entry| entry.seq == seq);
    let elsewhere = own.map(|entry| Start { seq: seq.saturating_sub(1), hash: entry.prev, at: 0 });
    let start = match (chain.end, left) {
        (Some(end), _) => end,
        (None, _) if seq == 1 => Start::of_device(&serial),
        (None, Some(hash)) => Start { seq: seq.saturating_sub(1), hash, at: 0 },
        (None, None) => {
            chain.faults.push(format!("what was before entry {seq} is not stored"));
            elsewhere.unwrap_or_else(|| Start::of_device(&serial))
        }
    };
    if chain.first == 0 {
        chain.first = seq;
    }
    let end = match verify(&serial, start, &[&bytes]) {
        Ok(checked) => checked.end,
        Err(fault) => {
            chain.faults.push(match fault {
                Broken::OutOfOrder { expected, found } if found > expected => format!(
                    "entries {expected} to {} are not stored: the audit log says whether they were taken elsewhere",
                    found.saturating_sub(1)
                ),
                other => other.to_string(),
            });
            // What follows is judged by itself.
            Start::after(&serial, &bytes).unwrap_or(Start { seq, hash: [0; 32], at: 0 })
        }
    };
    chain.hashes.insert(end.seq, end.hash);
    chain.end = Some(end);
}

/// What the device signed, against what was read.
fn check_head(chain: &mut Chain, timeline: Option<&Value>, key: Option<[u8; 32]>) -> Option<(u64, [u8; 32])> {
    let signed = timeline.and_then(|timeline| timeline.get("head")).map(|head| text(head, "signed"))?;
    let Some(head) = STANDARD.decode(signed).ok().and_then(|signed| SignedHead::decode(&signed)) else {
        chain.faults.push("the stored head is none that a device signed".to_owned());
        return None;
    };
    let last = head.counts.last;
    let Some(hash) = chain.hashes.get(&last).copied() else {
        chain.faults.push(format!("the device signed for {last} entries, and entry {last} is not stored"));
        return None;
    };
    let public = key.unwrap_or(head.public);
    match verify_head(Start { seq: last, hash, at: 0 }, &head, &public) {
        Ok(()) => Some((last, public)),
        Err(fault) => {
            chain.faults.push(fault.to_string());
            None
        }
    }
}

fn verdict(
    mut chains: BTreeMap<Name, Chain>,
    timelines: &BTreeMap<Name, Value>,
    key: Option<[u8; 32]>,
    format: Format,
) -> Result<(), Ended> {
    for name in timelines.keys() {
        chains.entry(name.clone()).or_default();
    }
    let (mut told, mut keys) = (Vec::new(), BTreeMap::<String, [u8; 32]>::new());
    let mut whole = true;
    for (name, mut chain) in chains {
        let (device, number) = &name;
        let timeline = timelines.get(&name);
        let signed = check_head(&mut chain, timeline, key.or_else(|| keys.get(device).copied()));
        if let Some((_, public)) = signed {
            keys.insert(device.clone(), public);
        }
        if *number > 1 {
            let why = timeline.map(|timeline| text(timeline, "reason")).unwrap_or_default();
            chain.faults.push(format!("the device left its earlier timeline behind ({why})"));
        }
        whole &= chain.faults.is_empty();
        let last = chain.end.map(|end| end.seq).unwrap_or_default();
        let (signed_up_to, public) = signed.unzip();
        let public = public.map(|public| to_hex(&public));
        if format == Format::Text {
            let word = if chain.faults.is_empty() { "whole" } else { "NOT whole" };
            let signature = match (signed_up_to, &public) {
                (Some(seq), Some(public)) => format!("signed by {public} up to entry {seq}"),
                _ => "without a signature".to_owned(),
            };
            say(&format!(
                "device {device} timeline {number}: {} entries, {} to {last}, {word}, {signature}",
                chain.entries, chain.first
            ));
            chain.faults.iter().for_each(|fault| say(&format!("  {fault}")));
        }
        told.push(json!({
            "device": device, "timeline": number, "entries": chain.entries, "first": chain.first, "last": last,
            "whole": chain.faults.is_empty(), "signed_up_to": signed_up_to, "public_key": public,
            "faults": chain.faults,
        }));
    }
    if format == Format::Json {
        say(&json!({ "checked": told, "whole": whole }).to_string());
    }
    match (whole, told.is_empty()) {
        (_, true) => Err(Ended::Refused("no device's log is stored".to_owned())),
        (false, _) => {
            Err(Ended::Refused("the stored log is not whole; what is wrong is said above".to_owned()))
        }
        (true, false) => Ok(()),
    }
}

fn show(line: &Value, name: &Name, format: Format) {
    match format {
        Format::Json => say(&line.to_string()),
        Format::Text => {
            let bytes = STANDARD.decode(text(line, "entry")).unwrap_or_default();
            let said = LogEntry::decode(&bytes).map(|entry| entry.to_string());
            let short: String = name.0.chars().take(8).collect();
            say(&format!("{short}/{} {}", name.1, said.unwrap_or_else(|| "no entry".to_owned())));
        }
    }
}

fn name(value: &Value) -> Name {
    (text(value, "device").to_owned(), value.get("timeline").and_then(Value::as_i64).unwrap_or_default())
}

fn members<'a>(page: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    page.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn public_key(text: &str) -> Result<[u8; 32], &'static str> {
    from_hex(text).ok_or("64 hexadecimal digits in lower case are wanted")
}
