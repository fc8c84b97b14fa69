//! The same load with and without a job that seals every card anew, again and again, as fast as the shipped policy lets
//! it.

use crate::client::{self, Call, Target};
use crate::support::{self, System, wire};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const CONNECTIONS: usize = 16;

pub(crate) async fn beside_load(system: &System, length: Duration) {
    let target = Target::of(system, &system.url);
    let alone = client::measure(&target, &Call::Tokenize, CONNECTIONS, length).await;
    let (stop, rows) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let job = tokio::spawn(rotate(
        system.client(),
        system.url.clone(),
        system.key("admin").to_owned(),
        stop.clone(),
        rows.clone(),
    ));
    let beside = client::measure(&target, &Call::Tokenize, CONNECTIONS, length).await;
    stop.store(true, Ordering::Relaxed);
    job.await.unwrap();
    println!(
        "while every card is sealed anew ({} rows in {:.0} s): {:.0} of {:.0} tokens/s, ratio {:.2} (aim 0.80); p99 {:.2} of {:.2} ms",
        rows.load(Ordering::Relaxed),
        length.as_secs_f64(),
        beside.per_second,
        alone.per_second,
        beside.per_second / alone.per_second,
        beside.p99.as_secs_f64() * 1e3,
        alone.p99.as_secs_f64() * 1e3,
    );
}

/// Rotates the tenant's data key until it is told to stop; counts the rows that were moved.
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
            rows.fetch_add(done - before, Ordering::Relaxed);
            before = done;
            if now["state"] != "running" || stop.load(Ordering::Relaxed) {
                break;
            }
        }
    }
}
