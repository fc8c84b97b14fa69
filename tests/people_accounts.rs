//! Accounts of people over the wire: first password, second factor, sessions, locks, and what administrators do.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail")]

mod support;

use audit::{Action, Outcome};
use serde_json::{Value, json};
use std::time::Duration;
use support::clock::Clock;
use support::{OTHER, System, TENANT};

/// What the log says of a person, in order: action, outcome and reason.
async fn log_of(system: &System, name: &str) -> Vec<(Action, Outcome, String)> {
    let rows = system.rows("SELECT leaf FROM audit_entry ORDER BY position", Vec::new()).await;
    rows.iter()
        .map(|row| audit::parse(&row.bytes("leaf").unwrap()).unwrap())
        .filter(
            |entry| matches!(&entry.resource, audit::Resource::Credential(owner) if owner.as_str() == name),
        )
        .map(|entry| {
            (entry.action, entry.outcome, entry.reason.map(|r| r.as_str().to_owned()).unwrap_or_default())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_password_opens_its_change_then_the_factors_enrolment_and_then_the_work() {
    let system = System::start().await;
    let first = system.add_person("anna", "staff", TENANT);
    let signed_in = system.sign_in("anna", &first, None).await;
    assert_eq!(signed_in.status, 201, "{}", signed_in.text);
    let one = signed_in.json()["token"].as_str().unwrap().to_owned();
    assert!(one.starts_with("pgs_test_"), "{one}");
    assert_eq!(signed_in.json()["next"], "change_password");
    for path in ["/v1/charges", "/v1/people", "/v1/keys", "/v1/nothing"] {
        let answer = system.get_as(&one, path).await;
        assert!([403, 404].contains(&answer.status.as_u16()), "{}", answer.text);
    }
    system.get_as(&one, "/v1/charges").await.is_problem(403, "password_change_required");
    let early = system.post_as(&one, "/v1/account/factor", &json!({ "password": first })).await;
    early.is_problem(409, "account_state");

    let password = "seven violet trams";
    for poor in ["short 7", "no digits in it at all", "Password123456", "anna has 12 trams"] {
        let body = json!({ "password": first, "new_password": poor });
        let answer = system.post_as(&one, "/v1/account/password", &body).await;
        answer.is_problem(422, "password_refused");
        assert!(!answer.text.contains(poor));
    }
    let same = json!({ "password": first, "new_password": first });
    system.post_as(&one, "/v1/account/password", &same).await.is_problem(422, "password_refused");
    let password = format!("{password} 9");
    let body = json!({ "password": first, "new_password": password });
    let changed = system.post_as(&one, "/v1/account/password", &body).await;
    assert_eq!((changed.status.as_u16(), &changed.json()["next"]), (201, &json!("enrol_factor")));
    let two = changed.json()["token"].as_str().unwrap().to_owned();
    system.get_as(&one, "/v1/sessions/current").await.is_problem(401, "unknown_credential");
    system.get_as(&two, "/v1/charges").await.is_problem(403, "second_factor_required");

    let (app, three) = system.enrol(&two, &password, support::clock::now() / 30).await;
    system.get_as(&two, "/v1/sessions/current").await.is_problem(401, "unknown_credential");
    assert_eq!(system.get_as(&three, "/v1/charges").await.status, 200);
    let me = system.get_as(&three, "/v1/sessions/current").await.json();
    assert_eq!(
        (&me["principal"], &me["role"], &me["tenant"]),
        (&json!("anna"), &json!("staff"), &json!(TENANT))
    );
    assert!(me["second_factor_at"].is_string(), "{me}");
    system.get_as(&three, "/v1/people").await.is_problem(403, "forbidden");

    // The end of a session is at once.
    let ended = system.call(&three, "DELETE", "/v1/sessions/current", &Value::Null).await;
    assert_eq!(ended.status, 200, "{}", ended.text);
    system.get_as(&three, "/v1/charges").await.is_problem(401, "unknown_credential");

    // What is stored is a slow hash with its cost and a sealed secret; nothing of it is clear anywhere.
    let hash = system.rows("SELECT password_hash FROM person", Vec::new()).await;
    let hash = hash[0].text("password_hash").unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    let sealed = system.rows("SELECT factor FROM person", Vec::new()).await[0].bytes("factor").unwrap();
    assert!(!sealed.windows(app.len()).any(|part| part == app));
    let spelt = data_encoding::BASE32_NOPAD.encode(&app);
    let clear = [app.as_slice(), spelt.as_bytes(), password.as_bytes(), first.as_bytes(), three.as_bytes()];
    for file in system.files() {
        let bytes = std::fs::read(&file).unwrap_or_default();
        for needle in clear {
            let found = bytes.windows(needle.len()).any(|part| part == needle);
            assert!(!found, "{} holds something clear", file.display());
        }
    }
    let log = log_of(&system, "anna").await;
    for (action, reason) in [
        (Action::CredentialCreate, "account"),
        (Action::SessionOpen, "signed_in"),
        (Action::CredentialChange, "password_changed"),
        (Action::CredentialChange, "factor_begun"),
        (Action::CredentialChange, "factor_enrolled"),
        (Action::SessionEnd, "signed_out"),
    ] {
        let entry = (action, Outcome::Success, reason.to_owned());
        assert!(log.contains(&entry), "{entry:?} is not in {log:?}");
    }
    system.audit_log_is_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_when_it_lies_idle_and_at_the_end_of_its_day() {
    let mut system = System::start().await;
    let clock = Clock::of(&mut system).await;
    let mut anna = system.person_at("anna", "staff", TENANT, clock.now()).await;
    clock.advance(Duration::from_secs(13 * 60));
    assert_eq!(system.get_as(&anna.token, "/v1/charges").await.status, 200);
    clock.advance(Duration::from_secs(13 * 60));
    assert_eq!(system.get_as(&anna.token, "/v1/charges").await.status, 200, "use keeps it open");
    clock.advance(Duration::from_secs(15 * 60 + 1));
    // What was looked up a moment ago is believed for a second.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    system.get_as(&anna.token, "/v1/charges").await.is_problem(401, "unknown_credential");

    let token = anna.sign_in(&system, &clock).await;
    // As if it had been used all day long.
    clock.advance(Duration::from_secs(12 * 3600 - 60));
    let seen = clock.now() * 1_000_000;
    system.change("UPDATE session SET last_seen = $1 WHERE ended_at IS NULL", vec![seen.into()]).await;
    assert_eq!(system.get_as(&token, "/v1/charges").await.status, 200);
    clock.advance(Duration::from_secs(61));
    tokio::time::sleep(Duration::from_millis(1100)).await;
    system.get_as(&token, "/v1/charges").await.is_problem(401, "unknown_credential");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_failed_tries_lock_an_account_for_half_an_hour() {
    let mut system = System::start().await;
    let clock = Clock::of(&mut system).await;
    let mut anna = system.person_at("anna", "staff", TENANT, clock.now()).await;
    anna.sign_in(&system, &clock).await;
    for _ in 0..10 {
        let code = anna.code(&clock);
        system.sign_in("anna", "wrong violet trams 1", Some(&code)).await.is_problem(401, "sign_in_refused");
    }
    let code = anna.code(&clock);
    let right = system.sign_in("anna", &anna.password, Some(&code)).await;
    right.is_problem(401, "sign_in_refused");
    let listed = system.user(&["list"]);
    let anna_listed = listed.iter().find(|line| line["principal"] == "anna").unwrap();
    assert_eq!((&anna_listed["state"], &anna_listed["kind"]), (&json!("locked"), &json!("person")));
    let locked = (Action::CredentialChange, Outcome::Refused, "locked_after_failed_tries".to_owned());
    assert!(log_of(&system, "anna").await.contains(&locked));
    // A session that is open is not touched by strangers who try.
    assert_eq!(system.get_as(&anna.token, "/v1/charges").await.status, 200);

    clock.advance(Duration::from_secs(29 * 60));
    let code = anna.code(&clock);
    system.sign_in("anna", &anna.password, Some(&code)).await.is_problem(401, "sign_in_refused");
    clock.advance(Duration::from_secs(2 * 60));
    anna.sign_in(&system, &clock).await;

    // Nine tries and a success begin a new count; and an administrator lifts a lock.
    for _ in 0..2 {
        for _ in 0..9 {
            system.sign_in("anna", "wrong violet trams 1", None).await.is_problem(401, "sign_in_refused");
        }
        anna.sign_in(&system, &clock).await;
    }
    for _ in 0..10 {
        system.sign_in("anna", "wrong violet trams 1", None).await.is_problem(401, "sign_in_refused");
    }
    system.user(&["enable", "anna"]);
    anna.sign_in(&system, &clock).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn none_of_the_last_four_passwords_is_taken_again() {
    let mut system = System::start().await;
    let clock = Clock::of(&mut system).await;
    let mut anna = system.person_at("anna", "staff", TENANT, clock.now()).await;
    let mut passwords = vec![anna.password.clone()];
    for n in 0..4 {
        let new = format!("violet trams in street {n}");
        let code = anna.code(&clock);
        let body = json!({ "password": anna.password, "new_password": new, "code": code });
        let changed = system.post_as(&anna.token, "/v1/account/password", &body).await;
        assert_eq!(changed.status, 201, "{}", changed.text);
        system.get_as(&anna.token, "/v1/charges").await.is_problem(401, "unknown_credential");
        anna.token = changed.json()["token"].as_str().unwrap().to_owned();
        assert_eq!(system.get_as(&anna.token, "/v1/charges").await.status, 200);
        anna.password = new.clone();
        passwords.push(new);
    }
    for old in &passwords[1..] {
        let code = anna.code(&clock);
        let body = json!({ "password": anna.password, "new_password": old, "code": code });
        let answer = system.post_as(&anna.token, "/v1/account/password", &body).await;
        answer.is_problem(422, "password_refused");
    }
    let code = anna.code(&clock);
    let body = json!({ "password": anna.password, "new_password": passwords[0], "code": code });
    let answer = system.post_as(&anna.token, "/v1/account/password", &body).await;
    assert_eq!(answer.status, 201, "the fifth before is free again: {}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_look_after_the_accounts_of_their_tenant_and_of_no_other() {
    let system = System::start().await;
    let boss = system.person("boss", "admin", TENANT).await;
    let new = json!({ "principal": "otto", "role": "staff" });
    let made = system.post_as(&boss.token, "/v1/people", &new).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let first = made.json()["first_password"].as_str().unwrap().to_owned();
    system.post_as(&boss.token, "/v1/people", &new).await.is_problem(409, "name_taken");
    let names =
        [json!({ "principal": "Otto", "role": "staff" }), json!({ "principal": "x", "role": "portal" })];
    for wrong in names {
        system.post_as(&boss.token, "/v1/people", &wrong).await.is_problem(422, "invalid_field");
    }
    let foreign = json!({ "principal": "eve", "role": "staff", "tenant": OTHER });
    system.post_as(&boss.token, "/v1/people", &foreign).await.is_problem(422, "invalid_field");
    // An API key of another tenant is somebody else's name.
    let taken = json!({ "principal": "other-staff", "role": "staff" });
    system.post_as(&boss.token, "/v1/people", &taken).await.is_problem(409, "name_taken");

    let signed_in = system.sign_in("otto", &first, None).await.json();
    let otto = signed_in["token"].as_str().unwrap();
    assert_eq!(system.get_as(otto, "/v1/sessions/current").await.status, 200);
    let ended = system.post_as(&boss.token, "/v1/people/otto/revoke-sessions", &json!({})).await;
    assert_eq!((ended.status.as_u16(), &ended.json()["sessions_ended"]), (200, &json!(1)), "{}", ended.text);
    system.get_as(otto, "/v1/sessions/current").await.is_problem(401, "unknown_credential");

    assert_eq!(system.post_as(&boss.token, "/v1/people/otto/disable", &json!({})).await.status, 200);
    system.sign_in("otto", &first, None).await.is_problem(401, "sign_in_refused");
    assert_eq!(system.post_as(&boss.token, "/v1/people/otto/enable", &json!({})).await.status, 200);
    let reset = system.post_as(&boss.token, "/v1/people/otto/reset-password", &json!({})).await;
    assert_eq!(reset.status, 200, "{}", reset.text);
    system.sign_in("otto", &first, None).await.is_problem(401, "sign_in_refused");
    let second = reset.json()["first_password"].as_str().unwrap().to_owned();
    assert_eq!(system.sign_in("otto", &second, None).await.status, 201);

    // A disabled person's session is over within a second, from the console too.
    system.user(&["disable", "boss"]);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    system.get_as(&boss.token, "/v1/people").await.is_problem(401, "unknown_credential");

    // Another tenant's accounts are answered like none.
    let stranger = system.person("stranger", "admin", OTHER).await;
    let page = system.get_as(&stranger.token, "/v1/people").await.json();
    let names: Vec<&str> =
        page["data"].as_array().unwrap().iter().filter_map(|p| p["principal"].as_str()).collect();
    assert_eq!(names, ["stranger"]);
    for act in ["disable", "enable", "revoke-sessions", "reset-password", "reset-factor"] {
        let mut told = Vec::new();
        for name in ["otto", "nobody"] {
            let answer =
                system.post_as(&stranger.token, &format!("/v1/people/{name}/{act}"), &json!({})).await;
            answer.is_problem(404, "unknown_person");
            let mut body = answer.json();
            body["request_id"] = Value::Null;
            told.push(body);
        }
        assert_eq!(told[0], told[1], "{act}");
    }
    // An auditor sees who there is and changes nothing.
    assert_eq!(system.get("auditor", "/v1/people").await.status, 200);
    system.post("auditor", "/v1/people", &new).await.is_problem(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_is_reset_by_two_people_who_are_not_its_owner_and_then_for_three_days() {
    let mut system = System::start().await;
    let clock = Clock::of(&mut system).await;
    let mut anna = system.person_at("anna", "admin", TENANT, clock.now()).await;
    let boss = system.person_at("boss", "admin", TENANT, clock.now()).await;
    let vera = system.person_at("vera", "auditor", TENANT, clock.now()).await;
    let path = "/v1/people/anna/reset-factor";
    system.post_as(&anna.token, path, &json!({})).await.is_problem(403, "second_person_required");
    let asked = system.post_as(&boss.token, path, &json!({ "reason": "new phone" })).await;
    assert_eq!(asked.status, 202, "{}", asked.text);
    let asked = asked.json();
    assert_eq!(asked["act"], format!("reset-factor anna@{TENANT}"));
    let agree = format!("/v1/approvals/{}/approve", asked["id"].as_str().unwrap());
    for own in [&boss.token, &anna.token] {
        system.post_as(own, &agree, &json!({})).await.is_problem(403, "second_person_required");
    }
    // Another tenant's people do not see it.
    let other = system.person_at("stranger", "auditor", OTHER, clock.now()).await;
    system.post_as(&other.token, &agree, &json!({})).await.is_problem(404, "unknown_approval");
    let listed = system.get_as(&other.token, "/v1/approvals").await;
    assert!(!listed.text.contains("anna"), "{}", listed.text);
    assert_eq!(system.get_as(&anna.token, "/v1/keys").await.status, 200, "nothing happened yet");

    let agreed = system.post_as(&vera.token, &agree, &json!({})).await;
    assert_eq!(
        (agreed.status.as_u16(), &agreed.json()["kind"]),
        (200, &json!("reset_factor")),
        "{}",
        agreed.text
    );
    system.get_as(&anna.token, "/v1/keys").await.is_problem(401, "unknown_credential");
    let signed_in = system.sign_in("anna", &anna.password, None).await;
    assert_eq!((signed_in.status.as_u16(), &signed_in.json()["next"]), (201, &json!("enrol_factor")));
    let token = signed_in.json()["token"].as_str().unwrap().to_owned();
    system.get_as(&token, "/v1/keys").await.is_problem(403, "second_factor_required");
    clock.advance(Duration::from_secs(60));
    let (_, token) = system.enrol(&token, &anna.password, clock.now() / 30).await;
    assert_eq!(system.get_as(&token, "/v1/keys").await.status, 200);
    anna.token = token;
    let reset = (Action::CredentialChange, Outcome::Success, "factor_reset".to_owned());
    assert!(log_of(&system, "anna").await.contains(&reset));

    // The command line asks the same of the gateway; left alone for three days the account opens nothing more.
    let (key, url, ca) = (system.path("admin.key"), system.url.clone(), system.path("tls/ca.pem"));
    pangate::cli::setup::write_secret(&key, system.key("admin")).unwrap();
    let reach = ["--url", &url, "--ca", ca.to_str().unwrap(), "--token-file", key.to_str().unwrap()];
    let asked = system.user(&[&["reset-factor", "anna"][..], &reach].concat());
    let agree = format!("/v1/approvals/{}/approve", asked[0]["id"].as_str().unwrap());
    assert_eq!(system.post("auditor", &agree, &json!({})).await.status, 200);
    clock.advance(Duration::from_secs(73 * 3600));
    system.sign_in("anna", &anna.password, None).await.is_problem(401, "sign_in_refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn second_factors_follow_the_key_that_seals_them() {
    let mut system = System::start().await;
    let clock = Clock::of(&mut system).await;
    let mut anna = system.person_at("anna", "staff", TENANT, clock.now()).await;
    // What an unknown name is compared with is made at the first sign-in.
    system.sign_in("nobody", "wrong violet trams 1", None).await.is_problem(401, "sign_in_refused");
    let card = json!({ "card": { "number": "4242424242424242", "exp_month": 12, "exp_year": 2034 } });
    assert_eq!(system.post("portal", "/v1/tokens", &card).await.status, 201);
    let job = system.rotate("kek/card").await;
    system.job_done(job["id"].as_str().unwrap()).await;
    let version = "SELECT factor_kek_version AS n FROM person";
    assert_eq!(system.count(version).await, 2);
    let keys = system.versions("kek/card").await;
    assert_eq!((&keys[0]["rows"], &keys[1]["rows"]), (&json!(0), &json!(2)), "{keys:?}");
    anna.sign_in(&system, &clock).await;

    // The old version is destroyed: whoever signs in, and whoever is unknown, finds everything as before.
    clock.advance(Duration::from_secs(120));
    let destroyed = system.two_people("/v1/keys/kek/card/versions/1/destroy", "destroy kek/card#1").await;
    system.job_done(destroyed["id"].as_str().unwrap()).await;
    anna.sign_in(&system, &clock).await;
    system.sign_in("nobody", "wrong violet trams 1", None).await.is_problem(401, "sign_in_refused");
    let first = system.add_person("otto", "staff", TENANT);
    assert_eq!(system.sign_in("otto", &first, None).await.status, 201);
    system.audit_log_is_whole();
}
