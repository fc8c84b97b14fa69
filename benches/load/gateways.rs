//! Two gateways on one PostgreSQL beside one of them alone: as many connections, shared out between both.

use crate::asked::Asked;
use crate::client::{self, Call, Target};
use crate::figures::Figures;
use crate::progress;
use crate::support::System;

/// All connections at one of them.
pub(crate) const ONE: &str = "gateways on one PostgreSQL: one, 64 connections";
/// Half of them at each.
pub(crate) const TWO: &str = "gateways on one PostgreSQL: two, 32 connections each";

pub(crate) async fn measure(asked: &Asked, system: &System, figures: &mut Figures) {
    if !asked.wants(ONE) && !asked.wants(TWO) {
        return;
    }
    let second = system.second_gateway("pangate-second");
    for round in 1..=asked.rounds {
        progress(&format!("two gateways, round {round} of {}", asked.rounds));
        let (one, two) = (Target::of(system, &system.url), Target::of(system, &system.url).and(&second.url));
        for (name, target) in [(ONE, one), (TWO, two)] {
            let before = cards(system).await;
            let line = client::measure(&target, &Call::Tokenize, 64, asked.length).await;
            // Every token that was told of is there, and no other.
            assert_eq!(cards(system).await - before, i64::from(line.answers), "{name}");
            figures.measure(name, &line);
        }
    }
}

async fn cards(system: &System) -> i64 {
    system.count("SELECT COUNT(*) AS n FROM card").await
}
