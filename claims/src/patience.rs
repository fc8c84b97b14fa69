//! When to ask again about a payment whose outcome is not known: soon at first, then ever more seldom. Every question
//! is an entry in the gateway's audit log.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(300);

/// A payment's key.
type Key = [u8; 32];

/// The payments that wait for their next question. Kept in memory: after a restart all are asked about at once.
#[derive(Default)]
pub(crate) struct Patience(Mutex<HashMap<Key, Wait>>);

struct Wait {
    until: Instant,
    next: Duration,
}

impl Patience {
    /// Whether to ask now; if so, the next question is twice as far away as this one was.
    pub(crate) fn is_due(&self, key: Key, now: Instant) -> bool {
        let mut waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = waits.entry(key).or_insert(Wait { until: now, next: FIRST });
        if now < wait.until {
            return false;
        }
        *wait = Wait { until: now + wait.next, next: (wait.next * 2).min(LONGEST) };
        true
    }

    /// Forgets the payments that are over.
    pub(crate) fn keep_only(&self, left: &HashSet<Key>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| left.contains(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_grow_seldom_and_never_end() {
        let (patience, start, key) = (Patience::default(), Instant::now(), [7; 32]);
        let asked: Vec<u64> =
            (0..2000).filter(|second| patience.is_due(key, start + Duration::from_secs(*second))).collect();

        assert_eq!(asked, [0, 5, 15, 35, 75, 155, 315, 615, 915, 1215, 1515, 1815]);
        assert!(patience.is_due([8; 32], start));
        patience.keep_only(&HashSet::new());
        assert!(patience.is_due(key, start));
    }
}
