//! The time, so that tests can move it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Wall time for dates and monotonic time for lifetimes: a clock that is set back must not prolong a code's life.
pub trait Clock: Send + Sync {
    /// Microseconds since 1970 in UTC.
    fn now_us(&self) -> i64;
    /// Time since an arbitrary start; never goes back.
    fn elapsed(&self) -> Duration;
}

/// The operating system's clocks.
pub struct SystemClock(Instant);

impl SystemClock {
    /// Starts the monotonic part now.
    #[expect(clippy::new_without_default, reason = "a default clock would hide that its start matters")]
    pub fn new() -> Self {
        SystemClock(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now_us(&self) -> i64 {
        wall_us()
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Microseconds since 1970 by the operating system's clock.
pub(crate) fn wall_us() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_micros()).ok())
        .unwrap_or(0)
}
