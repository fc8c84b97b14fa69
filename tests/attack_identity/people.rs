//! Passwords, codes and sessions: replayed, guessed, fixed, stolen by halves.

use crate::support::clock::Clock;
use crate::support::people::code_at;
use crate::support::wire::Answer;
use crate::support::{OTHER, System, TENANT};
use futures_util::future::join_all;
use serde_json::{Value, json};

/// What an answer tells: everything but the request's own id.
fn told(answer: &Answer) -> (u16, Value, Vec<String>) {
    let mut body = answer.json();
    body["request_id"] = Value::Null;
    let mut headers: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
    headers.sort();
    (answer.status.as_u16(), body, headers)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_taken_once_even_by_many_at_the_same_time() {
    let mut system = System::start().await;
    let clock = Clock::of(&mut system).await;
    let anna = system.person_at("anna", "staff", TENANT, clock.now()).await;
    // The code that confirmed the enrolment is used.
    let used = anna.code_of(anna.last_step());
    system.sign_in("anna", &anna.password, Some(&used)).await.is_problem(401, "sign_in_refused");

    let code = anna.code(&clock);
    let tries = (0..8).map(|_| system.sign_in("anna", &anna.password, Some(&code)));
    let answers = join_all(tries).await;
    let taken = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(taken, 1, "one code opened {taken} sessions");
    system.sign_in("anna", &anna.password, Some(&code)).await.is_problem(401, "sign_in_refused");
    // Nor is the one before it, which is still within the time that apps may lag behind.
    let before = anna.code_of(anna.last_step() - 1);
    system.sign_in("anna", &anna.password, Some(&before)).await.is_problem(401, "sign_in_refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_nothing_of_which_part_was_wrong() {
    let mut system = System::start().await;
    let clock = Clock::of(&mut system).await;
    let anna = system.person_at("anna", "staff", TENANT, clock.now()).await;
    let gone = system.person_at("gone", "staff", TENANT, clock.now()).await;
    let fresh = system.add_person("fresh", "staff", TENANT);
    system.user(&["disable", "gone"]);
    let wrong = "wrong violet trams 1";
    let code = anna.code(&clock);
    let stale = code_at(&[7; 20], clock.now() / 30);
    let mut answers = vec![
        ("a wrong password and a right code", system.sign_in("anna", wrong, Some(&code)).await),
        ("a right password and a wrong code", system.sign_in("anna", &anna.password, Some(&stale)).await),
        ("a right password and no code", system.sign_in("anna", &anna.password, None).await),
        ("a right password and no code at all", system.sign_in("anna", &anna.password, Some("")).await),
        ("both wrong", system.sign_in("anna", wrong, Some(&stale)).await),
        ("nobody", system.sign_in("nobody", wrong, Some(&stale)).await),
        ("no name", system.sign_in("No Name!", wrong, Some(&stale)).await),
        ("an API key's name", system.sign_in("staff", wrong, None).await),
        ("a disabled account", system.sign_in("gone", &gone.password, Some(&gone.code(&clock))).await),
        ("a wrong first password", system.sign_in("fresh", wrong, None).await),
        ("a part of it", system.sign_in("fresh", fresh.split_at(4).0, None).await),
    ];
    for _ in 0..10 {
        system.sign_in("anna", wrong, None).await;
    }
    let locked = system.sign_in("anna", &anna.password, Some(&anna.code(&clock))).await;
    answers.push(("a locked account", locked));
    let first = told(&answers[0].1);
    assert_eq!(first.0, 401);
    for (what, answer) in &answers {
        assert_eq!(told(answer), first, "{what} is told apart");
    }
    // Each stands in the log all the same, under the name of the account where there is one.
    let rows = system.rows("SELECT leaf FROM audit_entry ORDER BY position", Vec::new()).await;
    let refused = |name: &str| {
        rows.iter()
            .map(|row| audit::parse(&row.bytes("leaf").unwrap()).unwrap())
            .filter(|entry| entry.action == audit::Action::CredentialRefuse)
            .filter(|entry| {
                matches!(&entry.resource, audit::Resource::Credential(owner) if owner.as_str() == name)
            })
            .count()
    };
    assert_eq!((refused("anna"), refused("gone"), refused("fresh"), refused("nobody")), (16, 1, 2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_that_race_are_ten_and_no_more() {
    let mut system = System::start().await;
    let clock = Clock::of(&mut system).await;
    let anna = system.person_at("anna", "staff", TENANT, clock.now()).await;
    // Twenty at once; what the hasher's queue sends away was counted before it was compared.
    let guesses = (0..20).map(|n| {
        let (system, guess) = (&system, format!("wrong violet trams {n}"));
        async move { system.sign_in("anna", &guess, None).await }
    });
    for answer in join_all(guesses).await {
        assert!([401, 503].contains(&answer.status.as_u16()), "{}", answer.text);
    }
    let code = anna.code(&clock);
    system.sign_in("anna", &anna.password, Some(&code)).await.is_problem(401, "sign_in_refused");
    assert_eq!(system.count("SELECT failures AS n FROM person").await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_session_outlives_a_change_and_none_is_chosen_by_its_user() {
    let mut system = System::start().await;
    let clock = Clock::of(&mut system).await;
    let mut anna = system.person_at("anna", "staff", TENANT, clock.now()).await;
    let before = anna.token.clone();
    let beside = anna.sign_in(&system, &clock).await;
    assert_ne!(before, beside);
    // A session that the request brings along is not taken over by the sign-in.
    let chosen = format!("pgs_test_{}", "a".repeat(40));
    let body = json!({ "principal": "anna", "password": anna.password, "code": anna.code(&clock) });
    let signed_in = system.post_as(&chosen, "/v1/sessions", &body).await;
    assert_eq!(signed_in.status, 201, "{}", signed_in.text);
    assert_ne!(signed_in.json()["token"], json!(chosen));
    system.get_as(&chosen, "/v1/charges").await.is_problem(401, "unknown_credential");
    let planted = json!({ "principal": "anna", "password": anna.password, "token": chosen });
    system.post_as(&chosen, "/v1/sessions", &planted).await.is_problem(422, "unknown_field");

    let body = json!({ "password": anna.password, "new_password": "nine quiet harbours 4", "code": anna.code(&clock) });
    let changed = system.post_as(&beside, "/v1/account/password", &body).await;
    assert_eq!(changed.status, 201, "{}", changed.text);
    for old in [&before, &beside, &signed_in.json()["token"].as_str().unwrap().to_owned()] {
        system.get_as(old, "/v1/charges").await.is_problem(401, "unknown_credential");
    }
    anna.password = "nine quiet harbours 4".to_owned();

    // A session's own holder needs password and code for every change: a stolen session changes nothing.
    let stolen = changed.json()["token"].as_str().unwrap().to_owned();
    let guess = json!({ "password": "wrong violet trams 1", "new_password": "ten quiet harbours 4", "code": anna.code(&clock) });
    system.post_as(&stolen, "/v1/account/password", &guess).await.is_problem(401, "sign_in_refused");
    let without = json!({ "password": anna.password, "new_password": "ten quiet harbours 4" });
    system.post_as(&stolen, "/v1/account/password", &without).await.is_problem(401, "sign_in_refused");
    let another = json!({ "password": anna.password });
    system.post_as(&stolen, "/v1/account/factor", &another).await.is_problem(401, "sign_in_refused");
    let confirm = json!({ "code": "000000" });
    system.post_as(&stolen, "/v1/account/factor/confirm", &confirm).await.is_problem(409, "account_state");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_alone_opens_no_account() {
    let mut system = System::start().await;
    let clock = Clock::of(&mut system).await;
    let anna = system.person_at("anna", "staff", TENANT, clock.now()).await;
    let mallory = system.person_at("mallory", "staff", TENANT, clock.now()).await;
    // Whoever writes rows copies the own factor to another account: it was sealed for its owner alone.
    system.change(
        "UPDATE person SET factor = (SELECT factor FROM person AS other WHERE other.principal = 'mallory') \
         WHERE principal = 'anna'",
        Vec::new(),
    )
    .await;
    let answer = system.sign_in("anna", &anna.password, Some(&mallory.code(&clock))).await;
    answer.is_problem(500, "integrity");
    // A hash in place of a token opens nothing.
    let hash = system.rows("SELECT hash FROM session LIMIT 1", Vec::new()).await[0].bytes("hash").unwrap();
    let spelt: String = hash.iter().map(|byte| char::from(b'a' + byte % 26)).collect();
    let forged = format!("pgs_test_{spelt}");
    system.get_as(&forged, "/v1/charges").await.is_problem(401, "unknown_credential");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_no_more_than_its_role_and_its_tenant() {
    let system = System::start().await;
    let anna = system.person("anna", "staff", TENANT).await;
    let stranger = system.person("stranger", "staff", OTHER).await;
    for (method, path) in [
        ("POST", "/v1/tokens"),
        ("DELETE", "/v1/tokens/tok_test_none"),
        ("GET", "/v1/keys"),
        ("POST", "/v1/keys/kek/card/rotate"),
        ("GET", "/v1/approvals"),
        ("GET", "/v1/people"),
        ("POST", "/v1/people"),
        ("POST", "/v1/people/anna/enable"),
        ("POST", "/v1/people/anna/reset-factor"),
        ("GET", "/v1/audit/entries"),
        ("GET", "/v1/device-log"),
        ("POST", "/portal/payments"),
    ] {
        let body = if method == "POST" { json!({}) } else { Value::Null };
        system.call(&anna.token, method, path, &body).await.is_problem(403, "forbidden");
    }
    let paid = system.post("portal", "/portal/payments", &system.payment("4242424242424242", "2.00")).await;
    let charge = paid.json()["charge"].as_str().unwrap().to_owned();
    assert_eq!(system.get_as(&anna.token, &format!("/v1/charges/{charge}")).await.status, 200);
    let foreign = system.get_as(&stranger.token, &format!("/v1/charges/{charge}")).await;
    let none = system.get_as(&stranger.token, "/v1/charges/ch_none").await;
    assert_eq!(told(&foreign), told(&none));
    // An API key has no account, and an account no API key's calls.
    let body = json!({ "password": "seven violet trams 1", "new_password": "nine quiet harbours 4" });
    system.post("staff", "/v1/account/password", &body).await.is_problem(403, "session_required");
    // Two who are one: the same name behind a key and an account agrees to nothing it asked for itself.
    let asked = system.post("admin", "/v1/tenants/north-clinic/shred", &json!({})).await;
    assert!([202, 404].contains(&asked.status.as_u16()), "{}", asked.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_sign_ins_is_sent_away_and_payments_go_on() {
    let system = System::start().await;
    let flood = (0..150).map(|n| {
        let system = &system;
        async move {
            system.sign_in(&format!("somebody-{}", "x".repeat(n % 30)), "wrong violet trams 1", None).await
        }
    });
    let payments = async {
        for n in 1..=5 {
            let paid = system
                .post("portal", "/portal/payments", &system.payment("4242424242424242", &format!("{n}.00")))
                .await;
            assert_eq!(paid.status, 201, "{}", paid.text);
        }
    };
    let (answers, ()) = tokio::join!(join_all(flood), payments);
    for answer in &answers {
        match answer.status.as_u16() {
            401 => assert_eq!(answer.code(), "sign_in_refused"),
            503 => assert!(answer.headers.contains_key("retry-after"), "{}", answer.text),
            other => panic!("{other}: {}", answer.text),
        }
    }
}
