//! Requests a second through the real gateway over TLS 1.3 with distinct cards, on SQLite and on PostgreSQL, beside what
//! the same machine does in the same run without us: raw inserts of the same bytes, and a TLS echo by our own door.
//!
//! `cargo bench --bench load [-- SECONDS [ROUNDS]]`. Every answer is checked; a wrong one ends the run. Each figure is a
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
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(Duration::from_secs(seconds), rounds));
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
        let sqlite = System::start_on(None, quiet).await;
        let postgres = System::start_on(Some(cluster.database().unwrap()), quiet).await;
        let echo = echo::Server::start(&sqlite.path("tls"));
        Bench { cluster, sqlite, postgres, echo }
    }

    fn folder(&self) -> &Path {
        self.sqlite.dir.path()
    }
}

async fn run(length: Duration, rounds: u64) {
    let mut bench = Bench::start().await;
    let database = bench.cluster.database().unwrap();
    pgbench::prepare(&bench.cluster, &database.name);
    let mut figures = Figures::default();
    for round in 1..=rounds {
        eprintln_progress(round, rounds);
        figures.note("raw SQLite, 1 row a commit", raw::inserts(bench.folder(), 1, length).await);
        figures.note("raw SQLite, 64 rows a commit", raw::inserts(bench.folder(), 64, length).await);
        for clients in CONNECTIONS {
            let rows = pgbench::inserts(&bench.cluster, &database.name, clients, 1, length);
            figures.note(&format!("raw PostgreSQL, 1 row a commit, {clients} clients"), rows);
        }
        let rows = pgbench::inserts(&bench.cluster, &database.name, 4, 64, length);
        figures.note("raw PostgreSQL, 64 rows a commit, 4 clients", rows);
        let echo = Target::of(&bench.sqlite, &bench.echo.url);
        figures.measure("TLS echo, 64 connections", client::measure(&echo, &Call::Echo, 64, length).await);
        for (name, system) in [("SQLite", &bench.sqlite), ("PostgreSQL", &bench.postgres)] {
            let target = Target::of(system, &system.url);
            for connections in CONNECTIONS {
                let line = client::measure(&target, &Call::Tokenize, connections, length).await;
                figures.measure(&format!("tokens, {name}, {connections} connections"), line);
            }
            let token = client::one_token(&target).await;
            let line = client::measure(&target, &Call::Read(token), 64, length).await;
            figures.measure(&format!("GET token, {name}, 64 connections"), line);
        }
    }
    for (name, system) in [("SQLite", &mut bench.sqlite), ("PostgreSQL", &mut bench.postgres)] {
        let memory = client::resident_mib(system.gateway().id());
        figures.note(&format!("resident MiB of the gateway on {name}, after the load"), memory);
    }
    figures.print();
    rotation::beside_load(&bench.sqlite, length).await;
    drop(bench.postgres);
}

#[expect(clippy::print_stderr, reason = "who waits minutes sees that it goes on")]
fn eprintln_progress(round: u64, rounds: u64) {
    eprintln!("round {round} of {rounds}");
}
