//! Counters for Prometheus. Every label is a word of ours (`&'static str` or a closed enum): what cannot hold input
//! cannot hold a card number, nor grow without bound.

use http::StatusCode;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::fmt::{self, Write};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Seconds. Fine where a token is created, coarse where an upstream is slow.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// The counters, shared by clone.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabel, Histogram>,
    refused: Family<CodeLabel, Counter>,
    tokens: Family<KindLabel, Counter>,
    stray: Counter,
    limited: Family<CodeLabel, Counter>,
    addresses: Gauge,
    door: Family<DoorLabel, Counter>,
    connections: Gauge,
    parts: Family<PartLabel, Gauge>,
    store: Family<StoreLabel, Gauge>,
    withheld: Gauge,
    key_age: Family<KeyLabel, Gauge>,
    keys_overdue: Family<KeyLabel, Gauge>,
    data_key_cache: Family<CacheLabel, Gauge>,
    grace: Gauge,
    device_log_taken: Counter,
    device_log_troubles: Family<CodeLabel, Gauge>,
    records_due: Family<CodeLabel, Gauge>,
    watch: RwLock<Option<Box<Watch>>>,
}

type Watch = dyn Fn() -> StoreActivity + Send + Sync;

/// What the store did since the process started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreActivity {
    /// Durable transactions.
    pub commits: u64,
    /// Acts in them; acts ÷ commits is the size of a group.
    pub acts: u64,
    /// Acts that were refused because the queue was full.
    pub busy: u64,
    /// Transactions that failed.
    pub failed: u64,
}

/// What can happen to a connection before there is a request to speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Door {
    /// The operating system gave no connection.
    AcceptFailed,
    /// Closed at once: the limit was reached.
    TooManyConnections,
    /// Plain HTTP on the TLS port.
    PlainHttp,
    /// The handshake failed.
    HandshakeFailed,
    /// The handshake took too long.
    HandshakeTimeout,
    /// A request ended in a panic.
    Panicked,
}

impl Metrics {
    /// Fresh counters.
    pub fn new() -> Metrics {
        let mut registry = Registry::with_prefix("pangate");
        let mut inner = Inner {
            registry: Registry::default(),
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            refused: Family::default(),
            tokens: Family::default(),
            stray: Counter::default(),
            limited: Family::default(),
            addresses: Gauge::default(),
            door: Family::default(),
            connections: Gauge::default(),
            parts: Family::default(),
            store: Family::default(),
            withheld: Gauge::default(),
            key_age: Family::default(),
            keys_overdue: Family::default(),
            data_key_cache: Family::default(),
            grace: Gauge::default(),
            device_log_taken: Counter::default(),
            device_log_troubles: Family::default(),
            records_due: Family::default(),
            watch: RwLock::default(),
        };
        registry.register("requests", "Requests by route and status", inner.requests.clone());
        registry.register("request_seconds", "Time from head to answer", inner.durations.clone());
        registry.register("door_refusals", "Requests refused at the door", inner.refused.clone());
        registry.register("tokens", "Tokens given, fresh or again", inner.tokens.clone());
        registry.register("stray_refusals", "Messages refused for a stray card number", inner.stray.clone());
        registry.register("rate_limited", "Requests beyond a limit, by whose it is", inner.limited.clone());
        registry.register("strangers", "Addresses of unknown callers in memory", inner.addresses.clone());
        registry.register("door_events", "Connections that came to no request", inner.door.clone());
        registry.register("connections", "Connections now", inner.connections.clone());
        registry.register("part_up", "1 when the part answered the last check", inner.parts.clone());
        registry.register("store_activity", "Work of the store since start", inner.store.clone());
        registry.register(
            "log_lines_withheld",
            "Log lines that could have held a card number",
            inner.withheld.clone(),
        );
        registry.register(
            "key_age_days",
            "Age of the version in use, the oldest of its kind",
            inner.key_age.clone(),
        );
        registry.register(
            "keys_overdue",
            "Keys past their cryptoperiod or their uses",
            inner.keys_overdue.clone(),
        );
        registry.register(
            "data_key_cache",
            "Opened data keys in memory, and what became of uses",
            inner.data_key_cache.clone(),
        );
        registry.register(
            "hsm_grace_seconds",
            "How long opened data keys have stood in for an HSM that is away",
            inner.grace.clone(),
        );
        registry.register(
            "device_log_taken",
            "Entries of the HSMs' own logs that this gateway asked for and stored",
            inner.device_log_taken.clone(),
        );
        registry.register(
            "device_log_troubles",
            "HSMs whose own log needs somebody to look at it",
            inner.device_log_troubles.clone(),
        );
        registry.register(
            "policy_records_due",
            "Records in the policy folder that are due, by what is due",
            inner.records_due.clone(),
        );
        inner.registry = registry;
        Metrics(Arc::new(inner))
    }

    /// One answered request. `route` is a name of ours, never the request's own path.
    pub fn request(&self, route: &'static str, status: StatusCode, took: Duration) {
        self.0.requests.get_or_create(&RequestLabels { route, status: status.as_u16() }).inc();
        self.0.durations.get_or_create(&RouteLabel { route }).observe(took.as_secs_f64());
    }

    /// One request that was refused at the door, by the stable code of its problem.
    pub fn refused(&self, code: &'static str) {
        self.0.refused.get_or_create(&CodeLabel { code }).inc();
    }

    /// One token that was given: a new one, or the one that the card already had.
    pub fn token_created(&self, reused: bool) {
        let kind = if reused { "reused" } else { "created" };
        self.0.tokens.get_or_create(&KindLabel { kind }).inc();
    }

    /// One message refused because a card number stood where none belongs.
    pub fn stray_refused(&self) {
        self.0.stray.inc();
    }

    /// One request beyond the limit of a principal, a tenant or an address.
    pub fn rate_limited(&self, whose: &'static str) {
        self.0.limited.get_or_create(&CodeLabel { code: whose }).inc();
    }

    /// How many addresses of unknown callers are in memory.
    pub fn strangers(&self, count: usize) {
        self.0.addresses.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Something that happened at the door.
    pub fn door(&self, event: Door) {
        self.0.door.get_or_create(&DoorLabel { event }).inc();
    }

    /// Counts a connection until the guard is dropped.
    pub fn connection(&self) -> OpenConnection {
        self.0.connections.inc();
        OpenConnection(self.0.connections.clone())
    }

    /// Whether a part that pangate depends on answered.
    pub fn part(&self, part: &'static str, up: bool) {
        self.0.parts.get_or_create(&PartLabel { part }).set(i64::from(up));
    }

    /// How old the key of that name is that is in use, in whole days, and how many of that name are overdue.
    pub fn key(&self, key: &'static str, age_days: u64, overdue: u64) {
        let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.0.key_age.get_or_create(&KeyLabel { key }).set(whole(age_days));
        self.0.keys_overdue.get_or_create(&KeyLabel { key }).set(whole(overdue));
    }

    /// The opened data keys in memory, and for how long they have stood in for the HSM.
    pub fn data_key_cache(&self, entries: u64, hits: u64, misses: u64, purges: u64, grace: Duration) {
        let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        for (kind, count) in [("entries", entries), ("hits", hits), ("misses", misses), ("purges", purges)] {
            self.0.data_key_cache.get_or_create(&CacheLabel { kind }).set(whole(count));
        }
        self.0.grace.set(whole(grace.as_secs()));
    }

    /// Entries of the HSMs' own logs that were taken.
    pub fn device_log_taken(&self, entries: u64) {
        self.0.device_log_taken.inc_by(entries);
    }

    /// How many HSMs have a log with this trouble.
    pub fn device_log_trouble(&self, code: &'static str, devices: usize) {
        let devices = i64::try_from(devices).unwrap_or(i64::MAX);
        self.0.device_log_troubles.get_or_create(&CodeLabel { code }).set(devices);
    }

    /// What is due in the policy folder now, one code for each record.
    pub fn records_due(&self, codes: impl Iterator<Item = &'static str>) {
        self.0.records_due.clear();
        for code in codes {
            self.0.records_due.get_or_create(&CodeLabel { code }).inc();
        }
    }

    /// Names where the store's counters are read whenever the metrics are.
    pub fn watch_store(&self, read: impl Fn() -> StoreActivity + Send + Sync + 'static) {
        *self.0.watch.write().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(read));
    }

    /// All of it in the OpenMetrics text format.
    pub fn render(&self) -> String {
        let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.0.withheld.set(whole(crate::log::withheld()));
        if let Some(read) = self.0.watch.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
            let now = read();
            for (kind, count) in
                [("commits", now.commits), ("acts", now.acts), ("busy", now.busy), ("failed", now.failed)]
            {
                self.0.store.get_or_create(&StoreLabel { kind }).set(whole(count));
            }
        }
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.0.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

/// One open connection.
#[must_use = "the connection counts as long as this lives"]
pub struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartLabel {
    part: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KeyLabel {
    key: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CacheLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StoreLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DoorLabel {
    event: Door,
}

impl EncodeLabelValue for Door {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        encoder.write_str(match self {
            Door::AcceptFailed => "accept_failed",
            Door::TooManyConnections => "too_many_connections",
            Door::PlainHttp => "plain_http",
            Door::HandshakeFailed => "handshake_failed",
            Door::HandshakeTimeout => "handshake_timeout",
            Door::Panicked => "panicked",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_counted_under_its_own_words() {
        let metrics = Metrics::new();
        metrics.request("tokens", StatusCode::CREATED, Duration::from_millis(3));
        metrics.request("tokens", StatusCode::CREATED, Duration::from_millis(3));
        metrics.refused("overloaded");
        metrics.token_created(true);
        metrics.door(Door::PlainHttp);
        metrics.part("hsm", false);
        metrics.key("kek/card", 400, 1);
        metrics.data_key_cache(3, 9, 2, 1, Duration::from_secs(7));
        metrics.watch_store(|| StoreActivity { commits: 2, acts: 9, ..StoreActivity::default() });
        metrics.device_log_taken(5);
        metrics.device_log_trouble("device_log_set_back", 1);
        let open = metrics.connection();
        let text = metrics.render();
        for line in [
            "pangate_requests_total{route=\"tokens\",status=\"201\"} 2",
            "pangate_request_seconds_count{route=\"tokens\"} 2",
            "pangate_door_refusals_total{code=\"overloaded\"} 1",
            "pangate_tokens_total{kind=\"reused\"} 1",
            "pangate_door_events_total{event=\"plain_http\"} 1",
            "pangate_part_up{part=\"hsm\"} 0",
            "pangate_store_activity{kind=\"acts\"} 9",
            "pangate_connections 1",
            "pangate_key_age_days{key=\"kek/card\"} 400",
            "pangate_keys_overdue{key=\"kek/card\"} 1",
            "pangate_data_key_cache{kind=\"hits\"} 9",
            "pangate_hsm_grace_seconds 7",
            "pangate_device_log_taken_total 5",
            "pangate_device_log_troubles{code=\"device_log_set_back\"} 1",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        drop(open);
        assert!(metrics.render().contains("pangate_connections 0"));
    }
}
