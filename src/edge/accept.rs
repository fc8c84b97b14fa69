//! The listener: takes connections in, counts them, turns away what is too much, and drains on the way out. The loop
//! ends only when it is told to; no error of one connection or of the operating system ends it.

use super::tls::ServerTls;
use super::wiped::Wiped;
use super::{Dispatch, Limits, connection, plain, request};
use crate::answer::Code;
use crate::metrics::{Door, Metrics};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokens::RequestId;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// First byte of a TLS record that carries a handshake.
const TLS_HANDSHAKE: u8 = 0x16;
/// Pause when the process has no file descriptor left: accepting again at once would spin.
const BREATH: Duration = Duration::from_millis(50);

/// The drain ran out of time, and connections that still worked were cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the drain ran out of time and {unfinished} connections or requests were cut; allow it more time")]
pub struct Cut {
    /// Connections and requests that had not come to their end.
    pub unfinished: usize,
}

/// What every connection and request of this listener shares.
pub(super) struct Room {
    pub(super) limits: Limits,
    pub(super) dispatch: Arc<dyn Dispatch>,
    pub(super) metrics: Metrics,
    pub(super) requests: Arc<Semaphore>,
    pub(super) tasks: TaskTracker,
    /// Finish what is under way and take nothing new.
    pub(super) stop: CancellationToken,
    /// The drain is over: drop everything.
    pub(super) cut: CancellationToken,
    connections: Arc<Semaphore>,
    by_address: Mutex<HashMap<IpAddr, usize>>,
    tls: ServerTls,
}

/// A connection's place among those that are allowed; given back on drop.
struct Place {
    room: Arc<Room>,
    address: IpAddr,
    _permit: OwnedSemaphorePermit,
}

/// Serves until `stop`, then drains: no new connections, requests under way are finished, at most for the limit's
/// time. A new `ServerConfig` in `tls` holds for the connections after it.
///
/// # Errors
/// [`Cut`], inside an [`io::Error`], when the drain ran out of time.
pub async fn serve(
    listener: TcpListener,
    tls: ServerTls,
    limits: Limits,
    dispatch: Arc<dyn Dispatch>,
    metrics: Metrics,
    stop: CancellationToken,
) -> io::Result<()> {
    let room = Arc::new(Room {
        requests: Arc::new(Semaphore::new(limits.concurrent_requests)),
        connections: Arc::new(Semaphore::new(limits.connections)),
        by_address: Mutex::default(),
        tasks: TaskTracker::new(),
        cut: CancellationToken::new(),
        limits,
        dispatch,
        metrics,
        stop,
        tls,
    });
    while let Some(accepted) = room.stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((tcp, addr)) => room.take_in(tcp, addr),
            Err(error) => {
                room.metrics.door(Door::AcceptFailed);
                if is_ours(&error) {
                    tracing::warn!(kind = ?error.kind(), "no connection can be accepted; trying again");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }
    drop(listener);
    room.drain().await.map_err(|cut| io::Error::new(io::ErrorKind::TimedOut, cut))
}

/// The client gave up between its SYN and our accept: not our failure, and no reason to wait.
fn is_ours(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

impl Room {
    fn take_in(self: &Arc<Self>, tcp: TcpStream, addr: SocketAddr) {
        let Some(place) = self.place(addr.ip()) else {
            // Closed at once: a handshake for everyone who is turned away would be the work that is being saved.
            self.metrics.door(Door::TooManyConnections);
            return;
        };
        let room = Arc::clone(self);
        self.tasks.spawn(async move {
            let open = room.metrics.connection();
            let cut = room.cut.clone();
            let _ = cut.run_until_cancelled(room.welcome(tcp, addr)).await;
            drop((open, place));
        });
    }

    fn place(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let permit = Arc::clone(&self.connections).try_acquire_owned().ok()?;
        if let Some(most) = self.limits.connections_per_ip {
            let mut counts = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(address).or_default();
            if *count >= most {
                return None;
            }
            *count += 1;
        }
        Some(Place { room: Arc::clone(self), address, _permit: permit })
    }

    async fn welcome(self: &Arc<Self>, tcp: TcpStream, addr: SocketAddr) {
        // Answers are one small write each; Nagle would hold them back.
        let _ = tcp.set_nodelay(true);
        let handshake = async {
            let mut first = [0_u8; 1];
            match tcp.peek(&mut first).await {
                Ok(1) if first == [TLS_HANDSHAKE] => {}
                Ok(1) => {
                    self.metrics.door(Door::PlainHttp);
                    if let Some(id) = plain::speaks_http(first).then(RequestId::mint).and_then(Result::ok) {
                        request::record(self, Code::TlsRequired, addr.ip(), &id).await;
                        plain::refuse(tcp, &id, self.limits.linger).await;
                    }
                    return None;
                }
                _ => return None,
            }
            match TlsAcceptor::from(self.tls.load_full()).accept(Wiped::new(tcp)).await {
                Ok(stream) => Some(stream),
                Err(_) => {
                    self.metrics.door(Door::HandshakeFailed);
                    None
                }
            }
        };
        // A drain does not wait for clients that have not said anything yet.
        let handshake = tokio::time::timeout(self.limits.handshake, handshake);
        match self.stop.run_until_cancelled(handshake).await {
            Some(Ok(Some(stream))) => connection::serve(Arc::clone(self), stream, addr).await,
            Some(Err(_)) => self.metrics.door(Door::HandshakeTimeout),
            Some(Ok(None)) | None => {}
        }
    }

    async fn drain(&self) -> Result<(), Cut> {
        self.tasks.close();
        if tokio::time::timeout(self.limits.drain, self.tasks.wait()).await.is_ok() {
            return Ok(());
        }
        let unfinished = self.tasks.len();
        self.cut.cancel();
        tracing::warn!(unfinished, "the drain ran out of time");
        Err(Cut { unfinished })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.room.limits.connections_per_ip.is_none() {
            return;
        }
        let mut counts = self.room.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}
