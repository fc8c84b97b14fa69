//! Two people for every act on keys: who asks cannot agree, what is agreed to is exactly what was asked, in time, once;
//! and every step is in the audit log.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot be set up must fail")]

mod support;

use audit::Action;
use serde_json::json;
use std::time::Duration;
use support::System;
use support::wire::Answer;

const ROTATE: &str = "/v1/keys/sign/audit/rotate";
const ACT: &str = "rotate sign/audit";

/// The id of the approval that the auditor asked for.
async fn asked(system: &System) -> String {
    let answer = system.ask(ROTATE, ACT).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer.json()["id"].as_str().unwrap().to_owned()
}

async fn approve(system: &System, key: &str, id: &str, body: &serde_json::Value) -> Answer {
    system.post(key, &format!("/v1/approvals/{id}/approve"), body).await
}

/// The actions in the log, in order.
async fn actions(system: &System) -> Vec<(Action, Option<String>, audit::Outcome)> {
    let rows = system.rows("SELECT leaf FROM audit_entry ORDER BY position", Vec::new()).await;
    rows.iter()
        .map(|row| audit::parse(&row.bytes("leaf").unwrap()).unwrap())
        .map(|entry| {
            (entry.action, entry.actor.principal.map(|name| name.as_str().to_owned()), entry.outcome)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_act_needs_two_people_and_is_bound_to_what_was_asked() {
    let system = System::start().await;

    // Nobody but an auditor or an administrator asks or agrees.
    for role in ["portal", "staff", "companion"] {
        system.post(role, ROTATE, &json!({})).await.is_problem(403, "forbidden");
    }
    let id = asked(&system).await;
    for role in ["portal", "staff", "companion"] {
        approve(&system, role, &id, &json!({})).await.is_problem(403, "forbidden");
        system.get(role, &format!("/v1/approvals/{id}")).await.is_problem(403, "forbidden");
    }

    // Asking twice is asking once.
    assert_eq!(asked(&system).await, id);

    // The same person cannot agree, not even with another officer's ticket.
    let own = json!({ "act": ACT, "device_ticket": system.ticket("otto", ACT) });
    approve(&system, "auditor", &id, &own).await.is_problem(403, "second_person_required");

    // Agreeing to another act, without a ticket, or with a ticket for another act.
    let other = json!({ "act": "rotate kek/card", "device_ticket": system.ticket("otto", ACT) });
    approve(&system, "admin", &id, &other).await.is_problem(409, "approval_act_mismatch");
    approve(&system, "admin", &id, &json!({ "act": ACT })).await.is_problem(422, "device_ticket_required");
    let strange = json!({ "device_tickets": { "rotate kek/card": system.ticket("otto", ACT) } });
    approve(&system, "admin", &id, &strange).await.is_problem(422, "invalid_field");
    assert_eq!(system.versions("sign/audit").await.len(), 1, "nothing was done so far");

    // The second person agrees; it happens once.
    let begun = system.agree(&id, ACT).await;
    assert_eq!(begun.status, 200, "{}", begun.text);
    let job = begun.json()["job"].as_str().unwrap().to_owned();
    system.job_done(&job).await;
    let again = system.agree(&id, ACT).await;
    assert_eq!((again.status.as_u16(), again.json()["job"].as_str()), (200, Some(job.as_str())));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    let third = json!({ "act": ACT, "device_ticket": system.ticket("otto", ACT) });
    approve(&system, "chief-auditor", &id, &third).await.is_problem(409, "approval_state");
    let versions = system.versions("sign/audit").await;
    assert_eq!(versions.len(), 2, "the act was done once: {versions:?}");
    assert_eq!((&versions[0]["status"], &versions[1]["status"]), (&json!("deactivated"), &json!("active")));

    // Each step and each refusal is in the log, under the name of whoever took it.
    let log = actions(&system).await;
    let count = |action: Action, who: &str, outcome: audit::Outcome| {
        log.iter().filter(|entry| **entry == (action, Some(who.to_owned()), outcome)).count()
    };
    assert_eq!(count(Action::KeyApprovalOpen, "auditor", audit::Outcome::Success), 2);
    assert_eq!(count(Action::KeyApprove, "auditor", audit::Outcome::Refused), 1);
    assert_eq!(count(Action::KeyApprove, "admin", audit::Outcome::Refused), 3);
    assert_eq!(count(Action::KeyApprove, "admin", audit::Outcome::Success), 1);
    assert_eq!(count(Action::KeyApprove, "chief-auditor", audit::Outcome::Refused), 1);
    for action in [Action::KeyRotate, Action::JobStart, Action::JobEnd] {
        assert_eq!(log.iter().filter(|entry| entry.0 == action).count(), 1, "{action}");
    }
    system.audit_log_is_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_agree_at_once_begin_it_once() {
    let system = System::start().await;
    let id = asked(&system).await;
    let body = |_| json!({ "act": ACT, "device_ticket": system.ticket("otto", ACT) });
    let (one, other) = (body(0), body(1));
    let (one, other) =
        tokio::join!(approve(&system, "admin", &id, &one), approve(&system, "chief-auditor", &id, &other));
    let done = [&one, &other].iter().filter(|answer| answer.status == 200).count();
    assert_eq!(done, 1, "{}\n{}", one.text, other.text);
    assert_eq!(system.versions("sign/audit").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_ends_by_a_no_and_by_its_time_and_by_a_change_of_its_row() {
    let mut system = System::start().await;
    let id = asked(&system).await;
    let rejected = system.post("admin", &format!("/v1/approvals/{id}/reject"), &json!({})).await;
    assert_eq!((rejected.status.as_u16(), &rejected.json()["status"]), (200, &json!("rejected")));
    system.agree(&id, ACT).await.is_problem(409, "approval_state");

    // Somebody who can write to the database makes another act of it.
    let id = asked(&system).await;
    system.change("UPDATE approval SET act = 'rotate kek/card' WHERE state = 'open'", Vec::new()).await;
    let ticket = json!({ "device_ticket": system.ticket("otto", "rotate kek/card") });
    approve(&system, "admin", &id, &ticket).await.is_problem(500, "integrity");
    system.change("DELETE FROM approval WHERE state = 'open'", Vec::new()).await;

    system.gateway().terminate();
    system.write_key_policy(|text| text.replace("lifetime = \"15m\"", "lifetime = \"1s\""));
    system.start_gateway();
    system.wait_ready().await;
    let id = asked(&system).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    system.agree(&id, ACT).await.is_problem(409, "approval_state");
    assert_eq!(system.get("auditor", &format!("/v1/approvals/{id}")).await.json()["status"], "expired");
    assert_ne!(asked(&system).await, id, "it can be asked for anew");
    let expired = actions(&system).await.iter().filter(|entry| entry.0 == Action::KeyApprovalExpire).count();
    assert!(expired >= 1);
    assert_eq!(system.versions("sign/audit").await.len(), 1);
    assert_eq!(system.versions("kek/card").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_ticket_moves_nothing_and_its_approval_is_spent() {
    let system = System::start().await;
    let id = asked(&system).await;
    let twice = json!({ "act": ACT, "device_ticket": system.ticket("ada", ACT) });
    approve(&system, "admin", &id, &twice).await.is_problem(409, "device_refused");
    assert_eq!(system.agree(&id, ACT).await.json()["state"], "failed", "the same yes again is no second one");
    let third = json!({ "act": ACT, "device_ticket": system.ticket("otto", ACT) });
    approve(&system, "chief-auditor", &id, &third).await.is_problem(409, "approval_state");
    assert_eq!(system.versions("sign/audit").await.len(), 1);
    let jobs = system.get("auditor", "/v1/jobs").await.json();
    assert_eq!(
        (&jobs["data"][0]["state"], &jobs["data"][0]["reason"]),
        (&json!("failed"), &json!("hsm_denied"))
    );
}
