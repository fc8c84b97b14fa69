//! A job to its end: a bar on a terminal, a line for every change elsewhere, a JSON value a line for programs.

use super::reach::{Reach, number, text};
use super::{Ended, show};
use crate::cli::{Format, say};
use serde_json::Value;
use std::io::{IsTerminal, Write};
use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_millis(300);
const WIDTH: u64 = 30;

/// Shows the job; with `wait` until it is over.
pub(super) async fn job(reach: &Reach, first: &Value, wait: bool, format: Format) -> Result<(), Ended> {
    let bar = format == Format::Text && std::io::stdout().is_terminal();
    let path = format!("/v1/jobs/{}", text(first, "id"));
    let (mut job, mut shown) = (first.clone(), String::new());
    loop {
        let over = text(&job, "state") != "running";
        let line = line(&job);
        if bar && !over {
            let mut out = std::io::stdout().lock();
            let _ = write!(out, "\r\x1b[K{}", bar_of(&job)).and_then(|()| out.flush());
        } else if line != shown || over {
            if bar {
                let _ = write!(std::io::stdout().lock(), "\r\x1b[K");
            }
            match format {
                Format::Json => show::job(&job, format),
                Format::Text => say(&line),
            }
            shown = line;
        }
        if over || !wait {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
        job = reach.get(&path).await?;
    }
    if format == Format::Text
        && let Some(outcome) = job.get("outcome").and_then(Value::as_object)
    {
        for (name, value) in outcome.iter().filter(|(_, value)| !value.is_null()) {
            say(&format!("  {name}: {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
        }
    }
    match text(&job, "state") {
        "failed" => Err(Ended::Refused(format!(
            "{} failed: {}; take it up again with: pangate keys resume {0}",
            text(&job, "id"),
            text(&job, "reason")
        ))),
        _ => Ok(()),
    }
}

/// One line for how a job is.
pub(super) fn line(job: &Value) -> String {
    let (done, total) = (number(job, "done"), number(job, "total"));
    let waits = match text(job, "reason") {
        "" => String::new(),
        reason => format!("  ({reason})"),
    };
    format!(
        "{}  {} {}  {}  {}  {done}/{total} rows{waits}",
        text(job, "id"),
        text(job, "kind"),
        text(job, "subject"),
        text(job, "state"),
        text(job, "step")
    )
}

fn bar_of(job: &Value) -> String {
    let (done, total) = (number(job, "done"), number(job, "total").max(1));
    let full = done.min(total) * WIDTH / total;
    let cells: String = (0..WIDTH).map(|cell| if cell < full { '█' } else { '░' }).collect();
    format!(
        "{} {}  {cells} {:>3} %  {done}/{total}  {}",
        text(job, "kind"),
        text(job, "subject"),
        done.min(total) * 100 / total,
        text(job, "step")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_bar_fills_with_the_rows() {
        let bar = |done: u64, total: u64| {
            bar_of(&json!({ "done": done, "total": total, "kind": "rotate" })).matches('█').count()
        };
        assert_eq!((bar(0, 0), bar(0, 10), bar(5, 10), bar(10, 10)), (0, 0, 15, 30));
    }
}
