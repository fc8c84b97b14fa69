//! One entry of the device's log, and its one encoding. It names accounts, keys and acts, never any input.

use std::fmt;

use hsm::HsmError;

use super::Hash;
use crate::device::{AccountName, Command, Role};
use crate::protocol::codec::{Malformed, Reader, Writer};
use crate::protocol::reply;

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The device by itself.
    Device,
    /// Somebody with a session, or who tried to get one.
    Account(AccountName, Role),
    /// Somebody who tried a name that the device does not know; the name is not repeated.
    Stranger,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A command, done or refused.
    Command(Command),
    /// The device started.
    Boot,
    /// A key has sealed so often that it is due for rotation.
    UsesHigh,
    /// The device shut itself, and why.
    Latched,
    /// A fault was injected, or an operation failed inside.
    Fault,
    /// A ceremony touched the device.
    Ceremony,
    /// A program was noted as the one that may open the device, or accepted by an officer.
    Firmware,
}

const BOOT: u8 = 128;
const USES_HIGH: u8 = 129;
const LATCHED: u8 = 130;
const FAULT: u8 = 131;
const CEREMONY: u8 = 132;
const FIRMWARE: u8 = 133;

impl Event {
    /// Its number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Command(command) => command.code(),
            Self::Boot => BOOT,
            Self::UsesHigh => USES_HIGH,
            Self::Latched => LATCHED,
            Self::Fault => FAULT,
            Self::Ceremony => CEREMONY,
            Self::Firmware => FIRMWARE,
        }
    }

    /// The event of a number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            BOOT => Some(Self::Boot),
            USES_HIGH => Some(Self::UsesHigh),
            LATCHED => Some(Self::Latched),
            FAULT => Some(Self::Fault),
            CEREMONY => Some(Self::Ceremony),
            FIRMWARE => Some(Self::Firmware),
            _ => Command::from_code(code).map(Self::Command),
        }
    }

    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Command(command) => command.rule().name,
            Self::Boot => "boot",
            Self::UsesHigh => "uses_high",
            Self::Latched => "latched",
            Self::Fault => "fault",
            Self::Ceremony => "ceremony",
            Self::Firmware => "firmware",
        }
    }
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// When, by the device's clock, in seconds since 1970; never before the entry before it.
    pub at: u64,
    /// Who.
    pub actor: Actor,
    /// What.
    pub event: Event,
    /// On what: a key, an act, an account; may be empty.
    pub subject: String,
    /// `None` when it was done, else why not.
    pub refused: Option<HsmError>,
    /// How often, where the same refusal repeated; else 1.
    pub count: u32,
    /// The hash of the entry before it.
    pub prev: Hash,
}

impl Entry {
    /// The longest subject, in bytes.
    pub const MAX_SUBJECT: usize = 96;

    /// The one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(200);
        out.u64(self.seq);
        out.u64(self.at);
        let (role, name) = match &self.actor {
            Actor::Device => (0, ""),
            Actor::Account(name, role) => (role.code(), name.as_str()),
            Actor::Stranger => (u8::MAX, ""),
        };
        out.u8(role);
        put_short(&mut out, name);
        out.u8(self.event.code());
        put_short(&mut out, &self.subject);
        out.raw(&self.refused.map_or([0; reply::ERROR_LEN], reply::error_bytes));
        out.u32(self.count);
        out.raw(&self.prev);
        out.as_slice().to_vec()
    }

    /// Reads an entry; exact, with no second spelling.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        Self::parse(bytes).ok().filter(|entry| entry.encode() == bytes)
    }

    fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(bytes);
        let (seq, at) = (from.u64()?, from.u64()?);
        let (role, name) = (from.u8()?, short(&mut from)?);
        let actor = match role {
            0 if name.is_empty() => Actor::Device,
            u8::MAX if name.is_empty() => Actor::Stranger,
            code => {
                let role = Role::from_code(code).ok_or(Malformed)?;
                Actor::Account(AccountName::new(name).map_err(|_| Malformed)?, role)
            }
        };
        let event = Event::from_code(from.u8()?).ok_or(Malformed)?;
        let subject = short(&mut from)?;
        if subject.len() > Self::MAX_SUBJECT {
            return Err(Malformed);
        }
        let subject = subject.to_owned();
        let refused = match from.array::<{ reply::ERROR_LEN }>()? {
            [0, 0, 0] => None,
            bytes => Some(reply::error(bytes).ok_or(Malformed)?),
        };
        let count = from.u32()?;
        let prev = from.array()?;
        from.finish()?;
        Ok(Self { seq, at, actor, event, subject, refused, count, prev })
    }
}

fn put_short(out: &mut Writer, text: &str) {
    let bytes = text.as_bytes();
    out.u8(u8::try_from(bytes.len()).unwrap_or(0));
    if u8::try_from(bytes.len()).is_ok() {
        out.raw(bytes);
    }
}

fn short<'a>(from: &mut Reader<'a>) -> Result<&'a str, Malformed> {
    let len = usize::from(from.u8()?);
    std::str::from_utf8(from.take(len)?).map_err(|_| Malformed)
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, role) = match &self.actor {
            Actor::Device => ("-", "device"),
            Actor::Account(name, role) => (name.as_str(), role.as_str()),
            Actor::Stranger => ("-", "stranger"),
        };
        write!(f, "{} {} {role} {name} {}", self.seq, self.at, self.event.as_str())?;
        if !self.subject.is_empty() {
            write!(f, " [{}]", self.subject)?;
        }
        match self.refused {
            None => write!(f, " done")?,
            Some(error) => write!(f, " refused: {}", error.code())?,
        }
        if self.count == 1 { Ok(()) } else { write!(f, " ({} times)", self.count) }
    }
}
