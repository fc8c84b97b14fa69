//! What a request costs each part: processor time of the process trees, bytes of PostgreSQL's write-ahead log, bytes
//! kept, operations of the HSM. Counters are read before and after a load; the difference is divided by its answers.

use crate::support::{System, wire};
use hsm::{Hsm, KeyFilter};
use hsm_sim::client::SimClient;
use scratch_postgres::Cluster;
use std::collections::BTreeMap;

/// Ticks a second in `/proc/PID/stat`, the same on every Linux that Rust's tier 1 runs on (proc(5), USER_HZ).
const TICKS: f64 = 100.0;

/// The counters of one gateway with its HSM and its database.
pub(crate) struct Meter<'a> {
    gateway: u32,
    hsm: u32,
    device: SimClient,
    metrics: String,
    server: Option<(&'a Cluster, String)>,
}

/// The counters at one moment.
pub(crate) struct Reading {
    counters: BTreeMap<String, f64>,
    log_position: String,
}

impl<'a> Meter<'a> {
    /// For a system, and the server with the database's name where it is on PostgreSQL.
    pub(crate) fn of(system: &mut System, server: Option<(&'a Cluster, &str)>) -> Meter<'a> {
        let pin = pangate::settings::secret(&system.path("hsm.pin")).unwrap();
        if let Some((cluster, _)) = server {
            // Ships with the server since 15.
            cluster.sql("postgres", "CREATE EXTENSION IF NOT EXISTS pg_walinspect").unwrap();
        }
        Meter {
            gateway: system.gateway().id(),
            hsm: system.hsm().id(),
            device: SimClient::connect(&system.socket(), pin),
            metrics: format!("{}/metrics", system.ops),
            server: server.map(|(cluster, database)| (cluster, database.to_owned())),
        }
    }

    /// Before a load: what looking costs comes before the processor times.
    pub(crate) async fn before(&self) -> Reading {
        let mut reading = self.ask().await;
        self.times(&mut reading.counters);
        reading
    }

    /// After a load, in the other order: what each answer of it cost.
    pub(crate) async fn cost(&self, before: Reading, answers: u32) -> BTreeMap<String, f64> {
        let mut times = BTreeMap::new();
        self.times(&mut times);
        let mut after = self.ask().await;
        after.counters.extend(times);
        let each = |(name, value): (String, f64)| {
            let spent = value - before.counters.get(&name).copied().unwrap_or(0.0);
            (name, spent / f64::from(answers))
        };
        let mut cost: BTreeMap<String, f64> = after.counters.into_iter().map(each).collect();
        if let Some((cluster, database)) = &self.server {
            let number =
                |database: &str, sql: &str| cluster.sql(database, sql).unwrap().parse::<f64>().unwrap();
            let (from, to) = (&before.log_position, &after.log_position);
            let images = format!("SELECT COALESCE(sum(fpi_size), 0) FROM pg_get_wal_stats('{from}', '{to}')");
            cost.insert("wal_page_image_bytes".to_owned(), number("postgres", &images) / f64::from(answers));
            let open = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}'");
            cost.insert("database_connections".to_owned(), number("postgres", &open));
        }
        cost
    }

    fn times(&self, counters: &mut BTreeMap<String, f64>) {
        counters.insert("gateway_cpu_us".to_owned(), processor_us(self.gateway, false));
        counters.insert("hsm_cpu_us".to_owned(), processor_us(self.hsm, false));
        if let Some((cluster, _)) = &self.server {
            // Those of its processes that ended are in the first one's account.
            let ids = cluster.processes();
            let server = ids.iter().enumerate().map(|(at, id)| processor_us(*id, at == 0)).sum();
            counters.insert("postgres_cpu_us".to_owned(), server);
        }
    }

    async fn ask(&self) -> Reading {
        let mut counters = BTreeMap::new();
        let keys = self.device.keys(&KeyFilter::default()).unwrap();
        let uses: u64 = keys.iter().filter_map(|key| key.uses).sum();
        counters.insert("hsm_key_uses".to_owned(), uses.to_string().parse().unwrap());
        let told = wire::Answer::of(wire::plain_client().get(&self.metrics)).await.text;
        let commits = "pangate_store_activity{kind=\"commits\"} ";
        let commits = told.lines().find_map(|line| line.strip_prefix(commits)).unwrap();
        counters.insert("commits".to_owned(), commits.parse().unwrap());
        let mut log_position = String::new();
        if let Some((cluster, database)) = &self.server {
            log_position = cluster.sql("postgres", "SELECT pg_current_wal_flush_lsn()").unwrap();
            let bytes = format!("SELECT pg_wal_lsn_diff('{log_position}', '0/0')");
            let bytes = cluster.sql("postgres", &bytes).unwrap().parse().unwrap();
            counters.insert("wal_bytes".to_owned(), bytes);
            let bytes = table_bytes(cluster, database);
            for table in ["card", "purpose", "audit_entry"] {
                counters.insert(format!("stored_bytes_{table}"), bytes[table]);
            }
        }
        Reading { counters, log_position }
    }
}

/// Bytes of every table of pangate's with its indexes.
pub(crate) fn table_bytes(cluster: &Cluster, database: &str) -> BTreeMap<String, f64> {
    relations(
        cluster,
        database,
        "SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relkind = 'r'",
    )
}

/// Bytes of every index.
pub(crate) fn index_bytes(cluster: &Cluster, database: &str) -> BTreeMap<String, f64> {
    relations(cluster, database, "SELECT relname, pg_relation_size(oid) FROM pg_class WHERE relkind = 'i'")
}

fn relations(cluster: &Cluster, database: &str, sql: &str) -> BTreeMap<String, f64> {
    let ours = "relnamespace = 'public'::regnamespace";
    let listed = cluster.sql(database, &format!("{sql} AND {ours}")).unwrap();
    let pair =
        |line: &str| line.split_once('|').map(|(name, bytes)| (name.to_owned(), bytes.parse().unwrap()));
    listed.lines().filter_map(pair).collect()
}

/// Processor time of a process, in microseconds; with that of its children that ended, if asked for (proc(5)).
fn processor_us(pid: u32, with_ended: bool) -> f64 {
    // A process that ends meanwhile is in its parent's account.
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return 0.0 };
    // The name before it may hold anything. What follows it are the fields from the third on.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let wanted = if with_ended { 11..15 } else { 11..13 };
    fields[wanted].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / TICKS * 1e6
}
