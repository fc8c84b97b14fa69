//! A PostgreSQL of one's own in a scratch folder, for tests and benches: Debian's server programs, started and stopped
//! here, with `fsync` on as in production. Nothing of it is linked into a product.
//!
//! Whoever runs as root runs the server as the user `postgres`, which PostgreSQL demands.

mod bouncer;
mod cluster;
mod line;
mod pair;
mod port;
mod programs;
mod standby;

pub use bouncer::Bouncer;
pub use cluster::{Cluster, Database};
pub use line::Line;
pub use pair::Pair;
pub use port::free_port;
pub use programs::Trouble;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

static COUNT: AtomicU64 = AtomicU64::new(0);

/// A name that nobody on this machine has: process and count.
fn unique() -> String {
    format!("{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A folder below the temporary folder that the server's user may enter.
fn scratch(kind: &str) -> PathBuf {
    std::env::temp_dir().join(format!("pangate-{kind}-{}", unique()))
}
