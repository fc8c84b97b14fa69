//! Does a vault of ten million cards answer as fast as a small one? Two gateways of the same kind, one on each, take
//! turns; the latency at 64 connections is compared. The cards come from [`fill`], each with a fingerprint.

#[path = "many_cards/fill.rs"]
mod fill;

use crate::asked::Asked;
use crate::client::{self, Call, Fleet, Line, Target};
use crate::cost::{self, Meter};
use crate::figures::{Figures, Size};
use crate::support::System;
use crate::{progress, quiet};
use fill::Filling;
use scratch_postgres::{Cluster, Database};
use std::sync::Arc;

/// Cards in the small vault.
pub(crate) const FEW: u64 = 1000;
/// Tokens that are read in turn.
pub(crate) const READ: u64 = 10_000;

pub(crate) const CALLS: [&str; 3] = ["POST", "POST with reuse", "GET"];

/// The figure's name; `call` is one of [`CALLS`].
pub(crate) fn name(call: &str, database: &str, cards: u64) -> String {
    format!("{call} token, {database}, 64 connections, vault of {cards}")
}

/// The figure of new tokens straight after a checkpoint of the large vault: nearly every page that a token changes is
/// written into the log as a whole.
pub(crate) fn after_checkpoint(cards: u64) -> String {
    format!("{}, just after a checkpoint", name("POST", "PostgreSQL", cards))
}

/// A vault with a gateway on it.
struct Vault {
    system: System,
    cards: u64,
    /// Some of its tokens.
    tokens: Arc<Vec<String>>,
}

pub(crate) async fn on_postgres(asked: &Asked, figures: &mut Figures) {
    let wanted = wanted(asked, "PostgreSQL");
    if wanted.is_empty() {
        return;
    }
    // Memory as a server of such a vault has it: enough for the indexes that are met at random. What a bulk insert of
    // this size wants, and no checkpoint but those that are ordered. Everything else is as it comes.
    let settings =
        "shared_buffers = 4GB\nmax_wal_size = 16GB\ncheckpoint_timeout = 1h\nmaintenance_work_mem = 512MB";
    let cluster = Cluster::start(settings).unwrap();
    let databases = [cluster.database().unwrap(), cluster.database().unwrap()];
    let mut vaults = Vec::new();
    for (cards, database) in [FEW, asked.cards].into_iter().zip(&databases) {
        let mut system = System::start_on_postgres(database.clone(), quiet).await;
        let target = Target::of(&system, &system.url);
        client::read_one(&target, &Call::Reuse).await;
        assert!(system.gateway().terminate());
        let mut filling = Filling::fill(&cluster, &database.name, cards);
        figures.sizes.push(size(&cluster, database, cards));
        system.start_gateway();
        system.wait_ready().await;
        let mut vault = Vault { system, cards, tokens: filling.tokens() };
        if cards == asked.cards {
            let name = after_checkpoint(cards);
            for _ in 0..asked.rounds {
                vault.metered(&Call::Tokenize, &name, (&cluster, &database.name), asked, figures).await;
            }
            filling.settle();
        }
        vaults.push((vault, database));
    }
    for round in 1..=asked.rounds {
        progress(&format!("vaults on PostgreSQL, round {round} of {}", asked.rounds));
        for (call, of_call) in &wanted {
            for (vault, database) in &mut vaults {
                let name = name(of_call, "PostgreSQL", vault.cards);
                vault.metered(call, &name, (&cluster, &database.name), asked, figures).await;
            }
        }
    }
    drop(vaults);
}

pub(crate) async fn on_sqlite(asked: &Asked, figures: &mut Figures) {
    let wanted = wanted(asked, "SQLite");
    if wanted.is_empty() {
        return;
    }
    let mut vaults = Vec::new();
    for cards in [FEW, asked.cards] {
        let mut system = System::start_with(quiet).await;
        let target = Target::of(&system, &system.url);
        client::read_one(&target, &Call::Reuse).await;
        assert!(system.gateway().terminate());
        let tokens = fill::sqlite(&system.path("pangate.db"), cards).await;
        system.start_gateway();
        system.wait_ready().await;
        vaults.push(Vault { system, cards, tokens: Arc::new(tokens) });
    }
    for round in 1..=asked.rounds {
        progress(&format!("vaults on SQLite, round {round} of {}", asked.rounds));
        for (call, of_call) in &wanted {
            for vault in &vaults {
                let line = vault.load(call, asked).await;
                figures.measure(&name(of_call, "SQLite", vault.cards), &line);
            }
        }
    }
}

impl Vault {
    async fn metered(
        &mut self,
        call: &Call,
        name: &str,
        (cluster, database): (&Cluster, &str),
        asked: &Asked,
        figures: &mut Figures,
    ) {
        let meter = Meter::of(&mut self.system, Some((cluster, database)));
        let before = meter.before().await;
        let line = self.load(call, asked).await;
        figures.cost(name, meter.cost(before, line.answers).await);
        figures.measure(name, &line);
    }

    async fn load(&self, call: &Call, asked: &Asked) -> Line {
        let call = match call {
            Call::Read(_) => &Call::Read(Arc::clone(&self.tokens)),
            other => other,
        };
        let target = Target::of(&self.system, &self.system.url);
        Fleet::open(&target, 64).await.run(call, asked.length).await
    }
}

/// The calls of which a figure is wanted.
fn wanted(asked: &Asked, database: &str) -> Vec<(Call, &'static str)> {
    CALLS
        .map(|name| {
            let call = match name {
                "POST" => Call::Tokenize,
                "POST with reuse" => Call::Reuse,
                _ => Call::Read(Arc::default()),
            };
            (call, name)
        })
        .into_iter()
        .filter(|(_, call)| [FEW, asked.cards].iter().any(|cards| asked.wants(&name(call, database, *cards))))
        .collect()
}

fn size(cluster: &Cluster, database: &Database, cards: u64) -> Size {
    let each = |(name, bytes): (String, f64)| (name, bytes / cards.to_string().parse::<f64>().unwrap());
    let ours = |name: &String| name.starts_with("card") || name.starts_with("purpose");
    let tables = cost::table_bytes(cluster, &database.name).into_iter().filter(|(name, _)| ours(name));
    let indexes = cost::index_bytes(cluster, &database.name).into_iter().filter(|(name, _)| ours(name));
    Size {
        database: "PostgreSQL",
        cards,
        tables: tables.map(each).collect(),
        indexes: indexes.map(each).collect(),
    }
}
