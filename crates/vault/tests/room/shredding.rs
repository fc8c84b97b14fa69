//! A tenant's end: gone at once, gone provably, and what a backup can still open is said and ended.

use crate::rewrap::run;
use crate::support::{House, NOW, card, json, tenant};
use hsm::{KeyLabel, KeyVersion};
use std::path::PathBuf;
use tokens::{Tenant, Token};
use vault::rotation::{Task, TenantShredded};
use vault::shelf::{self, CardState};
use vault::{CardsShape, Purge, VaultError};

const VISA: &str = "4242424242424242";
const KEPT: &str = r#","reuse":true,"metadata":{"visit":"a-7"}"#;

async fn shred(house: &House, clinic: &Tenant) -> TenantShredded {
    let (vault, owner) = (house.vault.clone(), clinic.clone());
    let shredded: Result<_, VaultError> = house
        .store
        .commit(move |work| Box::pin(async move { vault.shred_tenant(work, &owner, NOW).await }))
        .await;
    house.vault.purge_data_keys(&Purge::Tenant(clinic.clone()));
    shredded.unwrap()
}

/// The database as a backup would keep it, before what follows.
async fn backup(house: &House, name: &str) -> PathBuf {
    house.store.checkpoint().await.unwrap();
    let copy = house.dir.path().join(name);
    std::fs::copy(house.dir.path().join("vault.db"), &copy).unwrap();
    copy
}

async fn state(house: &House, clinic: &Tenant, token: &Token) -> CardState {
    let mut reader = house.store.read().await.unwrap();
    shelf::find(&mut reader, clinic, token).await.unwrap().unwrap().state
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shredded_tenant_is_gone_and_its_neighbour_is_not() {
    let (house, _officers) = House::with_officers().await;
    let (clinic, other) = (tenant("clinic"), tenant("other"));
    let mut settled = house.token(&clinic, &card(VISA, KEPT)).await.unwrap();
    house.vault.hold_cvc(&mut settled);
    let mut theirs = house.token(&other, &card(VISA, KEPT)).await.unwrap();
    house.vault.hold_cvc(&mut theirs);
    assert!(house.vault.reveal(&clinic, &settled.token, "ch").await.is_ok());
    assert_eq!((house.vault.cache_state().entries, house.vault.held_cvcs()), (2, 2));

    let shredded = shred(&house, &clinic).await;

    assert_eq!((shredded.keys.len(), shredded.cards, shredded.more), (1, 1, false));
    assert_eq!((shredded.keys[0].epoch, shredded.keys[0].kek_version), (1, 1));
    assert_eq!((house.vault.cache_state().entries, house.vault.held_cvcs()), (1, 1));
    assert_eq!(house.vault.reveal(&clinic, &settled.token, "ch").await.err(), Some(VaultError::TokenGone));
    assert_eq!(state(&house, &clinic, &settled.token).await, CardState::Shredded);
    let revealed = house.vault.reveal(&other, &theirs.token, "ch").await.unwrap();
    assert!(revealed.has_cvc());
    assert_eq!(shred(&house, &clinic).await, TenantShredded { keys: vec![], cards: 0, more: false });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_tenant_is_gone_at_once_and_cleared_in_steps() {
    let (house, _officers) = House::with_officers().await;
    let clinic = tenant("clinic");
    let token = house.token(&clinic, &card(VISA, "")).await.unwrap().token;
    // Rows of the same tenant behind it; what is in them does not matter, only that there are many.
    house
        .tamper(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4500) \
             INSERT INTO card (tenant, token, fingerprint_version, reusable, envelope, data_key_id, brand, last4, \
             exp_month, exp_year, format, created_at) SELECT tenant, '!' || i, 0, 0, envelope, data_key_id, brand, \
             last4, exp_month, exp_year, format, created_at FROM card, n",
            vec![],
        )
        .await;

    // Another gateway, which nobody tells, has the tenant's key in memory.
    let elsewhere = house.reopened();
    assert!(elsewhere.reveal(&clinic, &token, "ch").await.is_ok());

    let first = shred(&house, &clinic).await;

    assert_eq!((first.keys.len(), first.cards, first.more), (1, 2000, true));
    assert_eq!(
        state(&house, &clinic, &token).await,
        CardState::Shredded,
        "not cleared yet, and gone all the same"
    );
    assert_eq!(house.reopened().reveal(&clinic, &token, "ch").await.err(), Some(VaultError::TokenGone));
    assert_eq!(elsewhere.reveal(&clinic, &token, "ch").await.err(), Some(VaultError::TokenGone));
    let second = shred(&house, &clinic).await;
    let third = shred(&house, &clinic).await;
    assert_eq!((second.cards, second.more, third.cards, third.more), (2000, true, 501, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_byte_of_a_shredded_tenants_keys_or_cards_is_left_in_the_files() {
    let (house, _officers) = House::with_officers().await;
    let clinic = tenant("clinic");
    house.token(&clinic, &card(VISA, KEPT)).await.unwrap();
    let mut reader = house.store.read().await.unwrap();
    let row = reader
        .fetch_optional(
            "SELECT sealed, envelope, fingerprint FROM card JOIN data_key USING (data_key_id)",
            vec![],
        )
        .await
        .unwrap()
        .unwrap();
    drop(reader);
    let secrets = [row.bytes("sealed"), row.bytes("envelope"), row.bytes("fingerprint")].map(Result::unwrap);
    let found = |needle: &[u8]| house.written().windows(needle.len()).any(|window| window == needle);
    assert!(secrets.iter().all(|secret| found(secret)), "the search works");

    let _ = shred(&house, &clinic).await;
    house.store.checkpoint().await.unwrap();

    assert!(!secrets.iter().any(|secret| found(secret)));
    assert!(!found(b"a-7"));
}

#[tokio::test(flavor = "multi_thread")]
async fn restored_card_rows_do_not_open_without_the_data_key_rows() {
    let (house, _officers) = House::with_officers().await;
    let clinic = tenant("clinic");
    let token = house.token(&clinic, &card(VISA, "")).await.unwrap().token;
    let copy = backup(&house, "cards.db").await;
    let _ = shred(&house, &clinic).await;

    // Somebody puts the old card row back into the running vault.
    house.tamper("DELETE FROM card", vec![]).await;
    let old = house.over(&copy).await;
    assert!(old.reveal(&clinic, &token, "ch").await.is_ok(), "the copy is whole");
    let restored = rows_of(&copy).await;
    house
        .tamper(
            "INSERT INTO card (tenant, token, fingerprint_version, reusable, envelope, data_key_id, brand, last4, \
             exp_month, exp_year, format, created_at) \
             VALUES ('clinic', $1, 0, 0, $2, $3, 'visa', '4242', 12, 2030, 'opaque', 1)",
            vec![token.as_str().into(), restored.0.into(), restored.1.into()],
        )
        .await;

    assert_eq!(house.vault.reveal(&clinic, &token, "ch").await.err(), Some(VaultError::TokenGone));
    assert_eq!(house.reopened().reveal(&clinic, &token, "ch").await.err(), Some(VaultError::TokenGone));
}

async fn rows_of(copy: &std::path::Path) -> (Vec<u8>, Vec<u8>) {
    let url = format!("sqlite:{}", copy.display());
    let store = store::Store::open(&url, store::Settings::default()).await.unwrap();
    let mut reader = store.read().await.unwrap();
    let row = reader.fetch_optional("SELECT envelope, data_key_id FROM card", vec![]).await.unwrap().unwrap();
    (row.bytes("envelope").unwrap(), row.bytes("data_key_id").unwrap())
}

/// The honest limit, and its end: a backup of the data-key rows opens until the KEK's version is destroyed.
#[tokio::test(flavor = "multi_thread")]
async fn a_whole_backup_opens_until_the_keks_version_is_destroyed() {
    let (house, officers) = House::with_officers().await;
    let (clinic, other) = (tenant("clinic"), tenant("other"));
    let token = house.token(&clinic, &card(VISA, "")).await.unwrap().token;
    let theirs = house.token(&other, &card(VISA, "")).await.unwrap().token;
    let copy = backup(&house, "backup.db").await;
    let shredded = shred(&house, &clinic).await;
    assert_eq!(house.reopened().reveal(&clinic, &token, "ch").await.err(), Some(VaultError::TokenGone));

    assert!(house.over(&copy).await.reveal(&clinic, &token, "ch").await.is_ok(), "the limit");

    let task = Task::Rewrap { to: officers.rotate(&KeyLabel::KEK_CARD) };
    assert_eq!(run(&house, &task, 10).await, (1, 0), "the destroyed key is not rewrapped");
    assert_eq!(house.vault.remaining(&task).await, Ok(0));
    let version = KeyVersion::new(shredded.keys[0].kek_version).unwrap();
    officers.destroy(&KeyLabel::KEK_CARD.at(version));
    let refused = house.over(&copy).await.reveal(&clinic, &token, "ch").await.err();
    assert_eq!(refused, Some(VaultError::HsmRefused));
    assert!(house.reopened().reveal(&other, &theirs, "ch").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_on_its_way_while_its_tenant_is_shredded_is_not_acknowledged() {
    let (house, _officers) = House::with_officers().await;
    let clinic = tenant("clinic");
    house.data_key(&clinic).await;
    let intake = json(&house.vault, &card(VISA, KEPT)).await.unwrap();
    let draft = house.vault.draft_cards(&clinic, intake, CardsShape::One).await.unwrap();
    let _ = shred(&house, &clinic).await;

    let settled: Result<_, VaultError> =
        house.store.commit(move |work| Box::pin(async move { draft.settle(work, NOW).await })).await;

    assert_eq!(settled.err(), Some(VaultError::NoDataKey));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_begins_anew_gets_a_new_key_at_a_gateway_that_remembered_the_old_one() {
    let (house, _officers) = House::with_officers().await;
    let clinic = tenant("clinic");
    let gone = house.token(&clinic, &card(VISA, "")).await.unwrap().token;
    // The other gateway remembers which key is active, and opens it for each use.
    let data_keys = vault::DataKeyLimits { uses: 1, ..vault::DataKeyLimits::default() };
    let settings = vault::Settings { data_keys, ..vault::Settings::new(tokens::Realm::Test) };
    let other =
        vault::Vault::with_clock(house.hsm.clone(), house.store.clone(), settings, house.clock.clone());
    let draft = async || {
        let intake = json(&other, &card(VISA, "")).await.unwrap();
        other.draft_cards(&clinic, intake, CardsShape::One).await.map(drop)
    };
    assert_eq!(draft().await, Ok(()));
    let _ = shred(&house, &clinic).await;

    assert_eq!(
        draft().await,
        Err(VaultError::NoDataKey),
        "not gone: the request is new, its key is not there"
    );

    let made = other.data_key_wanted(&clinic).await.unwrap().unwrap();
    assert_eq!(made.epoch(), 2);
    assert_eq!(
        house.commit(move |work| Box::pin(async move { made.settle(work, NOW).await })).await,
        Ok(true)
    );
    assert_eq!(draft().await, Ok(()));
    assert_eq!(other.reveal(&clinic, &gone, "ch").await.err(), Some(VaultError::TokenGone));
}
