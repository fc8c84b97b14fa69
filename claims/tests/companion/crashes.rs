//! Killed and drained: what was answered is there, what was not is finished by a repeat, once.

use crate::house::House;
use crate::stub::Act;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_charge_and_posting_a_retry_posts_once() {
    let mut house = House::open().await;
    for round in 0..3 {
        house.stub.script(&[Act::ChargeSlowly(Duration::from_secs(2))]);
        let body = house.payment("100.00");
        let key = format!("round-{round}");

        // The stub has charged and is about to say so when the companion dies.
        let before = house.stub.charged();
        let cut = house.post("/portal/payments").header("idempotency-key", &key).json(&body).send();
        let cut = tokio::spawn(cut);
        while house.stub.charged() == before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        house.kill();
        assert!(cut.await.unwrap().is_err());
        house.start();
        let owed_before = house.balance().await;
        let (status, receipt) = house.pay(&key, &body).await;
        let again = house.pay(&key, &body).await;

        assert_eq!(status, 201, "{receipt}");
        assert_eq!(again, (201, receipt));
        assert_ne!(house.balance().await, owed_before);
        assert_eq!(house.stub.charged(), before + 1);
    }
    assert_eq!(house.balance().await, "47900.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charge_that_nobody_comes_back_for_is_posted_once_and_one_never_made_is_not_made() {
    let mut house = House::open().await;
    house.stub.script(&[Act::Unavailable, Act::ChargeAndCut]);
    let (never, lost) = (house.payment("5.00"), house.payment("100.00"));
    assert_eq!(house.pay("never-charged", &never).await.0, 503);
    assert_eq!(house.pay("lost-answer", &lost).await.0, 503);
    assert_eq!(house.balance().await, "48200.00");
    house.kill();
    house.start();

    for _ in 0..60 {
        if house.balance().await != "48200.00" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    assert_eq!(house.balance().await, "48100.00");
    assert_eq!(house.pay("lost-answer", &lost).await.0, 201);
    assert_eq!((house.balance().await.as_str(), house.stub.charged()), ("48100.00", 1));
    assert_eq!(house.pay("never-charged", &never).await.0, 201);
    assert_eq!((house.balance().await.as_str(), house.stub.charged()), ("48095.00", 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answered_payment_survives_a_kill() {
    let mut house = House::open().await;
    for n in 0..5 {
        assert_eq!(house.pay(&format!("k{n}"), &house.payment("10.00")).await.0, 201);
        house.kill();
        house.start();
    }

    assert_eq!(house.balance().await, "48150.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_hangs_up_leaves_no_charge_unposted() {
    let house = House::open().await;
    house.stub.script(&[Act::ChargeSlowly(Duration::from_millis(600))]);
    let body = house.payment("100.00");

    let sent = house.post("/portal/payments").json(&body).timeout(Duration::from_millis(250)).send().await;
    assert!(sent.is_err());
    tokio::time::sleep(Duration::from_millis(900)).await;

    assert_eq!(house.balance().await, "48100.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_a_payment_under_way_end_and_answers_it() {
    let mut house = House::open().await;
    house.stub.script(&[Act::ChargeSlowly(Duration::from_millis(800))]);
    let body = house.payment("100.00");
    let sent = tokio::spawn(house.post("/portal/payments").json(&body).send());
    while house.stub.charged() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    let code = tokio::task::block_in_place(|| house.terminate());

    assert_eq!(code, 0);
    assert_eq!(sent.await.unwrap().unwrap().status(), 201);
    house.start();
    assert_eq!(house.balance().await, "48100.00");
}
