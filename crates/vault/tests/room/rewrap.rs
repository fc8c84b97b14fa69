//! A new KEK: every data key moves to it, once, whoever works on it and wherever that stops.

use crate::support::{House, NOW, card, tenant};
use hsm::{KeyLabel, KeyRef, KeyVersion};
use tokens::{Tenant, Token};
use vault::VaultError;
use vault::rotation::{Progress, Task};

const VISA: &str = "4242424242424242";

/// Reads and settles one batch.
pub(crate) async fn step(house: &House, task: &Task, cursor: Option<&str>, limit: usize) -> Progress {
    let batch = house.vault.rotation_batch(task, cursor, limit).await.unwrap();
    let settled: Result<_, VaultError> =
        house.store.commit(move |work| Box::pin(async move { batch.settle(work, NOW).await })).await;
    settled.unwrap()
}

/// Works until the end of the table; gives what was changed and what was broken.
pub(crate) async fn run(house: &House, task: &Task, limit: usize) -> (u64, u64) {
    let (mut changed, mut broken, mut cursor) = (0, 0, None);
    loop {
        let progress = step(house, task, cursor.as_deref(), limit).await;
        changed += progress.changed;
        broken += progress.broken;
        if progress.last {
            return (changed, broken);
        }
        cursor = progress.cursor;
    }
}

fn first(label: KeyLabel) -> KeyRef {
    label.at(KeyVersion::FIRST)
}

async fn tenants_with_cards(house: &House, count: u64) -> Vec<(Tenant, Token)> {
    let mut cards = vec![];
    for number in 0..count {
        let clinic = tenant(&format!("clinic-{number}"));
        let token = house.token(&clinic, &card(VISA, "")).await.unwrap().token;
        cards.push((clinic, token));
    }
    cards
}

async fn all_open(house: &House, cards: &[(Tenant, Token)]) {
    let fresh = house.reopened();
    for (clinic, token) in cards {
        let revealed = fresh.reveal(clinic, token, "ch").await.unwrap();
        assert!(revealed.wire().starts_with(b"card%5Bnumber%5D=4242424242424242&"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p12_two_that_rewrap_at_once_do_the_work_once_and_every_card_opens() {
    let (house, officers) = House::with_officers().await;
    let cards = tenants_with_cards(&house, 40).await;
    let task = Task::Rewrap { to: officers.rotate(&KeyLabel::KEK_CARD) };
    assert_eq!(house.vault.remaining(&task).await, Ok(40));

    let (one, two) = tokio::join!(run(&house, &task, 7), run(&house, &task, 5));

    assert_eq!((one.0 + two.0, one.1 + two.1), (40, 0));
    assert_eq!(house.vault.remaining(&task).await, Ok(0));
    assert_eq!(run(&house, &task, 500).await, (0, 0));
    officers.destroy(&first(KeyLabel::KEK_CARD));
    all_open(&house, &cards).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p12_a_rewrap_that_is_killed_at_every_batch_goes_on_where_it_was() {
    let (house, officers) = House::with_officers().await;
    let cards = tenants_with_cards(&house, 12).await;
    let task = Task::Rewrap { to: officers.rotate(&KeyLabel::KEK_CARD) };

    let (mut cursor, mut changed) = (None::<String>, 0);
    while house.vault.remaining(&task).await != Ok(0) {
        // Killed after the HSM's answer and before the commit: what was resealed is worth nothing, and nothing is
        // lost.
        let killed = house.vault.rotation_batch(&task, cursor.as_deref(), 5).await.unwrap();
        assert!(!killed.is_empty());
        drop(killed);
        // Killed after the commit, before the cursor was noted: done again from where the last one was noted, the
        // rows that are done are not met again.
        changed += step(&house, &task, cursor.as_deref(), 5).await.changed;
        let again = step(&house, &task, cursor.as_deref(), 2).await;
        changed += again.changed;
        cursor = again.cursor;
    }

    assert_eq!(changed, 12);
    officers.destroy(&first(KeyLabel::KEK_CARD));
    all_open(&house, &cards).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_changed_since_it_was_read_is_left_alone() {
    let (house, officers) = House::with_officers().await;
    let cards = tenants_with_cards(&house, 1).await;
    let task = Task::Rewrap { to: officers.rotate(&KeyLabel::KEK_CARD) };
    let late = house.vault.rotation_batch(&task, None, 10).await.unwrap();
    let later = Task::Rewrap { to: officers.rotate(&KeyLabel::KEK_CARD) };

    assert_eq!(run(&house, &later, 10).await, (1, 0));
    let progress: Result<_, VaultError> =
        house.store.commit(move |work| Box::pin(async move { late.settle(work, NOW).await })).await;

    let progress = progress.unwrap();
    assert_eq!((progress.changed, progress.skipped), (0, 1));
    assert_eq!(house.vault.remaining(&later).await, Ok(0));
    all_open(&house, &cards).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_row_is_counted_as_broken_and_stops_nobody_else() {
    let (house, officers) = House::with_officers().await;
    let cards = tenants_with_cards(&house, 6).await;
    house.tamper("UPDATE data_key SET epoch = 9 WHERE tenant = 'clinic-3'", vec![]).await;
    let task = Task::Rewrap { to: officers.rotate(&KeyLabel::KEK_CARD) };

    assert_eq!(run(&house, &task, 2).await, (5, 1));

    assert_eq!(house.vault.remaining(&task).await, Ok(1), "the old version must not be destroyed");
    house.tamper("UPDATE data_key SET epoch = 1 WHERE tenant = 'clinic-3'", vec![]).await;
    assert_eq!(run(&house, &task, 2).await, (1, 0));
    all_open(&house, &cards).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_whose_kek_is_gone_and_a_target_that_may_not_seal_are_told_apart() {
    let (house, officers) = House::with_officers().await;
    let lost = tenants_with_cards(&house, 1).await;
    let second = officers.rotate(&KeyLabel::KEK_CARD);
    house.vault.hsm_keys_changed().await;
    let clinic = tenant("later");
    let token = house.token(&clinic, &card(VISA, "")).await.unwrap().token;
    let third = officers.rotate(&KeyLabel::KEK_CARD);
    officers.destroy(&first(KeyLabel::KEK_CARD));

    let refused = house.vault.rotation_batch(&Task::Rewrap { to: second }, None, 10).await.err();
    assert_eq!(refused, Some(VaultError::HsmRefused));
    let task = Task::Rewrap { to: third };
    assert_eq!(run(&house, &task, 10).await, (1, 1));
    assert_eq!(house.vault.remaining(&task).await, Ok(1));

    all_open(&house, &[(clinic.clone(), token)]).await;
    for (owner, gone) in &lost {
        assert_eq!(house.reopened().reveal(owner, gone, "ch").await.err(), Some(VaultError::HsmRefused));
        house.tamper("UPDATE data_key SET status = 'deactivated' WHERE tenant <> 'later'", vec![]).await;
        assert_eq!(run(&house, &Task::Reencrypt { tenant: None }, 10).await, (0, 1), "{owner}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_was_not_made_here_is_refused() {
    let (house, officers) = House::with_officers().await;
    let to = officers.rotate(&KeyLabel::KEK_CARD);
    for (task, cursor) in [
        (Task::Rewrap { to: to.clone() }, "x'"),
        (Task::Rewrap { to: to.clone() }, "00/00"),
        (Task::Refingerprint { to }, "one/clinic/tok"),
        (Task::Reencrypt { tenant: None }, "zz/clinic/tok"),
    ] {
        assert_eq!(
            house.vault.rotation_batch(&task, Some(cursor), 5).await.err(),
            Some(VaultError::Integrity)
        );
    }
}
