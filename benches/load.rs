//! Requests a second through the real gateway over TLS 1.3 with distinct cards, on SQLite and on PostgreSQL, beside what
//! the same machine does in the same run without us: raw inserts of the same bytes, and a TLS echo by our own door. And
//! what a request costs each part, how much memory a gateway takes, what a second gateway and a large vault change.
//!
//! `cargo bench --bench load -- [SECONDS [ROUNDS [NAME]]] [--cards N] [--json FILE]`, where NAME keeps the figures whose
//! name has it. Every answer is checked; a wrong one ends the run. Each figure is a median over the rounds, in which
//! what is compared takes turns so that a noisy minute touches everything alike.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a measurement that goes wrong must stop"
)]
#![expect(clippy::print_stdout, clippy::float_arithmetic, reason = "the figures are the output")]

#[path = "../tests/support/mod.rs"]
mod support;

#[path = "load/asked.rs"]
mod asked;
#[path = "load/client.rs"]
mod client;
#[path = "load/cost.rs"]
mod cost;
#[path = "load/echo.rs"]
mod echo;
#[path = "load/figures.rs"]
mod figures;
#[path = "load/gateways.rs"]
mod gateways;
#[path = "load/many_cards.rs"]
mod many_cards;
#[path = "load/memory.rs"]
mod memory;
#[path = "load/pgbench.rs"]
mod pgbench;
#[path = "load/ratios.rs"]
mod ratios;
#[path = "load/raw.rs"]
mod raw;
#[path = "load/report.rs"]
mod report;
#[path = "load/rotation.rs"]
mod rotation;

use asked::Asked;
use client::{Call, Fleet, Target};
use cost::Meter;
use figures::Figures;
use scratch_postgres::{Cluster, Database};
use std::path::Path;
use std::time::Duration;
use support::System;

const CONNECTIONS: [usize; 3] = [1, 16, 64];

fn main() {
    if echo::is_wanted() {
        return echo::serve();
    }
    let asked = Asked::read().unwrap_or_else(|wrong| panic!("{wrong}"));
    memory::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let figures = runtime.block_on(run(&asked));
    report::print(&figures, &asked);
    if let Some(file) = &asked.json {
        let told = serde_json::to_string_pretty(&report::json(&figures, &asked)).unwrap();
        std::fs::write(file, told + "\n").unwrap();
    }
}

/// Changes of a measured gateway's settings.
fn quiet(settings: &mut String) {
    let connections = format!("realm = \"test\"\nconnections = {}\n", memory::LIMIT);
    *settings =
        settings.replace("level = \"debug\"", "level = \"warn\"").replace("realm = \"test\"\n", &connections);
}

/// A server of the bench that cannot do without its cluster.
struct Bench {
    sqlite: System,
    postgres: System,
    database: Database,
    raw: Database,
    echo: echo::Server,
    cluster: Cluster,
}

impl Bench {
    async fn start() -> Bench {
        let cluster = Cluster::start("").unwrap();
        let (database, raw) = (cluster.database().unwrap(), cluster.database().unwrap());
        let sqlite = System::start_with(quiet).await;
        let postgres = System::start_on_postgres(database.clone(), quiet).await;
        let echo = echo::Server::start(&sqlite.path("tls"));
        pgbench::prepare(&cluster, &raw.name);
        Bench { sqlite, postgres, database, raw, echo, cluster }
    }

    fn folder(&self) -> &Path {
        self.sqlite.dir.path()
    }
}

async fn run(asked: &Asked) -> Figures {
    let mut bench = Bench::start().await;
    let mut figures = Figures::default();
    for round in 1..=asked.rounds {
        progress(&format!("round {round} of {}", asked.rounds));
        baselines(&bench, asked, &mut figures).await;
        loads(&mut bench, asked, &mut figures).await;
    }
    if asked.wants_all() {
        for (name, system) in [("SQLite", &mut bench.sqlite), ("PostgreSQL", &mut bench.postgres)] {
            let memory = memory::resident_mib(system.gateway().id());
            figures.note(&format!("resident MiB after the load, {name}"), figures::Unit::Mebibytes, memory);
        }
    }
    gateways::measure(asked, &bench.postgres, &mut figures).await;
    rotation::beside_load(asked, &bench.sqlite, &mut figures).await;
    memory::measure(asked, "SQLite", &mut bench.sqlite, &mut figures).await;
    memory::measure(asked, "PostgreSQL", &mut bench.postgres, &mut figures).await;
    drop(bench);
    many_cards::on_sqlite(asked, &mut figures).await;
    many_cards::on_postgres(asked, &mut figures).await;
    figures
}

async fn loads(bench: &mut Bench, asked: &Asked, figures: &mut Figures) {
    let on_postgres = (&bench.cluster, bench.database.name.as_str());
    for (name, system, server) in
        [("SQLite", &mut bench.sqlite, None), ("PostgreSQL", &mut bench.postgres, Some(on_postgres))]
    {
        let target = Target::of(system, &system.url);
        for connections in CONNECTIONS {
            let name = format!("tokens, {name}, {connections} connections");
            if asked.wants(&name) {
                metered(
                    system,
                    server,
                    &name,
                    (&target, &Call::Tokenize, connections),
                    asked.length,
                    figures,
                )
                .await;
            }
        }
        for call in ["tokens with reuse", "GET token"] {
            let name = format!("{call}, {name}, 64 connections");
            if asked.wants(&name) {
                let read = async || client::read_one(&target, &Call::Tokenize).await;
                let call = if call == "GET token" { read().await } else { Call::Reuse };
                metered(system, server, &name, (&target, &call, 64), asked.length, figures).await;
            }
        }
    }
}

/// One load, with what it cost.
async fn metered(
    system: &mut System,
    server: Option<(&Cluster, &str)>,
    name: &str,
    (target, call, connections): (&Target, &Call, usize),
    length: Duration,
    figures: &mut Figures,
) {
    let meter = Meter::of(system, server);
    let fleet = Fleet::open(target, connections).await;
    let before = meter.before().await;
    let line = fleet.run(call, length).await;
    figures.cost(name, meter.cost(before, line.answers).await);
    figures.measure(name, &line);
}

async fn baselines(bench: &Bench, asked: &Asked, figures: &mut Figures) {
    let length = asked.length;
    for rows in [1, 64] {
        let name = format!("raw SQLite, {rows} row(s) a commit");
        if asked.wants(&name) {
            let inserts = raw::inserts(bench.folder(), rows, length).await;
            figures.note(&name, figures::Unit::PerSecond, inserts);
        }
    }
    for (clients, rows) in [(1, 1), (16, 1), (64, 1), (4, 64)] {
        let name = format!("raw PostgreSQL, {rows} row(s) a commit, {clients} client(s)");
        if asked.wants(&name) {
            let inserts = pgbench::inserts(&bench.cluster, &bench.raw.name, clients, rows, length);
            figures.note(&name, figures::Unit::PerSecond, inserts);
        }
    }
    let name = "TLS echo, 64 connections";
    if asked.wants(name) {
        let echo = Target::of(&bench.sqlite, &bench.echo.url);
        figures.measure(name, &client::measure(&echo, &Call::Echo, 64, length).await);
    }
}

#[expect(clippy::print_stderr, reason = "who waits minutes sees that it goes on")]
fn progress(words: &str) {
    eprintln!("{words}");
}
