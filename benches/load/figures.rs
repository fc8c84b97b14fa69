//! What was measured: every value of every round, by name, in the order of first appearance.

use crate::client::Line;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a figure counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    PerSecond,
    Mebibytes,
}

/// One figure with its rounds.
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    pub(crate) values: Vec<f64>,
    /// Milliseconds.
    pub(crate) p50: Vec<f64>,
    pub(crate) p99: Vec<f64>,
}

/// What one request costs, by part.
pub(crate) struct Cost {
    pub(crate) name: String,
    pub(crate) parts: BTreeMap<String, Vec<f64>>,
}

/// How large a vault is.
pub(crate) struct Size {
    pub(crate) database: &'static str,
    pub(crate) cards: u64,
    /// Bytes for each card, by table with all that belongs to it, and by index alone.
    pub(crate) tables: BTreeMap<String, f64>,
    pub(crate) indexes: BTreeMap<String, f64>,
}

#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) figures: Vec<Figure>,
    pub(crate) costs: Vec<Cost>,
    pub(crate) sizes: Vec<Size>,
}

impl Figures {
    /// One value of a round.
    pub(crate) fn note(&mut self, name: &str, unit: Unit, value: f64) {
        self.figure(name, unit).values.push(value);
    }

    /// One load of a round.
    pub(crate) fn measure(&mut self, name: &str, line: &Line) {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let figure = self.figure(name, Unit::PerSecond);
        figure.values.push(line.per_second);
        figure.p50.push(ms(line.p50));
        figure.p99.push(ms(line.p99));
    }

    /// What a request of one load of a round cost.
    pub(crate) fn cost(&mut self, name: &str, parts: BTreeMap<String, f64>) {
        if !self.costs.iter().any(|known| known.name == name) {
            self.costs.push(Cost { name: name.to_owned(), parts: BTreeMap::new() });
        }
        let Some(cost) = self.costs.iter_mut().find(|known| known.name == name) else { return };
        for (part, value) in parts {
            cost.parts.entry(part).or_default().push(value);
        }
    }

    fn figure(&mut self, name: &str, unit: Unit) -> &mut Figure {
        let at = self.figures.iter().position(|known| known.name == name).unwrap_or_else(|| {
            let (values, p50, p99) = (Vec::new(), Vec::new(), Vec::new());
            self.figures.push(Figure { name: name.to_owned(), unit, values, p50, p99 });
            self.figures.len() - 1
        });
        &mut self.figures[at]
    }

    /// The median of that figure's rounds; no number when it was not measured.
    pub(crate) fn rate(&self, name: &str) -> f64 {
        self.named(name).map_or(f64::NAN, |figure| median(&figure.values))
    }

    /// The median of its rounds' p50, in milliseconds.
    pub(crate) fn p50(&self, name: &str) -> f64 {
        self.named(name).map_or(f64::NAN, |figure| median(&figure.p50))
    }

    /// The median of its rounds' p99, in milliseconds.
    pub(crate) fn p99(&self, name: &str) -> f64 {
        self.named(name).map_or(f64::NAN, |figure| median(&figure.p99))
    }

    fn named(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|known| known.name == name)
    }
}

/// The middle of the values; the upper one of two.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

pub(crate) fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

pub(crate) fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}
