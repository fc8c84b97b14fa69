//! Does it pay to divide `card` by a hash of its tenant? The same rows in one table and in sixteen parts of one, beside
//! each other in a scratch PostgreSQL: what it takes to load them, to add rows in groups as the store does, to find one,
//! to go through one tenant, to clean up after a rotation, and how much log it writes. Plain SQL; no gateway is in it.
//!
//! `cargo bench --bench partition -- [CARDS [SECONDS [ROUNDS]]]`
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a measurement that goes wrong must stop")]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::float_arithmetic,
    reason = "the figures are the output"
)]

use scratch_postgres::Cluster;
use std::time::Instant;

const PARTS: u32 = 16;
const TENANTS: u32 = 400;
/// As many rows as a group of the store has under load.
const GROUP: u32 = 32;
/// One writer a gateway.
const WRITERS: usize = 2;
const READERS: usize = 8;
const STEP: u64 = 500_000;

/// The columns of `card` that every row has, as the product's schema has them.
const COLUMNS: &str = "tenant text COLLATE \"C\" NOT NULL, token text COLLATE \"C\" NOT NULL, fingerprint bytea, \
    fingerprint_version bigint NOT NULL, reusable smallint NOT NULL, envelope bytea, data_key_id bytea, \
    brand text COLLATE \"C\" NOT NULL, last4 text COLLATE \"C\" NOT NULL, exp_month smallint NOT NULL, \
    exp_year smallint NOT NULL, format text COLLATE \"C\" NOT NULL, created_at timestamptz NOT NULL";

/// A row of tenant `t` with number `i`: the token is random as a token is, the data key is the tenant's.
fn row(tenant: &str, number: &str) -> String {
    format!(
        "SELECT 'clinic-' || ({tenant}), 'tok_test_' || translate(md5('t' || ({number})), '0123456789', 'ghijklmnop'), \
         sha256(('f' || ({number}))::bytea), 1, 1, decode(repeat('07', 250), 'hex'), \
         decode(md5('k' || ({tenant})), 'hex'), 'visa', '4242', 12, 2034, 'opaque', now()"
    )
}

struct Table {
    name: &'static str,
    figures: Vec<(&'static str, Vec<f64>)>,
}

impl Table {
    fn note(&mut self, what: &'static str, value: f64) {
        match self.figures.iter_mut().find(|(known, _)| *known == what) {
            Some((_, values)) => values.push(value),
            None => self.figures.push((what, vec![value])),
        }
    }
}

struct Bench {
    cluster: Cluster,
    database: String,
    cards: u64,
    seconds: u64,
}

fn main() {
    let numbers: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let at = |place: usize, usual: u64| numbers.get(place).copied().unwrap_or(usual);
    let (cards, seconds, rounds) = (at(0, 200_000), at(1, 5), at(2, 3));
    let cluster =
        Cluster::start("max_wal_size = 3GB\ncheckpoint_timeout = 1h\nmaintenance_work_mem = 512MB").unwrap();
    let database = cluster.database().unwrap().name;
    let bench = Bench { cluster, database, cards, seconds };
    let mut tables = [("whole", ""), ("parts", " PARTITION BY HASH (tenant)")].map(|(name, divided)| {
        let mut table = Table { name, figures: Vec::new() };
        bench.make(&mut table, divided);
        table
    });
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        for table in &mut tables {
            bench.use_it(table);
        }
    }
    for table in &mut tables {
        bench.clean_up(table);
    }
    let [whole, parts] = &tables;
    println!("{cards} cards, {TENANTS} tenants, {PARTS} parts, medians of {rounds} rounds of {seconds} s");
    println!("{:<52} {:>12} {:>12} {:>8}", "", "one table", "parts", "ratio");
    for ((what, one), (_, other)) in whole.figures.iter().zip(&parts.figures) {
        let (one, other) = (median(one), median(other));
        println!("{what:<52} {one:>12.2} {other:>12.2} {:>8.2}", other / one);
    }
}

impl Bench {
    fn sql(&self, sql: &str) -> String {
        self.cluster.sql(&self.database, sql).unwrap()
    }

    fn timed(&self, sql: &str) -> f64 {
        let since = Instant::now();
        self.sql(sql);
        since.elapsed().as_secs_f64()
    }

    fn number(&self, sql: &str) -> f64 {
        self.sql(sql).parse().unwrap()
    }

    /// Rows first, then the indexes of the product's schema.
    fn make(&self, table: &mut Table, divided: &str) {
        let name = table.name;
        self.sql(&format!("CREATE TABLE {name} ({COLUMNS}){divided}"));
        if !divided.is_empty() {
            for part in 0..PARTS {
                let rest = format!("MODULUS {PARTS}, REMAINDER {part}");
                self.sql(&format!("CREATE TABLE {name}_{part} PARTITION OF {name} FOR VALUES WITH ({rest})"));
            }
        }
        let mut loading = 0.0;
        for from in (1..=self.cards).step_by(usize::try_from(STEP).unwrap()) {
            let to = (from + STEP - 1).min(self.cards);
            let rows = row(&format!("i % {TENANTS}"), "i");
            loading +=
                self.timed(&format!("INSERT INTO {name} {rows} FROM generate_series({from}, {to}) AS i"));
            eprintln!("{name}: {to} of {} cards", self.cards);
        }
        table.note("bulk insert without indexes, s", loading);
        let indexes = [
            format!("ALTER TABLE {name} ADD PRIMARY KEY (tenant, token)"),
            format!(
                "CREATE UNIQUE INDEX {name}_reuse ON {name} (tenant, fingerprint_version, fingerprint) \
                 WHERE reusable = 1"
            ),
            format!(
                "CREATE INDEX {name}_data_key ON {name} (data_key_id, tenant, token) \
                 WHERE data_key_id IS NOT NULL"
            ),
            format!(
                "CREATE INDEX {name}_version ON {name} (fingerprint_version, tenant, token) \
                 WHERE fingerprint IS NOT NULL"
            ),
        ];
        let making = indexes.iter().map(|index| self.timed(index)).sum();
        table.note("all indexes made, s", making);
        table.note("analyzed and vacuumed, s", self.timed(&format!("VACUUM (ANALYZE) {name}")));
        let size = format!("SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('{name}')");
        let size = self.number(&if divided.is_empty() {
            format!("SELECT pg_total_relation_size('{name}')")
        } else {
            size
        });
        table.note("bytes a card", size / self.number(&format!("SELECT count(*) FROM {name}")));
    }

    fn use_it(&self, table: &mut Table) {
        let name = table.name;
        self.sql("CHECKPOINT");
        let position = || self.sql("SELECT pg_current_wal_insert_lsn()");
        let before = position();
        // As the store adds rows: a group in one statement, tenants as they come, numbers that nobody had.
        let tenant = format!("(random() * {})::int", TENANTS - 1);
        let rows = row("n.tenant", "n.number");
        let groups = format!(
            "INSERT INTO {name} {rows} FROM (SELECT {tenant} AS tenant, gen_random_uuid() AS number \
             FROM generate_series(1, {GROUP})) AS n ON CONFLICT DO NOTHING;\n"
        );
        let added = self.pgbench(WRITERS, &groups) * f64::from(GROUP);
        table.note("rows added a second, 32 a commit, 2 writers", added);
        let written = self.number(&format!("SELECT pg_wal_lsn_diff('{}', '{before}')", position()));
        table.note("  log of one such row after a checkpoint, bytes", written / (added * self.seconds()));
        let cards = self.cards;
        let find = format!(
            "\\set i random(1, {cards})\nSELECT brand, last4 FROM {name} WHERE tenant = 'clinic-' || (:i % {TENANTS}) \
             AND token = 'tok_test_' || translate(md5('t' || :i), '0123456789', 'ghijklmnop');\n"
        );
        table.note("rows found by tenant and token a second", self.pgbench(READERS, &find));
        let known = format!(
            "\\set i random(1, {cards})\nSELECT token FROM {name} WHERE tenant = 'clinic-' || (:i % {TENANTS}) \
             AND fingerprint_version = 1 AND fingerprint = sha256(('f' || :i)::bytea) AND reusable = 1;\n"
        );
        table.note("cards found by fingerprint a second", self.pgbench(READERS, &known));
        // What a rotation asks: the next rows of a data key, whoever's they are.
        let batch = format!(
            "\\set t random(0, {})\nSELECT tenant, token FROM {name} WHERE data_key_id = \
             decode(md5('k' || :t), 'hex') ORDER BY data_key_id, tenant, token LIMIT 64;\n",
            TENANTS - 1
        );
        table.note("batches of a data key's rows a second", self.pgbench(READERS, &batch));
    }

    /// A whole tenant's rows sealed anew, and what cleaning up after it takes.
    fn clean_up(&self, table: &mut Table) {
        let name = table.name;
        for tenant in 0..3 {
            let anew = format!(
                "UPDATE {name} SET envelope = decode(repeat('08', 250), 'hex') WHERE tenant = 'clinic-{tenant}'"
            );
            table.note("one tenant's rows sealed anew, s", self.timed(&anew));
        }
        table.note("vacuumed after that, s", self.timed(&format!("VACUUM {name}")));
        let destroyed = format!("DELETE FROM {name} WHERE tenant = 'clinic-9'");
        table.note("one tenant destroyed, s", self.timed(&destroyed));
    }

    fn seconds(&self) -> f64 {
        f64::from(u32::try_from(self.seconds).unwrap())
    }

    fn pgbench(&self, clients: usize, script: &str) -> f64 {
        let said = self.cluster.pgbench(&self.database, clients, self.seconds, script).unwrap();
        let line = said.lines().find_map(|line| line.strip_prefix("tps = ")).unwrap();
        line.split(' ').next().unwrap().parse().unwrap()
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
