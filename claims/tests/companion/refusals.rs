//! What the companion refuses: card data above all, then everything that is not exactly a payment.

use crate::house::{GATEWAY_TOKEN, House, READER_TOKEN, read, text};
use serde_json::{Value, json};

const PAN: &str = "4242424242424242";

#[tokio::test(flavor = "multi_thread")]
async fn a_pan_in_any_field_is_refused_and_never_stored() {
    let house = House::open().await;
    let mut bodies = Vec::new();
    for field in ["account", "statement", "amount", "currency", "note", "unheard_of"] {
        let mut body = house.payment("10.00");
        body[field] = json!(PAN);
        bodies.push(body);
    }
    for field in ["number", "brand", "last4", "exp_month", "exp_year", "holder"] {
        let mut body = house.payment("10.00");
        body["card"][field] = json!(PAN);
        bodies.push(body);
    }
    let mut body = house.payment("10.00");
    body["note"] = json!("call me, card is 4242 4242 4242 4242 thanks");
    bodies.push(body);
    let mut body = house.payment("10.00");
    body[PAN] = json!("as a name");
    bodies.push(body);

    for body in &bodies {
        let (status, problem) = house.pay("k", body).await;
        assert_eq!((status, text(&problem["code"])), (422, "pan_seen".into()), "{body}");
        assert!(!problem.to_string().contains("4242"));
    }
    for (header, path) in [
        (Some(("idempotency-key", PAN)), "/portal/payments"),
        (Some(("x-anything", PAN)), "/portal/payments"),
        (None, "/portal/payments?card=4242424242424242"),
    ] {
        let mut request = house.post(path).json(&house.payment("10.00"));
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let (status, problem) = read(request.send().await.unwrap()).await;
        assert_eq!((status, text(&problem["code"])), (422, "pan_seen".into()), "{path}");
    }

    assert!(house.stub.seen().is_empty());
    assert!(!house.holds(PAN));
    assert!(!house.holds("4242 4242"));
    // The search itself works, and the alarm was given.
    assert!(house.holds("Dana Reyes"));
    assert!(house.holds("card_data_reached_the_companion"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_payment_is_refused_by_name() {
    let house = House::open().await;
    let change = |path: &[&str], value: Value| {
        let mut body = house.payment("10.00");
        let mut place = &mut body;
        for step in path {
            place = &mut place[*step];
        }
        *place = value;
        body
    };
    let mut without = house.payment("10.00");
    without.as_object_mut().unwrap().remove("currency");

    for (body, status, code) in [
        (change(&["card", "number"], json!("tok_test_abc")), 422, "not_a_token"),
        (change(&["card", "number"], json!("four two four two")), 422, "not_a_token"),
        (change(&["card", "cvc"], json!("123")), 422, "cvc_seen"),
        (change(&["card", "shoe_size"], json!("9")), 422, "card_field_unexpected"),
        (change(&["card", "last4"], json!("42")), 422, "field_invalid"),
        (change(&["amount"], json!(10)), 422, "field_invalid"),
        (change(&["amount"], json!("0.00")), 422, "field_invalid"),
        (change(&["amount"], json!("-5.00")), 422, "field_invalid"),
        (change(&["amount"], json!("1.005")), 422, "field_invalid"),
        (change(&["amount"], json!("48200.01")), 422, "amount_exceeds_balance"),
        (change(&["currency"], json!("EUR")), 422, "currency_differs"),
        (change(&["currency"], json!("XXX")), 422, "field_invalid"),
        (change(&["note"], json!("a".repeat(501))), 422, "field_invalid"),
        (change(&["account"], json!("acct_nobody")), 404, "account_unknown"),
        (change(&["statement"], json!("stmt_nobody")), 404, "statement_unknown"),
        (without, 422, "field_missing"),
    ] {
        let (got, problem) = house.pay("k", &body).await;
        assert_eq!((got, text(&problem["code"])), (status, code.into()), "{body}");
        assert!(text(&problem["request_id"]).starts_with("req_"));
        assert_eq!(problem["status"], got);
    }
    assert!(house.stub.seen().is_empty());
    assert_eq!(house.balance().await, "48200.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_statement_is_unknown() {
    let house = House::open().await;
    let (account, statement) = house.seed("south");
    let mut foreign = house.payment("10.00");
    foreign["account"] = json!(account);
    foreign["statement"] = json!(statement);
    let mut mixed = house.payment("10.00");
    mixed["statement"] = json!(statement);
    let mut nobody = house.payment("10.00");
    nobody["statement"] = json!(claims::ids::StatementId::mint().unwrap().as_str());

    let foreign = house.pay("a", &foreign).await;
    let mixed = house.pay("b", &mixed).await;
    let nobody = house.pay("c", &nobody).await;

    assert_eq!((foreign.0, text(&foreign.1["code"])), (404, "account_unknown".into()));
    assert_eq!((mixed.0, text(&mixed.1["code"])), (404, "statement_unknown".into()));
    let telling = |answer: &(u16, Value)| {
        let mut body = answer.1.clone();
        body.as_object_mut().unwrap().remove("request_id");
        (answer.0, body)
    };
    assert_eq!(telling(&mixed), telling(&nobody));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_gateway_posts_and_only_readers_read() {
    let house = House::open().await;
    let payment = format!("{}/portal/payments", house.url());
    let account = format!("{}/v1/accounts/{}", house.url(), house.account);
    let body = house.payment("10.00");

    for request in [
        house.client.post(&payment).json(&body),
        house.client.post(&payment).bearer_auth(READER_TOKEN).json(&body),
        house.client.post(&payment).bearer_auth("the-gateway-presents-thiS").json(&body),
        house.client.get(&account),
        house.client.get(&account).bearer_auth(GATEWAY_TOKEN),
    ] {
        let sent = request.send().await.unwrap();
        assert_eq!(sent.headers().get("www-authenticate").unwrap(), "Bearer");
        assert_eq!(sent.headers().get("content-type").unwrap(), "application/problem+json");
        assert_eq!(read(sent).await.0, 401);
    }
    let headless = house.client.post(&payment).bearer_auth(GATEWAY_TOKEN).json(&body).send().await.unwrap();
    assert_eq!(text(&read(headless).await.1["code"]), "header_invalid");
    assert!(house.stub.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_cannot_be_read_with_certainty_is_refused() {
    let house = House::open().await;
    let huge = format!("{{\"note\":\"{}\"}}", "a".repeat(70_000));
    let deep = format!("{}1{}", "[".repeat(300), "]".repeat(300));

    for (kind, encoding, body, status) in [
        ("application/json", None, "{\"account\":", 400),
        ("application/json", None, "{\"a\":\"1\",\"a\":\"2\"}", 400),
        ("application/json", None, deep.as_str(), 400),
        ("application/json", None, huge.as_str(), 413),
        ("application/octet-stream", None, "anything", 415),
        ("application/json", Some("gzip"), "{}", 415),
        ("multipart/form-data", None, "no boundary", 400),
    ] {
        let mut request = house.post("/portal/payments").header("content-type", kind).body(body.to_owned());
        if let Some(encoding) = encoding {
            request = request.header("content-encoding", encoding);
        }
        let (got, problem) = read(request.send().await.unwrap()).await;
        assert_eq!(got, status, "{problem}");
        assert!(problem["code"].is_string());
    }
    let wrong = read(house.get("/portal/payments").send().await.unwrap()).await;
    assert_eq!((wrong.0, text(&wrong.1["code"])), (405, "method_not_allowed".into()));
    let nowhere = read(house.get("/v1/cards").send().await.unwrap()).await;
    assert_eq!((nowhere.0, text(&nowhere.1["code"])), (404, "route_unknown".into()));
}
