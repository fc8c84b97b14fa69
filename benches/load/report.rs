//! The figures as a table for people, and as JSON for whoever computes with them.

use crate::asked::Asked;
use crate::figures::{Figures, Unit, least, median, most};
use crate::ratios::{self, Aim};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Prints everything.
pub(crate) fn print(figures: &Figures, asked: &Asked) {
    println!(
        "{:<64} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "median a second", "median", "least", "most", "p50 ms", "p99 ms"
    );
    for figure in figures.figures.iter().filter(|figure| figure.unit == Unit::PerSecond) {
        let (name, values) = (&figure.name, &figure.values);
        let ms = |v: &[f64]| if v.is_empty() { String::new() } else { format!("{:.2}", median(v)) };
        println!(
            "{name:<64} {:>9.0} {:>9.0} {:>9.0} {:>9} {:>9}",
            median(values),
            least(values),
            most(values),
            ms(&figure.p50),
            ms(&figure.p99)
        );
    }
    println!("\n{:<64} {:>9} {:>9} {:>9}", "MiB", "median", "least", "most");
    for figure in figures.figures.iter().filter(|figure| figure.unit == Unit::Mebibytes) {
        let values = &figure.values;
        println!("{:<64} {:>9.1} {:>9.1} {:>9.1}", figure.name, median(values), least(values), most(values));
    }
    println!("\n{:<84} {:>7} {:>7}", "ratio of medians of the same rounds", "is", "aim");
    for ratio in ratios::of(figures, asked.cards) {
        let aim = match ratio.aim {
            Aim::AtLeast(aim) => format!(">= {aim:.2}"),
            Aim::AtMost(aim) => format!("<= {aim:.2}"),
        };
        println!("{:<84} {:>7.2} {aim:>7}", ratio.name, ratio.is);
    }
    for cost in &figures.costs {
        println!("\n{:<64} {:>9} {:>9} {:>9}", cost.name, "median", "least", "most");
        for (part, values) in &cost.parts {
            println!("  {part:<62} {:>9.2} {:>9.2} {:>9.2}", median(values), least(values), most(values));
        }
    }
    for size in &figures.sizes {
        println!("\nbytes for each of {} cards, {}", size.cards, size.database);
        for (part, bytes) in size.tables.iter().chain(&size.indexes) {
            println!("  {part:<62} {bytes:>9.1}");
        }
    }
}

/// The same as one document.
pub(crate) fn json(figures: &Figures, asked: &Asked) -> Value {
    let spread = |values: &[f64]| {
        let [median, least, most] = [median(values), least(values), most(values)].map(rounded);
        json!({ "median": median, "least": least, "most": most })
    };
    let each: Vec<Value> = figures
        .figures
        .iter()
        .map(|figure| {
            let mut told = spread(&figure.values);
            told["name"] = json!(figure.name);
            told["unit"] = json!(match figure.unit {
                Unit::PerSecond => "per_second",
                Unit::Mebibytes => "mib",
            });
            if !figure.p50.is_empty() {
                told["p50_ms"] = json!(rounded(median(&figure.p50)));
                told["p99_ms"] = json!(rounded(median(&figure.p99)));
            }
            told
        })
        .collect();
    let ratios: Vec<Value> = ratios::of(figures, asked.cards)
        .into_iter()
        .map(|ratio| {
            let (bound, aim) = match ratio.aim {
                Aim::AtLeast(aim) => ("at_least", aim),
                Aim::AtMost(aim) => ("at_most", aim),
            };
            json!({ "name": ratio.name, "is": rounded(ratio.is), bound: aim })
        })
        .collect();
    let costs: Vec<Value> = figures
        .costs
        .iter()
        .map(|cost| {
            let parts: serde_json::Map<String, Value> =
                cost.parts.iter().map(|(part, values)| (part.clone(), spread(values))).collect();
            json!({ "name": cost.name, "parts": parts })
        })
        .collect();
    let sizes: Vec<Value> = figures
        .sizes
        .iter()
        .map(|size| {
            let each = |bytes: &BTreeMap<String, f64>| -> BTreeMap<String, f64> {
                bytes.iter().map(|(name, bytes)| (name.clone(), rounded(*bytes))).collect()
            };
            let (tables, indexes) = (each(&size.tables), each(&size.indexes));
            json!({ "database": size.database, "cards": size.cards, "tables": tables, "indexes": indexes })
        })
        .collect();
    json!({
        "seconds": asked.length.as_secs(),
        "rounds": asked.rounds,
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "figures": each,
        "ratios": ratios,
        "costs": costs,
        "sizes": sizes,
    })
}

/// As many digits as mean something: sixteen in a row may pass for a card number.
fn rounded(value: f64) -> f64 {
    let digits = if value.abs() < 10.0 { 1e4 } else { 1e1 };
    (value * digits).round() / digits
}
