//! The daemon: takes connections from users it knows, at most so many, and gives each a thread and a session.
//! Stops when told to, after the requests under way. Kept out: what the requests mean.

mod harden;
mod house;
mod sealed;
mod seat;
mod session;
mod socket;

use std::collections::BTreeSet;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::fault::{self, Faults};
pub use harden::{Hardening, harden_process, scrub_stack};
use house::House;
pub use seat::{OpenError, Sealed, Seat};
pub use socket::{Listening, SocketError};

/// How a daemon serves.
#[derive(Clone)]
pub struct Settings {
    /// The socket's path.
    pub socket: PathBuf,
    /// Users whose processes may connect; the daemon's own user is not added by itself.
    pub allowed_uids: BTreeSet<u32>,
    /// Connections at once.
    pub max_connections: usize,
    /// How long a session may be silent.
    pub idle: Duration,
    /// How long a connection may take to log in, and a frame to arrive whole.
    pub patience: Duration,
    /// What may be ordered to go wrong; `None` in every daemon without a control handle.
    pub faults: Option<Arc<Faults>>,
}

impl Settings {
    /// The defaults: own user only, 64 connections, five minutes of silence, five seconds of patience, no faults.
    #[must_use]
    pub fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            allowed_uids: BTreeSet::from([rustix::process::geteuid().as_raw()]),
            max_connections: 64,
            idle: Duration::from_secs(300),
            patience: Duration::from_secs(5),
            faults: None,
        }
    }
}

/// What the daemon listens to besides its socket.
pub struct Inputs<'a> {
    /// Has something to read when the daemon is to stop.
    pub stop: &'a UnixStream,
    /// Has something to read when the case was opened.
    pub tamper: &'a UnixStream,
    /// The control handle, where there is one.
    pub control: Option<&'a Listening>,
}

/// How long connections get to finish when the daemon stops.
const DRAIN: Duration = Duration::from_secs(2);
/// How often the daemon looks after its state file.
const ROUND: Duration = Duration::from_secs(1);

/// Serves until told to stop; then takes no more connections, lets requests under way finish, and removes the socket.
///
/// # Errors
/// When a listener breaks.
pub fn serve(
    listening: &Listening,
    seat: &Arc<Seat>,
    settings: &Settings,
    inputs: &Inputs<'_>,
) -> io::Result<()> {
    let house = Arc::new(House::default());
    let mut opened = false;
    let mut patrolled = Instant::now();
    let tick = Timespec::try_from(ROUND).unwrap_or_default();
    loop {
        let mut watched =
            vec![PollFd::new(inputs.stop, PollFlags::IN), PollFd::new(listening.listener(), PollFlags::IN)];
        watched.extend(inputs.control.map(|control| PollFd::new(control.listener(), PollFlags::IN)));
        // The bell rings once; watched on, it would never be silent again.
        watched.extend((!opened).then(|| PollFd::new(inputs.tamper, PollFlags::IN)));
        match poll(&mut watched, Some(&tick)) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        let mut ready = watched.iter().map(|fd| !fd.revents().is_empty());
        if ready.next() == Some(true) {
            break;
        }
        if ready.next() == Some(true)
            && let Some(stream) = accept(listening.listener())
        {
            house.admit(stream, seat, settings);
        }
        if let Some(control) = inputs.control
            && ready.next() == Some(true)
            && let (Some(stream), Some(faults)) = (accept(control.listener()), &settings.faults)
        {
            take_orders(stream, Arc::clone(faults), Arc::clone(seat));
        }
        if ready.next() == Some(true) {
            opened = true;
            seat.tamper("case opened");
        }
        drop(ready);
        if patrolled.elapsed() >= ROUND {
            seat.patrol();
            patrolled = Instant::now();
        }
        scrub_stack();
    }
    listening.close();
    if let Some(control) = inputs.control {
        control.close();
    }
    house.empty(DRAIN);
    Ok(())
}

/// One connection's misfortune, or too many open files: neither ends the daemon.
fn accept(listener: &UnixListener) -> Option<UnixStream> {
    match listener.accept() {
        Ok((stream, _)) => Some(stream),
        Err(error) => {
            if error.kind() != io::ErrorKind::WouldBlock {
                std::thread::sleep(Duration::from_millis(10));
            }
            None
        }
    }
}

/// The control handle is for one person at a time, and its mode (0600) says for whom.
fn take_orders(stream: UnixStream, faults: Arc<Faults>, seat: Arc<Seat>) {
    if stream.set_nonblocking(false).is_err() {
        return;
    }
    let thread = std::thread::Builder::new().name("control".to_owned());
    let _ = thread.spawn(move || fault::serve_control(stream, &faults, &*seat));
}
