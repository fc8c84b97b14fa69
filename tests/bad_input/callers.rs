//! Credentials that are missing, unknown, foreign, revoked or of the wrong role, on every route there is.

use crate::support::wire::Answer;
use crate::support::{System, process};
use crate::{Refused, all_recorded, refusal, unharmed};
use http::Method;
use serde_json::json;
use std::time::Duration;

/// Every route, and who may call it. `src/routes.rs` is the other half of this table.
const ROUTES: &[(&str, &str, &[&str])] = &[
    ("POST", "/v1/tokens", &["portal"]),
    ("POST", "/v1/tokens/batch", &["portal"]),
    ("GET", "/v1/tokens/tok_test_none", &["portal", "staff", "companion"]),
    ("DELETE", "/v1/tokens/tok_test_none", &["admin"]),
    ("POST", "/v1/charges", &["staff", "companion"]),
    ("GET", "/v1/charges", &["staff", "companion", "auditor"]),
    ("GET", "/v1/charges/ch_none", &["staff", "companion", "auditor"]),
    ("POST", "/v1/refunds", &["staff"]),
    ("GET", "/v1/refunds", &["staff", "companion", "auditor"]),
    ("GET", "/v1/refunds/re_none", &["staff", "companion", "auditor"]),
    ("POST", "/v1/refunds/re_none/approve", &["staff"]),
    ("GET", "/v1/keys", &["auditor", "admin"]),
    ("POST", "/v1/keys/kek/card/rotate", KEEPERS),
    ("POST", "/v1/keys/kek%2Fcard/versions/1/retire", KEEPERS),
    ("POST", "/v1/keys/kek/card/versions/1/destroy", KEEPERS),
    ("POST", "/v1/keys/migrations", KEEPERS),
    ("POST", "/v1/keys/ceremonies", KEEPERS),
    ("POST", "/v1/tenants/north-clinic/rotate-data-key", KEEPERS),
    ("POST", "/v1/tenants/north-clinic/shred", KEEPERS),
    ("GET", "/v1/approvals", KEEPERS),
    ("GET", "/v1/approvals/apr_none", KEEPERS),
    ("POST", "/v1/approvals/apr_none/approve", KEEPERS),
    ("POST", "/v1/approvals/apr_none/reject", KEEPERS),
    ("GET", "/v1/jobs", KEEPERS),
    ("GET", "/v1/jobs/job_none", KEEPERS),
    ("POST", "/v1/jobs/job_none/pause", KEEPERS),
    ("POST", "/v1/jobs/job_none/resume", KEEPERS),
    ("GET", "/v1/sessions/current", PEOPLE),
    ("DELETE", "/v1/sessions/current", PEOPLE),
    ("POST", "/v1/account/password", PEOPLE),
    ("POST", "/v1/account/factor", PEOPLE),
    ("POST", "/v1/account/factor/confirm", PEOPLE),
    ("GET", "/v1/people", KEEPERS),
    ("POST", "/v1/people", &["admin"]),
    ("POST", "/v1/people/nobody/disable", &["admin"]),
    ("POST", "/v1/people/nobody/enable", &["admin"]),
    ("POST", "/v1/people/nobody/revoke-sessions", &["admin"]),
    ("POST", "/v1/people/nobody/reset-password", &["admin"]),
    ("POST", "/v1/people/nobody/reset-factor", &["admin"]),
    ("GET", "/v1/audit/entries", &["auditor"]),
    ("GET", "/v1/device-log", &["auditor", "admin"]),
    ("POST", "/portal/payments", &["portal"]),
];
/// Who asks for acts on keys and agrees to them.
const KEEPERS: &[&str] = &["auditor", "admin"];
/// Who has an account.
const PEOPLE: &[&str] = &["staff", "auditor", "admin"];
/// What needs no credential. The list may only shrink: a route that stands in neither list fails.
const PUBLIC: &[(&str, &str)] = &[("POST", "/v1/sessions")];
const ROLES: [&str; 5] = ["portal", "staff", "auditor", "admin", "companion"];

async fn call(system: &System, method: &str, path: &str, credential: Option<&str>) -> Answer {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let body = json!({ "card": { "number": "4242424242424242", "exp_month": 12, "exp_year": 2034 } });
    let mut request = system.client().request(method.clone(), format!("{}{path}", system.url));
    if let Some(credential) = credential {
        request = request.header("Authorization", credential);
    }
    Answer::of(if method == Method::POST { request.json(&body) } else { request }).await
}

fn refused(what: &str, answer: &Answer, expected: (u16, &str)) -> Refused {
    refusal(what, (answer.status.as_u16(), &answer.text), expected)
}

#[test]
fn the_table_names_every_route_that_is_served() {
    let served = include_str!("../../src/routes.rs");
    // Each route that is served is a variant, and its line of documentation begins with its method and path.
    let fixed = ["GET", "POST", "DELETE"]
        .map(|method| served.matches(&format!("    /// `{method} /v1/")).count())
        .iter()
        .sum::<usize>();
    let passed = include_str!("../../policy/routes.toml").matches("[[route]]").count();
    assert_eq!(ROUTES.len() + PUBLIC.len(), fixed + passed);
}

#[tokio::test(flavor = "multi_thread")]
async fn p10_every_route_asks_who_calls_and_refuses_every_other_role() {
    let system = System::start().await;
    let mut refusals = Vec::new();
    for (method, path, permitted) in ROUTES {
        let stranger = call(&system, method, path, None).await;
        assert_eq!(stranger.headers["www-authenticate"], "Bearer realm=\"pangate\"");
        refusals.push(refused(&format!("{method} {path} by nobody"), &stranger, (401, "missing_credential")));
        for role in ROLES.iter().filter(|role| !permitted.contains(role)) {
            let answer = call(&system, method, path, Some(&format!("Bearer {}", system.key(role)))).await;
            refusals.push(refused(&format!("{method} {path} by {role}"), &answer, (403, "forbidden")));
        }
    }
    for (method, path, permitted) in ROUTES.iter().filter(|(method, ..)| *method == "GET") {
        for role in *permitted {
            let answer = call(&system, method, path, Some(&format!("Bearer {}", system.key(role)))).await;
            assert!(
                matches!(answer.status.as_u16(), 200 | 404),
                "{method} {path} by {role}: {}",
                answer.text
            );
        }
    }
    for (method, path) in PUBLIC {
        let answer = call(&system, method, path, None).await;
        assert_ne!(
            answer.code(),
            "missing_credential",
            "{method} {path} asks: strike it off the public routes"
        );
    }
    all_recorded(&system, &refusals).await;
    unharmed(&system).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p10_credentials_that_nobody_holds_are_refused_alike() {
    let system = System::start().await;
    let (key, cut) = (system.key("portal").to_owned(), system.key("portal").len() - 1);
    let strange = [
        format!("Bearer pgk_test_{}", "a".repeat(40)),
        format!("Bearer {}", &key[..cut]),
        format!("Bearer {key}a"),
        format!("Bearer {}", key.to_uppercase()),
        format!("Basic {key}"),
        key.clone(),
        "Bearer".to_owned(),
        format!("Bearer {}", "a".repeat(5000)),
    ];
    let mut refusals = Vec::new();
    for credential in &strange {
        let answer = call(&system, "POST", "/v1/tokens", Some(credential)).await;
        refusals.push(refused("a strange credential", &answer, (401, "unknown_credential")));
        assert!(!answer.text.contains(&key[..20]));
    }
    all_recorded(&system, &refusals).await;
    assert!(!system.gateway_log().contains(&key[9..]), "a key was logged");
    unharmed(&system).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p10_a_revoked_key_is_refused_within_a_second() {
    let system = System::start().await;
    assert_eq!(system.get("second-staff", "/v1/charges").await.status, 200);
    let config = system.path("pangate.toml").display().to_string();
    process::run("pangate", &["user", "revoke", "second-staff", "--config", &config]);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let answer = system.get("second-staff", "/v1/charges").await;
    let refusals = [refused("revoked", &answer, (401, "unknown_credential"))];
    all_recorded(&system, &refusals).await;
    assert_eq!(system.get("staff", "/v1/charges").await.status, 200, "the others still open");
}

#[tokio::test(flavor = "multi_thread")]
async fn p10_another_tenants_data_is_answered_like_none() {
    let system = System::start().await;
    let paid = system.post("portal", "/portal/payments", &system.payment("4242424242424242", "2.00")).await;
    let charge = paid.json()["charge"].as_str().unwrap().to_owned();
    let shown = system.get("staff", &format!("/v1/charges/{charge}")).await.json();
    let token = shown["token"].as_str().unwrap();
    let mut refusals = Vec::new();
    for (path, code) in [
        (format!("/v1/charges/{charge}"), "unknown_charge"),
        (format!("/v1/charges/{}", tokens::ChargeId::mint().unwrap()), "unknown_charge"),
        (format!("/v1/tokens/{token}"), "unknown_token"),
        (format!("/v1/tokens/{}", tokens::Token::mint(tokens::Realm::Test).unwrap()), "unknown_token"),
        ("/v1/refunds/re_none".to_owned(), "unknown_refund"),
    ] {
        let answer = system.get("other-staff", &path).await;
        refusals.push(refused(&path, &answer, (404, code)));
    }
    // The other tenant's portal cannot pay into this tenant's account; the companion says so.
    let foreign =
        system.post("other-portal", "/portal/payments", &system.payment("4242424242424242", "3.00")).await;
    assert_eq!(foreign.status, 404, "{}", foreign.text);
    assert_eq!(system.posted_payments().await, 1);
    all_recorded(&system, &refusals).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p10_unknown_paths_and_methods_are_told_to_those_who_may_call_and_to_nobody_else() {
    let system = System::start().await;
    let mut refusals = Vec::new();
    let bearer = format!("Bearer {}", system.key("portal"));
    for path in [
        "/",
        "/v1",
        "/v1/nothing",
        "/v1/tokens/a/b",
        "/portal",
        "/portal/payments/x",
        "/admin",
        "/metrics",
        "/readyz",
    ] {
        let known = call(&system, "GET", path, Some(&bearer)).await;
        refusals.push(refused(path, &known, (404, "unknown_route")));
        let stranger = call(&system, "GET", path, None).await;
        refusals.push(refused(path, &stranger, (401, "missing_credential")));
    }
    for (method, path) in [
        ("GET", "/portal/payments"),
        ("PUT", "/v1/tokens"),
        ("PATCH", "/v1/charges"),
        ("DELETE", "/v1/keys"),
        ("HEAD", "/v1/refunds"),
    ] {
        let answer = call(&system, method, path, Some(&bearer)).await;
        if method == "HEAD" {
            assert_eq!(answer.status, 405);
        } else {
            refusals.push(refused(path, &answer, (405, "method_not_allowed")));
        }
    }
    all_recorded(&system, &refusals).await;
    unharmed(&system).await;
}
