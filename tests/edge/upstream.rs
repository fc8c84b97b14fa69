//! The companion's client against a companion that comes and goes. (What is sent is tested where `Scrubbed` is made.)

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failure here is a failed test")]

use super::bench::{certificates, door, quick, serve_on, soon};
use pangate::governance::{self, Governance, NoEgress};
use pangate::upstream::companion::{Companion, CompanionError};
use secrecy::SecretString;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

fn companion(port: u16, ca: &std::path::Path) -> Companion {
    let base = format!("https://localhost:{port}").parse().unwrap();
    Companion::new(base, ca, SecretString::from("companion-credential".to_owned()), policy(|record| record))
        .unwrap()
}

/// The shipped policy, with the companion's record so changed.
fn policy(change: impl FnOnce(String) -> String) -> Arc<Governance> {
    let folder = tempfile::tempdir().unwrap();
    governance::write_missing(folder.path()).unwrap();
    governance::write_companion(folder.path(), "localhost").unwrap();
    let record = folder.path().join("vendors/companion.toml");
    let text = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, change(text)).unwrap();
    Arc::new(Governance::read(folder.path()).unwrap())
}

/// Asks once under that record, and says why nothing went out and whether anybody so much as connected.
async fn tried(host: &str, change: impl FnOnce(String) -> String) -> (Option<NoEgress>, bool) {
    let own = certificates();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("https://{host}:{}", listener.local_addr().unwrap().port());
    let bearer = SecretString::from("companion-credential".to_owned());
    let companion = Companion::new(base.parse().unwrap(), &own.chain, bearer, policy(change)).unwrap();
    let by_name = companion.permitted().err();
    assert!(!companion.reachable().await);
    let connected = tokio::time::timeout(Duration::from_millis(300), listener.accept()).await.is_ok();
    (by_name, connected)
}

#[tokio::test]
async fn a_host_without_a_live_record_is_not_so_much_as_connected_to() {
    // The control: with its record the host is connected to (and found to be no companion).
    assert_eq!(tried("localhost", |record| record).await, (None, true));
    assert_eq!(tried("127.0.0.1", |record| record).await, (None, true));
    let other = |record: String| record.replace("\"localhost\", \"127.0.0.1\"", "\"claims.internal\"");
    assert_eq!(tried("localhost", other).await, (Some(NoEgress::Unlisted), false));
    assert_eq!(tried("127.0.0.1", other).await, (Some(NoEgress::Unlisted), false));
    let tokens_alone = |record: String| record.replace("\"token\", \"phi\"", "\"token\"");
    assert_eq!(tried("localhost", tokens_alone).await, (Some(NoEgress::Unlisted), false));
    let expired = |record: String| {
        record.replace("ours = true", "")
            + "[approved]\nby = [\"ada\", \"otto\"]\non = 2020-01-01\n\
               [baa]\nsigned = 2020-01-01\nexpires = 2020-12-31\n"
    };
    assert_eq!(tried("localhost", expired).await, (Some(NoEgress::Expired), false));
}

/// DNS rebinding: the name is the right one, what it leads to is not.
#[tokio::test]
async fn a_name_that_leads_out_of_its_networks_is_not_connected_to() {
    let elsewhere = |record: String| record.replace("\"127.0.0.0/8\", \"::1/128\"", "\"203.0.113.0/24\"");
    assert_eq!(tried("localhost", elsewhere).await, (None, false));
    // An address in the name's place has no name service to lie to it; its record does not allow it either.
    assert_eq!(tried("127.0.0.1", elsewhere).await, (Some(NoEgress::Address), false));
    // No networks at all: the public internet, and this machine is none of it.
    let public = |record: String| record.replace("networks = [\"127.0.0.0/8\", \"::1/128\"]", "");
    assert_eq!(tried("localhost", public).await, (None, false));
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
        let bearer = SecretString::from("x".to_owned());
        let refused = Companion::new(base.parse().unwrap(), &own.chain, bearer, policy(|record| record));
        assert!(matches!(refused, Err(CompanionError::Url)), "{base}");
    }
}
