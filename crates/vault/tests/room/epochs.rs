//! A tenant's data key ends and another begins: cards move, uses are counted, the empty key is destroyed.

use crate::rewrap::{run, step};
use crate::support::{House, NOW, Officers, card, json, tenant};
use hsm::KeyLabel;
use std::time::Duration;
use tokens::{Tenant, Token};
use vault::rotation::{Destroyed, Task};
use vault::{CardsShape, DataKeyLimits, Purge, VaultError};

const VISA: &str = "4242424242424242";

fn everybody() -> Task {
    Task::Reencrypt { tenant: None }
}

async fn new_epoch(house: &House, clinic: &Tenant) -> bool {
    let draft = house.vault.new_epoch(clinic).await.unwrap();
    let settled: Result<bool, VaultError> =
        house.store.commit(move |work| Box::pin(async move { draft.settle(work, NOW).await })).await;
    house.vault.purge_data_keys(&Purge::Tenant(clinic.clone()));
    settled.unwrap()
}

async fn destroy_emptied(house: &House) -> Vec<Destroyed> {
    let vault = house.vault.clone();
    let now = vault::Clock::now_us(&*house.clock);
    let gone: Result<_, VaultError> = house
        .store
        .commit(move |work| Box::pin(async move { vault.destroy_emptied(work, None, 10, now).await }))
        .await;
    gone.unwrap()
}

async fn cards(house: &House, clinic: &Tenant, count: usize) -> Vec<Token> {
    let mut tokens = vec![];
    for _ in 0..count {
        tokens.push(house.token(clinic, &card(VISA, "")).await.unwrap().token);
    }
    tokens
}

/// Opens the card with empty memory.
async fn number_of(house: &House, clinic: &Tenant, token: &Token) -> Result<(), VaultError> {
    let revealed = house.reopened().reveal(clinic, token, "ch").await?;
    assert!(revealed.wire().starts_with(b"card%5Bnumber%5D=4242424242424242&"));
    Ok(())
}

async fn keys(house: &House, clinic: &Tenant) -> Vec<(i64, String, usize)> {
    let mut reader = house.store.read().await.unwrap();
    let rows = reader
        .fetch_all(
            "SELECT epoch, status, sealed FROM data_key WHERE tenant = $1 ORDER BY epoch",
            vec![clinic.as_str().into()],
        )
        .await
        .unwrap();
    let key = |row: &store::Row| {
        (row.integer("epoch").unwrap(), row.text("status").unwrap(), row.bytes("sealed").unwrap().len())
    };
    rows.iter().map(key).collect()
}

fn small(soft: u64, hard: u64) -> DataKeyLimits {
    DataKeyLimits { block: 4, soft, hard, ..DataKeyLimits::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn p12_cards_move_to_the_new_epoch_and_the_empty_key_is_destroyed() {
    let (house, _officers) = House::with_officers().await;
    let (clinic, other) = (tenant("clinic"), tenant("other"));
    let (mut tokens, others) = (cards(&house, &clinic, 9).await, cards(&house, &other, 2).await);

    assert!(new_epoch(&house, &clinic).await);
    tokens.extend(cards(&house, &clinic, 1).await);
    assert_eq!(house.vault.remaining(&everybody()).await, Ok(9), "new cards are under the new key");
    assert!(destroy_emptied(&house).await.is_empty(), "a key that protects a card is not destroyed");
    let mut cursor = None;
    for _ in 0..2 {
        // Killed before the commit, then done.
        drop(house.vault.rotation_batch(&everybody(), cursor.as_deref(), 4).await.unwrap());
        let progress = step(&house, &everybody(), cursor.as_deref(), 4).await;
        assert_eq!((progress.changed, progress.last), (4, false));
        cursor = progress.cursor;
    }
    assert_eq!(step(&house, &everybody(), cursor.as_deref(), 4).await.changed, 1);

    assert_eq!(house.vault.remaining(&everybody()).await, Ok(0));
    assert!(destroy_emptied(&house).await.is_empty(), "requests from before may still be on their way");
    house.clock.forward(181);
    let gone = destroy_emptied(&house).await;
    assert_eq!(
        gone.iter().map(|key| (key.tenant.clone(), key.epoch)).collect::<Vec<_>>(),
        [(clinic.clone(), 1)]
    );
    assert_eq!(keys(&house, &clinic).await[0], (1, "destroyed".to_owned(), 0));
    assert_eq!(keys(&house, &clinic).await[1].1, "active");
    for token in &tokens {
        assert_eq!(number_of(&house, &clinic, token).await, Ok(()));
    }
    assert_eq!(number_of(&house, &other, &others[0]).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_new_epochs_at_once_are_one() {
    let (house, _officers) = House::with_officers().await;
    let clinic = tenant("clinic");
    cards(&house, &clinic, 1).await;

    let (one, two) =
        (house.vault.new_epoch(&clinic).await.unwrap(), house.vault.new_epoch(&clinic).await.unwrap());
    let settled: Result<_, VaultError> = house
        .store
        .commit(move |work| {
            Box::pin(async move { Ok((one.settle(work, NOW).await?, two.settle(work, NOW).await?)) })
        })
        .await;

    assert_eq!(settled, Ok((true, false)));
    let statuses: Vec<_> = keys(&house, &clinic).await.into_iter().map(|(_, status, _)| status).collect();
    assert_eq!(statuses, ["deactivated", "active"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_that_waited_too_long_is_not_put_down() {
    let (house, _officers) = House::with_officers().await;
    let draft = house.vault.new_epoch(&tenant("clinic")).await.unwrap();
    let late = NOW + 31_000_000;
    let settled: Result<bool, VaultError> =
        house.store.commit(move |work| Box::pin(async move { draft.settle(work, late).await })).await;
    assert_eq!(settled, Err(VaultError::StoreBusy));
    assert!(keys(&house, &tenant("clinic")).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_on_its_way_is_refused_when_its_key_is_gone_and_never_lost() {
    let (house, _officers) = House::with_officers().await;
    let clinic = tenant("clinic");
    house.data_key(&clinic).await;
    let draft = async || {
        let intake = json(&house.vault, &card(VISA, "")).await.unwrap();
        house.vault.draft_cards(&clinic, intake, CardsShape::One).await.unwrap()
    };
    let (in_time, too_late) = (draft().await, draft().await);
    new_epoch(&house, &clinic).await;

    let settled: Result<_, VaultError> =
        house.store.commit(move |work| Box::pin(async move { in_time.settle(work, NOW).await })).await;
    let token = settled.unwrap().remove(0).ok().unwrap().token;
    assert_eq!(house.vault.remaining(&everybody()).await, Ok(1), "under the old key, and seen to be");
    run(&house, &everybody(), 10).await;
    house.clock.forward(181);
    assert_eq!(destroy_emptied(&house).await.len(), 1);
    let settled: Result<_, VaultError> =
        house.store.commit(move |work| Box::pin(async move { too_late.settle(work, NOW).await })).await;

    assert_eq!(settled.err(), Some(VaultError::NoDataKey));
    assert!(VaultError::NoDataKey.is_transient());
    assert_eq!(number_of(&house, &clinic, &token).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_was_shredded_while_it_moved_stays_gone() {
    let (house, _officers) = House::with_officers().await;
    let clinic = tenant("clinic");
    let token = cards(&house, &clinic, 1).await.remove(0);
    new_epoch(&house, &clinic).await;
    let late = house.vault.rotation_batch(&everybody(), None, 10).await.unwrap();
    let (owner, gone) = (clinic.clone(), token.clone());
    let shredded: Result<_, VaultError> = house
        .store
        .commit(move |work| Box::pin(async move { vault::shelf::shred(work, &owner, &gone, NOW).await }))
        .await;
    assert_eq!(shredded, Ok(vault::shelf::Shredded::Done));

    let progress: Result<_, VaultError> =
        house.store.commit(move |work| Box::pin(async move { late.settle(work, NOW).await })).await;

    let progress = progress.unwrap();
    assert_eq!((progress.changed, progress.skipped), (0, 1));
    assert_eq!(number_of(&house, &clinic, &token).await, Err(VaultError::TokenGone));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_does_not_move_to_a_key_that_ended_meanwhile() {
    let (house, _officers) = House::with_officers().await;
    let clinic = tenant("clinic");
    let token = cards(&house, &clinic, 1).await.remove(0);
    new_epoch(&house, &clinic).await;
    let late = house.vault.rotation_batch(&everybody(), None, 10).await.unwrap();
    new_epoch(&house, &clinic).await;
    house.clock.forward(181);
    assert_eq!(destroy_emptied(&house).await[0].epoch, 2, "empty until the late batch settles");

    let progress = house.commit(move |work| Box::pin(async move { late.settle(work, NOW).await })).await;

    assert_eq!(progress.map(|done| (done.changed, done.skipped)), Ok((0, 1)));
    assert_eq!(run(&house, &everybody(), 10).await, (1, 0));
    assert_eq!(number_of(&house, &clinic, &token).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_does_not_open_is_counted_and_stays() {
    let (house, _officers) = House::with_officers().await;
    let clinic = tenant("clinic");
    let tokens = cards(&house, &clinic, 3).await;
    let mut reader = house.store.read().await.unwrap();
    let row = reader
        .fetch_optional("SELECT envelope FROM card WHERE token = $1", vec![tokens[0].as_str().into()])
        .await
        .unwrap();
    drop(reader);
    let mut envelope = row.unwrap().bytes("envelope").unwrap();
    envelope[90] ^= 1;
    house
        .tamper(
            "UPDATE card SET envelope = $1 WHERE token = $2",
            vec![envelope.into(), tokens[0].as_str().into()],
        )
        .await;
    new_epoch(&house, &clinic).await;

    assert_eq!(run(&house, &everybody(), 10).await, (2, 1));
    assert_eq!(house.vault.remaining(&everybody()).await, Ok(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_is_read_moves_by_itself() {
    let (house, _officers) = House::with_officers().await;
    let clinic = tenant("clinic");
    let token = cards(&house, &clinic, 1).await.remove(0);
    new_epoch(&house, &clinic).await;
    assert_eq!(house.vault.remaining(&everybody()).await, Ok(1));

    assert!(house.vault.reveal(&clinic, &token, "ch").await.is_ok());

    for _ in 0..200 {
        if house.vault.remaining(&everybody()).await == Ok(0) {
            assert_eq!(number_of(&house, &clinic, &token).await, Ok(()));
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the card is still under the old key two seconds after it was read");
}

async fn reserved(house: &House, clinic: &Tenant) -> Vec<i64> {
    let mut reader = house.store.read().await.unwrap();
    let rows = reader
        .fetch_all(
            "SELECT uses_reserved FROM data_key WHERE tenant = $1 ORDER BY epoch",
            vec![clinic.as_str().into()],
        )
        .await
        .unwrap();
    rows.iter().map(|row| row.integer("uses_reserved").unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn uses_are_counted_before_they_happen_and_a_crash_counts_too_many() {
    let (house, _officers): (House, Officers) = House::with_limits(small(100, 200)).await;
    let clinic = tenant("clinic");
    cards(&house, &clinic, 3).await;
    assert_eq!(reserved(&house, &clinic).await, [4]);
    cards(&house, &clinic, 2).await;
    assert_eq!(reserved(&house, &clinic).await, [8]);

    // The process dies with three uses left; the next one starts a block of its own.
    let limits = small(100, 200);
    let settings = vault::Settings { data_keys: limits, ..vault::Settings::new(tokens::Realm::Test) };
    let next =
        vault::Vault::with_clock(house.hsm.clone(), house.store.clone(), settings, house.clock.clone());
    let intake = json(&next, &card(VISA, "")).await.unwrap();
    assert!(next.draft_cards(&clinic, intake, CardsShape::One).await.is_ok());
    assert_eq!(reserved(&house, &clinic).await, [12]);
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_seals_never_outrun_the_count() {
    let (house, _officers) = House::with_limits(small(10_000, 20_000)).await;
    let (house, clinic) = (std::sync::Arc::new(house), tenant("clinic"));
    house.data_key(&clinic).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..60 {
        let (house, clinic) = (house.clone(), clinic.clone());
        tasks.spawn(async move { house.token(&clinic, &card(VISA, "")).await.is_ok() });
    }
    assert!(tasks.join_all().await.into_iter().all(|ok| ok));
    assert_eq!(reserved(&house, &clinic).await, [60]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_at_its_soft_limit_is_followed_by_a_new_epoch_without_a_refusal() {
    let (house, _officers) = House::with_limits(small(8, 100)).await;
    let clinic = tenant("clinic");
    let tokens = cards(&house, &clinic, 30).await;

    assert_eq!(reserved(&house, &clinic).await, [8, 8, 8, 8, 8, 8]);
    for token in &tokens {
        assert_eq!(number_of(&house, &clinic, token).await, Ok(()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_at_its_hard_limit_refuses_and_says_that_waiting_helps() {
    let (house, _officers) = House::with_limits(small(1000, 8)).await;
    let clinic = tenant("clinic");
    cards(&house, &clinic, 8).await;

    let refused = house.token(&clinic, &card(VISA, "")).await.err();

    assert_eq!(refused, Some(VaultError::NoDataKey));
    assert_eq!(reserved(&house, &clinic).await, [8]);
    new_epoch(&house, &clinic).await;
    assert!(house.token(&clinic, &card(VISA, "")).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_move_to_new_keys_of_everybody_the_old_kek_can_go() {
    let (house, officers) = House::with_officers().await;
    let (clinic, old) = (tenant("clinic"), KeyLabel::KEK_CARD.at(hsm::KeyVersion::FIRST));
    let tokens = cards(&house, &clinic, 3).await;
    officers.rotate(&KeyLabel::KEK_CARD);
    house.vault.hsm_keys_changed().await;

    // No rewrap: the way to another device, across which a data key cannot be resealed.
    new_epoch(&house, &clinic).await;
    run(&house, &everybody(), 10).await;
    house.clock.forward(181);
    assert_eq!(destroy_emptied(&house).await[0].kek_version, 1);
    officers.destroy(&old);

    for token in &tokens {
        assert_eq!(number_of(&house, &clinic, token).await, Ok(()));
    }
}
