//! The companion's client against a companion that comes and goes. (What is sent is tested where `Scrubbed` is made.)

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failure here is a failed test")]

use super::bench::{certificates, door, quick, serve_on, soon};
use pangate::upstream::companion::{Companion, CompanionError};
use secrecy::SecretString;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

fn companion(port: u16, ca: &std::path::Path) -> Companion {
    let base = format!("https://localhost:{port}").parse().unwrap();
    Companion::new(base, ca, SecretString::from("companion-credential".to_owned())).unwrap()
}

#[tokio::test]
async fn p9_a_companion_that_went_away_is_found_again_at_once() {
    let own = certificates();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let companion = companion(addr.port(), &own.chain);
    let mut listener = Some(listener);
    for _ in 0..3 {
        let up = match listener.take() {
            Some(listener) => listener,
            None => TcpListener::bind(addr).await.unwrap(),
        };
        let running = serve_on(up, &own, quick());
        for _ in 0..3 {
            assert!(soon(companion.reachable()).await);
        }
        // Killed, not drained: its connections die under the pool.
        running.stop.cancel();
        running.serving.abort();
        soon(running.serving).await.ok();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let started = Instant::now();
        assert!(!companion.reachable().await);
        assert!(started.elapsed() < Duration::from_millis(1500));
    }
}

#[tokio::test]
async fn a_companion_with_another_authority_is_not_believed() {
    let door = door(quick()).await;
    assert!(companion(door.addr.port(), &door.certificates.chain).reachable().await);
    assert!(!companion(door.addr.port(), &certificates().chain).reachable().await);
}

#[tokio::test]
async fn a_companion_without_tls_is_refused_at_the_start() {
    let own = certificates();
    for base in ["http://localhost:1", "/path", "https://localhost:1/path", "https://localhost:1/?q=1"] {
        let refused = Companion::new(base.parse().unwrap(), &own.chain, SecretString::from("x".to_owned()));
        assert!(matches!(refused, Err(CompanionError::Url)), "{base}");
    }
}
