//! API keys that are bound to networks, routes and times, that are rotated with overlap, and whose last use is known.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot be set up must fail")]

mod support;

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::clock::Clock;
use support::{System, TENANT};

fn key(system: &System, name: &str, role: &str, more: &[&str]) -> String {
    let arguments = [&["add", name, "--role", role, "--tenant", TENANT][..], more].concat();
    system.user(&arguments)[0]["key"].as_str().unwrap().to_owned()
}

fn listed(system: &System, name: &str) -> Vec<Value> {
    system.user(&["list"]).into_iter().filter(|line| line["principal"] == name).collect()
}

fn card() -> Value {
    json!({ "card": { "number": "4242424242424242", "exp_month": 12, "exp_year": 2034 } })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_for_use_from_its_networks_and_on_its_routes_alone() {
    let system = System::start().await;
    let inside = key(&system, "inside", "portal", &["--network", "10.0.0.0/8", "--network", "127.0.0.0/8"]);
    assert_eq!(system.post_as(&inside, "/v1/tokens", &card()).await.status, 201);
    let outside =
        key(&system, "outside", "portal", &["--network", "10.0.0.0/8", "--network", "2001:db8::/32"]);
    system.post_as(&outside, "/v1/tokens", &card()).await.is_problem(403, "network_not_allowed");
    system.get_as(&outside, "/v1/nothing").await.is_problem(403, "network_not_allowed");
    // What a request says of its own origin changes nothing.
    let url = format!("{}/v1/tokens", system.url);
    for header in ["X-Forwarded-For", "Forwarded", "X-Real-IP"] {
        let value = if header == "Forwarded" { "for=10.0.0.7" } else { "10.0.0.7" };
        let request = system.client().post(&url).bearer_auth(&outside).header(header, value).json(&card());
        support::wire::Answer::of(request).await.is_problem(403, "network_not_allowed");
    }
    let rows = system.rows("SELECT leaf FROM audit_entry ORDER BY position", Vec::new()).await;
    let refused = rows
        .iter()
        .map(|row| audit::parse(&row.bytes("leaf").unwrap()).unwrap())
        .filter(|entry| entry.action == audit::Action::CredentialRefuse)
        .filter(|entry| entry.actor.principal.as_ref().is_some_and(|name| name.as_str() == "outside"))
        .count();
    assert_eq!(refused, 4, "whose key it is stands in the log");

    let narrow = key(&system, "narrow", "portal", &["--route", "tokens_create"]);
    let made = system.post_as(&narrow, "/v1/tokens", &card()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let token = format!("/v1/tokens/{}", made.json()["id"].as_str().unwrap());
    system.get_as(&narrow, &token).await.is_problem(403, "route_not_allowed");
    system.post_as(&narrow, "/portal/payments", &json!({})).await.is_problem(403, "route_not_allowed");
    system.get_as(&narrow, "/v1/nothing").await.is_problem(403, "route_not_allowed");
    assert_eq!(listed(&system, "narrow")[0]["routes"], json!(["tokens_create"]));
    assert_eq!(listed(&system, "inside")[0]["networks"], json!(["10.0.0.0/8", "127.0.0.0/8"]));

    let config = system.path("pangate.toml").display().to_string();
    for wrong in [["--network", "10.0.0.0/33"], ["--route", "tokens_steal"], ["--expires-in", "soon"]] {
        let start = ["user", "add", "x", "--role", "portal", "--tenant", TENANT, "--config", &config];
        let (status, said) = support::process::tried("pangate", &[&start[..], &wrong].concat(), &[]);
        assert_eq!(status, 2, "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_ends_in_its_time_and_its_successor_overlaps_it() {
    let mut system = System::start().await;
    let clock = Clock::of(&mut system).await;
    let short = key(&system, "short", "staff", &["--expires-in", "1h"]);
    let old = key(&system, "long", "portal", &["--network", "127.0.0.0/8", "--route", "tokens_create"]);
    assert_eq!(system.get_as(&short, "/v1/charges").await.status, 200);
    assert_eq!(system.post_as(&old, "/v1/tokens", &card()).await.status, 201);
    let rotated = system.user(&["rotate-key", "long", "--overlap", "2h"]);
    let new = rotated[0]["key"].as_str().unwrap().to_owned();
    assert_ne!(old, new);
    for live in [&old, &new] {
        assert_eq!(system.post_as(live, "/v1/tokens", &card()).await.status, 201);
    }
    // What the old one was bound to binds the new one.
    system.get_as(&new, "/v1/tokens/tok_test_none").await.is_problem(403, "route_not_allowed");
    let both = listed(&system, "long");
    assert_eq!(both.len(), 2);
    assert!(both[0]["expires_at"].is_string() && both[1]["expires_at"].is_null(), "{both:?}");

    clock.advance(Duration::from_secs(61 * 60));
    tokio::time::sleep(Duration::from_millis(1100)).await;
    system.get_as(&short, "/v1/charges").await.is_problem(401, "unknown_credential");
    assert_eq!(system.post_as(&old, "/v1/tokens", &card()).await.status, 201, "it lives on for two hours");
    clock.advance(Duration::from_secs(60 * 60));
    tokio::time::sleep(Duration::from_millis(1100)).await;
    system.post_as(&old, "/v1/tokens", &card()).await.is_problem(401, "unknown_credential");
    assert_eq!(system.post_as(&new, "/v1/tokens", &card()).await.status, 201);

    // A name with keys of two kinds has no one successor, and one without a live key none at all.
    key(&system, "long", "staff", &[]);
    let config = system.path("pangate.toml").display().to_string();
    for (name, told) in [("long", "differ"), ("nobody", "no live key")] {
        let arguments = ["user", "rotate-key", name, "--config", &config];
        let (status, said) = support::process::tried("pangate", &arguments, &[]);
        assert!(status == 2 && said.contains(told), "{said}");
    }
    system.audit_log_is_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_key_was_last_used_is_known_to_the_hour_without_a_write_for_every_request() {
    let system = System::start().await;
    let key = key(&system, "counted", "staff", &[]);
    assert!(listed(&system, "counted")[0]["last_used_at"].is_null());
    assert_eq!(system.get_as(&key, "/v1/charges").await.status, 200);
    // It is noted beside the request.
    let until = Instant::now() + Duration::from_secs(30);
    while listed(&system, "counted")[0]["last_used_at"].is_null() {
        assert!(Instant::now() < until, "the use was not noted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let sql = system.sql(
        "SELECT last_used AS n FROM credential WHERE principal = 'counted'",
        "SELECT (EXTRACT(EPOCH FROM last_used) * 1000000)::bigint AS n FROM credential WHERE principal = 'counted'",
    );
    let noted = system.count(sql).await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(1100)).await;
        assert_eq!(system.get_as(&key, "/v1/charges").await.status, 200);
    }
    assert_eq!(system.count(sql).await, noted);
}
