//! Every bound of the door in one place. Nothing that a stranger can make us hold is without one.

use std::time::Duration;

/// Bounds of the listener, its connections and its requests.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once; one more is closed at once.
    pub connections: usize,
    /// Connections at once from one address. `None` behind a balancer, where all share one.
    pub connections_per_ip: Option<usize>,
    /// Requests that are worked on at once; one more gets 503 before any work is done for it.
    pub concurrent_requests: usize,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Header lines of a request, and of a trailer section.
    pub headers: usize,
    /// Time for the TLS handshake.
    pub handshake: Duration,
    /// Time from a head's first byte to its last, and for the first byte of a connection.
    pub head: Duration,
    /// Time that a connection may wait for its next request.
    pub idle: Duration,
    /// Time from a request's head to its answer.
    pub request: Duration,
    /// Time after which an act that has long been answered with `request_timeout` is given up.
    pub abandon: Duration,
    /// Time that a drain may take.
    pub drain: Duration,
    /// Time that a closing connection is kept and read from, so that the last answer is not lost to a reset.
    pub linger: Duration,
    /// HTTP/2 streams at once on a connection.
    pub streams: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 4096,
            connections_per_ip: None,
            concurrent_requests: 512,
            head_bytes: 32 * 1024,
            headers: 64,
            handshake: Duration::from_secs(5),
            head: Duration::from_secs(5),
            idle: Duration::from_secs(60),
            request: Duration::from_secs(30),
            abandon: Duration::from_secs(120),
            drain: Duration::from_secs(10),
            linger: Duration::from_secs(2),
            streams: 64,
        }
    }
}
