//! Training gates roles on a running gateway, as its clock goes on.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot be set up must fail")]

mod support;

use serde_json::Value;
use std::time::{Duration, Instant};
use support::System;
use support::clock::Clock;

async fn ops(system: &System, path: &str) -> String {
    let answer = support::wire::plain_client().get(format!("{}{path}", system.ops)).send().await.unwrap();
    answer.text().await.unwrap()
}

/// Reads the folder again and waits until it is in force.
async fn reload(system: &mut System) {
    let before: Value = serde_json::from_str(&ops(system, "/readyz").await).unwrap();
    system.gateway().signal("HUP");
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let now: Value = serde_json::from_str(&ops(system, "/readyz").await).unwrap();
        if now["policy_sha256"] != before["policy_sha256"] {
            return;
        }
        assert!(Instant::now() < deadline, "{now}\n{}", system.gateway_log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn day(days: i64) -> String {
    let day = time::OffsetDateTime::now_utc().date() + time::Duration::days(days);
    day.to_string()
}

fn record(expires: i64) -> String {
    let (completed, expires) = (day(-10), day(expires));
    let training = |course: &str| {
        format!("[[training]]\ncourse = \"{course}\"\ncompleted = {completed}\nexpires = {expires}\n")
    };
    let trainings = training("hipaa-privacy") + &training("card-security");
    format!(
        "principal = \"staff\"\nroles = [\"staff\"]\n{trainings}[review]\nby = \"second-staff\"\non = {completed}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_training_ends_the_role_and_a_renewed_one_restores_it_without_a_restart() {
    let mut system = System::start().await;
    let clock = Clock::of(&mut system).await;
    let file = system.path("policy/people/staff.toml");
    std::fs::write(&file, record(40)).unwrap();
    reload(&mut system).await;
    assert_eq!(system.get("staff", "/v1/charges").await.status, 200);

    clock.step("+42d");
    let denied = system.get("staff", "/v1/charges").await;
    denied.is_problem(403, "training_expired");
    let said = denied.json();
    assert_eq!(
        (&said["course"], &said["expired"], &said["rule"]),
        (&"hipaa-privacy".into(), &day(40).into(), &"role-must-be-effective".into())
    );
    assert!(said["renew"].as_str().unwrap().contains("privacy officer"), "{said}");
    assert!(said["detail"].as_str().unwrap().contains(&day(40)), "{said}");
    // Nobody else's role depends on it, and an act that the role never had is refused as ever.
    assert_eq!(system.get("second-staff", "/v1/charges").await.status, 200);
    system.get("staff", "/v1/keys").await.is_problem(403, "forbidden");
    assert!(ops(&system, "/readyz").await.contains("training_expired"));
    let entries = system.get("chief-auditor", "/v1/audit/entries?limit=500").await.json();
    let recorded =
        entries["data"].as_array().unwrap().iter().any(|line| {
            line["entry"]["reason"] == "training_expired" && line["entry"]["principal"] == "staff"
        });
    assert!(recorded, "{entries}");

    std::fs::write(&file, record(400)).unwrap();
    reload(&mut system).await;
    assert_eq!(system.get("staff", "/v1/charges").await.status, 200);

    // Half a year later somebody has to confirm the access; that is reported and stops nobody.
    clock.step("+200d");
    assert_eq!(system.get("staff", "/v1/charges").await.status, 200);
    assert!(ops(&system, "/readyz").await.contains("recertification_overdue"));
    let deadline = Instant::now() + Duration::from_secs(120);
    while !ops(&system, "/metrics").await.contains("policy_records_due{code=\"recertification_overdue\"} 1") {
        assert!(Instant::now() < deadline, "the metrics do not show it");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
