//! A new fingerprint key: a card that is known stays known, by one token, however requests and rotation race.

use crate::rewrap::{run, step};
use crate::support::{House, NOW, card, json, tenant};
use hsm::{KeyLabel, KeyRef, KeyVersion};
use std::collections::HashSet;
use std::sync::Arc;
use tokens::{Tenant, Token};
use vault::rotation::{Task, forget_former_fingerprints};
use vault::{CardsShape, Declared, VaultError};

const VISA: &str = "4242424242424242";
const REUSE: &str = r#","reuse":true"#;

fn first() -> KeyRef {
    KeyLabel::MAC_PAN.at(KeyVersion::FIRST)
}

async fn rows(house: &House, sql: &'static str) -> i64 {
    let mut reader = house.store.read().await.unwrap();
    reader.fetch_optional(sql, vec![]).await.unwrap().unwrap().integer("n").unwrap()
}

async fn living(house: &House) -> i64 {
    rows(house, "SELECT COUNT(*) AS n FROM card WHERE reusable = 1 AND fingerprint IS NOT NULL").await
}

async fn reuse(house: &House, clinic: &Tenant) -> Token {
    house.token(clinic, &card(VISA, REUSE)).await.unwrap().token
}

#[tokio::test(flavor = "multi_thread")]
async fn p12_a_known_card_stays_known_before_during_and_after_a_rotation() {
    let (house, officers) = House::with_officers().await;
    let (clinic, other) = (tenant("clinic"), tenant("other"));
    let (known, theirs) = (reuse(&house, &clinic).await, reuse(&house, &other).await);
    let task = Task::Refingerprint { to: officers.rotate(&KeyLabel::MAC_PAN) };

    assert_eq!(reuse(&house, &clinic).await, known, "this process has not heard of the new version yet");
    house.vault.hsm_keys_changed().await;
    assert_eq!(reuse(&house, &clinic).await, known, "found under the old version, brought to the new one");
    assert_eq!(house.vault.remaining(&task).await, Ok(1));
    assert_eq!(run(&house, &task, 10).await, (1, 0));
    assert_eq!(house.vault.remaining(&task).await, Ok(0));
    officers.retire(&first());
    assert_eq!(
        reuse(&house, &clinic).await,
        known,
        "the retired version is noticed when the device refuses it"
    );
    officers.destroy(&first());
    house.vault.hsm_keys_changed().await;

    assert_eq!((reuse(&house, &clinic).await, reuse(&house, &other).await), (known, theirs));
    assert_eq!(living(&house).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_racing_posts_during_a_rotation_give_one_token() {
    let (house, officers) = House::with_officers().await;
    let (house, clinic) = (Arc::new(house), tenant("clinic"));
    house.data_key(&clinic).await;
    for round in 0..6 {
        let number = ["4242424242424242", "5555555555554444", "378282246310005"][round % 3];
        let amex = if number.starts_with('3') { "1234" } else { "123" };
        let body = card(number, REUSE).replace("\"cvc\":\"123\"", &format!("\"cvc\":\"{amex}\""));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let (house, clinic, body) = (house.clone(), clinic.clone(), body.clone());
            tasks.spawn(async move { house.token(&clinic, &body).await.unwrap().token });
        }
        // In the middle of it: a new version, heard of by some of them only, and the job behind it.
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        let task = Task::Refingerprint { to: officers.rotate(&KeyLabel::MAC_PAN) };
        house.vault.hsm_keys_changed().await;
        while run(&house, &task, 1).await.0 > 0 {}
        let tokens: HashSet<Token> = tasks.join_all().await.into_iter().collect();
        assert_eq!(tokens.len(), 1, "round {round}");
        while house.vault.remaining(&task).await != Ok(0) {
            run(&house, &task, 10).await;
        }
        assert!(tokens.contains(&house.token(&clinic, &body).await.unwrap().token));
    }
    assert_eq!(living(&house).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_has_not_heard_of_the_new_version_finds_tokens_that_were_made_under_it() {
    let (house, officers) = House::with_officers().await;
    let clinic = tenant("clinic");
    house.data_key(&clinic).await;
    // The other gateway has asked the device before the rotation and does not ask again for half a minute.
    let other = house.reopened();
    let intake = json(&other, &card("5555555555554444", REUSE)).await.unwrap();
    drop(other.draft_cards(&clinic, intake, CardsShape::One).await.unwrap());
    officers.rotate(&KeyLabel::MAC_PAN);
    house.vault.hsm_keys_changed().await;
    let made = reuse(&house, &clinic).await;

    let intake = json(&other, &card(VISA, REUSE)).await.unwrap();
    let draft = other.draft_cards(&clinic, intake, CardsShape::One).await.unwrap();
    let settled: Result<_, VaultError> =
        house.store.commit(move |work| Box::pin(async move { draft.settle(work, NOW).await })).await;

    let found = settled.unwrap().remove(0).ok().unwrap();
    assert_eq!((found.token, found.reused), (made, true));
    assert_eq!(living(&house).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_tokens_of_one_card_the_older_one_is_kept_for_reuse_and_both_open() {
    let (house, officers) = House::with_officers().await;
    let clinic = tenant("clinic");
    let older = reuse(&house, &clinic).await;
    let task = Task::Refingerprint { to: officers.rotate(&KeyLabel::MAC_PAN) };
    house.vault.hsm_keys_changed().await;
    // As if two gateways had met the card two rotations apart: neither row shows the other's fingerprint.
    house.tamper("UPDATE card SET fingerprint = randomblob(32)", vec![]).await;
    house.clock.forward(1);
    let newer = reuse(&house, &clinic).await;
    assert_ne!(older, newer);
    assert_eq!(living(&house).await, 2);

    run(&house, &task, 10).await;

    assert_eq!(house.vault.remaining(&task).await, Ok(0));
    assert_eq!(living(&house).await, 1);
    assert_eq!(reuse(&house, &clinic).await, older);
    for token in [&older, &newer] {
        assert!(house.vault.reveal(&clinic, token, "ch").await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_does_not_come_back_across_a_rotation() {
    let (house, officers) = House::with_officers().await;
    let clinic = tenant("clinic");
    let until = r#","reuse":true,"expires_at":"2026-11-23T02:00:00Z""#;
    let expired = house.token(&clinic, &card(VISA, until)).await.unwrap().token;
    officers.rotate(&KeyLabel::MAC_PAN);
    house.vault.hsm_keys_changed().await;
    house.clock.forward(3 * 3600);

    let fresh = house.token(&clinic, &card(VISA, REUSE)).await.unwrap();

    assert!(!fresh.reused && fresh.token != expired);
    assert_eq!(reuse(&house, &clinic).await, fresh.token);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_was_shredded_or_updated_while_it_was_hashed_is_left_alone() {
    let (house, officers) = House::with_officers().await;
    let clinic = tenant("clinic");
    let token = reuse(&house, &clinic).await;
    let task = Task::Refingerprint { to: officers.rotate(&KeyLabel::MAC_PAN) };
    let late = house.vault.rotation_batch(&task, None, 10).await.unwrap();
    house.vault.hsm_keys_changed().await;
    assert_eq!(reuse(&house, &clinic).await, token, "brought to the new version by its use");

    let progress: Result<_, VaultError> =
        house.store.commit(move |work| Box::pin(async move { late.settle(work, NOW).await })).await;

    assert_eq!(progress.map(|done| (done.changed, done.skipped)), Ok((0, 1)));
    assert_eq!(step(&house, &task, None, 10).await.changed, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_retired_version_is_left_in_a_row() {
    let (house, officers) = House::with_officers().await;
    let clinic = tenant("clinic");
    reuse(&house, &clinic).await;
    house.token(&clinic, &card("5555555555554444", REUSE)).await.unwrap();
    let task = Task::Refingerprint { to: officers.rotate(&KeyLabel::MAC_PAN) };
    run(&house, &task, 10).await;
    let former = "SELECT COUNT(*) AS n FROM card WHERE former_fingerprint IS NOT NULL";
    assert_eq!(rows(&house, former).await, 2, "kept while gateways may ask by the old version");
    officers.retire(&first());

    for expected in [1, 1, 0] {
        let forgotten: Result<u64, VaultError> = house
            .store
            .commit(|work| Box::pin(async move { forget_former_fingerprints(work, &first(), 1).await }))
            .await;
        assert_eq!(forgotten, Ok(expected));
    }
    assert_eq!(rows(&house, former).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_a_mac_under_every_active_version() {
    let (house, officers) = House::with_officers().await;
    let macs = async || {
        let intake = json(&house.vault, &card(VISA, "")).await.unwrap();
        house.vault.request_macs("/v1/tokens", &intake, Declared::Cards(CardsShape::One)).await.unwrap()
    };
    let before = macs().await;
    let second = officers.rotate(&KeyLabel::MAC_REQUEST);
    house.vault.hsm_keys_changed().await;
    let during = macs().await;
    officers.retire(&KeyLabel::MAC_REQUEST.at(KeyVersion::FIRST));
    let after = macs().await;

    assert_eq!(before.iter().map(|(version, _)| *version).collect::<Vec<_>>(), [1]);
    assert_eq!(during.iter().map(|(version, _)| *version).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(during[1], before[0], "a retry is the same request under the version of its first try");
    assert_eq!((after.len(), after[0]), (1, during[0]));
    assert_eq!(second.version.get(), 2);
}
