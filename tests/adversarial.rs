//! The adversarial list of the sweep over the wire: what must be refused is refused before the companion hears of it,
//! what is honest passes, in every body kind, in the head, in trailers and however it is cut (P1, P2).
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot be set up must fail"
)]

#[path = "adversarial/cuts.rs"]
mod cuts;
#[path = "adversarial/honest.rs"]
mod honest;
#[path = "adversarial/rows.rs"]
mod rows;
mod support;

use rows::{Message, Row};
use support::System;
use support::raw::Raw;

/// Every number that the list hides, in its plain form.
const HIDDEN: &[&str] = &[
    "4111111111111111",
    "378282246310005",
    "36227206271667",
    "6205500000000000004",
    "4222222222222",
    "501800000009",
    "4444444444444448",
    "41111111",
];

/// Sends every message on one connection as long as it holds, and gives the answers' statuses, codes and texts.
async fn send_all(system: &System, messages: &[Message]) -> Vec<(u16, String, String)> {
    let mut raw = Raw::open(system).await;
    let mut answers = Vec::new();
    for message in messages {
        let bytes = message.http1(system);
        let sent = raw.send(&bytes).await;
        let mut answer = if sent { raw.answer().await } else { None };
        if answer.is_none() {
            // The answer before this one may have closed the connection.
            raw = Raw::open(system).await;
            raw.send(&bytes).await;
            answer = raw.answer().await;
        }
        let answer = answer.unwrap_or_else(|| panic!("{}: no answer", message.what));
        answers.push((answer.status, answer.code(), format!("{}{}", answer.head, answer.body)));
    }
    answers
}

/// What each message came to that came to something else than it should.
fn wrong(messages: &[Message], answers: &[(u16, String, String)]) -> Vec<String> {
    messages
        .iter()
        .zip(answers)
        .filter(|(message, (status, code, _))| !message.expected(*status, code))
        .map(|(message, (status, code, _))| format!("{} ({}): {status} {code}", message.what, message.expect))
        .collect()
}

fn leaks(answers: &[(u16, String, String)]) -> Vec<&str> {
    let leaky = |text: &&str| HIDDEN.iter().any(|number| text.contains(number));
    answers.iter().map(|(_, _, text)| text.as_str()).filter(leaky).collect()
}

async fn nothing_leaked(system: &System) {
    assert_eq!(system.files_with(HIDDEN), Vec::<String>::new(), "a number was written to a file");
    let log = system.gateway_log();
    for line in log.lines() {
        assert!(sweep::sweep_line(line.as_bytes()).is_clean(), "a log line reads like a card number");
    }
    assert!(log.lines().count() > 10, "the log is there");
    let entries = serde_json::to_string(&system.entries().await).unwrap();
    assert!(HIDDEN.iter().all(|number| !entries.contains(number)), "an audit entry holds a number");
}

#[tokio::test(flavor = "multi_thread")]
async fn p2_every_refused_row_is_refused_in_every_body_and_the_companion_hears_nothing() {
    let system = System::start().await;
    let messages: Vec<Message> = rows::all().iter().flat_map(|row| row.hostile_bodies(&system)).collect();
    assert!(messages.len() > 600, "{}", messages.len());

    let answers = send_all(&system, &messages).await;

    let wrong = wrong(&messages, &answers);
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), messages.len(), wrong.join("\n"));
    assert_eq!(leaks(&answers), Vec::<&str>::new());
    assert_eq!((system.companion_messages(), system.posted_payments().await), (0, 0));
    nothing_leaked(&system).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p2_every_refused_row_is_refused_in_path_query_headers_and_trailers_of_both_versions() {
    let system = System::start().await;
    let messages: Vec<Message> = rows::all().iter().flat_map(|row| row.hostile_heads(&system)).collect();
    assert!(messages.len() > 20, "{}", messages.len());

    let answers = send_all(&system, &messages).await;
    let by_http2 =
        futures_util::future::join_all(messages.iter().map(|message| message.http2(&system))).await;

    let (first, second) = (wrong(&messages, &answers), wrong(&messages, &by_http2));
    assert!(
        first.is_empty() && second.is_empty(),
        "HTTP/1.1:\n{}\nHTTP/2:\n{}",
        first.join("\n"),
        second.join("\n")
    );
    assert_eq!((leaks(&answers), leaks(&by_http2)), (vec![], vec![]));
    assert_eq!((system.companion_messages(), system.posted_payments().await), (0, 0));
    nothing_leaked(&system).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_must_pass_pass_where_the_route_keeps_their_field_and_in_the_note() {
    let system = rows::keeping_system().await;
    let messages: Vec<Message> = rows::all().iter().flat_map(|row| row.honest_bodies(&system)).collect();
    assert!(messages.len() > 40, "{}", messages.len());

    let answers = send_all(&system, &messages).await;

    let wrong = wrong(&messages, &answers);
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), messages.len(), wrong.join("\n"));
    assert_eq!(system.companion_messages(), messages.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_in_a_field_that_a_lenient_route_keeps_is_refused_too() {
    let system = rows::keeping_system().await;
    let messages: Vec<Message> = rows::all().iter().flat_map(|row| row.kept_fields(&system)).collect();
    assert!(messages.len() > 150, "{}", messages.len());

    let answers = send_all(&system, &messages).await;

    let wrong = wrong(&messages, &answers);
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), messages.len(), wrong.join("\n"));
    assert_eq!((system.companion_messages(), leaks(&answers)), (0, vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stray_number_in_an_undeclared_field_is_named_as_one_and_an_honest_field_as_unknown() {
    let system = System::start().await;
    for (value, status, code) in [("4111111111111111", 400, "stray_pan"), ("blue", 422, "unknown_field")] {
        let mut payment = system.payment("4242424242424242", "1.00");
        payment["colour"] = value.into();
        system.post("portal", "/portal/payments", &payment).await.is_problem(status, code);
    }
    // A second card beside a faulty first one is still found, and the first one is not repeated.
    let mut payment = system.payment("4242424242424241", "1.00");
    payment["note"] = "use 4111111111111111 instead".into();
    let answer = system.post("portal", "/portal/payments", &payment).await;
    answer.is_problem(400, "stray_pan");
    assert!(!answer.text.contains("42424242") && !answer.text.contains("41111111"));
}

#[test]
fn the_list_names_the_rows_that_this_file_leaves_to_others() {
    let left: Vec<String> =
        rows::all().into_iter().filter(|row| row.place == "text").map(|row: Row| row.id).collect();
    assert_eq!(left, ["43"], "rows about log lines belong to the log's own tests");
}
