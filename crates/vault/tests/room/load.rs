//! Rotations of every kind, at once and under load: no request fails, no card is lost, nothing is left behind.

use crate::rewrap::run;
use crate::support::meanwhile::{At, Meanwhile};
use crate::support::{House, NOW, card, tenant};
use hsm::{KeyLabel, KeyVersion};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokens::{Tenant, Token};
use vault::rotation::Task;
use vault::{DataKeyLimits, Purge};

const NUMBERS: [&str; 5] =
    ["4242424242424242", "5555555555554444", "4000056655665556", "4111111111111111", "2223003122003222"];
const CLINICS: [&str; 3] = ["north", "south", "west"];

/// Tokenizes and charges until told to stop; every acknowledged card with its number.
async fn patient(
    house: Arc<House>,
    seed: usize,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
) -> Vec<(Tenant, Token, usize)> {
    let mut cards = vec![];
    for turn in seed.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (clinic, number) = (tenant(CLINICS[turn % 3]), turn % NUMBERS.len());
        let body = card(NUMBERS[number], if turn % 2 == 0 { r#","reuse":true"# } else { "" });
        let token = house.token(&clinic, &body).await.expect("no tokenization fails").token;
        let revealed = house.vault.reveal(&clinic, &token, "ch").await.expect("no charge fails");
        assert!(revealed.wire().windows(16).any(|window| window == NUMBERS[number].as_bytes()));
        cards.push((clinic, token, number));
        done.fetch_add(1, Ordering::Relaxed);
    }
    cards
}

/// Nothing is remembered here, so every read goes the whole way: card row, data-key row, device.
#[tokio::test(flavor = "multi_thread")]
async fn p12_a_reader_never_meets_the_gap_between_an_old_key_and_a_new_one() {
    let limits = DataKeyLimits { uses: 1, quiet: Duration::ZERO, ..DataKeyLimits::default() };
    let (house, officers) = House::with_limits(limits).await;
    let clinic = tenant("north");
    let mut tokens = vec![];
    for number in NUMBERS {
        tokens.push((house.token(&clinic, &card(number, "")).await.unwrap().token, number));
    }
    let (house, stop) = (Arc::new(house), Arc::new(AtomicBool::new(false)));
    let mut readers = tokio::task::JoinSet::new();
    for seed in 0..4 {
        let (house, clinic, stop, tokens) = (house.clone(), clinic.clone(), stop.clone(), tokens.clone());
        readers.spawn(async move {
            for turn in seed.. {
                if stop.load(Ordering::Relaxed) {
                    return turn - seed;
                }
                let (token, number) = &tokens[turn % tokens.len()];
                let revealed = house.vault.reveal(&clinic, token, "ch").await.expect("no charge fails");
                assert!(revealed.wire().windows(16).any(|window| window == number.as_bytes()));
            }
            0
        });
    }
    let mut kek = KeyLabel::KEK_CARD.at(KeyVersion::FIRST);
    for _ in 0..25 {
        let draft = house.vault.new_epoch(&clinic).await.unwrap();
        house.commit(move |work| Box::pin(async move { draft.settle(work, NOW).await })).await.unwrap();
        house.vault.purge_data_keys(&Purge::Everything);
        finished(&house, &Task::Reencrypt { tenant: None }).await;
        let vault = house.vault.clone();
        let ended = house
            .commit(move |work| Box::pin(async move { vault.destroy_emptied(work, None, 9, NOW + 1).await }))
            .await;
        assert_eq!(ended.unwrap().len(), 1);
        let to = officers.rotate(&KeyLabel::KEK_CARD);
        house.vault.hsm_keys_changed().await;
        finished(&house, &Task::Rewrap { to: to.clone() }).await;
        officers.destroy(&std::mem::replace(&mut kek, to));
    }
    stop.store(true, Ordering::Relaxed);
    assert!(readers.join_all().await.into_iter().sum::<usize>() > 100);
}

/// As above, at the worst instant: the card's row is read, and before its key is, the card moves and the key ends.
#[tokio::test(flavor = "multi_thread")]
async fn p12_a_card_that_moved_after_its_row_was_read_is_not_called_gone() {
    let limits = DataKeyLimits { quiet: Duration::ZERO, ..DataKeyLimits::default() };
    let (house, _officers) = House::with_limits(limits).await;
    let (house, clinic) = (Arc::new(house), tenant("north"));
    let token = house.token(&clinic, &card(NUMBERS[0], "")).await.unwrap().token;
    let meanwhile = Meanwhile::default();
    let clock = Arc::new(At(house.clock.clone(), meanwhile.clone()));
    let settings = vault::Settings::new(tokens::Realm::Test);
    let reader = vault::Vault::with_clock(house.hsm.clone(), house.store.clone(), settings, clock);
    let (runtime, other, whose) = (tokio::runtime::Handle::current(), house.clone(), clinic.clone());
    meanwhile.arm(move || {
        runtime.block_on(async move {
            let draft = other.vault.new_epoch(&whose).await.unwrap();
            other.commit(move |work| Box::pin(async move { draft.settle(work, NOW).await })).await.unwrap();
            finished(&other, &Task::Reencrypt { tenant: None }).await;
            let vault = other.vault.clone();
            let ended = other
                .commit(move |work| Box::pin(async move { vault.destroy_emptied(work, None, 9, NOW).await }))
                .await;
            assert_eq!(ended.unwrap().len(), 1);
        });
    });

    assert!(reader.reveal(&clinic, &token, "ch").await.is_ok());
    assert!(!meanwhile.is_armed());
}

/// The same for a data key's row: it is rewrapped and the old KEK destroyed before the device is asked.
#[tokio::test(flavor = "multi_thread")]
async fn p12_a_data_key_that_moved_after_its_row_was_read_is_opened_where_it_is() {
    let (house, officers) = House::with_officers().await;
    let (house, clinic) = (Arc::new(house), tenant("north"));
    let token = house.token(&clinic, &card(NUMBERS[0], "")).await.unwrap().token;
    let meanwhile = Meanwhile::default();
    let settings = vault::Settings::new(tokens::Realm::Test);
    let hsm = officers.queue_with(&meanwhile);
    let reader = vault::Vault::with_clock(hsm, house.store.clone(), settings, house.clock.clone());
    let (runtime, other) = (tokio::runtime::Handle::current(), house.clone());
    meanwhile.arm(move || {
        let task = Task::Rewrap { to: officers.rotate(&KeyLabel::KEK_CARD) };
        runtime.block_on(finished(&other, &task));
        officers.destroy(&KeyLabel::KEK_CARD.at(KeyVersion::FIRST));
    });

    assert!(reader.reveal(&clinic, &token, "ch").await.is_ok());
    assert!(!meanwhile.is_armed());
}

async fn finished(house: &House, task: &Task) {
    while house.vault.remaining(task).await != Ok(0) {
        assert_eq!(run(house, task, 20).await.1, 0, "{task:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p12_rotations_of_every_kind_under_load_fail_no_request() {
    let (house, officers) = House::with_officers().await;
    let (house, stop, done) =
        (Arc::new(house), Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut patients = tokio::task::JoinSet::new();
    for seed in 0..6 {
        patients.spawn(patient(house.clone(), seed, stop.clone(), done.clone()));
    }
    let mut rotations = 0;
    while done.load(Ordering::Relaxed) < 300 || rotations < 3 {
        let mut kinds = vec![Task::Rewrap { to: officers.rotate(&KeyLabel::KEK_CARD) }];
        kinds.push(Task::Refingerprint { to: officers.rotate(&KeyLabel::MAC_PAN) });
        house.vault.hsm_keys_changed().await;
        for clinic in CLINICS.map(tenant) {
            let draft = house.vault.new_epoch(&clinic).await.unwrap();
            house.commit(move |work| Box::pin(async move { draft.settle(work, NOW).await })).await.unwrap();
            house.vault.purge_data_keys(&Purge::Tenant(clinic.clone()));
            kinds.push(Task::Reencrypt { tenant: Some(clinic) });
        }
        for task in &kinds {
            finished(&house, task).await;
        }
        rotations += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let cards: Vec<_> = patients.join_all().await.into_iter().flatten().collect();
    house.clock.forward(181);
    let vault = house.vault.clone();
    let emptied = house
        .commit(move |work| {
            Box::pin(async move { vault.destroy_emptied(work, None, 1000, NOW + 181_000_000).await })
        })
        .await
        .unwrap();

    assert!(cards.len() >= 300 && emptied.len() >= 3 * (rotations - 1), "{} {}", cards.len(), emptied.len());
    let fresh = house.reopened();
    let mut known: HashMap<(Tenant, usize), Vec<Token>> = HashMap::new();
    for (clinic, token, number) in cards {
        let revealed = fresh.reveal(&clinic, &token, "ch").await.unwrap();
        assert!(revealed.wire().windows(16).any(|window| window == NUMBERS[number].as_bytes()));
        known.entry((clinic, number)).or_default().push(token);
    }
    let mut reader = house.store.read().await.unwrap();
    let row = reader
        .fetch_optional(
            "SELECT COUNT(*) AS n FROM card WHERE reusable = 1 AND fingerprint IS NOT NULL",
            vec![],
        )
        .await
        .unwrap();
    let most = i64::try_from(CLINICS.len() * NUMBERS.len()).unwrap();
    assert!(row.unwrap().integer("n").unwrap() <= most, "one reusable token a card and clinic");
}
