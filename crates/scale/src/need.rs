//! From what one request costs to what an installation needs.

use crate::bench::{Bench, TokenCost};
use crate::demand::{Demand, Host};
use crate::pages;
use std::collections::BTreeMap;

const MIB: f64 = 1024.0 * 1024.0;
const GIB: f64 = 1024.0 * MIB;
const YEAR: f64 = 365.25 * 86400.0;

/// One part with a limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// What it is, with its unit.
    pub name: &'static str,
    /// What the busiest minute needs of it.
    pub need: f64,
    /// What one database with its HSM has of it.
    pub has: f64,
    /// How many times as large the region, cards and requests alike, may be until it is as loaded as it may be.
    pub times: f64,
}

/// What an installation needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Need {
    /// Cores that work for gateways in the busiest minute.
    pub gateway_cores: f64,
    /// Gateways, one of them spare. Each writes by one connection, which is one process of the primary, so one core.
    pub gateways: f64,
    /// Cores that work for the primary.
    pub database_cores: f64,
    /// Key uses a second.
    pub hsm_operations: f64,
    /// HSMs, one of them spare.
    pub hsms: f64,
    /// Bytes of the write-ahead log a second without page images, and of page images.
    pub wal: [f64; 2],
    /// Flushes a second.
    pub flushes: f64,
    /// Requests in one of them.
    pub group: f64,
    /// Connections to the primary.
    pub connections: f64,
    /// Bytes of cards and consents with their indexes.
    pub vault_bytes: f64,
    /// Bytes of the indexes that are met at random: they belong into memory.
    pub hot_bytes: f64,
    /// Bytes that the audit log grows by in a year.
    pub audit_bytes_a_year: f64,
    /// The parts of one database, the first to be full first.
    pub parts: Vec<Part>,
    /// Databases that the load has to be divided between.
    pub databases: f64,
    /// Page images of one token as the bench saw them, and as this arithmetic gives them for the same vault.
    pub images: [f64; 2],
}

impl Need {
    /// Computes it.
    #[must_use]
    pub fn of(bench: &Bench, demand: &Demand, host: &Host) -> Need {
        // A request of each kind, as often as it comes.
        let kinds = [
            (demand.tokens * (1.0 - demand.reuse), &bench.token),
            (demand.tokens * demand.reuse, &bench.reuse),
            (demand.reads, &bench.read),
        ];
        let sum = |of: fn(&TokenCost) -> f64| kinds.iter().map(|(rate, cost)| rate * of(cost)).sum::<f64>();
        let gateway_cores = sum(|cost| cost.gateway_us) / 1e6;
        let database_cores = sum(|cost| cost.postgres_us) / 1e6;
        let hsm_operations = sum(|cost| cost.hsm_operations);
        let flushes = sum(|cost| cost.commits);
        let rows = sum(|cost| cost.wal_bytes);
        let images = |indexes: &BTreeMap<String, f64>, share: f64| {
            let between = demand.tokens * share * host.checkpoint_seconds;
            let each = |bytes: &f64| pages::images_for_each(demand.cards * share, *bytes, between);
            if share > 0.0 { demand.tokens * share * indexes.values().map(each).sum::<f64>() } else { 0.0 }
        };
        let images = images(&bench.random_indexes, 1.0) + images(&bench.fingerprint_indexes, demand.reuse);
        let index_bytes = bench.random_indexes.values().sum::<f64>()
            + demand.reuse * bench.fingerprint_indexes.values().sum::<f64>();
        let hot_bytes = demand.cards * index_bytes * pages::BUILT / pages::GROWN;
        let gateways = (gateway_cores / host.gateway_cores).max(database_cores) / host.utilisation;
        let gateways = gateways.ceil() + 1.0;
        let connections = gateways * bench.connections;
        let part =
            |name, need: f64, has: f64, share: f64| Part { name, need, has, times: has * share / need };
        let most = host.utilisation;
        let mut parts = vec![
            part("processor of the primary, cores", database_cores, host.database_cores, most),
            part("write-ahead log, MiB a second", (rows + images) / MIB, host.wal_mib, most),
            part("memory for the indexes met at random, GiB", hot_bytes / GIB, host.database_gib, most),
            part("one HSM, key uses a second", hsm_operations, host.hsm_operations, most),
            part("connections to the primary", connections, host.database_connections, 0.9),
        ];
        parts.sort_by(|one, other| one.times.total_cmp(&other.times));
        let first = parts.first().map_or(f64::INFINITY, |part| part.times);
        let predicted = |index: &f64| pages::image_of_next(bench.cards, *index, bench.first_tokens);
        Need {
            gateway_cores,
            gateways,
            database_cores,
            hsm_operations,
            hsms: (hsm_operations / (host.hsm_operations * most)).ceil() + 1.0,
            wal: [rows, images],
            flushes,
            group: (demand.tokens + demand.reads) / flushes,
            connections,
            vault_bytes: demand.cards * (bench.row_bytes + bench.other_index_bytes) + hot_bytes,
            hot_bytes,
            audit_bytes_a_year: YEAR * demand.average * sum(|cost| cost.audit_bytes),
            parts,
            databases: (1.0 / first).ceil().max(1.0),
            images: [bench.first_images, bench.random_indexes.values().map(predicted).sum()],
        }
    }
}
