//! Bad input over the wire (P9, P10): each kind has its own named code, nothing is stored, forwarded or leaked, the
//! refusal stands in the audit log under its request id, and the gateway serves on.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    reason = "a test that cannot be set up must fail"
)]

#[path = "bad_input/bodies.rs"]
mod bodies;
#[path = "bad_input/callers.rs"]
mod callers;
#[path = "bad_input/keys.rs"]
mod keys;
mod support;
#[path = "bad_input/wire.rs"]
mod wire;

use support::System;

/// A refusal that has to be found in the audit log.
pub(crate) struct Refused {
    pub(crate) what: String,
    pub(crate) request: String,
    pub(crate) code: String,
}

/// The refusal that a problem document is; panics when the document is another one than expected.
#[track_caller]
pub(crate) fn refusal(what: &str, answer: (u16, &str), expected: (u16, &str)) -> Refused {
    let (status, body) = answer;
    let problem: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let code = problem["code"].as_str().unwrap_or_default();
    assert_eq!((status, code), expected, "{what}: {body}");
    for field in ["type", "title", "status", "detail", "request_id"] {
        assert!(!problem[field].is_null(), "{what}: {field} is missing: {body}");
    }
    let request = problem["request_id"].as_str().unwrap_or_default().to_owned();
    Refused { what: what.to_owned(), request, code: code.to_owned() }
}

/// Every refusal stands in the log (P10).
pub(crate) async fn all_recorded(system: &System, refusals: &[Refused]) {
    let entries = system.entries().await;
    let missing: Vec<String> = refusals
        .iter()
        .filter(|refused| {
            !entries
                .iter()
                .any(|entry| entry["request"] == refused.request && entry["reason"] == refused.code)
        })
        .map(|refused| format!("{} ({})", refused.what, refused.code))
        .collect();
    assert!(missing.is_empty(), "not in the audit log:\n{}", missing.join("\n"));
}

/// How many cards are on the shelf.
pub(crate) async fn cards_stored(system: &System) -> i64 {
    system.count("SELECT COUNT(*) AS n FROM card").await
}

/// Nothing of what was refused was stored or forwarded, and the next honest payment goes through.
pub(crate) async fn unharmed(system: &System) {
    assert_eq!(
        (system.companion_messages(), system.posted_payments().await),
        (0, 0),
        "something was forwarded"
    );
    assert_eq!(cards_stored(system).await, 0, "something was stored");
    let sent = ["4242424242424242", "4242424242424241", "5555555555554444"];
    assert_eq!(system.files_with(&sent), Vec::<String>::new());
    let answer = system.post("portal", "/portal/payments", &system.payment("4242424242424242", "1.00")).await;
    assert_eq!(answer.status, 201, "the gateway serves on: {}", answer.text);
}
