//! Opened data keys in memory: asked for once, for a time, given up when the device's keys change, and what serves
//! while the device is away.

use crate::support::{House, card, tenant};
use hsm::KeyLabel;
use std::sync::Arc;
use std::time::Duration;
use vault::{DataKeyLimits, Purge, VaultError};

const VISA: &str = "4242424242424242";

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_readers_that_miss_together_ask_the_device_once() {
    let (house, _officers) = House::with_officers().await;
    let clinic = tenant("clinic");
    let token = house.token(&clinic, &card(VISA, "")).await.unwrap().token;
    house.vault.purge_data_keys(&Purge::Everything);
    let before = house.vault.cache_state();
    let house = Arc::new(house);

    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (house, clinic, token) = (house.clone(), clinic.clone(), token.clone());
        tasks.spawn(async move { house.vault.reveal(&clinic, &token, "ch").await.is_ok() });
    }
    assert!(tasks.join_all().await.into_iter().all(|ok| ok));

    let after = house.vault.cache_state();
    assert_eq!((after.misses - before.misses, after.hits - before.hits, after.entries), (1, 99, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_keys_status_reaches_those_who_only_read() {
    let (house, officers) = House::with_officers().await;
    let clinic = tenant("clinic");
    let token = house.token(&clinic, &card(VISA, "")).await.unwrap().token;
    assert!(house.vault.reveal(&clinic, &token, "ch").await.is_ok());
    let purges = house.vault.cache_state().purges;
    officers.rotate(&KeyLabel::KEK_CARD);

    house.clock.forward(31);

    for _ in 0..200 {
        assert!(house.vault.reveal(&clinic, &token, "ch").await.is_ok());
        if house.vault.cache_state().purges > purges {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the opened keys are still in memory two seconds after the list was due");
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_while_the_device_is_away_opened_keys_serve_charges_until_their_time_is_over() {
    let mut house = House::open().await;
    let clinic = tenant("clinic");
    let token = house.token(&clinic, &card(VISA, "")).await.unwrap().token;
    assert_eq!(house.vault.cache_state().grace_since_us, None);

    house.stop_hsm();
    assert!(house.vault.reveal(&clinic, &token, "ch").await.is_ok());
    assert_eq!(house.vault.data_key_wanted(&tenant("new")).await.err(), Some(VaultError::HsmUnavailable));
    assert_eq!(house.vault.new_epoch(&clinic).await.err(), Some(VaultError::HsmUnavailable));
    assert!(house.vault.cache_state().grace_since_us.is_some(), "and readiness can say so");
    house.clock.forward(239);
    assert!(house.vault.reveal(&clinic, &token, "ch").await.is_ok());
    house.clock.forward(122);
    assert_eq!(house.vault.reveal(&clinic, &token, "ch").await.err(), Some(VaultError::HsmUnavailable));
    assert_eq!(house.vault.cache_state().entries, 0);

    house.start_hsm();
    for _ in 0..100 {
        if house.vault.reveal(&clinic, &token, "ch").await.is_ok() {
            assert_eq!(house.vault.cache_state().grace_since_us, None);
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not back two seconds after the device was");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opened_key_is_given_out_so_often_and_then_asked_for_again() {
    let limits = DataKeyLimits { uses: 3, ..DataKeyLimits::default() };
    let (house, _officers) = House::with_limits(limits).await;
    let clinic = tenant("clinic");
    let token = house.token(&clinic, &card(VISA, "")).await.unwrap().token;
    for _ in 0..8 {
        assert!(house.vault.reveal(&clinic, &token, "ch").await.is_ok());
    }
    let state = house.vault.cache_state();
    assert_eq!((state.misses, state.hits), (3, 6), "one seal and eight reads, three a key");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_keys_lie_open_than_the_settings_say() {
    let limits = DataKeyLimits { entries: 3, ..DataKeyLimits::default() };
    let (house, _officers) = House::with_limits(limits).await;
    for number in 0..8 {
        house.token(&tenant(&format!("clinic-{number}")), &card(VISA, "")).await.unwrap();
        assert!(house.vault.cache_state().entries <= 3);
    }
}
