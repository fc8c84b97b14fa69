//! The whole way, as a gateway uses it: async callers, the queue, several sessions, the daemon, which is killed under
//! load and comes back.
#![expect(clippy::unwrap_used, reason = "test code; a failure must stop the test")]

mod daemon_process;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use daemon_process::{Daemon, PIN, mac_key};
use hsm::{ErrorClass, Hsm, HsmError, HsmQueue, QueueSettings};
use hsm_sim::client::SimClient;
use secrecy::SecretString;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_under_load_the_device_is_missed_quickly_and_back_within_a_second() {
    let mut daemon = Daemon::fresh(&[]);
    let expected = daemon.client().mac(&mac_key(), b"under load").unwrap();
    let factory = SimClient::factory(&daemon.socket, SecretString::from(PIN));
    let queue = HsmQueue::start(QueueSettings::default(), factory).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (served, missed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let (queue, stop) = (queue.clone(), Arc::clone(&stop));
            let (served, missed) = (Arc::clone(&served), Arc::clone(&missed));
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let asked = Instant::now();
                    match queue.mac(mac_key(), b"under load".to_vec().into()).await {
                        Ok(mac) => {
                            assert_eq!(mac, expected);
                            served.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(error) => {
                            assert!(error.is_transient(), "{error:?}");
                            assert_ne!(error.class(), ErrorClass::Operator, "{error:?}");
                            missed.fetch_add(1, Ordering::SeqCst);
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                    }
                    assert!(asked.elapsed() < Duration::from_secs(3), "a caller hung");
                }
            })
        })
        .collect();
    for round in 0..20 {
        tokio::time::sleep(Duration::from_millis(60)).await;
        daemon.kill();
        tokio::time::sleep(Duration::from_millis(30)).await;
        daemon.start();
        let back = Instant::now();
        while queue.mac(mac_key(), b"under load".to_vec().into()).await != Ok(expected) {
            assert!(back.elapsed() < Duration::from_secs(1), "round {round}: not back within a second");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    stop.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    let (served, missed) = (served.load(Ordering::SeqCst), missed.load(Ordering::SeqCst));
    println!("{served} served, {missed} missed over 20 kills");
    assert!(served > 1000 && missed > 0, "{served} served, {missed} missed");
}

#[tokio::test]
async fn a_queue_of_many_workers_spends_one_try_on_a_wrong_pin() {
    let daemon = Daemon::fresh(&[]);
    let factory = SimClient::factory(&daemon.socket, SecretString::from("999999"));
    let queue = HsmQueue::start(QueueSettings { workers: 4, ..QueueSettings::default() }, factory).unwrap();
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move { queue.random(8).await.map(|bytes| bytes.len()) })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), Err(HsmError::AuthFailed { left: Some(9) }));
    }
}
