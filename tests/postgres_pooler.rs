//! PgBouncer between the gateway and its database: the whole journey in session mode, a refusal in transaction mode.

mod support;

use scratch_postgres::{Cluster, Database};
use serde_json::json;
use std::process::{Command, Stdio};
use support::System;
use support::wire::Answer;

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_journey_goes_through_a_pooler_in_session_mode() {
    let cluster = Cluster::start("").unwrap();
    let Database { name, .. } = cluster.database().unwrap();
    let bouncer = cluster.pooled("session").unwrap();
    let url = format!("postgres://postgres@127.0.0.1:{}/{name}", bouncer.port());
    let mut system = System::start_on(Database { url, name }).await;

    let paid = system.post("portal", "/portal/payments", &system.payment("4242424242424242", "20.00")).await;
    assert_eq!(paid.status, 201, "{}", paid.text);
    let charge = paid.json()["charge"].clone();
    let refund = json!({ "charge": charge, "amount": "5.00", "reason": "goodwill" });
    let request = system.client().post(format!("{}/v1/refunds", system.url)).bearer_auth(system.key("staff"));
    let refunded = Answer::of(request.header("Idempotency-Key", "refund").json(&refund)).await;
    assert_eq!(refunded.json()["status"], "succeeded", "{}", refunded.text);
    let job = system.rotate("kek/card").await;
    system.job_done(job["id"].as_str().unwrap()).await;

    // A gateway that is killed leaves its lock in no pooled session.
    system.gateway().kill_9();
    system.start_gateway();
    system.wait_ready().await;
    let paid = system.post("portal", "/portal/payments", &system.payment("4242424242424242", "10.00")).await;
    assert_eq!(paid.status, 201, "{}", paid.text);
    system.audit_log_is_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_behind_a_pooler_in_transaction_mode_does_not_start_and_says_what_to_change() {
    let cluster = Cluster::start("").unwrap();
    let database = cluster.database().unwrap();
    let (direct, name) = (database.url.clone(), database.name.clone());
    let system = System::start_on(database).await;
    let bouncer = cluster.pooled("transaction").unwrap();
    let pooled = format!("postgres://postgres@127.0.0.1:{}/{name}", bouncer.port());
    let settings = std::fs::read_to_string(system.path("pangate.toml")).unwrap().replace(&direct, &pooled);
    let config = system.path("pooled.toml");
    std::fs::write(&config, settings.replace("pangate-test", "pangate-pooled")).unwrap();
    let mut serve = Command::new(support::process::program("pangate"));
    let done = serve.args(["serve", "--config"]).arg(&config).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(!done.status.success() && said.contains("set pool_mode = session"), "{said}");
}
