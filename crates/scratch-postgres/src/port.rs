//! Ports for servers that are started a moment later.

use crate::Trouble;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below what Linux hands out to clients by itself (32768 on).
const FIRST: u16 = 10_000;
const COUNT: u16 = 22_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port on the loopback that nobody listens on at this moment. Each process begins at another place, and no client's
/// connection is given one of these, so that nobody takes it before the server does.
///
/// # Errors
/// [`Trouble`] when every port is taken.
pub fn free_port() -> Result<u16, Trouble> {
    let start = u16::try_from(std::process::id().wrapping_mul(97) % u32::from(COUNT)).unwrap_or(0);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (start + step) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Trouble("no port is free on the loopback".to_owned()))
}
