//! The connections being served: who may come in, how many at once, and a thread for each.

use std::collections::BTreeSet;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hsm::HsmError;

use super::seat::Seat;
use super::{Settings, sealed, session};
use crate::fault::relay;

/// The connections being served.
#[derive(Default)]
pub(super) struct House {
    count: AtomicUsize,
    next: AtomicU64,
    streams: Mutex<Vec<(u64, UnixStream)>>,
}

impl House {
    pub(super) fn admit(self: &Arc<Self>, mut stream: UnixStream, seat: &Arc<Seat>, settings: &Settings) {
        // On a listener that does not block, neither would the streams it makes on some systems.
        if stream.set_nonblocking(false).is_err() {
            return;
        }
        if !peer_allowed(&stream, &settings.allowed_uids) {
            session::refuse(&mut stream, HsmError::Denied);
            return;
        }
        let ordered = settings.faults.as_ref().and_then(|faults| faults.capacity()).map(usize::from);
        let places = ordered.unwrap_or(usize::MAX).min(settings.max_connections);
        if self.count.load(Ordering::SeqCst) >= places {
            session::refuse(&mut stream, HsmError::Overloaded);
            return;
        }
        let Ok(twin) = stream.try_clone() else { return };
        self.count.fetch_add(1, Ordering::SeqCst);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().push((number, twin));
        let place = Place { house: Arc::clone(self), number };
        let (seat, settings) = (Arc::clone(seat), settings.clone());
        let thread = std::thread::Builder::new().name("session".to_owned());
        // When no thread can be started, the closure is dropped, and with it the stream and the place.
        let _ = thread.spawn(move || {
            let _place = place;
            match seat.device() {
                Some(device) if settings.faults.is_some() => weathered(stream, device, &settings),
                Some(device) => session::run(&mut stream, device, &settings),
                None => sealed::run(&mut stream, &seat, &settings),
            }
        });
    }

    pub(super) fn empty(&self, within: Duration) {
        // A session that waits for its next request sees the end of its input; one at work answers first.
        for (_, stream) in self.lock().iter() {
            let _ = stream.shutdown(std::net::Shutdown::Read);
        }
        let deadline = Instant::now() + within;
        while self.count.load(Ordering::SeqCst) > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u64, UnixStream)>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session with the weather before it, on a thread of its own.
fn weathered(mut stream: UnixStream, device: &Arc<crate::device::Device>, settings: &Settings) {
    let Some(faults) = settings.faults.clone() else { return };
    let Ok((mut outer, mut inner)) = UnixStream::pair() else { return };
    let (device, kept) = (Arc::clone(device), settings.clone());
    let thread = std::thread::Builder::new().name("session".to_owned());
    let Ok(behind) = thread.spawn(move || session::run(&mut inner, &device, &kept)) else { return };
    relay(&faults, &mut stream, &mut outer, settings.idle, settings.patience);
    let _ = behind.join();
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
