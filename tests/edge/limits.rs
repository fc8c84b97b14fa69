//! Too much, too slow, too late: every bound of the door, and what happens at it.

use super::bench::{code, door, quick, rest, until};
use pangate::edge::Limits;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const GET: &[u8] = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
const SLOW: &[u8] = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn a_huge_head_and_too_many_headers_are_refused() {
    let door = door(quick()).await;
    let huge = format!("GET /x HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    let many = format!("GET /x HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(64));
    let target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(5000));
    for (bytes, expected) in
        [(huge, "headers_too_large"), (many, "headers_too_large"), (target, "invalid_target")]
    {
        let answer = door.send(bytes.as_bytes()).await;
        assert_eq!(code(&answer), expected, "{answer}");
    }
    let large =
        format!("GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: {}\r\n\r\n", "x".repeat(30_000));
    assert!(door.send(large.as_bytes()).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_head_that_drips_in_is_cut_off() {
    let door = door(quick()).await;
    let mut stream = door.connect(&["http/1.1"]).await;
    let started = Instant::now();
    for byte in GET.iter().cycle().take(100) {
        if stream.write_all(&[*byte]).await.and(stream.flush().await).is_err()
            || started.elapsed().as_secs() > 5
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        if started.elapsed() > Duration::from_millis(1500) {
            break;
        }
    }
    assert!(!rest(&mut stream).await.contains("200 OK"));
    assert_eq!(door.begun(), 0);
}

#[tokio::test]
async fn silent_and_half_open_connections_are_closed() {
    let door = door(quick()).await;
    let mut silent = TcpStream::connect(door.addr).await.unwrap();
    let mut half = TcpStream::connect(door.addr).await.unwrap();
    half.write_all(&[0x16, 3, 1]).await.unwrap();
    let mut no_request = door.connect(&["http/1.1"]).await;
    let mut no_request_2 = door.connect(&["h2"]).await;
    let started = Instant::now();
    rest(&mut silent).await;
    rest(&mut half).await;
    rest(&mut no_request).await;
    rest(&mut no_request_2).await;
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(door.metrics.render().contains("pangate_door_events_total{event=\"handshake_timeout\"} 2"));
}

#[tokio::test]
async fn a_connection_idles_for_its_time_and_no_longer() {
    let door = door(quick()).await;
    let mut stream = door.connect(&["http/1.1"]).await;
    stream.write_all(GET).await.unwrap();
    until(&mut stream, "GET /x").await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    stream.write_all(GET).await.unwrap();
    until(&mut stream, "GET /x").await;
    let started = Instant::now();
    assert_eq!(rest(&mut stream).await, "");
    assert!(started.elapsed() > Duration::from_millis(500) && started.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn p9_more_work_than_is_taken_is_shed_at_once() {
    let door = door(Limits { concurrent_requests: 1, ..quick() }).await;
    let mut first = door.connect(&["http/1.1"]).await;
    first.write_all(SLOW).await.unwrap();
    while door.begun() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let started = Instant::now();
    let mut second = door.connect(&["http/1.1"]).await;
    second.write_all(GET).await.unwrap();
    let answer = until(&mut second, "}").await;
    assert!(started.elapsed() < Duration::from_millis(400), "shed at once, not after a wait");
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1"), "{answer}");
    assert_eq!(code(&answer), "overloaded");
    until(&mut first, "GET /slow").await;
    second.write_all(GET).await.unwrap();
    assert!(until(&mut second, "TLSv1_3").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn one_connection_too_many_is_closed_and_the_place_is_given_back() {
    let door = door(Limits { connections: 1, ..quick() }).await;
    let first = door.connect(&["http/1.1"]).await;
    let mut second = TcpStream::connect(door.addr).await.unwrap();
    assert_eq!(rest(&mut second).await, "");
    drop(first);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut third = door.connect(&["http/1.1"]).await;
    third.write_all(GET).await.unwrap();
    until(&mut third, "GET /x").await;
    assert!(door.metrics.render().contains("pangate_door_events_total{event=\"too_many_connections\"} 1"));
}

#[tokio::test]
async fn one_address_cannot_take_every_place() {
    let door = door(Limits { connections_per_ip: Some(1), ..quick() }).await;
    let first = door.connect(&["http/1.1"]).await;
    assert_eq!(rest(&mut TcpStream::connect(door.addr).await.unwrap()).await, "");
    drop(first);
    tokio::time::sleep(Duration::from_millis(300)).await;
    door.connect(&["http/1.1"]).await;
}

#[tokio::test]
async fn p9_a_panic_becomes_a_500_and_the_connection_lives_on() {
    let door = door(quick()).await;
    let mut stream = door.connect(&["http/1.1"]).await;
    stream.write_all(b"GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let answer = until(&mut stream, "}").await;
    assert!(answer.starts_with("HTTP/1.1 500") && code(&answer) == "internal", "{answer}");
    assert!(!answer.contains("1111"), "{answer}");
    stream.write_all(GET).await.unwrap();
    until(&mut stream, "GET /x").await;
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered_and_gives_its_place_back_in_the_end() {
    let door = door(Limits { concurrent_requests: 1, ..quick() }).await;
    let mut stream = door.connect(&["http/1.1"]).await;
    stream.write_all(b"GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let answer = until(&mut stream, "}").await;
    assert!(answer.starts_with("HTTP/1.1 504") && code(&answer) == "request_timeout", "{answer}");
    stream.write_all(GET).await.unwrap();
    assert_eq!(code(&until(&mut stream, "}").await), "overloaded");
    tokio::time::sleep(Duration::from_millis(1300)).await;
    let mut stream = door.connect(&["http/1.1"]).await;
    stream.write_all(GET).await.unwrap();
    until(&mut stream, "GET /x").await;
}

#[tokio::test]
async fn a_body_that_drips_in_does_not_hold_its_request_for_ever() {
    let door = door(quick()).await;
    let mut stream = door.connect(&["http/1.1"]).await;
    stream.write_all(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc").await.unwrap();
    let answer = rest(&mut stream).await;
    assert_eq!(code(&answer), "request_timeout", "{answer}");
}

#[tokio::test]
async fn an_act_that_has_begun_runs_to_its_end_when_the_client_hangs_up() {
    let door = door(quick()).await;
    let mut stream = door.connect(&["http/1.1"]).await;
    stream.write_all(SLOW).await.unwrap();
    while door.begun() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(stream);
    tokio::time::sleep(Duration::from_millis(1000)).await;
    assert_eq!(door.echo.finished.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_drain_finishes_what_is_under_way_and_takes_nothing_new() {
    for alpn in ["http/1.1", "h2"] {
        let door = door(quick()).await;
        let mut working = door.connect(&["http/1.1"]).await;
        let _idle = door.connect(&[alpn]).await;
        let _silent = TcpStream::connect(door.addr).await.unwrap();
        working.write_all(SLOW).await.unwrap();
        while door.begun() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        door.stop.cancel();
        let answer = until(&mut working, "TLSv1_3").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        drop(working);
        let addr = door.addr;
        door.served().await.unwrap();
        assert!(TcpStream::connect(addr).await.is_err());
    }
}

#[tokio::test]
async fn a_drain_ends_at_its_deadline_and_says_what_was_cut() {
    let door = door(Limits { drain: Duration::from_millis(400), ..quick() }).await;
    let mut stream = door.connect(&["http/1.1"]).await;
    stream.write_all(b"GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    while door.begun() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let started = Instant::now();
    door.stop.cancel();
    let cut = door.served().await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(2));
    assert!(cut.to_string().contains("were cut"), "{cut}");
}
