//! One TLS connection from its handshake to its end: the HTTP version by ALPN, idling, drain.

use super::accept::Room;
use super::gate::{Gate, Verdict};
use super::rinse::Rinse;
use super::wiped::Wiped;
use super::{Limits, TlsFacts, request};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

const UNKNOWN: &str = "unknown";
/// How often a silent HTTP/2 peer is asked whether it is still there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(20);
const PONG: Duration = Duration::from_secs(10);

/// What the requests of one connection share.
pub(super) struct Line {
    pub(super) addr: SocketAddr,
    pub(super) tls: TlsFacts,
    /// Set when the framing gate refused what this connection sent.
    pub(super) verdict: Verdict,
    activity: Mutex<Activity>,
    /// Set once no further request is wanted here.
    retired: CancellationToken,
}

struct Activity {
    under_way: usize,
    /// No request has come yet.
    fresh: bool,
    since: Instant,
}

/// Serves the connection until either side ends it.
pub(super) async fn serve(room: Arc<Room>, stream: TlsStream<Wiped<TcpStream>>, addr: SocketAddr) {
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let line = Arc::new(Line {
        addr,
        tls: facts(&stream),
        verdict: Verdict::default(),
        activity: Mutex::new(Activity { under_way: 0, fresh: true, since: Instant::now() }),
        retired: CancellationToken::new(),
    });
    let service = {
        let (room, line) = (Arc::clone(&room), Arc::clone(&line));
        service_fn(move |request| request::answer(Arc::clone(&room), Arc::clone(&line), request))
    };
    let limits = &room.limits;
    if http2 {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
            // Bounds what one connection can make us hold.
            .initial_stream_window_size(64 * 1024)
            .initial_connection_window_size(512 * 1024)
            .max_send_buf_size(64 * 1024)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .serve_connection(TokioIo::new(Rinse::new(stream)), service);
        drive(&room, &line, connection).await;
    } else {
        let gate = Gate::new(stream, limits, Arc::clone(&line.verdict));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // The gate times heads and this connection its idling; this is the net beneath them.
            .header_read_timeout(limits.idle + limits.head + limits.request)
            .max_headers(limits.headers.saturating_add(1))
            .max_header_size(limits.head_bytes.saturating_add(1))
            .half_close(false)
            .serve_connection(TokioIo::new(gate), service);
        drive(&room, &line, connection).await;
    }
}

async fn drive<C: GracefulConnection>(room: &Room, line: &Line, connection: C) {
    let mut connection = pin!(connection);
    let limits = &room.limits;
    let mut closing = false;
    loop {
        let allowed = || if closing { limits.linger } else { line.patience(limits) };
        tokio::select! {
            _ = connection.as_mut() => return,
            () = room.stop.cancelled(), if !closing => {}
            () = line.retired.cancelled(), if !closing => {}
            () = tokio::time::sleep_until(line.idle_until(allowed())) => {
                if !line.is_idle(allowed()) {
                    continue;
                }
                if closing {
                    // The peer had its time to take the last answer and the goodbye.
                    return;
                }
            }
        }
        connection.as_mut().graceful_shutdown();
        line.change(|_| {});
        closing = true;
    }
}

fn facts(stream: &TlsStream<Wiped<TcpStream>>) -> TlsFacts {
    let session = stream.get_ref().1;
    TlsFacts {
        version: session.protocol_version().and_then(|v| v.as_str()).unwrap_or(UNKNOWN),
        suite: session.negotiated_cipher_suite().and_then(|s| s.suite().as_str()).unwrap_or(UNKNOWN),
        group: session.negotiated_key_exchange_group().and_then(|g| g.name().as_str()).unwrap_or(UNKNOWN),
    }
}

impl Line {
    /// Marks the connection as busy until the mark is dropped.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        self.change(|activity| {
            activity.under_way += 1;
            activity.fresh = false;
        });
        Busy(Arc::clone(self))
    }

    /// Takes no further request: requests under way are answered, then the connection ends.
    pub(super) fn retire(&self) {
        self.retired.cancel();
    }

    /// How long the connection may idle: little before its first request, for who connects has one.
    fn patience(&self, limits: &Limits) -> Duration {
        let activity = self.activity.lock().unwrap_or_else(PoisonError::into_inner);
        if activity.fresh { limits.head } else { limits.idle }
    }

    fn is_idle(&self, after: Duration) -> bool {
        let activity = self.activity.lock().unwrap_or_else(PoisonError::into_inner);
        activity.under_way == 0 && activity.since.elapsed() >= after
    }

    /// The earliest moment at which this connection can have idled too long.
    fn idle_until(&self, after: Duration) -> Instant {
        let activity = self.activity.lock().unwrap_or_else(PoisonError::into_inner);
        if activity.under_way > 0 { Instant::now() + after } else { activity.since + after }
    }

    fn change(&self, change: impl FnOnce(&mut Activity)) {
        let mut activity = self.activity.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut activity);
        activity.since = Instant::now();
    }
}

/// A request under way.
pub(super) struct Busy(Arc<Line>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.change(|activity| activity.under_way = activity.under_way.saturating_sub(1));
    }
}
