//! Requests a second through the real gateway over TLS 1.3 with distinct cards, beside what the same file system's
//! SQLite does with raw inserts in the same run; and the same load while every card is sealed anew.
//!
//! `cargo bench --bench load [-- SECONDS]`. Every answer is checked; a wrong one ends the run.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a measurement that goes wrong must stop"
)]
#![expect(clippy::print_stdout, clippy::float_arithmetic, reason = "the figures are the output")]

#[path = "../tests/support/mod.rs"]
mod support;

#[path = "load/raw.rs"]
mod raw;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::{System, cards, wire};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Line {
    connections: usize,
    per_second: f64,
    p50: Duration,
    p99: Duration,
}

fn main() {
    let seconds = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(5);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(Duration::from_secs(seconds)));
}

async fn run(length: Duration) {
    let system =
        System::start_with(|settings| *settings = settings.replace("level = \"debug\"", "level = \"warn\""))
            .await;
    let one = raw::inserts(system.dir.path(), 1, length).await;
    let many = raw::inserts(system.dir.path(), 64, length).await;
    println!(
        "raw SQLite inserts, same file system: {one:.0}/s one row a commit, {many:.0}/s 64 rows a commit"
    );
    println!("connections  tokens/s      p50      p99   x one-row   x 64-row");
    let serial = Arc::new(AtomicU64::new(1));
    for connections in [1, 16, 64] {
        let line = measure(&system, connections, length, serial.clone()).await;
        println!(
            "{:>11}  {:>8.0}  {:>6.2}ms {:>6.2}ms   {:>8.2}   {:>8.2}",
            line.connections,
            line.per_second,
            line.p50.as_secs_f64() * 1e3,
            line.p99.as_secs_f64() * 1e3,
            line.per_second / one,
            line.per_second / many
        );
    }
    rotation(&system, length, serial).await;
}

const UNDER_ROTATION: usize = 16;

/// The same load with and without a job that seals every card anew, again and again, as fast as the shipped policy
/// lets it.
async fn rotation(system: &System, length: Duration, serial: Arc<AtomicU64>) {
    let alone = measure(system, UNDER_ROTATION, length, serial.clone()).await;
    let (stop, rows) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let job = tokio::spawn(rotate(
        system.client(),
        system.url.clone(),
        system.key("admin").to_owned(),
        stop.clone(),
        rows.clone(),
    ));
    let beside = measure(system, UNDER_ROTATION, length, serial).await;
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

async fn measure(system: &System, connections: usize, length: Duration, serial: Arc<AtomicU64>) -> Line {
    let started = Instant::now();
    let workers: Vec<_> = (0..connections)
        .map(|_| {
            let (url, ca) = (system.url.clone(), system.path("tls/ca.pem"));
            let (key, serial) = (system.key("portal").to_owned(), serial.clone());
            tokio::spawn(async move {
                let mut stream = wire::raw_tls(&url, &ca, &[b"http/1.1"]).await;
                let mut took = Vec::new();
                while started.elapsed() < length {
                    let request = request(&key, serial.fetch_add(1, Ordering::Relaxed));
                    let sent = Instant::now();
                    stream.write_all(&request).await.unwrap();
                    check(&read_answer(&mut stream).await);
                    took.push(sent.elapsed());
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for worker in workers {
        took.extend(worker.await.unwrap());
    }
    let elapsed = started.elapsed().as_secs_f64();
    took.sort_unstable();
    let at = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or_default();
    let count = u32::try_from(took.len()).unwrap();
    Line { connections, per_second: f64::from(count) / elapsed, p50: at(50), p99: at(99) }
}

fn request(key: &str, serial: u64) -> Vec<u8> {
    let number = cards::generated(serial);
    let body = format!(
        "{{\"card\":{{\"number\":\"{number}\",\"exp_month\":12,\"exp_year\":2034,\"cvc\":\"123\"}}}}"
    );
    format!(
        "POST /v1/tokens HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

async fn read_answer(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Vec<u8> {
    let mut answer = Vec::with_capacity(1024);
    loop {
        let read = stream.read_buf(&mut answer).await.unwrap();
        assert!(read > 0, "the connection closed");
        let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let (head, _) = answer.split_at(end);
        let length = String::from_utf8_lossy(head)
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length: ").and_then(|n| n.parse().ok())
            })
            .unwrap_or(0usize);
        if answer.len() >= end + 4 + length {
            return answer;
        }
    }
}

fn check(answer: &[u8]) {
    let text = String::from_utf8_lossy(answer);
    let good = text.starts_with("HTTP/1.1 201") && text.contains("\"tok_test_");
    if !good {
        panic!("not a token: {text}");
    }
}
