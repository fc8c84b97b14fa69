//! Moving house: every key goes from the simulator to a PKCS#11 token while patients pay, no key and no card travels
//! between the devices, and in the end the old device can be switched off.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot be set up must fail")]

#[path = "keys_rotation/load.rs"]
mod load;
mod support;

use load::Load;
use serde_json::{Value, json};
use std::process::Command;
use support::{System, cards};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const PIN: &str = "97531864";

/// A SoftHSM2 token of its own below the system's folder; the gateway finds it from its next start on.
fn token(system: &mut System) {
    let (tokens, settings) = (system.path("tokens"), system.path("softhsm2.conf"));
    std::fs::create_dir(&tokens).unwrap();
    std::fs::write(
        &settings,
        format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display()),
    )
    .unwrap();
    let made = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", "new-house", "--so-pin", "86420", "--pin", PIN])
        .env("SOFTHSM2_CONF", &settings)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    pangate::cli::setup::write_secret(&system.path("token.pin"), PIN).unwrap();
    system.environment.push(("SOFTHSM2_CONF", settings.display().to_string()));
}

fn section(name: &str) -> String {
    format!(
        "[{name}]\nprovider = \"pkcs11\"\nmodule = \"{MODULE}\"\ntoken_label = \"new-house\"\npin_file = \"token.pin\"\n"
    )
}

fn settings(system: &System) -> String {
    std::fs::read_to_string(system.path("pangate.toml")).unwrap()
}

async fn reused(system: &System, number: &str) -> String {
    let card = json!({ "number": number, "exp_month": 12, "exp_year": 2034, "cvc": "737" });
    let answer = system.post("portal", "/v1/tokens", &json!({ "card": card, "reuse": true })).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn p12_every_key_moves_to_a_pkcs11_token_under_load_and_the_old_device_can_go() {
    let mut system = System::start().await;
    token(&mut system);
    system.gateway().terminate();
    system.start_gateway();
    system.wait_ready().await;
    let mut known = Vec::new();
    for n in 0..20 {
        let number = cards::generated(700_000 + n);
        known.push((reused(&system, &number).await, number));
    }
    let ask = async || system.post("auditor", "/v1/keys/migrations", &json!({ "to": "pkcs11" })).await;
    ask().await.is_problem(409, "no_target_device");

    // The target is written into the settings while the gateway serves.
    let with_target =
        settings(&system).replace("[companion]", &format!("{}[companion]", section("hsm.target")));
    std::fs::write(system.path("pangate.toml"), with_target).unwrap();
    let load = Load::begin(&system, known.iter().map(|(token, _)| token.clone()).collect());
    load.answered(40).await;
    let asked = ask().await;
    assert_eq!(asked.status, 202, "{}", asked.text);
    let id = asked.json()["id"].as_str().unwrap().to_owned();
    let begun = system.agree(&id, "").await;
    assert_eq!(begun.status, 200, "{}", begun.text);
    let job: Value = system.job_done(begun.json()["id"].as_str().unwrap()).await;
    load.answered(60).await;
    let told = load.end().await;
    assert!(told.failed.is_empty(), "{} of {} failed: {:?}", told.failed.len(), told.answered, told.failed);
    assert!(job["outcome"]["settings"].as_str().unwrap().contains("pkcs11"), "{job}");

    for sql in [
        "SELECT COUNT(*) AS n FROM data_key WHERE status = 'active' AND kek_version < 2",
        "SELECT COUNT(*) AS n FROM card WHERE fingerprint IS NOT NULL AND fingerprint_version < 2",
        "SELECT COUNT(*) AS n FROM card WHERE data_key_id IN (SELECT data_key_id FROM data_key WHERE kek_version < 2)",
    ] {
        assert_eq!(system.count(sql).await, 0, "{sql}");
    }

    // The settings are swapped and the simulator is switched off for good.
    let old = settings(&system);
    let start = old.find("[hsm]\n").unwrap();
    let end = old.find("[companion]").unwrap();
    let swapped = [old.get(..start).unwrap(), &section("hsm"), old.get(end..).unwrap()].concat();
    std::fs::write(system.path("pangate.toml"), swapped).unwrap();
    system.gateway().terminate();
    system.hsm().kill_9();
    system.start_gateway();
    system.wait_ready().await;
    for (token, number) in &known {
        let body = json!({ "token": token, "amount": "4.00", "currency": "USD" });
        let charged =
            system.client().post(format!("{}/v1/charges", system.url)).bearer_auth(system.key("staff"));
        let charged = charged.header("Idempotency-Key", format!("moved-{token}")).json(&body);
        let charged = support::wire::Answer::of(charged).await;
        assert_eq!(
            (charged.status.as_u16(), &charged.json()["status"]),
            (201, &json!("succeeded")),
            "{}",
            charged.text
        );
        assert_eq!(reused(&system, number).await, *token, "the card still has its token");
    }
    for name in ["kek/card", "mac/pan", "mac/request", "sign/audit"] {
        let versions = system.versions(name).await;
        assert_eq!(versions.len(), 1, "{name}: {versions:?}");
        assert_eq!((&versions[0]["version"], &versions[0]["extractable"]), (&json!(2), &json!(false)));
    }
    system.audit_log_is_whole();
}
