//! `/v1/tokens` as the card room keeps it: against the real HSM daemon and a real SQLite file.

use crate::support::{House, NOW, card, json, tenant};
use std::collections::HashSet;
use tokens::{Brand, Format, Token};
use vault::shelf::{self, CardState, Shredded};
use vault::{CardsShape, Clock, Declared, VaultError};

const VISA: &str = "4242424242424242";

fn number(wire: &[u8]) -> String {
    form_urlencoded::parse(wire).find(|(name, _)| name == "card[number]").unwrap().1.into_owned()
}

fn cvc(wire: &[u8]) -> Option<String> {
    form_urlencoded::parse(wire).find(|(name, _)| name == "card[cvc]").map(|(_, value)| value.into_owned())
}

async fn shred(house: &House, tenant: &tokens::Tenant, token: &Token) -> Shredded {
    let (tenant, token) = (tenant.clone(), token.clone());
    house
        .store
        .commit::<_, VaultError, _>(move |work| {
            Box::pin(async move { shelf::shred(work, &tenant, &token, NOW).await })
        })
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_comes_back_only_as_itself_and_is_masked_everywhere_else() {
    let house = House::open().await;
    let clinic = tenant("clinic");

    let settled =
        house.token(&clinic, &card("4242 4242 4242 4242", r#","metadata":{"visit":"a"}"#)).await.unwrap();
    let record =
        shelf::find(&mut house.store.read().await.unwrap(), &clinic, &settled.token).await.unwrap().unwrap();

    assert_eq!(record.card, settled.card);
    assert_eq!((record.card.brand, record.card.last4.as_str()), (Brand::Visa, "4242"));
    assert_eq!((record.card.exp_month, record.card.exp_year, record.state), (12, 2030, CardState::Usable));
    assert_eq!(record.metadata["visit"], "a");
    let revealed = house.vault.reveal(&clinic, &settled.token, "ch-1").await.unwrap();
    assert_eq!(
        revealed.wire(),
        b"card%5Bnumber%5D=4242424242424242&card%5Bexp_month%5D=12&card%5Bexp_year%5D=2030"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_holds_a_number_or_a_code() {
    let house = House::open().await;
    let clinic = tenant("clinic");
    for number in ["4000056655665556", "5555555555554444", "6205500000000000004"] {
        let mut settled =
            house.token(&clinic, &card(number, r#","reuse":true"#).replace("123", "987")).await.unwrap();
        house.vault.hold_cvc(&mut settled);
    }
    house.tamper("UPDATE card SET metadata = $1", vec!["the-canary".into()]).await;

    let written = house.written();

    let found = |needle: &[u8]| written.windows(needle.len()).any(|window| window == needle);
    assert!(found(b"the-canary"), "the search works");
    for number in ["4000056655665556", "5555555555554444", "6205500000000000004"] {
        let packed: Vec<u8> =
            number.as_bytes().chunks_exact(2).map(|pair| (pair[0] - b'0') << 4 | (pair[1] - b'0')).collect();
        let integer: u64 = number.parse().unwrap();
        assert!(!found(number.as_bytes()) && !found(&packed));
        assert!(!found(&integer.to_be_bytes()) && !found(&integer.to_le_bytes()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_racing_posts_with_reuse_give_one_token() {
    let house = std::sync::Arc::new(House::open().await);
    let clinic = tenant("clinic");
    house.data_key(&clinic).await;

    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (house, clinic) = (house.clone(), clinic.clone());
        tasks.spawn(async move { house.token(&clinic, &card(VISA, r#","reuse":true"#)).await.unwrap() });
    }
    let settled = tasks.join_all().await;

    let tokens: HashSet<_> = settled.iter().map(|one| one.token.clone()).collect();
    assert_eq!(tokens.len(), 1);
    assert_eq!(settled.iter().filter(|one| !one.reused).count(), 1);
    let other = house.token(&tenant("other"), &card(VISA, r#","reuse":true"#)).await.unwrap();
    assert!(!other.reused && !tokens.contains(&other.token));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_reuse_each_post_gives_a_new_token_and_keeps_no_fingerprint() {
    let house = House::open().await;
    let clinic = tenant("clinic");
    let one = house.token(&clinic, &card(VISA, "")).await.unwrap();
    let two = house.token(&clinic, &card(VISA, "")).await.unwrap();
    assert_ne!(one.token, two.token);

    let mut reader = house.store.read().await.unwrap();
    let rows = reader
        .fetch_all("SELECT fingerprint, envelope FROM card WHERE tenant = $1", vec!["clinic".into()])
        .await
        .unwrap();

    assert!(rows.iter().all(|row| row.optional_bytes("fingerprint").unwrap().is_none()));
    assert_ne!(rows[0].bytes("envelope").unwrap(), rows[1].bytes("envelope").unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reused_card_brings_its_new_expiry_and_an_expired_token_does_not_come_back() {
    let house = House::open().await;
    let clinic = tenant("clinic");
    let until = r#","reuse":true,"expires_at":"2026-11-23T02:00:00Z""#;
    let first = house.token(&clinic, &card(VISA, until)).await.unwrap();
    let newer = card(VISA, r#","reuse":true"#).replace("2030", "2033");

    let again = house.token(&clinic, &newer).await.unwrap();
    assert_eq!((&again.token, again.reused, again.card.exp_year), (&first.token, true, 2033));

    house.clock.forward(3 * 3600);
    assert_eq!(house.vault.reveal(&clinic, &first.token, "ch").await.err(), Some(VaultError::TokenExpired));
    let fresh = house.token(&clinic, &newer).await.unwrap();
    assert!(!fresh.reused && fresh.token != first.token);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_answers_for_each_card() {
    let house = House::open().await;
    let clinic = tenant("clinic");
    let body = format!(
        r#"{{"cards":[{},{{"number":"4111111111111111","exp_month":1,"exp_year":31}},{},{}]}}"#,
        card(VISA, r#","reuse":true,"format":"card_shaped""#),
        card("4242424242424241", ""),
        card("378282246310005", ""),
    );

    let settled = house.post(&clinic, &body, CardsShape::Batch).await.unwrap();

    let shaped = settled[0].as_ref().ok().unwrap();
    assert_eq!(shaped.format, Format::CardShaped);
    assert!(shaped.token.as_str().len() == 16 && shaped.token.as_str().ends_with("4242"));
    assert!(settled[1].is_ok());
    let problem = settled[2].as_ref().err().unwrap();
    assert_eq!(
        (problem.code(), problem.place().unwrap().as_str()),
        ("invalid_card_number", "cards[2].card.number")
    );
    assert_eq!(settled[3].as_ref().err().unwrap().code(), "invalid_cvc", "Amex wants four digits");
    for wrong in [r#"{"cards":[]}"#.to_owned(), format!(r#"{{"cards":[{}]}}"#, vec!["{}"; 257].join(","))] {
        assert_eq!(house.post(&clinic, &wrong, CardsShape::Batch).await.err(), Some(VaultError::BatchSize));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_moved_between_tenants_does_not_open() {
    let house = House::open().await;
    let (clinic, other) = (tenant("clinic"), tenant("other"));
    let settled = house.token(&clinic, &card(VISA, "")).await.unwrap();
    assert_eq!(house.vault.reveal(&other, &settled.token, "ch").await.err(), Some(VaultError::UnknownToken));

    house.tamper("UPDATE card SET tenant = 'other'", vec![]).await;
    assert_eq!(house.vault.reveal(&other, &settled.token, "ch").await.err(), Some(VaultError::Integrity));

    // With its data key's row moved along as well, the HSM refuses the key.
    house.tamper("UPDATE data_key SET tenant = 'other'", vec![]).await;
    assert_eq!(
        house.reopened().reveal(&other, &settled.token, "ch").await.err(),
        Some(VaultError::Integrity)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rows_that_trade_their_envelopes_do_not_open() {
    let house = House::open().await;
    let clinic = tenant("clinic");
    let one = house.token(&clinic, &card(VISA, "")).await.unwrap().token;
    let two = house.token(&clinic, &card("5555555555554444", "")).await.unwrap().token;

    house
        .tamper(
            "UPDATE card SET envelope = (SELECT envelope FROM card WHERE token = $1) WHERE token = $2",
            vec![one.as_str().into(), two.as_str().into()],
        )
        .await;

    assert!(house.vault.reveal(&clinic, &one, "ch").await.is_ok());
    assert_eq!(house.vault.reveal(&clinic, &two, "ch").await.err(), Some(VaultError::Integrity));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_key_row_that_was_altered_does_not_open() {
    for sql in [
        "UPDATE data_key SET epoch = 2",
        "UPDATE data_key SET kek_version = 2",
        "UPDATE data_key SET class = 'other'",
        "UPDATE data_key SET status = 'destroyed'",
        "UPDATE data_key SET sealed = zeroblob(76)",
    ] {
        let house = House::open().await;
        let clinic = tenant("clinic");
        let token = house.token(&clinic, &card(VISA, "")).await.unwrap().token;
        assert_eq!(house.tamper(sql, vec![]).await, 1);
        let refused = house.reopened().reveal(&clinic, &token, "ch").await.err();
        assert_eq!(refused, Some(VaultError::Integrity), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shredded_card_is_gone_and_its_number_gets_a_new_token() {
    let house = House::open().await;
    let clinic = tenant("clinic");
    let body = card(VISA, r#","reuse":true,"metadata":{"a":"b"}"#);
    let token = house.token(&clinic, &body).await.unwrap().token;

    assert_eq!(shred(&house, &tenant("other"), &token).await, Shredded::Unknown);
    assert_eq!(shred(&house, &clinic, &token).await, Shredded::Done);
    assert_eq!(shred(&house, &clinic, &token).await, Shredded::Already);

    assert_eq!(house.vault.reveal(&clinic, &token, "ch").await.err(), Some(VaultError::TokenGone));
    let record = shelf::find(&mut house.store.read().await.unwrap(), &clinic, &token).await.unwrap().unwrap();
    assert_eq!((record.state, record.card.last4.as_str()), (CardState::Shredded, "4242"));
    let left = house
        .tamper(
            "UPDATE card SET brand = brand WHERE envelope IS NULL AND fingerprint IS NULL AND data_key_id IS NULL \
             AND metadata IS NULL",
            vec![],
        )
        .await;
    assert_eq!(left, 1);
    let again = house.token(&clinic, &body).await.unwrap();
    assert!(!again.reused && again.token != token);
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_a_code_is_lent_to_one_charge_and_its_retries_for_a_quarter_of_an_hour() {
    let house = House::open().await;
    let clinic = tenant("clinic");
    let mut settled = house.token(&clinic, &card(VISA, "")).await.unwrap();
    let token = settled.token.clone();

    assert!(
        !house.vault.reveal(&clinic, &token, "ch-0").await.unwrap().has_cvc(),
        "not before the commit is known"
    );
    house.vault.hold_cvc(&mut settled);
    house.vault.hold_cvc(&mut settled);
    let first = house.vault.reveal(&clinic, &token, "ch-1").await.unwrap();
    assert_eq!((number(first.wire()), cvc(first.wire())), (VISA.to_owned(), Some("123".to_owned())));
    assert!(house.vault.reveal(&clinic, &token, "ch-1").await.unwrap().has_cvc());
    assert!(!house.vault.reveal(&clinic, &token, "ch-2").await.unwrap().has_cvc());
    assert!(!house.reopened().reveal(&clinic, &token, "ch-1").await.unwrap().has_cvc(), "memory only");

    house.clock.forward(15 * 60);
    assert!(!house.vault.reveal(&clinic, &token, "ch-1").await.unwrap().has_cvc());
    assert_eq!(house.vault.held_cvcs(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_first_posts_of_a_tenant_make_one_data_key() {
    let house = std::sync::Arc::new(House::open().await);
    let clinic = tenant("clinic");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let (house, clinic) = (house.clone(), clinic.clone());
        tasks.spawn(async move { house.token(&clinic, &card(VISA, "")).await.unwrap().token });
    }
    for token in tasks.join_all().await {
        assert!(house.reopened().reveal(&clinic, &token, "ch").await.is_ok());
    }
    assert_eq!(house.tamper("UPDATE data_key SET status = status", vec![]).await, 1);
    assert!(house.vault.data_key_wanted(&clinic).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_an_hsm_that_is_away_is_named_and_its_return_is_noticed() {
    let mut house = House::open().await;
    let clinic = tenant("clinic");
    let token = house.token(&clinic, &card(VISA, "")).await.unwrap().token;
    assert_eq!(house.vault.prove().await, Ok(()));

    house.stop_hsm();
    assert_eq!(house.vault.prove().await, Err(VaultError::HsmUnavailable));
    let refused = house.reopened().reveal(&clinic, &token, "ch").await.err();
    assert_eq!(refused, Some(VaultError::HsmUnavailable));
    assert!(house.vault.reveal(&clinic, &token, "ch").await.is_ok(), "the opened data key serves on");

    house.start_hsm();
    let came_back = std::time::Instant::now();
    while house.vault.prove().await.is_err() {
        assert!(came_back.elapsed().as_millis() < 1000, "service resumes within a second");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(house.reopened().reveal(&clinic, &token, "ch").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_requests_are_the_same_only_in_endpoint_type_and_body() {
    let house = House::open().await;
    let mac = async |endpoint: &str, body: &str| {
        let intake = json(&house.vault, body).await.unwrap();
        house.vault.request_macs(endpoint, &intake, Declared::Cards(CardsShape::One)).await.unwrap()
    };
    let body = card(VISA, "");
    assert_eq!(mac("/v1/tokens", &body).await, mac("/v1/tokens", &body).await);
    assert_ne!(mac("/v1/tokens", &body).await, mac("/v1/tokens/batch", &body).await);
    assert_ne!(mac("/v1/tokens", &body).await, mac("/v1/tokens", &card("5555555555554444", "")).await);
    assert_ne!(mac("/v1/tokens", "{").await, mac("/v1/tokens", "[").await);
    assert!(house.clock.now_us() == NOW);
}

/// PCI DSS 3.3.1: the MAC is stored, so three digits could be found from it by trying.
#[tokio::test(flavor = "multi_thread")]
async fn p3_no_stored_value_depends_on_the_cvc() {
    let house = House::open().await;
    let card = |code: &str| format!(r#"{{"number":"{VISA}","exp_month":12,"exp_year":2030{code}}}"#);
    let codes = ["", r#","cvc":"123""#, r#","cvc":"999""#];
    for (shape, open, close) in
        [(CardsShape::One, r#"{"card":"#, "}"), (CardsShape::Batch, r#"{"cards":["#, "]}")]
    {
        let mut seen = Vec::new();
        for code in codes {
            let intake = json(&house.vault, &format!("{open}{}{close}", card(code))).await.unwrap();
            seen.push(house.vault.request_macs("e", &intake, Declared::Cards(shape)).await.unwrap());
        }
        assert!(seen.iter().all(|mac| *mac == seen[0]), "{shape:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_card_request_are_refused_by_name() {
    let house = House::open().await;
    let clinic = tenant("clinic");
    let deep = "[".repeat(200);
    for (body, code) in [
        ("{", "malformed_json"),
        (r#"{"card":1,"card":2}"#, "duplicate_key"),
        (deep.as_str(), "too_deep"),
        ("\u{feff}{}", "malformed_json"),
        (r#"{"card":{"number":"4242424242424241","exp_month":12,"exp_year":2030}}"#, "invalid_card_number"),
    ] {
        assert_eq!(house.token(&clinic, body).await.err().map(|error| error.code()), Some(code), "{body}");
    }
}
