//! Keys, approvals and jobs as people read them.

use super::reach::{number, text};
use super::watch;
use crate::cli::{Format, say};
use serde_json::Value;

fn entries<'a>(page: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    page.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// Every key.
pub(super) fn inventory(page: &Value, format: Format) {
    if format == Format::Json {
        return say(&page.to_string());
    }
    say(&format!(
        "{:<12} {:>7}  {:<12} {:>8} {:>8}  {:<11} {:<10} {:>8}  {}",
        "key", "version", "status", "age", "period", "due", "check", "rows", "uses"
    ));
    for key in entries(page, "data") {
        say(&format!(
            "{:<12} {:>7}  {:<12} {:>7}d {:>7}d  {:<11} {:<10} {:>8}  {}",
            text(key, "name"),
            number(key, "version"),
            text(key, "status"),
            number(key, "age_days"),
            number(key, "cryptoperiod_days"),
            text(key, "due"),
            text(key, "check_value"),
            number(key, "rows"),
            key.get("uses").map(Value::to_string).unwrap_or_default(),
        ));
    }
    say("");
    say(&format!(
        "{:<12} {:>7}  {:<34} {:<21} {:<21} public half (base64 of Ed25519)",
        "signs", "version", "made by device", "first seen", "signed until"
    ));
    for key in entries(page, "signing_keys") {
        say(&format!(
            "{:<12} {:>7}  {:<34} {:<21} {:<21} {}",
            text(key, "name"),
            number(key, "version"),
            text(key, "device"),
            text(key, "first_seen_at"),
            text(key, "ended_at"),
            text(key, "public_key"),
        ));
    }
    let mut data_keys = entries(page, "data_keys").peekable();
    if data_keys.peek().is_some() {
        say("");
        say(&format!(
            "{:<24} {:>5}  {:<12} {:>8}  {:<8} {:>8}  under",
            "tenant's data key", "epoch", "status", "age", "due", "cards"
        ));
    }
    for key in data_keys {
        say(&format!(
            "{:<24} {:>5}  {:<12} {:>7}d  {:<8} {:>8}  kek/card#{}",
            text(key, "tenant"),
            number(key, "epoch"),
            text(key, "status"),
            number(key, "age_days"),
            text(key, "due"),
            number(key, "rows"),
            number(key, "kek_version"),
        ));
    }
}

/// What needs somebody; gives how many keys are overdue.
pub(super) fn status(keys: &Value, jobs: &Value, format: Format) -> usize {
    let name = |key: &Value| match text(key, "tenant") {
        "" => format!("{}#{}", text(key, "name"), number(key, "version")),
        tenant => format!("data key of {tenant}"),
    };
    let due = |wanted: &str| -> Vec<String> {
        entries(keys, "data")
            .chain(entries(keys, "data_keys"))
            .filter(|key| text(key, "due") == wanted)
            .map(name)
            .collect()
    };
    let (overdue, soon, superseded) = (due("overdue"), due("soon"), due("superseded"));
    let open: Vec<&Value> =
        entries(jobs, "data").filter(|job| matches!(text(job, "state"), "running" | "paused")).collect();
    if format == Format::Json {
        let told =
            serde_json::json!({ "overdue": overdue, "soon": soon, "superseded": superseded, "jobs": open });
        say(&told.to_string());
        return overdue.len();
    }
    for (names, what) in
        [(&overdue, "overdue: rotate"), (&soon, "due soon"), (&superseded, "superseded: retire")]
    {
        for name in names {
            say(&format!("{name}  {what}"));
        }
    }
    for job in open {
        say(&watch::line(job));
    }
    if overdue.is_empty() {
        say("no key is overdue");
    }
    overdue.len()
}

/// What waits for a second person.
pub(super) fn approvals(page: &Value, format: Format) {
    if format == Format::Json {
        return say(&page.to_string());
    }
    for approval in entries(page, "data") {
        say(&format!(
            "{}  {:<16}  {:<34} asked by {}, until {}  {}",
            text(approval, "id"),
            text(approval, "status"),
            text(approval, "act"),
            text(approval, "requested_by"),
            text(approval, "expires_at"),
            text(approval, "reason"),
        ));
    }
}

/// One approval, and what comes next.
pub(super) fn approval(approval: &Value, format: Format) {
    if format == Format::Json {
        return say(&approval.to_string());
    }
    let id = text(approval, "id");
    say(&format!("{id}  {}  {}", text(approval, "status"), text(approval, "act")));
    if text(approval, "status") != "pending_approval" {
        return;
    }
    let flag = |name: &str| approval.get(name) == Some(&Value::Bool(true));
    if flag("device_ticket_required") && !flag("device_ticket") {
        say("  the device asks two of its officers: repeat this with --officer NAME --officer-pin-file FILE");
    }
    say(&format!("  another person agrees until {}:", text(approval, "expires_at")));
    say(&format!("  pangate keys approve {id}"));
}

/// Jobs, newest first.
pub(super) fn jobs(page: &Value, format: Format) {
    if format == Format::Json {
        return say(&page.to_string());
    }
    for job in entries(page, "data") {
        say(&watch::line(job));
    }
}

/// One job.
pub(super) fn job(job: &Value, format: Format) {
    match format {
        Format::Json => say(&job.to_string()),
        Format::Text => say(&watch::line(job)),
    }
}
