//! Resident memory of a fresh gateway: under the load of 64 connections, and with 5,000 that have asked once and wait.

use crate::asked::Asked;
use crate::client::{self, Call, Fleet, Target};
use crate::figures::{Figures, Unit};
use crate::progress;
use crate::support::{System, wire};
use std::time::Duration;

const IDLE_CONNECTIONS: usize = 5000;
/// With this many the gateway of the measurement is started.
pub(crate) const LIMIT: usize = IDLE_CONNECTIONS + 500;
pub(crate) const IDLE: &str = "resident MiB, 5000 idle TLS connections";

/// The figure's name.
pub(crate) fn under_load(database: &str) -> String {
    format!("resident MiB, 64 connections under load, {database}")
}

/// Files that this process may have open, and those it starts: raised as far as it takes, if that is allowed.
pub(crate) fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = u64::try_from(LIMIT).unwrap() + 500;
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        let enough = limit.maximum.is_none_or(|most| most >= wanted);
        assert!(
            enough && setrlimit(Resource::Nofile, raised).is_ok(),
            "ulimit -n has to be {wanted} at least"
        );
    }
}

pub(crate) async fn measure(asked: &Asked, database: &str, system: &mut System, figures: &mut Figures) {
    let (loaded, idle) = (under_load(database), database == "PostgreSQL" && asked.wants(IDLE));
    if !asked.wants(&loaded) && !idle {
        return;
    }
    for round in 1..=asked.rounds {
        progress(&format!("memory on {database}, round {round} of {}", asked.rounds));
        assert!(system.gateway().terminate());
        system.start_gateway();
        system.wait_ready().await;
        let gateway = system.gateway().id();
        let target = Target::of(system, &system.url);
        if asked.wants(&loaded) {
            let load = client::measure(&target, &Call::Tokenize, 64, asked.length);
            figures.note(&loaded, Unit::Mebibytes, highest_during(gateway, load).await);
        }
        if idle {
            let read = client::read_one(&target, &Call::Tokenize).await;
            // One that never asked anything would be closed after five seconds, one that did after sixty.
            let mut fleet = Fleet::open(&target, IDLE_CONNECTIONS).await;
            fleet.once_each(&read).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            figures.note(IDLE, Unit::Mebibytes, resident_mib(gateway));
            let metrics = wire::Answer::of(wire::plain_client().get(format!("{}/metrics", system.ops))).await;
            let open = metrics.text.lines().find_map(|line| line.strip_prefix("pangate_connections "));
            let open: usize = open.unwrap().parse().unwrap();
            assert!(open >= IDLE_CONNECTIONS, "only {open} connections were open at the end");
        }
    }
}

/// The most that a process had while something went on.
async fn highest_during<T>(pid: u32, load: impl Future<Output = T>) -> f64 {
    let mut most: f64 = 0.0;
    let mut load = std::pin::pin!(load);
    loop {
        tokio::select! {
            _ = &mut load => return most.max(resident_mib(pid)),
            () = tokio::time::sleep(Duration::from_millis(50)) => most = most.max(resident_mib(pid)),
        }
    }
}

/// Resident memory of a process, from `/proc` (proc(5), `VmRSS`).
pub(crate) fn resident_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib / 1024.0
}
