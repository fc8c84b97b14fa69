//! One connection to the daemon: sends a request, reads its reply, and tells apart what can go wrong.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use hsm::HsmError;
use secrecy::{ExposeSecret, SecretString};

use crate::device::AccountName;
use crate::protocol::codec::{Malformed, Reader};
use crate::protocol::frame::{self, Frame, FrameError, FrameReader};
use crate::protocol::request::Request;
use crate::protocol::{NO_REQUEST, reply};

/// A login hashes slowly and writes the count of tries to disk twice, and waits for other logins.
const LOGIN_PATIENCE: Duration = Duration::from_secs(5);

/// Why an exchange brought no result.
pub(super) enum LinkError {
    /// The daemon answered this request with an error.
    Answered(HsmError),
    /// The daemon turned the connection away.
    Refused(HsmError),
    /// No answer in time; the late one must not be taken for the next one's.
    TimedOut,
    /// An answer that is none.
    BadReply,
    /// The connection is gone.
    Broken,
}

pub(super) struct Link {
    stream: UnixStream,
    reader: FrameReader,
    last: u32,
}

impl Link {
    pub(super) fn open(socket: &Path, timeout: Duration) -> Result<Self, HsmError> {
        // Missing, refused, not ours to open: for the caller the device is away, and comes back by itself.
        let stream = UnixStream::connect(socket).map_err(|_| HsmError::NeedsReinit)?;
        stream.set_write_timeout(Some(timeout)).map_err(|_| HsmError::NeedsReinit)?;
        Ok(Self { stream, reader: FrameReader::new(), last: NO_REQUEST })
    }

    pub(super) fn login(&mut self, account: &AccountName, pin: &SecretString) -> Result<(), HsmError> {
        let request = Request::Login { account: account.clone(), pin: pin.expose_secret().as_bytes() };
        self.exchange(&request, LOGIN_PATIENCE, |_| Ok(())).map_err(|error| match error {
            LinkError::Answered(error) | LinkError::Refused(error) => error,
            LinkError::TimedOut => HsmError::Timeout,
            LinkError::BadReply => HsmError::Internal { code: super::BAD_REPLY },
            LinkError::Broken => HsmError::NeedsReinit,
        })
    }

    pub(super) fn exchange<T>(
        &mut self,
        request: &Request<'_>,
        patience: Duration,
        read: impl Fn(&mut Reader<'_>) -> Result<T, Malformed>,
    ) -> Result<T, LinkError> {
        // Zero names no request.
        self.last = self.last.wrapping_add(1).max(1);
        let id = self.last;
        let sent = request.to_frame(id).map_err(|_| LinkError::BadReply)?;
        let sent = frame::send(&mut self.stream, sent);
        // A daemon that turned us away closed before it read; its reason waits to be read all the same.
        let patience = if sent.is_err() { Duration::from_millis(50) } else { patience };
        let outcome =
            self.reader.next(&mut self.stream, patience, patience, |frame| understand(&frame, id, &read));
        match (outcome, sent) {
            (Ok(Err(refused @ LinkError::Refused(_))), _) => Err(refused),
            (_, Err(error)) if timed_out(&error) => Err(LinkError::TimedOut),
            (_, Err(_)) => Err(LinkError::Broken),
            (Ok(outcome), Ok(())) => outcome,
            (Err(FrameError::TimedOut), Ok(())) => Err(LinkError::TimedOut),
            (Err(FrameError::Malformed), Ok(())) => Err(LinkError::BadReply),
            (Err(FrameError::Closed | FrameError::Broken), Ok(())) => Err(LinkError::Broken),
        }
    }
}

fn understand<T>(
    frame: &Frame<'_>,
    id: u32,
    read: impl Fn(&mut Reader<'_>) -> Result<T, Malformed>,
) -> Result<T, LinkError> {
    let mut body = Reader::new(frame.body);
    match frame.code {
        reply::OK if frame.id == id => {
            let value = read(&mut body).map_err(|_| LinkError::BadReply)?;
            body.finish().map_err(|_| LinkError::BadReply)?;
            Ok(value)
        }
        reply::ERROR if frame.id == id || frame.id == NO_REQUEST => {
            let bytes = body.array().map_err(|_| LinkError::BadReply)?;
            body.finish().map_err(|_| LinkError::BadReply)?;
            let error = reply::error(bytes).ok_or(LinkError::BadReply)?;
            Err(if frame.id == id { LinkError::Answered(error) } else { LinkError::Refused(error) })
        }
        _ => Err(LinkError::BadReply),
    }
}

fn timed_out(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
