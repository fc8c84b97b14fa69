//! `docs/scale.md` says what the committed measurements say, and the arithmetic moves the way the world does.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail")]

use scale::{Availability, Bench, Demand, Host, Need};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap()
}

fn bench() -> Bench {
    Bench::read(&text("benches/load.json")).unwrap()
}

#[test]
fn the_document_quotes_what_the_model_computes_from_the_committed_measurements() {
    let document = text("docs/scale.md");
    let tables = scale::tables(&bench(), &Demand::default(), &Host::default());
    let computed = scale::into_document(&document, &tables).unwrap();
    assert!(
        document == computed,
        "docs/scale.md is not what benches/load.json gives; write it anew:\n\
         cargo run -p scale -- benches/load.json --into docs/scale.md\n{tables}"
    );
}

#[test]
fn the_command_prints_the_tables_and_names_what_a_bench_lacks() {
    let run = |file: &Path| Command::new(env!("CARGO_BIN_EXE_scale")).arg(file).output().unwrap();
    let done = run(&root().join("benches/load.json"));
    assert!(done.status.success());
    let tables = scale::tables(&bench(), &Demand::default(), &Host::default());
    assert_eq!(String::from_utf8_lossy(&done.stdout), tables);
    let mut document: serde_json::Value = serde_json::from_str(&text("benches/load.json")).unwrap();
    document["costs"] = serde_json::json!([]);
    let error = Bench::read(&document.to_string()).unwrap_err().to_string();
    assert!(error.contains("was not measured; run the load bench"), "{error}");
    assert!(Bench::read("[]").is_err());
}

#[test]
fn more_load_needs_more_of_everything_and_says_what_is_full_first() {
    let (bench, host) = (bench(), Host::default());
    let one = Need::of(&bench, &Demand::default(), &host);
    let twice = Demand { tokens: 10_000.0, reads: 10_000.0, ..Demand::default() };
    let two = Need::of(&bench, &twice, &host);
    assert!((two.gateway_cores / one.gateway_cores - 2.0).abs() < 1e-9);
    assert!((two.hsm_operations / one.hsm_operations - 2.0).abs() < 1e-9);
    // Pages that are met twice between two checkpoints are written whole once.
    assert!(two.wal[1] > one.wal[1] && two.wal[1] < 2.0 * one.wal[1]);
    assert!(two.databases >= one.databases && two.gateways > one.gateways);
    assert!(one.parts.is_sorted_by(|a, b| a.times <= b.times));
    // A region as large as the first limit allows takes one database, and one a little larger takes two.
    let grown = |times: f64| {
        let usual = Demand::default();
        let (cards, tokens, reads) = (usual.cards * times, usual.tokens * times, usual.reads * times);
        Need::of(&bench, &Demand { cards, tokens, reads, ..usual }, &host).databases
    };
    let most = one.parts[0].times;
    assert_eq!([grown(most * 0.95), grown(most * 1.05)], [1.0, 2.0]);
    let larger = Need::of(&bench, &Demand { cards: 400e6, ..Demand::default() }, &host);
    assert!((larger.vault_bytes / one.vault_bytes - 2.0).abs() < 1e-9);
    assert!(larger.wal[1] > one.wal[1]);
}

#[test]
fn a_stricter_promise_leaves_fewer_minutes() {
    let year = |availability| Availability::of(&Demand { availability, ..Demand::default() }, 4.0, 1.0);
    assert!((year(0.9999).allowed - 52.596).abs() < 0.01);
    assert!(year(0.99999).allowed < year(0.9999).allowed);
    assert!((year(0.9999).minutes - year(0.99999).minutes).abs() < 1e-9);
}
