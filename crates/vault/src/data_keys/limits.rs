//! How much a data key may be used, and how long one may lie open in memory.

use std::time::Duration;

/// Bounds of data keys. Start from `DataKeyLimits::default()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataKeyLimits {
    /// Seals reserved at a time in the key's row, before they happen: a crash counts too many, never too few.
    pub block: u64,
    /// Seals after which the tenant gets a new epoch.
    pub soft: u64,
    /// Seals after which the key refuses. 2^32 as for keys whose nonces are random (SP 800-38D, 8.3), although
    /// each record here has a key of its own.
    pub hard: u64,
    /// How long an opened key stays in memory, a fifth more or less, so that not all expire together.
    pub lifetime: Duration,
    /// Most opened keys in memory.
    pub entries: usize,
    /// How often one opened key is given out before the HSM is asked again.
    pub uses: u64,
    /// How long a key must have been deactivated before it is destroyed when it is empty: longer than any request
    /// that began before can take.
    pub quiet: Duration,
}

impl Default for DataKeyLimits {
    /// Blocks of 2^16, soft 2^30, hard 2^32; 300 seconds, 1000 keys, 2^20 uses; three minutes of quiet.
    fn default() -> Self {
        DataKeyLimits {
            block: 1 << 16,
            soft: 1 << 30,
            hard: 1 << 32,
            lifetime: Duration::from_secs(300),
            entries: 1000,
            uses: 1 << 20,
            quiet: Duration::from_secs(180),
        }
    }
}
