//! A token bucket: work on keys takes its rows from here, so that patients' requests keep their share.

use std::time::{Duration, Instant};

/// Rows that may be touched now, filled up by time.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: u32,
    capacity: u64,
    /// In millionths of a row.
    level: u64,
    filled: Instant,
}

const WHOLE: u64 = 1_000_000;

impl Bucket {
    /// A full bucket that holds one batch and gains `per_second` rows.
    pub(super) fn new(per_second: u32, batch: u32, now: Instant) -> Bucket {
        let capacity = u64::from(batch.max(1)) * WHOLE;
        Bucket { per_second: per_second.max(1), capacity, level: capacity, filled: now }
    }

    /// Takes that many rows; gives how long to wait before the next are there. The bucket may go below empty by
    /// one batch, never by more.
    pub(super) fn take(&mut self, rows: u64, now: Instant) -> Duration {
        let gained = now.saturating_duration_since(self.filled).as_micros();
        let gained = u64::try_from(gained).unwrap_or(u64::MAX).saturating_mul(u64::from(self.per_second));
        self.level = self.level.saturating_add(gained).min(self.capacity);
        self.filled = now;
        let wanted = rows.saturating_mul(WHOLE);
        let short = wanted.saturating_sub(self.level);
        self.level = self.level.saturating_sub(wanted);
        let wait = Duration::from_micros(short / u64::from(self.per_second));
        // What is still owed is paid by waiting: the next filling starts where the wait ends.
        self.filled = now.checked_add(wait).unwrap_or(now);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_time_no_more_rows_go_than_the_rate_and_one_batch() {
        let start = Instant::now();
        let mut bucket = Bucket::new(100, 10, start);
        let (mut now, mut rows) = (start, 0_u64);
        while now.saturating_duration_since(start) < Duration::from_secs(10) {
            now += bucket.take(10, now) + Duration::from_millis(1);
            rows += 10;
        }
        assert!((900..=1020).contains(&rows), "{rows}");
    }

    #[test]
    fn a_rested_bucket_gives_one_batch_at_once() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1000, 50, start);
        assert_eq!(bucket.take(50, start), Duration::ZERO);
        assert!(bucket.take(50, start) > Duration::ZERO);
        let later = start + Duration::from_secs(60);
        assert_eq!(bucket.take(50, later), Duration::ZERO);
    }
}
