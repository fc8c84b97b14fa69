//! What the promises are about: ratios of medians of the same rounds, each beside what it should be.

use crate::figures::Figures;
use crate::{gateways, many_cards, memory, rotation};

/// What a ratio should be.
#[derive(Clone, Copy)]
pub(crate) enum Aim {
    AtLeast(f64),
    AtMost(f64),
}

pub(crate) struct Ratio {
    pub(crate) name: String,
    pub(crate) is: f64,
    pub(crate) aim: Aim,
}

/// All that can be told from what was measured.
pub(crate) fn of(figures: &Figures, cards: u64) -> Vec<Ratio> {
    let rate = |name: &str| figures.rate(name);
    let raw = |clients: u32| rate(&format!("raw PostgreSQL, 1 row(s) a commit, {clients} client(s)"));
    let tokens =
        |database: &str, connections: u32| rate(&format!("tokens, {database}, {connections} connections"));
    let echo = rate("TLS echo, 64 connections");
    let mut ratios = Vec::new();
    let mut add = |name: &str, is: f64, aim: Aim| {
        if is.is_finite() {
            ratios.push(Ratio { name: name.to_owned(), is, aim });
        }
    };
    add(
        "PostgreSQL, 64 connections / raw rows of 64 clients",
        tokens("PostgreSQL", 64) / raw(64),
        Aim::AtLeast(1.0),
    );
    add(
        "PostgreSQL, 16 connections / raw rows of 16 clients",
        tokens("PostgreSQL", 16) / raw(16),
        Aim::AtLeast(0.8),
    );
    add(
        "PostgreSQL, latency of one connection / raw commit of one client",
        raw(1) / tokens("PostgreSQL", 1),
        Aim::AtMost(1.5),
    );
    add(
        "SQLite, 64 connections / raw rows, 1 a commit",
        tokens("SQLite", 64) / rate("raw SQLite, 1 row(s) a commit"),
        Aim::AtLeast(5.0),
    );
    for database in ["SQLite", "PostgreSQL"] {
        let read = rate(&format!("GET token, {database}, 64 connections"));
        add(&format!("GET token, {database} / TLS echo"), read / echo, Aim::AtLeast(0.6));
        let name = format!("tokens, {database}, 64 connections");
        add(&format!("{name} / TLS echo"), rate(&name) / echo, Aim::AtLeast(0.35));
        let tail = figures.p99(&name) / figures.p50(&name);
        add(&format!("p99 / p50, {database}, 64 connections"), tail, Aim::AtMost(3.0));
    }
    let (one, two) = (rate(gateways::ONE), rate(gateways::TWO));
    add("two gateways on one PostgreSQL / one gateway", two / one, Aim::AtLeast(1.0));
    for database in ["SQLite", "PostgreSQL"] {
        let loaded = memory::under_load(database);
        add(&format!("{loaded} / 60"), rate(&loaded) / 60.0, Aim::AtMost(1.0));
    }
    add(&format!("{} / 200", memory::IDLE), rate(memory::IDLE) / 200.0, Aim::AtMost(1.0));
    for database in ["SQLite", "PostgreSQL"] {
        for call in many_cards::CALLS {
            let p50 = |cards: u64| figures.p50(&many_cards::name(call, database, cards));
            let name = format!("p50 of {call} token, {database}, vault of {cards} / of {}", many_cards::FEW);
            add(&name, p50(cards) / p50(many_cards::FEW), Aim::AtMost(1.15));
        }
    }
    let after = many_cards::after_checkpoint(cards);
    let few = figures.p50(&many_cards::name("POST", "PostgreSQL", many_cards::FEW));
    add(&format!("p50 of {after} / of {}", many_cards::FEW), figures.p50(&after) / few, Aim::AtMost(1.15));
    let (alone, beside) = (rate(rotation::ALONE), rate(rotation::BESIDE));
    add("while every card is sealed anew / without", beside / alone, Aim::AtLeast(0.8));
    ratios
}
