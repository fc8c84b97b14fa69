//! Moving house: every key goes from the simulator to a PKCS#11 token and back while patients pay, no key and no card
//! travels between the devices, and in the end the old device can be switched off (P12).
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot be set up must fail"
)]

#[path = "keys_migration/houses.rs"]
mod houses;
#[path = "keys_rotation/load.rs"]
mod load;
mod support;

use houses::{Simulator, To};
use load::Load;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use support::needles::Needles;
use support::{System, cards};

async fn reused(system: &System, number: &str) -> String {
    let card = json!({ "number": number, "exp_month": 12, "exp_year": 2034, "cvc": "737" });
    let answer = system.post("portal", "/v1/tokens", &json!({ "card": card, "reuse": true })).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// Reusable tokens with their cards.
async fn cards_of(system: &System, from: u64, count: u64) -> Vec<(String, String)> {
    let mut known = Vec::new();
    for n in from..from + count {
        let number = cards::generated(n);
        known.push((reused(system, &number).await, number));
    }
    known
}

/// Every card can be charged and still has its token; `when` tells the charges of one round from another's.
async fn still_good(system: &System, known: &[(String, String)], when: &str) {
    for (token, number) in known {
        let body = json!({ "token": token, "amount": "4.00", "currency": "USD" });
        let charged =
            system.client().post(format!("{}/v1/charges", system.url)).bearer_auth(system.key("staff"));
        let charged = charged.header("Idempotency-Key", format!("{when}-{token}")).json(&body);
        let charged = support::wire::Answer::of(charged).await;
        assert_eq!(
            (charged.status.as_u16(), &charged.json()["status"]),
            (201, &json!("succeeded")),
            "{}",
            charged.text
        );
        assert_eq!(reused(system, number).await, *token, "the card still has its token");
    }
}

/// The move under load; gives the job at its end and the numbers of the load's cards.
async fn moved_under_load(
    system: &System,
    to: To<'_>,
    lines: &str,
    known: &[(String, String)],
) -> (Value, BTreeSet<u64>) {
    let load = Load::begin(system, known.iter().map(|(token, _)| token.clone()).collect());
    load.answered(40).await;
    // The target is written into the settings while the gateway serves.
    houses::name_target(system, lines);
    let id = houses::begin(system, to).await;
    let job = system.job_done(&id).await;
    load.answered(60).await;
    let told = load.end().await;
    assert!(told.failed.is_empty(), "{} of {} failed: {:?}", told.failed.len(), told.answered, told.failed);
    (job, told.cards)
}

#[tokio::test(flavor = "multi_thread")]
async fn p12_every_key_moves_to_a_pkcs11_token_and_back_to_a_simulator_under_load() {
    let mut system = System::start().await;
    houses::token(&mut system);
    houses::restart(&mut system).await;
    let mut known = cards_of(&system, 700_000, 20).await;
    let anna = system.person("anna", "staff", support::TENANT).await;
    houses::ask(&system, To::Token).await.is_problem(409, "no_target_device");

    let (job, mut seen) = moved_under_load(&system, To::Token, &houses::token_lines(), &known).await;
    assert!(job["outcome"]["settings"].as_str().unwrap().contains("pkcs11"), "{job}");
    houses::nothing_is_left_below(&system, 2).await;

    // Until the settings are swapped both devices serve, each asked for its own keys: the old one by its officers.
    let retire = "/v1/keys/kek/card/versions/1/retire";
    let retired = system.two_people(retire, "status kek/card#1 deactivated").await;
    system.job_done(retired["id"].as_str().unwrap()).await;
    assert_eq!(system.versions("kek/card").await[0]["status"], "deactivated");
    let home = Simulator::fresh(&system, "hsm-second");
    let target = houses::token_lines();
    let settings = std::fs::read_to_string(system.path("pangate.toml")).unwrap();
    std::fs::write(system.path("pangate.toml"), settings.replace(&target, &home.lines())).unwrap();
    houses::ask(&system, To::Simulator(&home)).await.is_problem(409, "no_target_device");
    std::fs::write(system.path("pangate.toml"), &settings).unwrap();

    // The settings are swapped and the simulator is switched off for good.
    houses::swap(&system);
    system.gateway().terminate();
    system.hsm().kill_9();
    system.start_gateway();
    system.wait_ready().await;
    still_good(&system, &known, "on-the-token").await;
    // Her second factor moved with the keys.
    while support::clock::now() / 30 <= anna.last_step() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let code = anna.code_of(support::clock::now() / 30);
    let signed_in = system.sign_in("anna", &anna.password, Some(&code)).await;
    assert_eq!(signed_in.status, 201, "{}", signed_in.text);
    for name in ["kek/card", "mac/pan", "mac/request", "sign/audit"] {
        let versions = system.versions(name).await;
        assert_eq!(versions.len(), 1, "{name}: {versions:?}");
        assert_eq!((&versions[0]["version"], &versions[0]["extractable"]), (&json!(2), &json!(false)));
    }
    system.audit_log_is_whole();

    // Back, to a simulator that was never asked before and whose own first keys protect nothing. A start with the
    // target in the settings moves nothing by itself.
    known.extend(cards_of(&system, 710_000, 10).await);
    houses::name_target(&system, &home.lines());
    houses::restart(&mut system).await;
    assert_eq!(
        system.versions("kek/card").await.len(),
        1,
        "the target is not attached before two people agree"
    );
    let settings = std::fs::read_to_string(system.path("pangate.toml")).unwrap();
    let cut = settings.replace(&format!("[hsm.target]\n{}", home.lines()), "");
    std::fs::write(system.path("pangate.toml"), cut).unwrap();
    let (job, more) = moved_under_load(&system, To::Simulator(&home), &home.lines(), &known).await;
    assert!(job["outcome"]["settings"].as_str().unwrap().contains("simulator"), "{job}");
    seen.extend(more);
    houses::nothing_is_left_below(&system, 3).await;

    houses::swap(&system);
    system.gateway().terminate();
    std::fs::rename(system.path("tokens"), system.path("tokens-away")).unwrap();
    system.start_gateway();
    system.wait_ready().await;
    still_good(&system, &known, "back-home").await;
    for name in ["kek/card", "mac/pan", "mac/request", "sign/audit"] {
        let newest = system.versions(name).await.pop().unwrap();
        assert_eq!((&newest["version"], &newest["status"]), (&json!(3), &json!("active")), "{name}");
    }
    system.audit_log_is_whole();
    no_card_is_in_any_file(&system, &known, &seen);
}

/// Of no card that took part, in any file of gateway, companion, token and simulators.
fn no_card_is_in_any_file(system: &System, known: &[(String, String)], seen: &BTreeSet<u64>) {
    let of_the_load: Vec<String> = seen.iter().map(|n| cards::generated(*n)).collect();
    let numbers = known.iter().map(|(_, number)| number).chain(&of_the_load);
    let needles = Needles::of_pans(numbers.map(String::as_str));
    let mut searched = 0;
    for file in system.files() {
        let bytes = std::fs::read(&file).unwrap();
        assert_eq!(needles.find(&bytes), Vec::new(), "{}", file.display());
        searched += bytes.len();
    }
    // Where the database is a server's, its files are not among them.
    assert!(searched > 100_000, "only {searched} bytes were searched");
    assert_eq!(needles.find(format!("a {} b", known[0].1).as_bytes()).len(), 1, "the search finds a card");
}

/// Small batches, so that a move takes many steps.
fn slowly(text: String) -> String {
    text.replace("rows_per_second = 2000", "rows_per_second = 20")
        .replace("batch_rows = 100", "batch_rows = 5")
}

/// Kills the gateway after every step and every batch until the job is over; gives how often, and how it ended.
async fn kill_at_every_batch(system: &mut System, id: &str) -> (u32, String) {
    let (mut kills, mut before) = (0, (String::new(), -1));
    let until = Instant::now() + Duration::from_secs(180);
    loop {
        assert!(Instant::now() < until, "the job does not end");
        let rows = system.rows("SELECT state, step, done FROM job WHERE id = $1", vec![id.into()]).await;
        let state = rows[0].text("state").unwrap();
        if state != "running" {
            return (kills, state);
        }
        let now = (rows[0].text("step").unwrap(), rows[0].integer("done").unwrap());
        assert!(now.1 >= before.1, "a batch was lost");
        if now != before {
            before = now;
            system.gateway().kill_9();
            kills += 1;
            system.start_gateway();
        }
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

/// The second person's yes, with the gateway killed so many milliseconds after it was sent. Gives the job that came of
/// it, or none when the gateway died before it began.
async fn agreed_and_killed(system: &mut System, to: To<'_>, after: u64) -> Option<String> {
    let asked = houses::ask(system, to).await;
    assert_eq!(asked.status, 202, "{}", asked.text);
    let id = asked.json()["id"].as_str().unwrap().to_owned();
    let path = format!("{}/v1/approvals/{id}/approve", system.url);
    let request = system.client().post(path).bearer_auth(system.key("admin"));
    let sent = tokio::spawn(request.json(&houses::consent(system, to)).send());
    tokio::time::sleep(Duration::from_millis(after)).await;
    system.gateway().kill_9();
    let _ = sent.await;
    system.start_gateway();
    system.wait_ready().await;
    let rows = system.rows("SELECT id FROM job WHERE approval = $1", vec![id.into()]).await;
    rows.first().map(|row| row.text("id").unwrap())
}

/// Two people move every key while the gateway is killed again and again, in the device's part too.
async fn moves_though_killed(system: &mut System, to: To<'_>) -> u32 {
    let mut kills = 0;
    for after in [15, 40, 80, 160, 320, 640].into_iter().cycle().take(30) {
        let Some(job) = agreed_and_killed(system, to, after).await else { continue };
        let (more, state) = kill_at_every_batch(system, &job).await;
        kills += more;
        system.wait_ready().await;
        match state.as_str() {
            "done" => return kills,
            // The tickets died with the gateway: a device with officers is not asked without them.
            "failed" => {
                let failed = system.get("auditor", &format!("/v1/jobs/{job}")).await.json();
                assert_eq!(failed["reason"], "approval_state", "{failed}\n{}", system.gateway_log());
            }
            other => panic!("the job is {other}"),
        }
    }
    panic!("no move came to its end");
}

#[tokio::test(flavor = "multi_thread")]
async fn p12_a_move_that_is_killed_anywhere_goes_on_and_ends_and_so_does_the_move_back() {
    let mut system = System::start().await;
    houses::token(&mut system);
    system.write_key_policy(slowly);
    houses::restart(&mut system).await;
    let mut known = cards_of(&system, 720_000, 20).await;
    houses::name_target(&system, &houses::token_lines());
    let kills = moves_though_killed(&mut system, To::Token).await;
    assert!(kills >= 8, "only {kills} kills");
    houses::nothing_is_left_below(&system, 2).await;
    houses::swap(&system);
    houses::restart(&mut system).await;
    system.hsm().kill_9();
    still_good(&system, &known, "on-the-token").await;

    known.extend(cards_of(&system, 730_000, 10).await);
    let home = Simulator::fresh(&system, "hsm-second");
    houses::name_target(&system, &home.lines());
    let kills = moves_though_killed(&mut system, To::Simulator(&home)).await;
    assert!(kills >= 8, "only {kills} kills");
    houses::nothing_is_left_below(&system, 3).await;
    houses::swap(&system);
    houses::restart(&mut system).await;
    still_good(&system, &known, "back-home").await;
    system.audit_log_is_whole();
}
