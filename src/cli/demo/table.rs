//! The journey as a table: one line a step, with what each party saw.

use crate::cli::{Format, say};
use serde::Serialize;

/// One step as it is printed. What a party did not take part in is empty.
#[derive(Debug, Default, Serialize)]
pub(super) struct Step {
    /// What was done, by whom.
    pub(super) step: String,
    /// What came back to whom did it.
    pub(super) caller: String,
    /// What pangate and its vault did: the acts that its audit log holds.
    pub(super) pangate: String,
    /// What the companion saw and now holds.
    pub(super) claims: String,
    /// What the processor was told.
    pub(super) processor: String,
    /// What did not hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) failed: Vec<String>,
}

impl Step {
    /// A step that is about to be played.
    pub(super) fn named(step: &str) -> Step {
        Step { step: step.to_owned(), ..Step::default() }
    }

    /// Notes whether something that must hold does.
    pub(super) fn check(&mut self, holds: bool, promise: &str) {
        if !holds {
            self.failed.push(promise.to_owned());
        }
    }
}

/// Prints steps and remembers whether all held.
pub(super) struct Table {
    format: Format,
    steps: usize,
    held: bool,
}

const WIDTHS: [usize; 4] = [32, 38, 62, 46];

impl Table {
    pub(super) fn new(format: Format) -> Table {
        Table { format, steps: 0, held: true }
    }

    /// Prints one step.
    pub(super) fn add(&mut self, step: &Step) {
        if self.steps == 0 && self.format == Format::Text {
            say(&line("  step", "caller", "pangate and vault", "claims (companion)", "processor"));
            say(&line(
                &format!("  {}", "─".repeat(WIDTHS.first().map_or(0, |w| w - 2))),
                &"─".repeat(WIDTHS.get(1).copied().unwrap_or(0)),
                &"─".repeat(WIDTHS.get(2).copied().unwrap_or(0)),
                &"─".repeat(WIDTHS.get(3).copied().unwrap_or(0)),
                &"─".repeat(24),
            ));
        }
        self.steps += 1;
        let held = step.failed.is_empty();
        self.held &= held;
        if self.format == Format::Json {
            let line = serde_json::json!({ "number": self.steps, "held": held, "seen": step });
            return say(&line.to_string());
        }
        let mark = if held { '✔' } else { '✘' };
        say(&line(
            &format!("{mark} {}", step.step),
            &step.caller,
            &step.pangate,
            &step.claims,
            &step.processor,
        ));
        for promise in &step.failed {
            say(&format!("  did not hold: {promise}"));
        }
    }

    /// Prints a step that could not be played to its end.
    pub(super) fn broken(&mut self, reason: &str) {
        let step = Step { failed: vec![reason.to_owned()], ..Step::named("the journey stops here") };
        self.add(&step);
    }

    /// Whether every step held, and there were any.
    pub(super) fn all_held(&self) -> bool {
        self.held && self.steps > 0
    }
}

fn line(step: &str, caller: &str, pangate: &str, claims: &str, processor: &str) -> String {
    let [first, second, third, fourth] = WIDTHS;
    format!("{step:first$}  {caller:second$}  {pangate:third$}  {claims:fourth$}  {processor}")
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_step_that_does_not_hold_spoils_the_journey() {
        let mut table = Table::new(Format::Json);
        assert!(!table.all_held());
        table.add(&Step::named("a"));
        assert!(table.all_held());
        let mut step = Step::named("b");
        step.check(true, "fine");
        step.check(false, "wrong");
        assert_eq!(step.failed, ["wrong"]);
        table.add(&step);
        table.add(&Step::named("c"));
        assert!(!table.all_held());
    }
}
