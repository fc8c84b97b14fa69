//! One connection through the weather: a frame comes from the caller, its fate is decided, the session behind answers,
//! and the answer goes back or does not.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use hsm::{HsmError, InputFault};

use super::{Fate, Fault, Faults, script};
use crate::protocol::codec::Writer;
use crate::protocol::frame::{self, Frame, FrameError, FrameReader};
use crate::protocol::{NO_REQUEST, reply};

/// How long the session behind may take; longer than any login.
const BEHIND: Duration = Duration::from_secs(30);
/// How long a reply is held back at most.
const HELD: Duration = Duration::from_secs(60);

/// Carries frames between a caller and its session until either leaves.
pub(crate) fn relay(
    faults: &Faults,
    caller: &mut UnixStream,
    session: &mut UnixStream,
    idle: Duration,
    whole: Duration,
) {
    let (mut asked, mut answered) = (FrameReader::new(), FrameReader::new());
    loop {
        let request = asked.next(caller, idle, whole, |frame| (frame.id, frame.code, copy(&frame)));
        let (id, code, request) = match request {
            Ok(request) => request,
            Err(FrameError::Malformed) => {
                let _ = frame::send(caller, error(NO_REQUEST, HsmError::InvalidInput(InputFault::Malformed)));
                break;
            }
            Err(_) => break,
        };
        let Fate { wait, fault } = faults.fate(code);
        std::thread::sleep(wait);
        match fault {
            None | Some(Fault::Delay { .. } | Fault::DropReply | Fault::HoldReply) => {}
            Some(Fault::Error { code }) => {
                let why = script::error_named(&code).unwrap_or(HsmError::Overloaded);
                if frame::send(caller, error(id, why)).is_err() {
                    break;
                }
                continue;
            }
            Some(Fault::Disconnect) => break,
            Some(Fault::LoseSession) => {
                let _ = frame::send(caller, error(id, HsmError::SessionLost));
                break;
            }
        }
        if frame::send(session, request).is_err() {
            break;
        }
        let Ok(answer) = answered.next(session, BEHIND, BEHIND, |frame| copy(&frame)) else { break };
        match fault {
            Some(Fault::DropReply) => break,
            Some(Fault::HoldReply) => {
                wait_until_gone(caller);
                break;
            }
            _ => {}
        }
        if frame::send(caller, answer).is_err() {
            break;
        }
    }
    let _ = caller.shutdown(Shutdown::Both);
    let _ = session.shutdown(Shutdown::Both);
}

fn copy(from: &Frame<'_>) -> Writer {
    let mut out = frame::start(from.id, from.code, from.body.len());
    out.raw(from.body);
    out
}

fn error(id: u32, why: HsmError) -> Writer {
    let mut out = frame::start(id, reply::ERROR, reply::ERROR_LEN);
    out.raw(&reply::error_bytes(why));
    out
}

/// A caller that gives up closes its end.
fn wait_until_gone(caller: &UnixStream) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let deadline = Instant::now() + HELD;
    let tick = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    while Instant::now() < deadline {
        let mut watched = [PollFd::new(caller, PollFlags::RDHUP)];
        let gone = poll(&mut watched, Some(&tick)).is_ok_and(|count| count > 0);
        if gone {
            return;
        }
    }
}
