//! One person who tries to be two.

use super::{charge_at, ended, start, token_at, user};
use crate::support::wire::Answer;
use crate::support::{OTHER, System, TENANT};
use serde_json::json;
use std::time::Duration;

fn shred_path() -> String {
    format!("/v1/tenants/{TENANT}/shred")
}

/// The id of a request of `who` to shred the tenant.
async fn asked(system: &System, who: &str) -> String {
    let answer = system.post(who, &shred_path(), &json!({})).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// Agrees with a key that the system does not know by name.
async fn agree_with(system: &System, key: &str, approval: &str) -> Answer {
    let url = format!("{}/v1/approvals/{approval}/approve", system.url);
    Answer::of(system.client().post(url).bearer_auth(key).json(&json!({}))).await
}

async fn still_there(system: &System, token: &str) {
    let seen = system.get("staff", &format!("/v1/tokens/{token}")).await;
    assert_eq!(seen.status, 200, "a card was shredded by one person: {}", seen.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_with_two_credentials_is_one_person() {
    let system = System::start().await;
    let token = token_at(&system, &system.url, "portal", 1).await;
    let other = user(&system, &["add", "auditor", "--role", "admin", "--tenant", TENANT]);
    let approval = asked(&system, "auditor").await;
    let alone = agree_with(&system, other["key"].as_str().unwrap(), &approval).await;
    alone.is_problem(403, "second_person_required");
    still_there(&system, &token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lost_the_credential_is_neither_first_nor_second_person() {
    let system = System::start().await;
    let token = token_at(&system, &system.url, "portal", 1).await;

    // The first person is gone before the second agrees; a lesser credential of the same name is not enough.
    let approval = asked(&system, "auditor").await;
    user(&system, &["revoke", "auditor"]);
    system.agree(&approval, "").await.is_problem(409, "approval_state");
    user(&system, &["add", "auditor", "--role", "staff", "--tenant", TENANT]);
    system.agree(&approval, "").await.is_problem(409, "approval_state");
    still_there(&system, &token).await;
    let rejected = system.post("admin", &format!("/v1/approvals/{approval}/reject"), &json!({})).await;
    assert_eq!(rejected.status, 200, "{}", rejected.text);

    // The second person is gone, and the gateway still remembers the key for a moment.
    let approval = asked(&system, "chief-auditor").await;
    assert_eq!(system.get("admin", "/v1/approvals").await.status, 200);
    user(&system, &["revoke", "admin"]);
    let agreed = system.agree(&approval, "").await;
    assert!(agreed.status.is_client_error(), "a revoked second person agreed: {}", agreed.text);
    still_there(&system, &token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_agreed_to_is_not_put_off_by_one() {
    let system = start(|text| {
        text.replace("rows_per_second = 2000", "rows_per_second = 1")
            .replace("batch_rows = 100", "batch_rows = 1")
    })
    .await;
    let token = token_at(&system, &system.url, "portal", 1).await;
    for n in 10..20 {
        token_at(&system, &system.url, "other-portal", n).await;
    }
    // Another tenant's work keeps the gateway busy, so that the shredding has to wait its turn.
    let busy = format!("/v1/tenants/{OTHER}/rotate-data-key");
    let busy =
        system.post("chief-auditor", &busy, &json!({})).await.json()["id"].as_str().unwrap().to_owned();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let approval = asked(&system, "auditor").await;
    let job = system.agree(&approval, "").await.json()["id"].as_str().unwrap().to_owned();
    system.post("admin", &format!("/v1/jobs/{job}/pause"), &json!({})).await.is_problem(409, "job_state");
    assert_eq!(ended(&system, &job).await["state"], "done");
    system.get("staff", &format!("/v1/tokens/{token}")).await.is_problem(410, "token_gone");

    // Work that nobody had to agree to is halted by one, and the log names who, and whose it is.
    let halted = system.post("chief-auditor", &format!("/v1/jobs/{busy}/pause"), &json!({})).await;
    assert_eq!(halted.status, 200, "{}", halted.text);
    let rows = system.rows("SELECT leaf FROM audit_entry ORDER BY position", Vec::new()).await;
    let entry = rows
        .iter()
        .map(|row| audit::parse(&row.bytes("leaf").unwrap()).unwrap())
        .find(|entry| entry.action == audit::Action::JobChange && entry.outcome == audit::Outcome::Success)
        .unwrap();
    assert_eq!(entry.actor.principal.unwrap().as_str(), "chief-auditor");
    assert_eq!(entry.tenant.unwrap().as_str(), OTHER);
}

/// What a gateway that died right after the agreement leaves, found long after.
fn left_behind(system: &System) -> [&'static str; 2] {
    [
        "UPDATE job SET state = 'failed', step = 'device', outcome = NULL WHERE approval = $1",
        system.sql(
            "UPDATE approval SET used_at = used_at - 3600000000, expires_at = expires_at - 3600000000 WHERE id = $1",
            "UPDATE approval SET used_at = used_at - interval '1 hour', expires_at = expires_at - interval '1 hour' \
             WHERE id = $1",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agreement_that_was_not_begun_in_its_time_begins_nothing() {
    let system = System::start().await;
    token_at(&system, &system.url, "portal", 1).await;
    let approval = asked(&system, "auditor").await;
    let job = system.agree(&approval, "").await.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(ended(&system, &job).await["state"], "done");

    let later = token_at(&system, &system.url, "portal", 2).await;
    for sql in left_behind(&system) {
        assert_eq!(system.change(sql, vec![approval.as_str().into()]).await, 1);
    }
    let resumed = system.post("admin", &format!("/v1/jobs/{job}/resume"), &json!({})).await;
    assert_eq!(resumed.status, 200, "{}", resumed.text);
    let over = ended(&system, &job).await;
    assert_eq!((&over["state"], &over["reason"]), (&json!("failed"), &json!("approval_state")), "{over}");
    still_there(&system, &later).await;
    assert_eq!(charge_at(&system, &system.url, &later, "later").await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agreement_whose_gateway_is_killed_happens_once_or_not_at_all() {
    let mut system = System::start().await;
    token_at(&system, &system.url, "portal", 1).await;
    let act = "rotate kek/card";
    let mut versions = 1;
    for round in 0..8_u64 {
        let asked = system.ask("/v1/keys/kek/card/rotate", act).await;
        if asked.status != 202 {
            panic!("{}", asked.text);
        }
        let asked = asked.json();
        if asked["object"] == "job" {
            // The round before is still being worked on.
            ended(&system, asked["id"].as_str().unwrap()).await;
            continue;
        }
        let id = asked["id"].as_str().unwrap().to_owned();
        let body = json!({ "act": act, "device_ticket": system.ticket("otto", act) });
        let url = format!("{}/v1/approvals/{id}/approve", system.url);
        let request = system.client().post(url).bearer_auth(system.key("admin")).json(&body);
        let agreeing = tokio::spawn(Answer::try_of(request));
        tokio::time::sleep(Duration::from_millis(2 + 5 * round)).await;
        system.gateway().kill_9();
        let _ = agreeing.await.unwrap();
        system.start_gateway();
        system.wait_ready().await;

        let approval = system.get("auditor", &format!("/v1/approvals/{id}")).await.json();
        let now = system.versions("kek/card").await.len();
        match approval["status"].as_str() {
            Some("pending_approval") => {
                assert_eq!(now, versions, "the device acted on an approval that is still open");
                system.post("auditor", &format!("/v1/approvals/{id}/reject"), &json!({})).await;
            }
            Some("used") => assert!(now - versions <= 1, "one agreement made {} versions", now - versions),
            other => panic!("{other:?}: {approval}"),
        }
        let job = system.rows("SELECT id FROM job WHERE approval = $1", vec![id.into()]).await;
        if let Some(row) = job.first() {
            let job = ended(&system, &row.text("id").unwrap()).await;
            let rotated = now > versions;
            assert_eq!(
                job["state"] == "done",
                rotated,
                "device and job differ: {job}, {versions} then {now}"
            );
        }
        versions = now;
    }
    let left = "SELECT COUNT(*) AS n FROM data_key WHERE destroyed_at IS NULL AND kek_version < \
                (SELECT MAX(to_version) FROM job WHERE kind = 'rotate' AND state = 'done')";
    assert_eq!(system.count(left).await, 0);
    system.audit_log_is_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_auditor_finds_its_own_among_many_of_others() {
    let system = System::start().await;
    token_at(&system, &system.url, "portal", 1).await;
    token_at(&system, &system.url, "other-portal", 2).await;
    let begin = async |who: &str, tenant: &str| {
        let path = format!("/v1/tenants/{tenant}/rotate-data-key");
        let job = system.post(who, &path, &json!({})).await.json()["id"].as_str().unwrap().to_owned();
        ended(&system, &job).await;
        job
    };
    let own = begin("auditor", TENANT).await;
    begin("chief-auditor", OTHER).await;
    begin("chief-auditor", OTHER).await;
    let page = system.get("auditor", "/v1/jobs?limit=1").await.json();
    assert_eq!((&page["data"][0]["id"], &page["has_more"]), (&json!(own), &json!(false)), "{page}");
}
