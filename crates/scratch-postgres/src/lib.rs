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

use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

static COUNT: AtomicU64 = AtomicU64::new(0);

/// A name that nobody on this machine has: process and count.
fn unique() -> String {
    format!("{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A folder below the temporary folder that the server's user may enter.
fn scratch(kind: &str) -> PathBuf {
    static CLEARED: Once = Once::new();
    CLEARED.call_once(clear);
    std::env::temp_dir().join(format!("pangate-{kind}-{}", unique()))
}

/// Removes what processes that are gone have left: a server that ends with its test program has nobody to do it.
fn clear() {
    let temporary = std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    for folder in temporary.map(|entry| entry.path()) {
        let owner = folder.file_name().and_then(|name| owner(name.to_str()?));
        if owner.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// The process that made a folder of that name, if it is one of ours.
fn owner(name: &str) -> Option<u32> {
    let rest = ["pangate-postgres-", "pangate-standby-", "pangate-bouncer-"]
        .iter()
        .find_map(|kind| name.strip_prefix(kind))?;
    let (process, count) = rest.split_once('_')?;
    count.parse::<u64>().ok()?;
    process.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_of_our_own_are_ours() {
        assert_eq!(owner("pangate-postgres-123_0"), Some(123));
        assert_eq!(owner("pangate-standby-7_12"), Some(7));
        for other in ["pangate-postgres-123", "pangate-demo-1_2", "pangate-postgres-x_1", "postgres-1_2"] {
            assert_eq!(owner(other), None, "{other}");
        }
    }
}
