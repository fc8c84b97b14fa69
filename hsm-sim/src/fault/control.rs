//! The handle: a socket of its own (0600) that takes one order a line as JSON and answers each with one line.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Faults, Personality, Script};

/// The longest order, in bytes.
const MAX_ORDER: u64 = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(5);

/// What can be ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// Run this script from now on.
    Script(Script),
    /// Be as fast as this make of device from now on.
    Personality(Personality),
    /// Make the device's clock wrong by so many seconds.
    Skew(i64),
    /// Take every order back.
    Clear,
    /// Say what is ordered.
    Show,
    /// Open the case: the device destroys its keys.
    Tamper,
}

/// What the handle says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Was the order carried out?
    pub done: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How often each rule struck so far.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub struck: Vec<u64>,
    /// The ordered pace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub personality: Option<Personality>,
}

/// What the handle can reach besides the wire.
pub trait Control: Send + Sync {
    /// Makes the device's clock wrong.
    fn skew(&self, seconds: i64);
    /// Opens the case.
    fn tamper(&self);
    /// Writes into the device's log that a fault was ordered.
    fn note(&self, what: &str);
}

/// Takes orders from one connection until it leaves.
pub(crate) fn serve(stream: UnixStream, faults: &Arc<Faults>, control: &dyn Control) {
    let Ok(mut back) = stream.try_clone() else { return };
    let mut from = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        match (&mut from).take(MAX_ORDER).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let answer = match serde_json::from_slice::<Order>(&line) {
            Ok(order) => carry_out(order, faults, control),
            Err(error) => Answer { why: Some(format!("not an order: {error}")), ..Answer::default() },
        };
        let mut text = serde_json::to_vec(&answer).unwrap_or_default();
        text.push(b'\n');
        if back.write_all(&text).is_err() {
            return;
        }
    }
}

fn carry_out(order: Order, faults: &Faults, control: &dyn Control) -> Answer {
    match order {
        Order::Script(script) => {
            if let Err(fault) = script.check() {
                return Answer { why: Some(fault.to_string()), ..Answer::default() };
            }
            control.note("script");
            faults.set_script(script);
        }
        Order::Personality(personality) => {
            control.note("personality");
            faults.set_personality(personality);
        }
        Order::Skew(seconds) => {
            control.note("clock skew");
            control.skew(seconds);
        }
        Order::Clear => {
            control.skew(0);
            faults.clear();
        }
        Order::Show => {}
        Order::Tamper => control.tamper(),
    }
    Answer { done: true, why: None, struck: faults.struck(), personality: faults.personality() }
}

/// Gives one order to the handle at `path`.
///
/// # Errors
/// Those of the socket; [`io::ErrorKind::InvalidData`] for an answer that is none.
pub fn ask(path: &Path, order: &Order) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut text = serde_json::to_vec(order)?;
    text.push(b'\n');
    stream.write_all(&text)?;
    let mut line = String::new();
    BufReader::new(stream.take(MAX_ORDER)).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}
