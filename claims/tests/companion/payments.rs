//! The main job: a payment by token, in three formats, posted once whatever is retried or races.

use crate::house::{CHARGE_KEY, House, read, text, token};
use crate::stub::Act;
use serde_json::json;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_posts_balanced_entries() {
    let house = House::open().await;
    let body = house.payment("125.40");

    let (status, receipt) = house.pay("one", &body).await;

    assert_eq!(status, 201, "{receipt}");
    assert!(text(&receipt["id"]).starts_with("pay_"));
    assert!(text(&receipt["charge"]).starts_with("ch_"));
    assert_eq!(receipt["status"], "succeeded");
    assert_eq!(receipt["amount"], "125.40");
    assert_eq!(receipt["currency"], "USD");
    assert_eq!(receipt["card"], json!({"brand": "visa", "last4": "4242"}));
    assert_eq!(receipt["balance"], "48074.60");
    assert_eq!(house.balance().await, "48074.60");

    let (key, charged) = house.stub.seen().remove(0);
    assert_eq!(key, text(&receipt["id"]));
    assert_eq!(charged["token"], body["card"]["number"]);
    assert_eq!(charged["amount"], "125.40");
    assert_eq!(charged["reference"], receipt["id"]);
    assert_eq!(house.stub.credentials(), [format!("Bearer {CHARGE_KEY}")]);

    let database = claims::database::Database::open(&house.folder.path().join("claims.db")).await.unwrap();
    let mut from = database.read().await.unwrap();
    let statement = claims::ids::StatementId::parse(&house.statement).unwrap();
    let mut nets = Vec::new();
    for account in claims::ledger::LedgerAccount::ALL {
        nets.push(claims::ledger::net(&mut from, &statement, account).await.unwrap());
    }
    assert_eq!(nets, [4_807_460, 12_540, -4_820_000, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_payment_is_taken_as_json_form_and_multipart() {
    let house = House::open().await;
    let token = token();
    let fields = [
        ("account", house.account.as_str()),
        ("statement", house.statement.as_str()),
        ("amount", "10.00"),
        ("currency", "USD"),
        ("note", "for my daughter's visit"),
        ("card[number]", token.as_str()),
        ("card[brand]", "visa"),
        ("card[last4]", "4242"),
        ("card[exp_month]", "12"),
        ("card[exp_year]", "2030"),
    ];
    let mut multipart = reqwest::multipart::Form::new();
    for (name, value) in fields {
        multipart = multipart.text(name, value.to_owned());
    }

    let (json, _) = house.pay("json", &house.payment("10.00")).await;
    let form = read(house.post("/portal/payments").form(&fields).send().await.unwrap()).await;
    let parts = read(house.post("/portal/payments").multipart(multipart).send().await.unwrap()).await;

    assert_eq!(json, 201);
    assert_eq!(form.0, 201, "{}", form.1);
    assert_eq!(parts.0, 201, "{}", parts.1);
    assert_eq!(house.balance().await, "48170.00");
    assert!(house.holds("for my daughter's visit"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_gets_the_stored_answer_and_charges_nothing() {
    let house = House::open().await;
    let body = house.payment("20.00");

    let first = house.pay("same", &body).await;
    let sent =
        house.post("/portal/payments").header("idempotency-key", "same").json(&body).send().await.unwrap();
    let replayed = sent.headers().get("idempotent-replayed").cloned();
    let second = read(sent).await;
    let mut other = body.clone();
    other["amount"] = json!("21.00");
    let reused = house.pay("same", &other).await;

    assert_eq!(first, second);
    assert_eq!(replayed.unwrap(), "true");
    assert_eq!((reused.0, text(&reused.1["code"])), (422, "idempotency_key_reused".into()));
    assert_eq!(house.stub.charged(), 1);
    assert_eq!(house.balance().await, "48180.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decline_is_402_with_the_processors_reason_and_frees_the_balance() {
    let house = House::open().await;
    house.stub.script(&[Act::Decline]);
    let body = house.payment("48200.00");

    let declined = house.pay("first-card", &body).await;
    let again = house.pay("first-card", &body).await;
    let paid = house.pay("second-card", &house.payment("48200.00")).await;
    let more = house.pay("third", &house.payment("0.01")).await;

    assert_eq!((declined.0, text(&declined.1["code"])), (402, "insufficient_funds".into()));
    assert!(text(&declined.1["charge"]).starts_with("ch_"));
    assert_eq!(declined, again);
    assert_eq!(paid.0, 201);
    assert_eq!(paid.1["balance"], "0.00");
    assert_eq!((more.0, text(&more.1["code"])), (422, "statement_paid".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_the_gateway_refuses_ends_the_payment_with_its_code() {
    let house = House::open().await;
    house.stub.script(&[Act::RefuseToken]);

    let refused = house.pay("gone", &house.payment("48200.00")).await;
    let paid = house.pay("next", &house.payment("48200.00")).await;

    assert_eq!((refused.0, text(&refused.1["code"])), (422, "token_unknown".into()));
    assert_eq!(paid.0, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_away_gateway_is_503_and_a_repeat_pays_once() {
    let house = House::open().await;
    house.stub.script(&[Act::Unavailable]);
    let body = house.payment("30.00");

    let sent =
        house.post("/portal/payments").header("idempotency-key", "k").json(&body).send().await.unwrap();
    let retry_after = sent.headers().get("retry-after").cloned();
    let away = read(sent).await;
    let back = house.pay("k", &body).await;

    assert_eq!((away.0, text(&away.1["code"])), (503, "gateway_unavailable".into()));
    assert_eq!(retry_after.unwrap(), "1");
    assert_eq!(back.0, 201);
    assert_eq!(house.stub.charged(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_a_cut_charges_once() {
    let house = House::open().await;
    // The client may itself repeat a request on a connection that was cut, so the stub cuts until it is told not to.
    house.stub.script(&[Act::ChargeAndCut; 4]);
    let body = house.payment("40.00");

    let mut answers = vec![house.pay("k", &body).await];
    while answers.last().unwrap().0 != 201 && answers.len() < 8 {
        answers.push(house.pay("k", &body).await);
    }

    assert_eq!(answers.first().unwrap().0, 503);
    assert_eq!(answers.last().unwrap().0, 201);
    assert_eq!(house.stub.charged(), 1);
    let mut keys: Vec<String> = house.stub.seen().into_iter().map(|(key, _)| key).collect();
    keys.dedup();
    assert_eq!(keys.len(), 1);
    assert_eq!(house.balance().await, "48160.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_concurrent_twin_is_told_to_wait() {
    let house = House::open().await;
    house.stub.script(&[Act::ChargeSlowly(Duration::from_millis(700))]);
    let body = house.payment("50.00");

    let second = async {
        tokio::time::sleep(Duration::from_millis(250)).await;
        house.pay("twin", &body).await
    };
    let (first, second) = tokio::join!(house.pay("twin", &body), second);

    assert_eq!(first.0, 201);
    assert_eq!((second.0, text(&second.1["code"])), (409, "payment_in_progress".into()));
    assert_eq!(house.stub.charged(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_payments_never_exceed_the_balance() {
    let house = House::open().await;
    house.stub.script(&[Act::ChargeSlowly(Duration::from_millis(300)); 10]);
    let body = house.payment("10000.00");
    let keys: Vec<String> = (0..10).map(|n| format!("racer-{n}")).collect();

    let mut racers = Vec::new();
    for key in &keys {
        racers.push(house.pay(key, &body));
    }
    let answers = futures(racers).await;

    let paid = answers.iter().filter(|(status, _)| *status == 201).count();
    let refused = answers.iter().filter(|(_, body)| body["code"] == "amount_exceeds_balance").count();
    assert_eq!((paid, refused), (4, 6));
    assert_eq!(house.stub.charged(), 4);
    assert_eq!(house.balance().await, "8200.00");
}

/// Runs all at once on this task.
async fn futures<F: Future>(all: Vec<F>) -> Vec<F::Output> {
    let mut all: Vec<_> = all.into_iter().map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|context| {
        for (future, output) in &mut all {
            if output.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *output = Some(value);
            }
        }
        if all.iter().all(|(_, output)| output.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    all.into_iter().filter_map(|(_, output)| output).collect()
}
