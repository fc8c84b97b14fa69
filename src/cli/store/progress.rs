//! How far slow work is, on standard error: at most a line a second, and one at the end of each table.

use super::Format;
use std::io::Write;
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(1);

/// What is shown of one step's work on one table.
pub(super) struct Progress {
    format: Format,
    step: &'static str,
    table: &'static str,
    total: u64,
    done: u64,
    shown: Instant,
}

impl Progress {
    pub(super) fn new(
        format: Format,
        step: &'static str,
        table: &'static str,
        done: u64,
        total: u64,
    ) -> Progress {
        Progress { format, step, table, total, done, shown: Instant::now() }
    }

    /// So many rows more are done.
    pub(super) fn rows(&mut self, more: usize) {
        self.done = self.done.saturating_add(u64::try_from(more).unwrap_or(u64::MAX));
        if self.shown.elapsed() >= EVERY {
            self.show();
        }
    }

    /// The table is done.
    pub(super) fn end(mut self) {
        self.show();
    }

    fn show(&mut self) {
        self.shown = Instant::now();
        let Progress { step, table, done, total, .. } = self;
        let line = match self.format {
            Format::Text => format!("{step} {table}: {done}/{total} rows"),
            Format::Json => {
                serde_json::json!({ "step": step, "table": table, "done": done, "total": total }).to_string()
            }
        };
        // Whoever closed it does not want to know.
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }
}
