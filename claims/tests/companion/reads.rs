//! What staff tools see.

use crate::house::{House, read, text};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn an_account_shows_its_statements_and_payments_and_never_a_token() {
    let house = House::open().await;
    let body = house.payment("125.40");
    let (_, receipt) = house.pay("k", &body).await;

    let (status, account) =
        read(house.get(&format!("/v1/accounts/{}", house.account)).send().await.unwrap()).await;
    let (_, statement) =
        read(house.get(&format!("/v1/statements/{}", house.statement)).send().await.unwrap()).await;

    assert_eq!(status, 200);
    assert_eq!(account["tenant"], "north");
    assert_eq!(account["balance"], "48074.60");
    assert_eq!(account["statements"][0]["id"], json!(house.statement));
    let payment = &account["payments"][0];
    assert_eq!((&payment["id"], &payment["charge"]), (&receipt["id"], &receipt["charge"]));
    assert_eq!(payment["card"], json!({"brand": "visa", "last4": "4242"}));
    assert_eq!(statement["total"], "48200.00");
    assert_eq!(statement["status"], "open");
    assert_eq!(statement["lines"].as_array().unwrap().len(), 8);
    assert_eq!(statement["payments"][0]["status"], "succeeded");
    let token = text(&body["card"]["number"]);
    assert!(!account.to_string().contains(&token) && !statement.to_string().contains(&token));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_bound_to_a_tenant_sees_no_other() {
    let house = House::open().await;
    for path in [format!("/v1/accounts/{}", house.account), format!("/v1/statements/{}", house.statement)] {
        let own = house.get(&path).header("pangate-tenant", "north").send().await.unwrap();
        let other = house.get(&path).header("pangate-tenant", "south").send().await.unwrap();

        assert_eq!(own.status(), 200);
        assert_eq!(other.status(), 404);
    }
    let health = house.client.get(format!("{}/healthz", house.url())).send().await.unwrap();
    assert_eq!(read(health).await, (200, json!({"status": "ok"})));
}
