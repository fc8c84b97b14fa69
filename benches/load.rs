//! Requests a second through the real gateway over TLS 1.3 with distinct cards, on SQLite and on PostgreSQL, beside what
//! the same machine does in the same run without us: raw inserts of the same bytes, and a TLS echo by our own door.
//!
//! `cargo bench --bench load [-- SECONDS [ROUNDS [NAME]]]`, where NAME keeps the figures whose name has it. Every answer is checked; a wrong one ends the run. Each figure is a
//! median over the rounds, which take turns so that a noisy minute touches everything alike.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a measurement that goes wrong must stop"
)]
#![expect(clippy::print_stdout, clippy::float_arithmetic, reason = "the figures are the output")]

#[path = "../tests/support/mod.rs"]
mod support;

#[path = "load/client.rs"]
mod client;
#[path = "load/echo.rs"]
mod echo;
#[path = "load/pgbench.rs"]
mod pgbench;
#[path = "load/raw.rs"]
mod raw;
#[path = "load/rotation.rs"]
mod rotation;
#[path = "load/table.rs"]
mod table;

use client::{Call, Target};
use scratch_postgres::Cluster;
use std::path::Path;
use std::time::Duration;
use support::System;
use table::Figures;

const CONNECTIONS: [usize; 3] = [1, 16, 64];

fn main() {
    if echo::is_wanted() {
        return echo::serve();
    }
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let (seconds, rounds) = (numbers.next().unwrap_or(3), numbers.next().unwrap_or(5));
    let only =
        std::env::args().skip(1).find(|argument| argument.starts_with(|c: char| c.is_ascii_alphabetic()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(Duration::from_secs(seconds), rounds, only.as_deref().unwrap_or_default()));
}

/// A server of the bench that cannot do without its cluster.
struct Bench {
    cluster: Cluster,
    sqlite: System,
    postgres: System,
    echo: echo::Server,
}

impl Bench {
    async fn start() -> Bench {
        let quiet =
            |settings: &mut String| *settings = settings.replace("level = \"debug\"", "level = \"warn\"");
        let cluster = Cluster::start("").unwrap();
        let sqlite = System::start_with(quiet).await;
        let postgres = System::start_on_postgres(cluster.database().unwrap(), quiet).await;
        let echo = echo::Server::start(&sqlite.path("tls"));
        Bench { cluster, sqlite, postgres, echo }
    }

    fn folder(&self) -> &Path {
        self.sqlite.dir.path()
    }
}

async fn run(length: Duration, rounds: u64, only: &str) {
    let mut bench = Bench::start().await;
    let database = bench.cluster.database().unwrap();
    pgbench::prepare(&bench.cluster, &database.name);
    let mut figures = Figures::default();
    for round in 1..=rounds {
        eprintln_progress(round, rounds);
        baselines(&bench, &database.name, length, only, &mut figures).await;
        for (name, system) in [("SQLite", &bench.sqlite), ("PostgreSQL", &bench.postgres)] {
            let target = Target::of(system, &system.url);
            for connections in CONNECTIONS {
                let name = format!("tokens, {name}, {connections} connections");
                if name.contains(only) {
                    let line = client::measure(&target, &Call::Tokenize, connections, length).await;
                    figures.measure(&name, line);
                }
            }
            let name = format!("GET token, {name}, 64 connections");
            if name.contains(only) {
                let token = client::one_token(&target).await;
                figures.measure(&name, client::measure(&target, &Call::Read(token), 64, length).await);
            }
        }
    }
    for (name, system) in [("SQLite", &mut bench.sqlite), ("PostgreSQL", &mut bench.postgres)] {
        let memory = client::resident_mib(system.gateway().id());
        figures.note(&format!("resident MiB of the gateway on {name}, after the load"), memory);
    }
    figures.print();
    if only.is_empty() {
        rotation::beside_load(&bench.sqlite, length).await;
    }
    drop(bench.postgres);
}

async fn baselines(bench: &Bench, database: &str, length: Duration, only: &str, figures: &mut Figures) {
    for rows in [1, 64] {
        let name = format!("raw SQLite, {rows} row(s) a commit");
        if name.contains(only) {
            figures.note(&name, raw::inserts(bench.folder(), rows, length).await);
        }
    }
    for (clients, rows) in [(1, 1), (16, 1), (64, 1), (4, 64)] {
        let name = format!("raw PostgreSQL, {rows} row(s) a commit, {clients} client(s)");
        if name.contains(only) {
            figures.note(&name, pgbench::inserts(&bench.cluster, database, clients, rows, length));
        }
    }
    let name = "TLS echo, 64 connections";
    if name.contains(only) {
        let echo = Target::of(&bench.sqlite, &bench.echo.url);
        figures.measure(name, client::measure(&echo, &Call::Echo, 64, length).await);
    }
}

#[expect(clippy::print_stderr, reason = "who waits minutes sees that it goes on")]
fn eprintln_progress(round: u64, rounds: u64) {
    eprintln!("round {round} of {rounds}");
}
