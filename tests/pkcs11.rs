//! The whole system on a PKCS#11 token instead of the simulator: `pangate init` makes the keys in it, cards become
//! tokens and are charged, and the token may go away and come back.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up must fail")]

#[path = "../crates/hsm/tests/softhsm/mod.rs"]
mod softhsm;
mod support;

use serde_json::json;
use softhsm::{LABEL, MODULE, PIN, SoftHsm, alone, first};
use std::time::{Duration, Instant};
use support::wire::Answer;
use support::{System, cards, process};

/// Runs the body in a process that sees the token, so that the gateway it starts sees it as well.
fn on_a_token(name: &str, body: impl AsyncFnOnce(&SoftHsm)) {
    alone(name, |softhsm| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(body(softhsm));
    });
}

fn pin_file(softhsm: &SoftHsm) -> String {
    let file = softhsm.path("token.pin");
    if !file.exists() {
        pangate::cli::setup::write_secret(&file, PIN).unwrap();
    }
    file.display().to_string()
}

fn section(softhsm: &SoftHsm) -> String {
    let pin = pin_file(softhsm);
    format!(
        "[hsm]\nprovider = \"pkcs11\"\nmodule = \"{MODULE}\"\ntoken_label = \"{LABEL}\"\npin_file = \"{pin}\"\n"
    )
}

/// `pangate init` on the token.
fn init(softhsm: &SoftHsm, folder: &str) -> String {
    let (dir, pin) = (softhsm.path(folder).display().to_string(), pin_file(softhsm));
    let arguments =
        ["init", "--dir", &dir, "--tenant", support::TENANT, "--hsm", "pkcs11", "--module", MODULE];
    process::run("pangate", &[&arguments[..], &["--token-label", LABEL, "--pin-file", &pin]].concat())
}

/// The system with its gateway on the token.
async fn system(softhsm: &SoftHsm) -> System {
    System::start_with(|settings| {
        let from = settings.find("[hsm]").unwrap();
        let to = settings.find("[companion]").unwrap();
        settings.replace_range(from..to, &section(softhsm));
    })
    .await
}

async fn keep_card(system: &System, number: u64) -> Answer {
    let card = json!({ "number": cards::generated(number), "exp_month": 12, "exp_year": 2034 });
    system.post("portal", "/v1/tokens", &json!({ "card": card, "reuse": true })).await
}

async fn pay(system: &System, key: &str) -> Answer {
    let request = system.client().post(format!("{}/portal/payments", system.url));
    let request = request.bearer_auth(system.key("portal")).header("Idempotency-Key", key);
    Answer::of(request.json(&system.payment("4242424242424242", "5.00"))).await
}

#[test]
fn init_makes_the_keys_in_the_token_and_making_again_leaves_them() {
    on_a_token("init_makes_the_keys_in_the_token_and_making_again_leaves_them", async |softhsm| {
        let said = init(softhsm, "one");
        assert!(!said.contains("hsm-sim"), "{said}");
        let before = softhsm.device(LABEL).inspect().unwrap();
        assert_eq!(before.len(), 4);
        assert!(before.iter().all(|info| info.local && !info.extractable && info.key.version.get() == 1));
        init(softhsm, "two");
        assert_eq!(softhsm.device(LABEL).inspect().unwrap(), before);
        let settings = std::fs::read_to_string(softhsm.path("one/pangate.toml")).unwrap();
        assert!(settings.contains("provider = \"pkcs11\""), "{settings}");
        assert!(!softhsm.path("one/hsm").exists() && !softhsm.path("one/hsm.pin").exists());
    });
}

#[test]
fn a_gateway_on_a_pkcs11_token_tokenizes_charges_and_stops_cleanly() {
    on_a_token("a_gateway_on_a_pkcs11_token_tokenizes_charges_and_stops_cleanly", async |softhsm| {
        init(softhsm, "keys");
        let mut system = system(softhsm).await;
        let kept = keep_card(&system, 1).await;
        assert_eq!(kept.status, 201, "{}", kept.text);
        // The same card gives the same token: its fingerprint is made by the token's key.
        assert_eq!(keep_card(&system, 1).await.json()["id"], kept.json()["id"]);
        assert_ne!(keep_card(&system, 2).await.json()["id"], kept.json()["id"]);
        let paid = pay(&system, "one").await;
        assert_eq!(paid.status, 201, "{}", paid.text);
        assert_eq!(paid.json()["status"], "succeeded");
        assert!(system.gateway().terminate(), "the library was not left in order: {}", system.gateway_log());
        system.start_gateway();
        system.wait_ready().await;
        assert_eq!(keep_card(&system, 1).await.json()["id"], kept.json()["id"]);
        system.audit_log_is_whole();
    });
}

#[test]
fn p9_service_resumes_by_itself_after_the_token_was_away() {
    on_a_token("p9_service_resumes_by_itself_after_the_token_was_away", async |softhsm| {
        init(softhsm, "keys");
        let system = system(softhsm).await;
        assert_eq!(pay(&system, "before").await.status, 201);
        for round in 0..3 {
            softhsm.take_away();
            let since = Instant::now();
            keep_card(&system, 10 + round).await.is_problem(503, "hsm_unavailable");
            pay(&system, &format!("away-{round}")).await.is_problem(503, "hsm_unavailable");
            assert!(since.elapsed() < Duration::from_secs(8), "{:?}", since.elapsed());
            softhsm.bring_back();
            let since = Instant::now();
            while keep_card(&system, 10 + round).await.status != 201 {
                assert!(since.elapsed() < Duration::from_secs(2), "not back: {}", system.gateway_log());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert_eq!(pay(&system, &format!("away-{round}")).await.status, 201);
        }
        assert_eq!(system.count("SELECT COUNT(*) AS n FROM sandbox_book").await, 4);
        system.wait_ready().await;
        system.audit_log_is_whole();
    });
}

#[test]
fn a_gateway_does_not_start_on_a_token_whose_kek_could_leave_it() {
    on_a_token("a_gateway_does_not_start_on_a_token_whose_kek_could_leave_it", async |softhsm| {
        init(softhsm, "keys");
        let id: String = b"kek/card#00000002".iter().map(|byte| format!("{byte:02x}")).collect();
        let make = ["--keygen", "--key-type", "AES:32", "--label", "kek/card", "--id", &id, "--extractable"];
        softhsm.tool(&make);
        let config = softhsm.path("keys/pangate.toml").display().to_string();
        let output = std::process::Command::new(process::program("pangate"))
            .args(["serve", "--config", &config])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("kek/card#2") && said.contains("CKA_EXTRACTABLE"), "{said}");
        assert_eq!(first(hsm::KeyLabel::KEK_CARD).to_string(), "kek/card#1");
    });
}
