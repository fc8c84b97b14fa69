//! What the command line asks for.

use std::path::PathBuf;
use std::time::Duration;

pub(crate) const USAGE: &str =
    "cargo bench --bench load -- [SECONDS [ROUNDS [NAME]]] [--cards N] [--json FILE]";

/// `[SECONDS [ROUNDS [NAME]]] [--cards N] [--json FILE]`.
pub(crate) struct Asked {
    /// Time of one measurement.
    pub(crate) length: Duration,
    /// Measurements that a median is taken of.
    pub(crate) rounds: u64,
    /// Only the figures whose name has it.
    only: String,
    /// Cards in the large vault.
    pub(crate) cards: u64,
    /// Where the figures go as JSON, besides the table.
    pub(crate) json: Option<PathBuf>,
}

impl Asked {
    /// From the process's arguments.
    pub(crate) fn read() -> Result<Asked, String> {
        let mut asked = Asked {
            length: Duration::from_secs(3),
            rounds: 5,
            only: String::new(),
            cards: 100_000,
            json: None,
        };
        let mut place = 0;
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} wants a value: {USAGE}"));
            let number =
                |text: &str| text.parse::<u64>().map_err(|_| format!("{text} is no number: {USAGE}"));
            match argument.as_str() {
                // Cargo's own.
                "--bench" => {}
                "--cards" => asked.cards = number(&value()?)?,
                "--json" => asked.json = Some(PathBuf::from(value()?)),
                flag if flag.starts_with('-') => return Err(format!("{flag} is not understood: {USAGE}")),
                text => {
                    match (place, text.parse()) {
                        (0, Ok(seconds)) => asked.length = Duration::from_secs(seconds),
                        (1, Ok(rounds)) => asked.rounds = rounds,
                        _ => text.clone_into(&mut asked.only),
                    }
                    place += 1;
                }
            }
        }
        if asked.length.is_zero() || asked.rounds == 0 || asked.cards < 1000 {
            return Err(format!("at least one second, one round and 1,000 cards: {USAGE}"));
        }
        Ok(asked)
    }

    /// Whether a figure of that name is wanted.
    pub(crate) fn wants(&self, name: &str) -> bool {
        name.contains(&self.only)
    }

    /// Whether every figure is wanted.
    pub(crate) fn wants_all(&self) -> bool {
        self.only.is_empty()
    }
}
