//! One connection: login first, then one request at a time, one reply each. A frame that does not decode is
//! answered and then the connection is closed, since nothing after it can be trusted to be a frame.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use hsm::{DataKey, Hsm, HsmError, InputFault, SealedDataKey};
use zeroize::Zeroizing;

use super::Settings;
use crate::device::Device;
use crate::protocol::codec::{Malformed, Writer};
use crate::protocol::frame::{self, Frame, FrameError, FrameReader};
use crate::protocol::request::Request;
use crate::protocol::{NO_REQUEST, parts, reply};

/// How long a reply may take to be taken away by a peer that does not read.
const WRITE_PATIENCE: Duration = Duration::from_secs(5);
const MALFORMED: HsmError = HsmError::InvalidInput(InputFault::Malformed);

/// Serves a connection to its end.
pub(super) fn run(stream: &mut UnixStream, device: &Device, settings: &Settings) {
    if stream.set_write_timeout(Some(WRITE_PATIENCE)).is_err() {
        return;
    }
    let mut reader = FrameReader::new();
    let mut session = Session { device, logged_in: false };
    loop {
        let idle = if session.logged_in { settings.idle } else { settings.patience };
        let (answer, go_on) =
            match reader.next(stream, idle, settings.patience, |frame| session.answer(&frame)) {
                Ok(step) => step,
                Err(FrameError::Malformed) => (error(NO_REQUEST, MALFORMED), false),
                Err(FrameError::TimedOut | FrameError::Closed | FrameError::Broken) => return,
            };
        if frame::send(stream, answer).is_err() || !go_on {
            return;
        }
    }
}

/// Turns a connection away with one reply.
pub(super) fn refuse(stream: &mut UnixStream, why: HsmError) {
    // The peer is not waited for: the reply fits the socket's buffer or is lost.
    if stream.set_nonblocking(true).is_ok() {
        let _ = frame::send(stream, error(NO_REQUEST, why));
    }
}

struct Session<'a> {
    device: &'a Device,
    logged_in: bool,
}

impl Session<'_> {
    /// The reply to a frame, and whether the connection goes on.
    fn answer(&mut self, asked: &Frame<'_>) -> (Writer, bool) {
        let Ok(request) = Request::decode(asked.code, asked.body) else {
            return (error(asked.id, MALFORMED), false);
        };
        let mut out = frame::start(asked.id, reply::OK, 512);
        match self.perform(&request, &mut out) {
            Ok(()) => (out, true),
            // A wrong PIN ends the connection: guessing costs a connection each time.
            Err(Refusal::Hsm(why @ (HsmError::AuthFailed { .. } | HsmError::AuthLocked))) => {
                (error(asked.id, why), false)
            }
            Err(Refusal::Hsm(why)) => (error(asked.id, why), true),
            Err(Refusal::TooLong) => (error(asked.id, HsmError::InvalidInput(InputFault::TooLong)), true),
        }
    }

    fn perform(&mut self, request: &Request<'_>, out: &mut Writer) -> Result<(), Refusal> {
        match request {
            Request::Hello => return Ok(()),
            Request::Login { pin } => {
                // A second login on an open session proves nothing and costs nothing: it is compared like the first.
                self.logged_in = false;
                self.device.login(pin)?;
                self.logged_in = true;
                return Ok(());
            }
            _ if !self.logged_in => return Err(Refusal::Hsm(HsmError::SessionLost)),
            _ => {}
        }
        let device = self.device;
        match request {
            Request::Hello | Request::Login { .. } => {}
            Request::Describe => parts::put_device(out, &device.describe()?)?,
            Request::Health => parts::put_health(out, &device.health()?),
            Request::Random { len } => {
                let mut bytes = Zeroizing::new(vec![0; usize::from(*len)]);
                device.random(&mut bytes)?;
                out.bytes(&bytes)?;
            }
            Request::Keys { filter } => {
                let keys = device.keys(filter)?;
                out.u16(u16::try_from(keys.len()).map_err(|_| Malformed)?);
                keys.iter().try_for_each(|info| parts::put_key_info(out, info))?;
            }
            Request::NewDataKey { kek, context } => {
                let (key, sealed) = device.new_data_key(kek, context)?;
                put_made(out, &key, &sealed)?;
            }
            Request::OpenDataKey { sealed, context } => {
                out.raw(device.open_data_key(sealed, context)?.expose());
            }
            Request::Reseal { sealed, from, to_kek, to } => {
                parts::put_sealed(out, &device.reseal_data_key(sealed, from, to_kek, to)?)?;
            }
            Request::Mac { key, message } => out.raw(&device.mac(key, message)?),
            Request::MacMany { key, messages } => {
                let macs = device.mac_many(key, messages)?;
                out.u16(u16::try_from(macs.len()).map_err(|_| Malformed)?);
                macs.iter().for_each(|mac| out.raw(mac));
            }
            Request::Sign { key, message } => out.raw(&device.sign(key, message)?),
        }
        if out.len() > crate::protocol::MAX_FRAME { Err(Refusal::TooLong) } else { Ok(()) }
    }
}

fn put_made(out: &mut Writer, key: &DataKey, sealed: &SealedDataKey) -> Result<(), Malformed> {
    out.raw(key.expose());
    parts::put_sealed(out, sealed)
}

enum Refusal {
    Hsm(HsmError),
    /// The result does not fit a reply.
    TooLong,
}

impl From<HsmError> for Refusal {
    fn from(error: HsmError) -> Self {
        Self::Hsm(error)
    }
}

impl From<Malformed> for Refusal {
    fn from(_: Malformed) -> Self {
        Self::TooLong
    }
}

fn error(id: u32, why: HsmError) -> Writer {
    let mut out = frame::start(id, reply::ERROR, reply::ERROR_LEN);
    out.raw(&reply::error_bytes(why));
    out
}
