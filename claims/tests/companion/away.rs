//! The database locked, noise at the door: a clear answer or a closed connection, and service comes back.

use crate::house::{GATEWAY_TOKEN, House, client, read, text};
use crate::stub::Act;
use claims::database::Database;
use std::time::{Duration, Instant};
use tokens::RequestId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_database_is_503_and_service_resumes_within_a_second() {
    let house = House::open().await;
    let database = Database::open(&house.folder.path().join("claims.db")).await.unwrap();
    let lock = database.write().await.unwrap();

    let sent = house.post("/portal/payments").json(&house.payment("10.00")).send().await.unwrap();
    let retry_after = sent.headers().get("retry-after").cloned();
    let away = read(sent).await;
    lock.rollback().await.unwrap();
    let freed = Instant::now();
    let (status, _) = house.pay("k", &house.payment("10.00")).await;

    assert_eq!((away.0, text(&away.1["code"])), (503, "store_unavailable".into()));
    assert_eq!(retry_after.unwrap(), "1");
    assert_eq!(status, 201);
    assert!(freed.elapsed() < Duration::from_secs(1));
    assert_eq!(house.stub.charged(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charge_that_could_not_be_posted_is_posted_by_the_repeat() {
    let house = House::open().await;
    let database = Database::open(&house.folder.path().join("claims.db")).await.unwrap();
    house.stub.script(&[Act::ChargeSlowly(Duration::from_millis(500))]);
    let body = house.payment("10.00");

    let lock = async {
        while house.stub.charged() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        database.write().await.unwrap()
    };
    let (away, lock) = tokio::join!(house.pay("k", &body), lock);
    lock.rollback().await.unwrap();
    let (status, receipt) = house.pay("k", &body).await;

    assert_eq!((away.0, text(&away.1["code"])), (503, "store_unavailable".into()));
    assert_eq!((status, text(&receipt["balance"])), (201, "48190.00".into()));
    assert_eq!(house.stub.charged(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_at_the_door_disturbs_nobody() {
    let house = House::open().await;
    let address = house.url().trim_start_matches("https://");
    let mut silent = Vec::new();
    for noise in ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\0\0\0\0\0\0\0\0\0\0\0\0", "4242424242424242"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(noise.as_bytes()).await.unwrap();
        silent.push(TcpStream::connect(address).await.unwrap());
        let mut answer = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(7), stream.read_to_end(&mut answer)).await;
        assert!(closed.is_ok());
        assert!(!answer.starts_with(b"HTTP"));
    }

    assert_eq!(house.pay("k", &house.payment("10.00")).await.0, 201);
    assert!(!house.holds("4242424242424242"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_goes_over_http_2_too() {
    let house = House::open().await;
    let pem = std::fs::read_to_string(house.folder.path().join("server.pem")).unwrap();

    let sent = client(&pem, &["h2"])
        .post(format!("{}/portal/payments", house.url()))
        .bearer_auth(GATEWAY_TOKEN)
        .header("pangate-tenant", "north")
        .header("pangate-principal", "portal")
        .header("pangate-request-id", RequestId::mint().unwrap().as_str())
        .json(&house.payment("10.00"))
        .send()
        .await
        .unwrap();

    assert_eq!(sent.version(), reqwest::Version::HTTP_2);
    assert_eq!(read(sent).await.0, 201);
}
