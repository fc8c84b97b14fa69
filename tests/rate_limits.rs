//! Limits of principals, tenants and strangers: what is beyond is answered 429, cheaply, and nobody else is touched.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot be set up must fail"
)]

mod support;

use std::time::Duration;
use support::clock::Clock;
use support::wire::Answer;
use support::{OTHER, System, TENANT};

async fn limited(limits: &str) -> System {
    let section = format!("[limits]\n{limits}\n");
    System::start_with(|settings| settings.push_str(&section)).await
}

/// The first refusal of many requests, and how many were taken before it.
async fn first_refusal(system: &System, key: &str) -> (usize, Answer) {
    for taken in 0..200 {
        let answer = system.get(key, "/v1/charges").await;
        if answer.status != 200 {
            return (taken, answer);
        }
    }
    panic!("no limit was reached");
}

fn is_limited(answer: &Answer, whose: &str) {
    answer.is_problem(429, "rate_limited");
    assert_eq!(answer.json()["place"], whose);
    let wait: u32 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(wait > 0, "{wait}");
}

async fn metric(system: &System, line: &str) -> u64 {
    let text = Answer::of(support::wire::plain_client().get(format!("{}/metrics", system.ops))).await.text;
    let found = text.lines().find_map(|found| found.strip_prefix(line)).unwrap_or("0");
    found.trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_principal_beyond_its_limit_waits_and_nobody_else_does() {
    let system = limited("principal_per_minute = 6").await;
    let (taken, refused) = first_refusal(&system, "staff").await;
    assert!(taken >= 6, "{taken}");
    is_limited(&refused, "principal");
    assert_eq!(system.get("second-staff", "/v1/charges").await.status, 200);
    for _ in 0..20 {
        system.get("staff", "/v1/charges").await;
    }
    assert!(metric(&system, "pangate_rate_limited_total{code=\"principal\"}").await >= 1);
    // A flood is one line in the log, not one for every request.
    let rows = system.rows("SELECT leaf FROM audit_entry ORDER BY position", Vec::new()).await;
    let told = rows
        .iter()
        .map(|row| audit::parse(&row.bytes("leaf").unwrap()).unwrap())
        .filter(|entry| entry.reason.as_ref().is_some_and(|reason| reason.as_str() == "rate_limited"))
        .count();
    assert!((1..=3).contains(&told), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_principals_share_its_limit_and_another_tenant_has_its_own() {
    let system = limited("tenant_per_minute = 6").await;
    let (_, refused) = first_refusal(&system, "staff").await;
    is_limited(&refused, "tenant");
    let (taken, refused) = first_refusal(&system, "second-staff").await;
    assert!(taken <= 6, "{taken}");
    is_limited(&refused, "tenant");
    assert_eq!(system.get("other-staff", "/v1/charges").await.status, 200, "{OTHER} is not {TENANT}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_days_quota_is_new_on_the_next_day() {
    let mut system = limited("principal_per_day = 5").await;
    let clock = Clock::of(&mut system).await;
    let (taken, refused) = first_refusal(&system, "staff").await;
    assert!((5..=10).contains(&taken), "{taken}");
    is_limited(&refused, "principal");
    clock.advance(Duration::from_secs(24 * 3600));
    assert_eq!(system.get("staff", "/v1/charges").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_sent_away_cheaply_and_those_who_are_known_go_on() {
    let system = limited("stranger_per_minute = 8").await;
    let stranger = format!("pgk_test_{}", "a".repeat(40));
    let mut codes = Vec::new();
    for _ in 0..60 {
        let answer = system.get_as(&stranger, "/v1/charges").await;
        assert!([401, 429].contains(&answer.status.as_u16()), "{}", answer.text);
        codes.push(answer.status.as_u16());
    }
    assert!(codes.iter().filter(|code| **code == 401).count() >= 8, "{codes:?}");
    assert!(codes.contains(&429), "{codes:?}");
    // Of the same address: an unknown path, no credential at all, and sign-ins, which are not even hashed.
    let mut seen = false;
    for _ in 0..20 {
        let answer = system.sign_in("anna", "wrong violet trams 1", None).await;
        assert!([401, 429].contains(&answer.status.as_u16()), "{}", answer.text);
        seen |= answer.status == 429;
        let bare = Answer::of(system.client().get(format!("{}/v1/nothing", system.url))).await;
        assert!([401, 429].contains(&bare.status.as_u16()), "{}", bare.text);
    }
    assert!(seen, "sign-ins are not limited");
    for _ in 0..5 {
        assert_eq!(system.get("staff", "/v1/charges").await.status, 200);
    }
    let paid = system.post("portal", "/portal/payments", &system.payment("4242424242424242", "2.00")).await;
    assert_eq!(paid.status, 201, "{}", paid.text);
    assert!(metric(&system, "pangate_rate_limited_total{code=\"address\"}").await >= 1);
}
