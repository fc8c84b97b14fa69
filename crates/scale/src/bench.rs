//! The load bench's output, and what of it counts here.

use serde::Deserialize;
use std::collections::BTreeMap;

/// Why the bench's output does not serve.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// No JSON of the load bench.
    #[error("this is no output of the load bench: {0}")]
    Shape(#[from] serde_json::Error),
    /// Something was not measured.
    #[error("{0} was not measured; run the load bench without NAME and with --json")]
    Missing(String),
}

#[derive(Deserialize)]
struct Document {
    figures: Vec<Figure>,
    costs: Vec<Cost>,
    sizes: Vec<Size>,
    seconds: f64,
    rounds: f64,
}

#[derive(Deserialize)]
struct Figure {
    name: String,
    median: f64,
}

#[derive(Deserialize)]
struct Cost {
    name: String,
    parts: BTreeMap<String, Spread>,
}

#[derive(Deserialize)]
struct Spread {
    median: f64,
}

#[derive(Deserialize)]
struct Size {
    database: String,
    cards: u64,
    tables: BTreeMap<String, f64>,
    indexes: BTreeMap<String, f64>,
}

/// What one request costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenCost {
    /// Processor time of the gateway, in microseconds.
    pub gateway_us: f64,
    /// Processor time of the simulated HSM, in microseconds.
    pub hsm_us: f64,
    /// Processor time of PostgreSQL, in microseconds.
    pub postgres_us: f64,
    /// Bytes of the write-ahead log without page images.
    pub wal_bytes: f64,
    /// Bytes of page images in it.
    pub image_bytes: f64,
    /// Uses of HSM keys.
    pub hsm_operations: f64,
    /// Durable commits; far below one, because requests share them.
    pub commits: f64,
    /// Bytes that the audit log grows by, indexes included.
    pub audit_bytes: f64,
}

/// What of the bench's output counts here.
#[derive(Debug, Clone, PartialEq)]
pub struct Bench {
    /// `POST /v1/tokens` on the largest vault that was measured.
    pub token: TokenCost,
    /// The same with `reuse`.
    pub reuse: TokenCost,
    /// `GET /v1/tokens/{id}` on it.
    pub read: TokenCost,
    /// Cards in that vault.
    pub cards: f64,
    /// Tokens a second of one gateway on it, the machine shared with everything else.
    pub tokens_per_second: f64,
    /// Bytes of page images of one token while the vault's checkpoint had just been.
    pub first_images: f64,
    /// Tokens that had been made since that checkpoint, halfway through the rounds.
    pub first_tokens: f64,
    /// Connections of one gateway.
    pub connections: f64,
    /// Bytes of a card and its consent without indexes.
    pub row_bytes: f64,
    /// Bytes for each card of every index that a new token goes to at a random place.
    pub random_indexes: BTreeMap<String, f64>,
    /// The same for those that only a card with a fingerprint is in.
    pub fingerprint_indexes: BTreeMap<String, f64>,
    /// Bytes for each card of all other indexes.
    pub other_index_bytes: f64,
}

/// A new token goes to a random leaf of these: their keys begin with it, or with what all cards of a key have in common.
const RANDOM: [&str; 3] = ["card_pkey", "card_data_key", "purpose_token"];
/// And one with `reuse` to a random leaf of these.
const FINGERPRINT: [&str; 2] = ["card_reuse", "card_fingerprint_version"];

impl Bench {
    /// Reads the bench's output.
    ///
    /// # Errors
    /// [`BenchError`], which names what is missing.
    pub fn read(text: &str) -> Result<Bench, BenchError> {
        let document: Document = serde_json::from_str(text)?;
        let largest = document.sizes.iter().filter(|size| size.database == "PostgreSQL");
        let size = largest.max_by_key(|size| size.cards).ok_or_else(|| missing("a vault on PostgreSQL"))?;
        let cards = size.cards.to_string().parse::<f64>().map_err(|_| missing("the number of cards"))?;
        let name = |call: &str| format!("{call} token, PostgreSQL, 64 connections, vault of {}", size.cards);
        let tokens_per_second = document.figure(&name("POST"))?;
        let sum = |of: &BTreeMap<String, f64>, wanted: &dyn Fn(&str) -> bool| {
            of.iter().filter(|(name, _)| wanted(name)).map(|(_, bytes)| bytes).sum::<f64>()
        };
        let those = |names: &[&str]| {
            let each = names.iter().map(|name| {
                let bytes = size.indexes.get(*name).ok_or_else(|| missing(&format!("the size of {name}")))?;
                Ok(((*name).to_owned(), *bytes))
            });
            each.collect::<Result<BTreeMap<String, f64>, BenchError>>()
        };
        let is_other = |name: &str| !RANDOM.contains(&name) && !FINGERPRINT.contains(&name);
        let indexes = sum(&size.indexes, &|_| true);
        let after = format!("{}, just after a checkpoint", name("POST"));
        Ok(Bench {
            token: document.cost(&name("POST"))?,
            reuse: document.cost(&name("POST with reuse"))?,
            read: document.cost(&name("GET"))?,
            cards,
            tokens_per_second,
            first_images: document.cost(&after)?.image_bytes,
            first_tokens: document.figure(&after)? * document.seconds * document.rounds / 2.0,
            connections: document.part(&name("POST"), "database_connections")?,
            row_bytes: sum(&size.tables, &|_| true) - indexes,
            random_indexes: those(&RANDOM)?,
            fingerprint_indexes: those(&FINGERPRINT)?,
            other_index_bytes: sum(&size.indexes, &is_other),
        })
    }
}

impl Document {
    fn figure(&self, name: &str) -> Result<f64, BenchError> {
        let figure = self.figures.iter().find(|figure| figure.name == name);
        figure.map(|figure| figure.median).ok_or_else(|| missing(name))
    }

    fn part(&self, name: &str, part: &str) -> Result<f64, BenchError> {
        let cost = self.costs.iter().find(|cost| cost.name == name);
        let part_of = cost.and_then(|cost| cost.parts.get(part));
        part_of.map(|spread| spread.median).ok_or_else(|| missing(&format!("{part} of {name}")))
    }

    fn cost(&self, name: &str) -> Result<TokenCost, BenchError> {
        let part = |part: &str| self.part(name, part);
        let image_bytes = part("wal_page_image_bytes")?;
        Ok(TokenCost {
            gateway_us: part("gateway_cpu_us")?,
            hsm_us: part("hsm_cpu_us")?,
            postgres_us: part("postgres_cpu_us")?,
            wal_bytes: part("wal_bytes")? - image_bytes,
            image_bytes,
            hsm_operations: part("hsm_key_uses")?,
            commits: part("commits")?,
            audit_bytes: part("stored_bytes_audit_entry")?,
        })
    }
}

fn missing(what: &str) -> BenchError {
    BenchError::Missing(what.to_owned())
}
