//! Refund notices: posted once, never more than was paid, and the patient owes again.

use crate::house::{House, read, text};
use serde_json::{Value, json};
use tokens::{ChargeId, RefundId};

async fn notify(house: &House, notice: &Value) -> (u16, Value) {
    read(house.post("/v1/refund-notices").json(notice).send().await.unwrap()).await
}

fn notice(charge: &str, amount: &str) -> Value {
    json!({
        "refund": RefundId::mint().unwrap().as_str(),
        "charge": charge,
        "amount": amount,
        "currency": "USD",
        "reason": "service_not_rendered",
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_reopens_the_balance_and_is_posted_once() {
    let house = House::open().await;
    let (_, receipt) = house.pay("whole", &house.payment("48200.00")).await;
    let charge = text(&receipt["charge"]);
    let part = notice(&charge, "200.00");

    let first = notify(&house, &part).await;
    let second = notify(&house, &part).await;
    let mut changed = part.clone();
    changed["amount"] = json!("201.00");
    let changed = notify(&house, &changed).await;

    assert_eq!(first.0, 201, "{}", first.1);
    assert_eq!(first.1["balance"], "200.00");
    assert_eq!(first, second);
    assert_eq!((changed.0, text(&changed.1["code"])), (422, "idempotency_key_reused".into()));
    assert_eq!(house.balance().await, "200.00");
    // Open again: it can be paid again.
    assert_eq!(house.pay("rest", &house.payment("200.00")).await.0, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn refunds_never_exceed_the_payment() {
    let house = House::open().await;
    let (_, receipt) = house.pay("k", &house.payment("100.00")).await;
    let charge = text(&receipt["charge"]);

    assert_eq!(notify(&house, &notice(&charge, "60.00")).await.0, 201);
    let over = notify(&house, &notice(&charge, "40.01")).await;
    let unknown = notify(&house, &notice(ChargeId::mint().unwrap().as_str(), "1.00")).await;
    assert_eq!(notify(&house, &notice(&charge, "40.00")).await.0, 201);

    assert_eq!((over.0, text(&over.1["code"])), (422, "refund_exceeds_payment".into()));
    assert_eq!((unknown.0, text(&unknown.1["code"])), (404, "charge_unknown".into()));
    assert_eq!(house.balance().await, "48200.00");
}
