//! A tenant that leaves: its cards and data keys are destroyed, later use says 410, nothing opens any more, and what a
//! restored backup could still open is said plainly and ended by the destruction of the KEK's version.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot be set up must fail")]

mod support;

use audit::{Action, Resource};
use serde_json::json;
use std::time::Duration;
use store::Value;
use support::wire::Answer;
use support::{OTHER, System, TENANT, cards};

async fn token(system: &System, key: &str, n: u64) -> String {
    let card = json!({ "number": cards::generated(n), "exp_month": 12, "exp_year": 2034, "cvc": "737" });
    let answer = system.post(key, "/v1/tokens", &json!({ "card": card })).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.json()["id"].as_str().unwrap().to_owned()
}

async fn charge(system: &System, key: &str, token: &str, once: &str) -> Answer {
    let body = json!({ "token": token, "amount": "2.00", "currency": "USD" });
    let request = system.client().post(format!("{}/v1/charges", system.url)).bearer_auth(system.key(key));
    Answer::of(request.header("Idempotency-Key", once).json(&body)).await
}

/// The rows of one tenant as a backup has them.
struct Backup {
    data_key: Vec<Value>,
    card: Vec<Value>,
}

async fn back_up(system: &System, token: &str) -> Backup {
    let sql = "SELECT data_key_id, sealed, kek_version FROM data_key WHERE tenant = $1 AND status = 'active'";
    let key = &system.rows(sql, vec![TENANT.into()]).await[0];
    let sql = "SELECT envelope FROM card WHERE token = $1";
    let card = &system.rows(sql, vec![token.into()]).await[0];
    let id = key.bytes("data_key_id").unwrap();
    Backup {
        data_key: vec![
            id.clone().into(),
            key.bytes("sealed").unwrap().into(),
            key.integer("kek_version").unwrap().into(),
        ],
        card: vec![token.into(), card.bytes("envelope").unwrap().into(), id.into()],
    }
}

/// Puts the rows back, as somebody with a backup and the database could.
async fn restore(system: &System, backup: Backup) {
    let key = "UPDATE data_key SET sealed = $2, kek_version = $3, status = 'active', destroyed_at = NULL, \
               deactivated_at = NULL WHERE data_key_id = $1";
    assert_eq!(system.change(key, backup.data_key).await, 1);
    let card = "UPDATE card SET envelope = $2, data_key_id = $3, shredded_at = NULL WHERE token = $1";
    assert_eq!(system.change(card, backup.card).await, 1);
}

async fn recorded(system: &System, wanted: Action) -> Vec<audit::Entry> {
    let rows = system.rows("SELECT leaf FROM audit_entry ORDER BY position", Vec::new()).await;
    let entries = rows.iter().map(|row| audit::parse(&row.bytes("leaf").unwrap()).unwrap());
    entries.filter(|entry| entry.action == wanted).collect()
}

async fn shred(system: &System) -> serde_json::Value {
    let begun = system.two_people(&format!("/v1/tenants/{TENANT}/shred"), "").await;
    system.job_done(begun["id"].as_str().unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shredded_tenant_is_gone_and_a_backup_of_it_ends_with_the_kek() {
    let system = System::start().await;
    let mut made = Vec::new();
    for n in 0..12 {
        made.push(token(&system, "portal", 700 + n).await);
    }
    let neighbour = token(&system, "other-portal", 800).await;
    assert_eq!(charge(&system, "staff", &made[0], "before").await.status, 201);
    let (first, second, third) = (
        back_up(&system, &made[0]).await,
        back_up(&system, &made[1]).await,
        back_up(&system, &made[0]).await,
    );

    // A tenant's own people cannot shred another's; nobody can alone.
    let path = format!("/v1/tenants/{OTHER}/shred");
    system.post("auditor", &path, &json!({})).await.is_problem(404, "unknown_tenant");
    let done = shred(&system).await;
    assert_eq!(done["done"], 12, "{done}");
    assert_eq!(done["outcome"]["kek_versions"], json!([1]), "what a backup still opens is said: {done}");
    for token in &made {
        system.get("staff", &format!("/v1/tokens/{token}")).await.is_problem(410, "token_gone");
    }
    charge(&system, "staff", &made[0], "after").await.is_problem(410, "token_gone");
    for (sql, what) in [
        (
            "SELECT COUNT(*) AS n FROM card WHERE tenant = 'north-clinic' AND envelope IS NOT NULL",
            "envelopes",
        ),
        (
            "SELECT COUNT(*) AS n FROM card WHERE tenant = 'north-clinic' AND fingerprint IS NOT NULL",
            "fingerprints",
        ),
        (
            "SELECT COUNT(*) AS n FROM data_key WHERE tenant = 'north-clinic' AND length(sealed) > 0",
            "data keys",
        ),
    ] {
        assert_eq!(system.count(sql).await, 0, "{what} are left");
    }
    assert_eq!(recorded(&system, Action::TenantShred).await.len(), 1);
    assert_eq!(recorded(&system, Action::DataKeyDestroy).await.len(), 1);
    assert_eq!(
        charge(&system, "other-staff", &neighbour, "neighbour").await.status,
        201,
        "a neighbour pays on"
    );

    // As was said: with its version of the KEK still there, a backup opens.
    restore(&system, second).await;
    assert_eq!(charge(&system, "staff", &made[1], "restored").await.status, 201);
    shred(&system).await;

    // The KEK's version is rotated away and destroyed, by two people, when nothing needs it any more.
    let job = system.rotate("kek/card").await;
    system.job_done(job["id"].as_str().unwrap()).await;
    let destroy = "/v1/keys/kek/card/versions/1/destroy";
    system.ask(destroy, "destroy kek/card#1").await.is_problem(409, "key_state");
    tokio::time::sleep(Duration::from_secs(62)).await;
    restore(&system, third).await;
    system.ask(destroy, "destroy kek/card#1").await.is_problem(409, "key_still_needed");
    shred(&system).await;
    let begun = system.two_people(destroy, "destroy kek/card#1").await;
    let gone = system.job_done(begun["id"].as_str().unwrap()).await;
    assert_eq!(gone["outcome"]["key"], "kek/card#1");
    assert!(gone["outcome"]["signature"].as_str().is_some_and(|text| text.len() == 128), "{gone}");
    let entries = recorded(&system, Action::KeyDestroy).await;
    assert!(
        matches!(&entries[0].resource, Resource::DestroyedKey { label, version: 1, .. } if label.as_str() == "kek/card")
    );

    // From now on the same backup opens nothing.
    restore(&system, first).await;
    let dead = charge(&system, "staff", &made[0], "dead").await;
    assert!(dead.status.is_server_error(), "a backup under a destroyed KEK opened: {}", dead.text);
    assert_eq!(charge(&system, "other-staff", &neighbour, "neighbour-again").await.status, 201);
    system.audit_log_is_whole();
}
