//! A connection to a sealed device: custodians may enter their shares and anybody allowed may ask how far they are;
//! to everything else the device is away. The connection ends when the device opens, so that callers begin anew.

use std::os::unix::net::UnixStream;

use hsm::{HsmError, InputFault};

use super::Settings;
use super::scrub_stack;
use super::seat::Seat;
use super::session::refuse;
use crate::ceremony::wire::{self, Asked};
use crate::protocol::codec::Writer;
use crate::protocol::frame::{self, FrameError, FrameReader};
use crate::protocol::reply;

pub(super) fn run(stream: &mut UnixStream, seat: &Seat, settings: &Settings) {
    if stream.set_write_timeout(Some(settings.patience)).is_err() {
        return;
    }
    let mut reader = FrameReader::new();
    while seat.device().is_none() {
        // A custodian types; the silence of one who holds the paper is no idleness.
        let answer = reader.next(stream, settings.idle, settings.patience, |frame| {
            if frame.code == HELLO {
                return frame::start(frame.id, reply::OK, 0);
            }
            Asked::decode(frame.code, frame.body)
                .map_or_else(|| away(frame.id), |asked| perform(frame.id, asked, seat))
        });
        let answer = match answer {
            Ok(answer) => answer,
            Err(FrameError::Malformed) => {
                refuse(stream, HsmError::InvalidInput(InputFault::Malformed));
                return;
            }
            Err(FrameError::Closed | FrameError::TimedOut | FrameError::Broken) => return,
        };
        // A share, or the key itself, was on it.
        scrub_stack();
        if frame::send(stream, answer).is_err() {
            return;
        }
    }
}

/// The request that needs no login.
const HELLO: u8 = 1;

fn perform(id: u32, asked: Asked<'_>, seat: &Seat) -> Writer {
    let outcome = match asked {
        Asked::Status => {
            seat.sealed().map(|sealed| sealed.progress).ok_or_else(|| "this device is open".to_owned())
        }
        Asked::CallOff => {
            seat.call_off();
            seat.sealed().map(|sealed| sealed.progress).ok_or_else(|| "this device is open".to_owned())
        }
        Asked::Enter(share) => match crate::ceremony::Share::decode(share) {
            Ok(share) => seat.enter(share).map_err(|error| error.to_string()),
            Err(_) => Err("this is no share; read it from its file or paper again".to_owned()),
        },
    };
    let sealed = seat.sealed();
    wire::answer(id, &outcome, sealed.as_ref().map(|sealed| &sealed.custody.set))
}

fn away(id: u32) -> Writer {
    let mut out = frame::start(id, reply::ERROR, reply::ERROR_LEN);
    out.raw(&reply::error_bytes(HsmError::NeedsReinit));
    out
}
