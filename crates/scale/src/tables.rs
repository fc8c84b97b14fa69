//! The result as the tables of `docs/scale.md`.

use crate::availability::Availability;
use crate::bench::{Bench, TokenCost};
use crate::demand::{Demand, Host};
use crate::need::Need;
use std::fmt::Write as _;

/// The line before the tables in a document.
pub const BEGIN: &str = "<!-- computed: begin -->";
/// The line after them.
pub const END: &str = "<!-- computed: end -->";

const MIB: f64 = 1024.0 * 1024.0;
const GIB: f64 = 1024.0 * MIB;

/// All tables, as Markdown.
#[must_use]
pub fn tables(bench: &Bench, demand: &Demand, host: &Host) -> String {
    let need = Need::of(bench, demand, host);
    let year = Availability::of(demand, need.gateways, need.databases);
    let mut out = String::new();
    measured(&mut out, bench);
    needed(&mut out, demand, host, &need);
    limits(&mut out, &need);
    available(&mut out, demand, &year);
    out.trim_end().to_owned() + "\n"
}

/// The document with the tables in their place; `None` when it has no place for them.
#[must_use]
pub fn into_document(document: &str, tables: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{tables}\n{END}{after}"))
}

fn measured(out: &mut String, bench: &Bench) {
    let of = |cost: fn(&TokenCost) -> f64| [&bench.token, &bench.reuse, &bench.read].map(cost);
    row(out, &["measured, each", "new token", "new token with `reuse`", "token looked up"]);
    row(out, &["---", "---", "---", "---"]);
    let mut line = |name: &str, values: [f64; 3], digits: usize| {
        let [one, two, three] = values.map(|value| number(value, digits));
        row(out, &[name, &one, &two, &three]);
    };
    line("processor time of the gateway, µs", of(|cost| cost.gateway_us), 0);
    line("of PostgreSQL, µs", of(|cost| cost.postgres_us), 0);
    line("of the simulated HSM, µs", of(|cost| cost.hsm_us), 0);
    line("uses of HSM keys", of(|cost| cost.hsm_operations), 2);
    line("write-ahead log without page images, bytes", of(|cost| cost.wal_bytes), 0);
    line("page images in it, bytes", of(|cost| cost.image_bytes), 0);
    line("durable commits", of(|cost| cost.commits), 3);
    line("audit log, bytes", of(|cost| cost.audit_bytes), 0);
    let _ = writeln!(out);
    row(out, &["measured", ""]);
    row(out, &["---", "---"]);
    let mut line = |name: &str, value: f64| row(out, &[name, &number(value, 0)]);
    line("cards in the vault", bench.cards);
    line("a card with its consent, bytes without indexes", bench.row_bytes);
    for (index, bytes) in bench.random_indexes.iter().chain(&bench.fingerprint_indexes) {
        line(&format!("index `{index}`, bytes a card when just built"), *bytes);
    }
    line("other indexes, bytes a card", bench.other_index_bytes);
    line("connections of one gateway to the database", bench.connections);
    line("tokens a second of one gateway, everything on the bench's machine", bench.tokens_per_second);
    let _ = writeln!(out);
}

fn needed(out: &mut String, demand: &Demand, host: &Host, need: &Need) {
    let [rows, images] = need.wal;
    row(
        out,
        &[
            &format!(
                "{} cards, {} new tokens ({} with `reuse`) and {} look-ups a second",
                number(demand.cards, 0),
                number(demand.tokens, 0),
                percent(demand.reuse),
                number(demand.reads, 0)
            ),
            "needed",
        ],
    );
    row(out, &["---", "---"]);
    let mut line = |name: &str, value: String| row(out, &[name, &value]);
    line("cores that work for gateways", number(need.gateway_cores, 1));
    line(
        &format!(
            "gateways of {} cores, which write by one connection each, at {}, one of them spare",
            number(host.gateway_cores, 0),
            percent(host.utilisation)
        ),
        number(need.gateways, 0),
    );
    line("cores that work for primaries", number(need.database_cores, 1));
    line("uses of HSM keys a second", number(need.hsm_operations, 0));
    line(
        &format!("HSMs of {} uses a second, one of them spare", number(host.hsm_operations, 0)),
        number(need.hsms, 0),
    );
    line("write-ahead log without page images, MiB a second", number(rows / MIB, 1));
    line(
        &format!("page images, MiB a second, a checkpoint every {} s", number(host.checkpoint_seconds, 0)),
        number(images / MIB, 1),
    );
    line("flushes of it a second, when groups are as large as measured", number(need.flushes, 0));
    line("requests in a group, as measured", number(need.group, 1));
    line("connections to primaries", number(need.connections, 0));
    line("cards and consents with their indexes, GiB", number(need.vault_bytes / GIB, 0));
    line("of that indexes met at random, which belong into memory, GiB", number(need.hot_bytes / GIB, 0));
    line(
        &format!("audit log in a year at {} of the peak on average, GiB", percent(demand.average)),
        number(need.audit_bytes_a_year / GIB, 0),
    );
    line("databases that it takes", number(need.databases, 0));
    let [seen, predicted] = need.images;
    line(
        "page images of a token just after a checkpoint of the bench's vault, bytes, measured",
        number(seen, 0),
    );
    line("the same by this arithmetic", number(predicted, 0));
    let _ = writeln!(out);
}

fn limits(out: &mut String, need: &Need) {
    row(
        out,
        &[
            "part of one database, the first to be full first",
            "needed",
            "there is",
            "the region may be so many times as large",
        ],
    );
    row(out, &["---", "---", "---", "---"]);
    for part in &need.parts {
        row(out, &[part.name, &number(part.need, 1), &number(part.has, 0), &number(part.times, 1)]);
    }
    let _ = writeln!(out);
}

fn available(out: &mut String, demand: &Demand, year: &Availability) {
    row(out, &["what happens", "a year", "seconds", "of requests", "minutes a year", "because"]);
    row(out, &["---", "---", "---", "---", "---", "---"]);
    for outage in &year.outages {
        let minutes = outage.a_year * outage.seconds * outage.share / 60.0;
        row(
            out,
            &[
                outage.what,
                &number(outage.a_year, 0),
                &number(outage.seconds, 0),
                &percent(outage.share),
                &number(minutes, 1),
                outage.because,
            ],
        );
    }
    let promised = format!("{} leave", number(demand.availability * 100.0, 2) + " %");
    row(out, &["together", "", "", "", &number(year.minutes, 1), ""]);
    row(out, &[&promised, "", "", "", &number(year.allowed, 1), ""]);
}

fn row(out: &mut String, cells: &[&str]) {
    let _ = writeln!(out, "| {} |", cells.join(" | "));
}

fn percent(share: f64) -> String {
    format!("{} %", number(share * 100.0, 0))
}

/// With so many digits after the point, thousands parted.
fn number(value: f64, digits: usize) -> String {
    let plain = format!("{value:.digits$}");
    let (whole, rest) =
        plain.split_once('.').map_or((plain.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let mut parted = String::new();
    for (at, digit) in whole.chars().enumerate() {
        let left = whole.len() - at;
        if at > 0 && left.is_multiple_of(3) && !parted.ends_with('-') {
            parted.push(',');
        }
        parted.push(digit);
    }
    rest.map_or(parted.clone(), |rest| format!("{parted}.{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_parted_by_thousands() {
        assert_eq!(number(0.0, 0), "0");
        assert_eq!(number(999.6, 0), "1,000");
        assert_eq!(number(1_234_567.25, 1), "1,234,567.2");
        assert_eq!(number(-1234.0, 0), "-1,234");
        assert_eq!(number(12.345, 2), "12.35");
    }

    #[test]
    fn the_tables_take_the_place_between_their_marks() {
        let document = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let filled = into_document(&document, "new\n").unwrap();
        assert_eq!(filled, format!("before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"));
        assert_eq!(into_document(&filled, "new\n").unwrap(), filled);
        assert_eq!(into_document("no marks", "new"), None);
    }
}
