//! One connection: login first, then one request at a time, one reply each. A frame that does not decode is
//! answered and then the connection is closed, since nothing after it can be trusted to be a frame.

mod perform;

use std::os::unix::net::UnixStream;
use std::time::Duration;

use hsm::{HsmError, InputFault};

use super::{Settings, scrub_stack};
use crate::device::{AccountName, Command, Device, Logged, Place, Role};
use crate::log::{Actor, Event};
use crate::protocol::codec::{Malformed, Writer};
use crate::protocol::frame::{self, Frame, FrameError, FrameReader};
use crate::protocol::request::Request;
use crate::protocol::{NO_REQUEST, reply};

/// How long a reply may take to be taken away by a peer that does not read.
const WRITE_PATIENCE: Duration = Duration::from_secs(5);
const MALFORMED: HsmError = HsmError::InvalidInput(InputFault::Malformed);

/// Serves a connection to its end.
pub(super) fn run(stream: &mut UnixStream, device: &Device, settings: &Settings) {
    if stream.set_write_timeout(Some(WRITE_PATIENCE)).is_err() {
        return;
    }
    let mut reader = FrameReader::new();
    let mut session = Session { device, places: settings.max_connections, who: None, place: None };
    loop {
        let idle = if session.who.is_some() { settings.idle } else { settings.patience };
        let (answer, go_on) = match reader.next(stream, idle, settings.patience, |frame| {
            let step = session.answer(&frame);
            scrub_stack();
            step
        }) {
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
    places: usize,
    who: Option<(AccountName, Role)>,
    place: Option<Place<'a>>,
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
            // A login for which there is no place keeps no connection from those who have one.
            Err(Refusal::Hsm(why @ HsmError::Overloaded)) if request.command() == Command::Login => {
                (error(asked.id, why), false)
            }
            Err(Refusal::Hsm(why)) => (error(asked.id, why), true),
            Err(Refusal::TooLong) => (error(asked.id, HsmError::InvalidInput(InputFault::TooLong)), true),
        }
    }

    /// Who may, and when, stands in the table of commands and nowhere else.
    fn perform(&mut self, request: &Request<'_>, out: &mut Writer) -> Result<(), Refusal> {
        let command = request.command();
        match request {
            Request::Hello => return Ok(()),
            Request::Login { account, pin } => {
                // A second login on an open session proves nothing: it is judged like the first.
                (self.who, self.place) = (None, None);
                let role = self.device.login(account, pin)?;
                self.place = Some(self.device.seat(role, self.places).ok_or(HsmError::Overloaded)?);
                self.who = Some((account.clone(), role));
                return Ok(());
            }
            _ => {}
        }
        let latched = self.device.latched();
        let Some((name, role)) = &self.who else {
            // A device that shut itself may have no account left to log in with, and says so all the same.
            let tells = latched.is_some() && matches!(command, Command::Health | Command::Describe);
            return if tells {
                perform::device_facts(self.device, request, out)
            } else {
                Err(Refusal::Hsm(HsmError::SessionLost))
            };
        };
        let actor = Actor::Account(name.clone(), *role);
        let rule = command.rule();
        if !command.is_for(*role) {
            self.device.refuse(actor, Event::Command(command), &request.subject(), HsmError::Denied);
            return Err(Refusal::Hsm(HsmError::Denied));
        }
        if !rule.when_full {
            if let Some(why) = latched {
                return Err(Refusal::Hsm(why));
            }
            if self.device.log_full() {
                return Err(Refusal::Hsm(HsmError::LogFull));
            }
        }
        let outcome = perform::perform(self.device, &actor, name, *role, request, out);
        if let Err(Refusal::Hsm(why)) = &outcome
            && rule.logged != Logged::Never
            && *why != HsmError::LogFull
        {
            self.device.refuse(actor, Event::Command(command), &request.subject(), *why);
        }
        outcome?;
        if out.len() > crate::protocol::MAX_FRAME { Err(Refusal::TooLong) } else { Ok(()) }
    }
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
