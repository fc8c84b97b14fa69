//! The device's clock: the host's, and a skew that a fault can set.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A clock that can be wrong on purpose.
#[derive(Default)]
pub struct Clock {
    skew: AtomicI64,
}

impl Clock {
    /// Seconds since 1970.
    #[must_use]
    pub fn now(&self) -> u64 {
        let host = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        host.saturating_add_signed(self.skew.load(Ordering::SeqCst))
    }

    /// Makes the clock wrong by so many seconds; 0 makes it right.
    pub fn skew(&self, seconds: i64) {
        self.skew.store(seconds, Ordering::SeqCst);
    }
}
