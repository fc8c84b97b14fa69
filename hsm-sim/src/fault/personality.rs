//! The pace of a make of device: latency of one operation, and operations a second, kept by a token bucket so that
//! bursts queue as they do in front of hardware.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A make of device, as fast as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Personality {
    /// A library in the caller's process: 50 microseconds, no limit
    #[serde(rename = "softhsm2")]
    #[value(name = "softhsm2")]
    SoftHsm2,
    /// An appliance on the network: 1.5 milliseconds, 2000 operations a second
    NetworkHsm,
    /// A token on USB: 30 milliseconds, one operation after the other
    Usb,
}

impl Personality {
    /// How long one operation takes.
    #[must_use]
    pub fn latency(self) -> Duration {
        match self {
            Self::SoftHsm2 => Duration::from_micros(50),
            Self::NetworkHsm => Duration::from_micros(1500),
            Self::Usb => Duration::from_millis(30),
        }
    }

    /// Operations a second, and how many may come at once; `None` without a limit.
    #[must_use]
    pub fn rate(self) -> Option<(u32, u32)> {
        match self {
            Self::SoftHsm2 => None,
            Self::NetworkHsm => Some((2000, 32)),
            Self::Usb => Some((33, 1)),
        }
    }
}

/// Tokens left; may be owed, and then each further operation waits its turn.
pub(super) struct Bucket {
    /// In billionths of an operation, so that no time is lost to rounding.
    nanos: i64,
    at: Instant,
}

const ONE: i64 = 1_000_000_000;

impl Bucket {
    pub(super) fn full(personality: Personality, now: Instant) -> Self {
        let burst = personality.rate().map_or(0, |(_, burst)| i64::from(burst));
        Self { nanos: burst * ONE, at: now }
    }

    /// Takes one token; how long until it is there.
    pub(super) fn take(&mut self, personality: Personality, now: Instant) -> Duration {
        let Some((rate, burst)) = personality.rate() else { return Duration::ZERO };
        let passed = i64::try_from(now.saturating_duration_since(self.at).as_nanos()).unwrap_or(i64::MAX);
        self.at = now;
        let earned = passed.saturating_mul(i64::from(rate));
        self.nanos = self.nanos.saturating_add(earned).min(i64::from(burst) * ONE).saturating_sub(ONE);
        let owed = u64::try_from(-self.nanos).unwrap_or(0);
        Duration::from_nanos(owed / u64::from(rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let begun = Instant::now();
        let mut bucket = Bucket::full(Personality::NetworkHsm, begun);
        for _ in 0..32 {
            assert_eq!(bucket.take(Personality::NetworkHsm, begun), Duration::ZERO);
        }
        // The thousandth beyond the burst waits half a second: 1000 of 2000 a second.
        let waits: Vec<_> = (0..1000).map(|_| bucket.take(Personality::NetworkHsm, begun)).collect();
        assert!(waits.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(waits[999], Duration::from_millis(500));
        let later = begun + Duration::from_secs(2);
        assert_eq!(bucket.take(Personality::NetworkHsm, later), Duration::ZERO);
    }

    #[test]
    fn a_library_has_no_queue() {
        let now = Instant::now();
        let mut bucket = Bucket::full(Personality::SoftHsm2, now);
        assert!((0..10_000).all(|_| bucket.take(Personality::SoftHsm2, now).is_zero()));
    }
}
