//! What custodians and a sealed device say to each other: three requests on the device's own socket, in numbers that
//! no command of an open device has, and one form of answer. And the custodian's end of it.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use hsm::HsmError;

use super::{Progress, Share, ShareSet, to_hex};
use crate::protocol::codec::{Malformed, Reader, Writer};
use crate::protocol::frame::{self, Frame, FrameReader};
use crate::protocol::reply;

const STATUS: u8 = 240;
const ENTER: u8 = 241;
const CALL_OFF: u8 = 242;
const TAKEN: u8 = 0;
const NOT_TAKEN: u8 = 1;
const ID: u32 = 1;
/// The device derives a key, reads and writes its state before it answers the last share.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a custodian asks.
pub(crate) enum Asked<'a> {
    /// How far is it?
    Status,
    /// Take this share.
    Enter(&'a [u8]),
    /// Wipe what was entered.
    CallOff,
}

impl<'a> Asked<'a> {
    pub(crate) fn decode(code: u8, body: &'a [u8]) -> Option<Self> {
        match (code, body) {
            (STATUS, []) => Some(Self::Status),
            (CALL_OFF, []) => Some(Self::CallOff),
            (ENTER, share) => Some(Self::Enter(share)),
            _ => None,
        }
    }
}

/// How a sealed device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedStatus {
    /// Shares entered and needed.
    pub progress: Progress,
    /// The set that is wanted, in hexadecimal; empty once the device is open.
    pub set: String,
}

/// Why a custodian's request came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CustodianError {
    /// Nobody answers.
    #[error("no daemon answers on this socket; start `hsm-sim serve`")]
    Away,
    /// The device needs no shares.
    #[error("this device is open: it wants no shares")]
    Open,
    /// The caller may not connect, or the device is full.
    #[error("the device turned the connection away: {0}")]
    Refused(HsmError),
    /// The device said no, and why.
    #[error("{0}")]
    NotTaken(String),
    /// Not an answer.
    #[error("the daemon's answer is not understood; use the program of the same version")]
    BadAnswer,
}

/// The device's answer.
pub(crate) fn answer(id: u32, outcome: &Result<Progress, String>, set: Option<&ShareSet>) -> Writer {
    let mut out = frame::start(id, reply::OK, 256);
    match outcome {
        Ok(progress) => {
            out.u8(TAKEN);
            out.u8(progress.entered);
            out.u8(progress.needed);
            out.u8(u8::from(set.is_some()));
            if let Some(set) = set {
                out.raw(&set.id);
            }
        }
        Err(why) => {
            out.u8(NOT_TAKEN);
            let short = why.get(..why.floor_char_boundary(400)).unwrap_or_default();
            // A text this short always fits.
            let _ = out.bytes(short.as_bytes());
        }
    }
    out
}

/// Asks a daemon how far its sealed device is.
///
/// # Errors
/// [`CustodianError`].
pub fn sealed_status(socket: &Path) -> Result<SealedStatus, CustodianError> {
    exchange(socket, frame::start(ID, STATUS, 0))
}

/// Enters one share.
///
/// # Errors
/// [`CustodianError`].
pub fn enter_share(socket: &Path, share: &Share) -> Result<SealedStatus, CustodianError> {
    let mut out = frame::start(ID, ENTER, 256);
    out.raw(share.encode().as_slice());
    exchange(socket, out)
}

/// Wipes the shares that were entered.
///
/// # Errors
/// [`CustodianError`].
pub fn call_off(socket: &Path) -> Result<SealedStatus, CustodianError> {
    exchange(socket, frame::start(ID, CALL_OFF, 0))
}

fn exchange(socket: &Path, request: Writer) -> Result<SealedStatus, CustodianError> {
    let mut stream = UnixStream::connect(socket).map_err(|_| CustodianError::Away)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(|_| CustodianError::Away)?;
    // One that turned us away has its reason waiting to be read.
    let _ = frame::send(&mut stream, request);
    let read = FrameReader::new().next(&mut stream, PATIENCE, PATIENCE, |frame| understand(&frame));
    read.map_err(|_| CustodianError::Away)?
}

fn understand(from: &Frame<'_>) -> Result<SealedStatus, CustodianError> {
    let mut body = Reader::new(from.body);
    if from.code == reply::ERROR {
        let error = body.array().ok().and_then(reply::error).ok_or(CustodianError::BadAnswer)?;
        // An open device knows no such request.
        let unknown = matches!(error, HsmError::InvalidInput(_) | HsmError::SessionLost);
        return Err(if unknown { CustodianError::Open } else { CustodianError::Refused(error) });
    }
    parse(&mut body).unwrap_or(Err(CustodianError::BadAnswer))
}

fn parse(from: &mut Reader<'_>) -> Result<Result<SealedStatus, CustodianError>, Malformed> {
    match from.u8()? {
        TAKEN => {
            let progress = Progress { entered: from.u8()?, needed: from.u8()? };
            let set = if from.u8()? == 1 { to_hex(&from.array::<16>()?) } else { String::new() };
            Ok(Ok(SealedStatus { progress, set }))
        }
        NOT_TAKEN => Ok(Err(CustodianError::NotTaken(from.text()?.to_owned()))),
        _ => Err(Malformed),
    }
}
