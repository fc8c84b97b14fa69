//! The same load with and without a job that seals every card anew, again and again, as fast as the shipped policy lets
//! it.

use crate::asked::Asked;
use crate::client::{self, Call, Target};
use crate::figures::Figures;
use crate::progress;
use crate::support::{self, System, wire};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const CONNECTIONS: usize = 16;
/// Without the job.
pub(crate) const ALONE: &str = "sealed anew, SQLite, 16 connections: without";
/// With it.
pub(crate) const BESIDE: &str = "sealed anew, SQLite, 16 connections: every card meanwhile";

pub(crate) async fn beside_load(asked: &Asked, system: &System, figures: &mut Figures) {
    if !asked.wants(ALONE) && !asked.wants(BESIDE) {
        return;
    }
    let target = Target::of(system, &system.url);
    for round in 1..=asked.rounds {
        let alone = client::measure(&target, &Call::Tokenize, CONNECTIONS, asked.length).await;
        let (stop, rows) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let job = tokio::spawn(rotate(
            system.client(),
            system.url.clone(),
            system.key("admin").to_owned(),
            stop.clone(),
            rows.clone(),
        ));
        let beside = client::measure(&target, &Call::Tokenize, CONNECTIONS, asked.length).await;
        stop.store(true, Ordering::Relaxed);
        job.await.unwrap();
        let rows = rows.load(Ordering::Relaxed);
        progress(&format!("sealed anew, round {round} of {}: {rows} rows", asked.rounds));
        figures.measure(ALONE, &alone);
        figures.measure(BESIDE, &beside);
    }
}

/// Rotates the tenant's data key until it is told to stop, and sees the last rotation to its end; counts the rows that
/// were moved until then.
async fn rotate(
    client: reqwest::Client,
    url: String,
    key: String,
    stop: Arc<AtomicBool>,
    rows: Arc<AtomicU64>,
) {
    let rotation = format!("{url}/v1/tenants/{}/rotate-data-key", support::TENANT);
    while !stop.load(Ordering::Relaxed) {
        let begun = wire::Answer::of(client.post(&rotation).bearer_auth(&key)).await;
        assert_eq!(begun.status, 202, "{}", begun.text);
        let job = format!("{url}/v1/jobs/{}", begun.json()["id"].as_str().unwrap());
        let mut before = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = wire::Answer::of(client.get(&job).bearer_auth(&key)).await.json();
            let done = now["done"].as_u64().unwrap();
            if !stop.load(Ordering::Relaxed) {
                rows.fetch_add(done - before, Ordering::Relaxed);
            }
            before = done;
            if now["state"] != "running" {
                break;
            }
        }
    }
}
