//! The figures of all rounds, and the ratios that the promises are about.

use super::client::Line;
use std::time::Duration;

/// Values by name, in the order of their first appearance.
#[derive(Default)]
pub(crate) struct Figures {
    rates: Vec<(String, Vec<f64>)>,
    p50: Vec<(String, Vec<f64>)>,
    p99: Vec<(String, Vec<f64>)>,
}

impl Figures {
    pub(crate) fn note(&mut self, name: &str, value: f64) {
        add(&mut self.rates, name, value);
    }

    pub(crate) fn measure(&mut self, name: &str, line: Line) {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        add(&mut self.rates, name, line.per_second);
        add(&mut self.p50, name, ms(line.p50));
        add(&mut self.p99, name, ms(line.p99));
    }

    pub(crate) fn print(&self) {
        println!(
            "{:<52} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "median a second", "median", "least", "most", "p50 ms", "p99 ms"
        );
        for (name, values) in &self.rates {
            let latency = |table: &[(String, Vec<f64>)]| {
                table
                    .iter()
                    .find(|(known, _)| known == name)
                    .map_or("".to_owned(), |(_, v)| format!("{:.2}", median(v)))
            };
            println!(
                "{name:<52} {:>9.0} {:>9.0} {:>9.0} {:>9} {:>9}",
                median(values),
                values.iter().copied().fold(f64::INFINITY, f64::min),
                values.iter().copied().fold(0.0, f64::max),
                latency(&self.p50),
                latency(&self.p99),
            );
        }
        println!();
        println!("{:<76} {:>7} {:>7}", "ratio of medians of the same rounds", "is", "aim");
        let rate = |name: &str| self.rate(name);
        let raw_64 = "raw PostgreSQL, 1 row(s) a commit, 64 client(s)";
        let echo = "TLS echo, 64 connections";
        let rows = [
            (
                "PostgreSQL, 64 connections / raw rows of 64 clients",
                rate("tokens, PostgreSQL, 64 connections") / rate(raw_64),
                ">= 1.0",
            ),
            (
                "PostgreSQL, 16 connections / raw rows of 16 clients",
                rate("tokens, PostgreSQL, 16 connections")
                    / rate("raw PostgreSQL, 1 row(s) a commit, 16 client(s)"),
                ">= 0.8",
            ),
            (
                "PostgreSQL, latency of one connection / raw commit of one client",
                rate("raw PostgreSQL, 1 row(s) a commit, 1 client(s)")
                    / rate("tokens, PostgreSQL, 1 connections"),
                "<= 1.5",
            ),
            (
                "SQLite, 64 connections / raw rows, 1 a commit",
                rate("tokens, SQLite, 64 connections") / rate("raw SQLite, 1 row(s) a commit"),
                ">= 5.0",
            ),
            (
                "GET token, SQLite / TLS echo",
                rate("GET token, SQLite, 64 connections") / rate(echo),
                ">= 0.6",
            ),
            (
                "GET token, PostgreSQL / TLS echo",
                rate("GET token, PostgreSQL, 64 connections") / rate(echo),
                ">= 0.6",
            ),
            (
                "tokens, SQLite, 64 connections / TLS echo",
                rate("tokens, SQLite, 64 connections") / rate(echo),
                ">= 0.35",
            ),
            (
                "tokens, PostgreSQL, 64 connections / TLS echo",
                rate("tokens, PostgreSQL, 64 connections") / rate(echo),
                ">= 0.35",
            ),
            ("p99 / p50, SQLite, 64 connections", self.tail("tokens, SQLite, 64 connections"), "<= 3.0"),
            (
                "p99 / p50, PostgreSQL, 64 connections",
                self.tail("tokens, PostgreSQL, 64 connections"),
                "<= 3.0",
            ),
        ];
        for (name, ratio, aim) in rows {
            println!("{name:<76} {ratio:>7.2} {aim:>7}");
        }
    }

    fn rate(&self, name: &str) -> f64 {
        self.rates.iter().find(|(known, _)| known == name).map_or(f64::NAN, |(_, values)| median(values))
    }

    fn tail(&self, name: &str) -> f64 {
        let of = |table: &[(String, Vec<f64>)]| {
            table.iter().find(|(known, _)| known == name).map_or(f64::NAN, |(_, values)| median(values))
        };
        of(&self.p99) / of(&self.p50)
    }
}

fn add(table: &mut Vec<(String, Vec<f64>)>, name: &str, value: f64) {
    match table.iter_mut().find(|(known, _)| known == name) {
        Some((_, values)) => values.push(value),
        None => table.push((name.to_owned(), vec![value])),
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
