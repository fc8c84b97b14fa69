//! How often a key protected something. Uses are reserved on disk in blocks before they happen, so that a crash
//! counts too many and never too few. Kept out: the writing, which the device does.

use std::sync::atomic::{AtomicU64, Ordering};

use hsm::KeyKind;

/// The most seals under one KEK with random 96-bit IVs (NIST SP 800-38D, 8.3). At the end the key only opens.
pub const SEAL_LIMIT: u64 = 1 << 32;
/// Seals under one KEK after which the device says in its log that the key is due for rotation.
pub const SEAL_ADVICE: u64 = 1 << 24;

/// A key's count of uses.
pub struct Uses {
    /// Uses so far, counted in memory.
    taken: AtomicU64,
    /// Uses that the state on disk already counts; what follows is not allowed yet.
    reserved: AtomicU64,
    /// No use beyond this one; 0 for no limit.
    limit: u64,
    /// How many are reserved at a time.
    block: u64,
}

/// What became of the wish to use a key once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// Counted; go on.
    Taken,
    /// A block must be reserved first; ask again after.
    Reserve,
    /// The limit is reached.
    Spent,
}

impl Uses {
    /// The count of a new key of this kind.
    #[must_use]
    pub fn none(kind: KeyKind) -> Self {
        Self::restored(kind, 0)
    }

    /// The count of a key from the state: all that was reserved may have happened.
    #[must_use]
    pub fn restored(kind: KeyKind, reserved: u64) -> Self {
        let (limit, block) = match kind {
            KeyKind::Kek256 => (SEAL_LIMIT, 1 << 10),
            // HMAC has no such limit; the block is large because fingerprints come by the thousand a second.
            KeyKind::Mac256 => (0, 1 << 20),
            KeyKind::SignEd25519 => (0, 1 << 10),
        };
        Self { taken: AtomicU64::new(reserved), reserved: AtomicU64::new(reserved), limit, block }
    }

    /// As if `count` uses had happened and were reserved: lets a test stand just before a limit.
    #[cfg(test)]
    pub(crate) fn stand_at(&self, count: u64) {
        self.taken.store(count, Ordering::SeqCst);
        self.reserved.store(count, Ordering::SeqCst);
    }

    /// Counts `wanted` uses, all or none.
    #[must_use]
    pub fn take(&self, wanted: u64) -> Take {
        let mut taken = self.taken.load(Ordering::SeqCst);
        loop {
            let Some(after) = taken.checked_add(wanted) else { return Take::Spent };
            if self.limit > 0 && after > self.limit {
                return Take::Spent;
            }
            if after > self.reserved.load(Ordering::SeqCst) {
                return Take::Reserve;
            }
            match self.taken.compare_exchange_weak(taken, after, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return Take::Taken,
                Err(seen) => taken = seen,
            }
        }
    }

    /// What to write to disk so that `wanted` more uses are covered.
    #[must_use]
    pub fn next_reservation(&self, wanted: u64) -> u64 {
        let needed = self.taken.load(Ordering::SeqCst).saturating_add(wanted).max(self.reserved());
        let next = needed.saturating_add(self.block);
        if self.limit > 0 { next.min(self.limit) } else { next }
    }

    /// What the disk counts now.
    #[must_use]
    pub fn reserved(&self) -> u64 {
        self.reserved.load(Ordering::SeqCst)
    }

    /// Notes that the disk now counts this many.
    pub fn note_reserved(&self, count: u64) {
        self.reserved.fetch_max(count, Ordering::SeqCst);
    }

    /// Uses so far, at least.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.taken.load(Ordering::SeqCst)
    }

    /// Is there no use left?
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.limit > 0 && self.count() >= self.limit
    }

    pub(super) fn twin(&self) -> Self {
        Self {
            taken: AtomicU64::new(self.count()),
            reserved: AtomicU64::new(self.reserved()),
            limit: self.limit,
            block: self.block,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_use_happens_before_the_disk_counts_it() {
        let uses = Uses::none(KeyKind::Kek256);
        assert_eq!(uses.take(1), Take::Reserve);
        uses.note_reserved(uses.next_reservation(1));
        let mut happened = 0;
        while uses.take(1) == Take::Taken {
            happened += 1;
            assert!(Uses::restored(KeyKind::Kek256, uses.reserved()).count() >= happened);
        }
        assert_eq!(happened, uses.reserved());
    }

    #[test]
    fn a_kek_seals_two_to_the_thirty_second_times_and_not_once_more() {
        let uses = Uses::restored(KeyKind::Kek256, SEAL_LIMIT - 2);
        assert_eq!(uses.take(2), Take::Reserve);
        uses.note_reserved(uses.next_reservation(2));
        assert_eq!(uses.reserved(), SEAL_LIMIT);
        assert_eq!(uses.take(3), Take::Spent);
        assert_eq!((uses.take(1), uses.take(1), uses.take(1)), (Take::Taken, Take::Taken, Take::Spent));
        assert!(uses.is_spent());
        assert_eq!(Uses::restored(KeyKind::Mac256, u64::MAX).take(1), Take::Spent);
    }

    #[test]
    fn many_threads_never_take_more_than_was_reserved() {
        let uses = Uses::none(KeyKind::SignEd25519);
        uses.note_reserved(1000);
        let taken: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1000).filter(|_| uses.take(1) == Take::Taken).count() as u64))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 1000);
    }
}
