//! Whether the HSM is there, as the answers to our own calls tell it.

use crate::clock::Clock;
use crate::error::VaultError;
use hsm::{ErrorClass, HsmError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

/// Stands for "it answers".
const HERE: i64 = i64::MIN;

/// Since when the HSM is away, and how often it has shut itself.
pub(crate) struct Presence {
    clock: Arc<dyn Clock>,
    away_since_us: AtomicI64,
    is_shut: AtomicBool,
    shut: AtomicU64,
}

impl Presence {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Presence {
            clock,
            away_since_us: AtomicI64::new(HERE),
            is_shut: AtomicBool::new(false),
            shut: AtomicU64::new(0),
        }
    }

    /// Takes note of a call's outcome.
    pub(crate) fn note(&self, error: Option<&HsmError>) {
        match error {
            // Our own queue is full: says nothing of the device.
            Some(HsmError::Overloaded) => {}
            Some(error) if VaultError::from(*error) == VaultError::HsmUnavailable => {
                let now = self.clock.now_us();
                // Only the first failure sets the date.
                let _ = self.away_since_us.compare_exchange(HERE, now, Ordering::AcqRel, Ordering::Acquire);
                if error.class() == ErrorClass::Fatal && !self.is_shut.swap(true, Ordering::AcqRel) {
                    self.shut.fetch_add(1, Ordering::AcqRel);
                }
            }
            // A refusal is an answer.
            _ => {
                self.away_since_us.store(HERE, Ordering::Release);
                self.is_shut.store(false, Ordering::Release);
            }
        }
    }

    /// Unix microseconds; none while the HSM answers.
    pub(crate) fn away_since_us(&self) -> Option<i64> {
        Some(self.away_since_us.load(Ordering::Acquire)).filter(|since| *since != HERE)
    }

    /// How often the device was found to have shut itself (tampering, self-test, rollback).
    pub(crate) fn shut(&self) -> u64 {
        self.shut.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hsm::KeyStatus;
    use std::time::Duration;

    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now_us(&self) -> i64 {
            self.0.load(Ordering::Relaxed)
        }
        fn elapsed(&self) -> Duration {
            Duration::ZERO
        }
    }

    #[test]
    fn the_first_failure_dates_an_absence_and_an_answer_ends_it() {
        let clock = Arc::new(Hand(AtomicI64::new(5)));
        let presence = Presence::new(clock.clone());
        presence.note(Some(&HsmError::Overloaded));
        assert_eq!(presence.away_since_us(), None, "our own queue is full");
        presence.note(Some(&HsmError::Timeout));
        clock.0.store(9, Ordering::Relaxed);
        presence.note(Some(&HsmError::NeedsReinit));
        assert_eq!(presence.away_since_us(), Some(5));
        presence.note(Some(&HsmError::KeyStatus { have: KeyStatus::Suspended, need: KeyStatus::Active }));
        assert_eq!(presence.away_since_us(), None, "a refusal is an answer");
        presence.note(Some(&HsmError::SessionLost));
        assert_eq!(presence.away_since_us(), Some(9));
        presence.note(None);
        assert_eq!(presence.away_since_us(), None);
    }

    #[test]
    fn a_device_that_shut_itself_is_counted_once_for_each_time() {
        let presence = Presence::new(Arc::new(Hand(AtomicI64::new(5))));
        presence.note(Some(&HsmError::Timeout));
        for _ in 0..3 {
            presence.note(Some(&HsmError::Tampered));
        }
        assert_eq!(presence.shut(), 1);
        presence.note(None);
        presence.note(Some(&HsmError::RollbackDetected));
        assert_eq!(presence.shut(), 2);
    }
}
