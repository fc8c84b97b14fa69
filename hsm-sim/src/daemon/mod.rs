//! The daemon: takes connections from users it knows, at most so many, and gives each a thread and a session.
//! Stops when told to, after the requests under way. Kept out: what the requests mean.

mod harden;
mod session;
mod socket;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hsm::HsmError;
use rustix::event::{PollFd, PollFlags, poll};

use crate::device::Device;
pub use harden::harden_process;
pub use socket::{Listening, SocketError};

/// How a daemon serves.
#[derive(Clone, Debug)]
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
}

impl Settings {
    /// The defaults: own user only, 64 connections, five minutes of silence, five seconds of patience.
    #[must_use]
    pub fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            allowed_uids: BTreeSet::from([rustix::process::geteuid().as_raw()]),
            max_connections: 64,
            idle: Duration::from_secs(300),
            patience: Duration::from_secs(5),
        }
    }
}

/// How long connections get to finish when the daemon stops.
const DRAIN: Duration = Duration::from_secs(2);

/// Serves until `stop` has something to read; then takes no more connections, lets requests under way finish,
/// and removes the socket.
///
/// # Errors
/// When the listener breaks.
pub fn serve(
    listening: &Listening,
    device: &Arc<Device>,
    settings: &Settings,
    stop: &impl AsFd,
) -> io::Result<()> {
    let house = Arc::new(House::default());
    loop {
        let mut watched =
            [PollFd::new(stop, PollFlags::IN), PollFd::new(listening.listener(), PollFlags::IN)];
        match poll(&mut watched, None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        let [stopped, arrived] = watched.map(|fd| !fd.revents().is_empty());
        if stopped {
            break;
        }
        if arrived {
            match listening.listener().accept() {
                Ok((stream, _)) => house.admit(stream, device, settings),
                // One connection's misfortune, or too many open files: neither ends the daemon.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }
    listening.close();
    house.empty(DRAIN);
    Ok(())
}

/// The connections being served.
#[derive(Default)]
struct House {
    count: AtomicUsize,
    next: AtomicU64,
    streams: Mutex<Vec<(u64, UnixStream)>>,
}

impl House {
    fn admit(self: &Arc<Self>, mut stream: UnixStream, device: &Arc<Device>, settings: &Settings) {
        // On a listener that does not block, neither would the streams it makes on some systems.
        if stream.set_nonblocking(false).is_err() {
            return;
        }
        if !peer_allowed(&stream, &settings.allowed_uids) {
            session::refuse(&mut stream, HsmError::Denied);
            return;
        }
        if self.count.load(Ordering::SeqCst) >= settings.max_connections {
            session::refuse(&mut stream, HsmError::Overloaded);
            return;
        }
        let Ok(twin) = stream.try_clone() else { return };
        self.count.fetch_add(1, Ordering::SeqCst);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().push((number, twin));
        let place = Place { house: Arc::clone(self), number };
        let (device, settings) = (Arc::clone(device), settings.clone());
        let thread = std::thread::Builder::new().name("session".to_owned());
        // When no thread can be started, the closure is dropped, and with it the stream and the place.
        let _ = thread.spawn(move || {
            let _place = place;
            session::run(&mut stream, &device, &settings);
        });
    }

    fn empty(&self, within: Duration) {
        // A session that waits for its next request sees the end of its input; one at work answers first.
        for (_, stream) in self.lock().iter() {
            let _ = stream.shutdown(std::net::Shutdown::Read);
        }
        let deadline = Instant::now() + within;
        while self.count.load(Ordering::SeqCst) > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(u64, UnixStream)>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place, given back however its thread ends.
struct Place {
    house: Arc<House>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.house.lock().retain(|(number, _)| *number != self.number);
        self.house.count.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The kernel's word on who connected; nothing the peer says counts.
fn peer_allowed(stream: &UnixStream, allowed: &BTreeSet<u32>) -> bool {
    rustix::net::sockopt::socket_peercred(stream).is_ok_and(|peer| allowed.contains(&peer.uid.as_raw()))
}
