//! What one decision costs under the shipped policy: `cargo bench -p policy`. The aim is a median below 50 µs.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench prints its figures")]

use policy::{Circumstances, Policy, Question, Relation, Words};
use std::hint::black_box;
use std::time::Instant;

const WORDS: Words<'static> = Words {
    kinds: &["portal", "staff", "auditor", "admin", "companion"],
    on_one_tenant: &["tokenize", "read_token", "pass", "charge", "read_charge", "refund", "shred"],
    on_the_installation: &["read_audit", "read_device_log", "list_keys", "manage_keys"],
};
const ROUNDS: usize = 20_000;

fn main() {
    let rules = include_str!("../../../policy/access.cedar");
    let schema = include_str!("../../../policy/schema.cedarschema");
    let began = Instant::now();
    let policy = Policy::parse(rules, schema, &WORDS).unwrap();
    println!("read and checked in {:?}", began.elapsed());
    let bare =
        Circumstances { source: Some("10.1.2.3".parse().unwrap()), ..Circumstances::at(1_790_000_000) };
    let full = Circumstances {
        mfa_age: Some(30),
        amount: Some((12_540, "USD".to_owned())),
        approvals: 1,
        ..bare.clone()
    };
    for (what, kind, action, circumstances) in [
        ("allowed", "portal", "tokenize", &bare),
        ("allowed, all circumstances", "staff", "refund", &full),
        ("denied", "companion", "shred", &bare),
    ] {
        let question = Question {
            kind,
            name: "anna",
            action,
            tenant: Some("north-clinic"),
            relation: Relation::Own,
            circumstances,
        };
        let mut times: Vec<_> = (0..ROUNDS)
            .map(|_| {
                let began = Instant::now();
                black_box(policy.decide(black_box(&question)));
                began.elapsed()
            })
            .collect();
        times.sort_unstable();
        let at = |share: usize| times.get(times.len() * share / 100).unwrap();
        println!("{what:28} p50 {:?}  p99 {:?}", at(50), at(99));
    }
}
