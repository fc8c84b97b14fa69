//! The load: connections that send, wait, check and send again.

use crate::support::{System, cards, wire};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// No two requests of a run have the same card.
static SERIAL: AtomicU64 = AtomicU64::new(1);

/// Whom to ask, and as whom.
pub(crate) struct Target {
    url: String,
    ca: PathBuf,
    key: String,
}

impl Target {
    pub(crate) fn of(system: &System, url: &str) -> Target {
        Target { url: url.to_owned(), ca: system.path("tls/ca.pem"), key: system.key("portal").to_owned() }
    }
}

/// What is asked for.
pub(crate) enum Call {
    /// `POST /v1/tokens` with a card that nobody sent before.
    Tokenize,
    /// `GET /v1/tokens/{id}`.
    Read(String),
    /// The same bytes as [`Call::Tokenize`], to the echo.
    Echo,
}

/// What came of it.
pub(crate) struct Line {
    pub(crate) per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

pub(crate) async fn measure(target: &Target, call: &Call, connections: usize, length: Duration) -> Line {
    let call = Arc::new(match call {
        Call::Tokenize => Call::Tokenize,
        Call::Echo => Call::Echo,
        Call::Read(token) => Call::Read(token.clone()),
    });
    let mut streams = Vec::new();
    for _ in 0..connections {
        streams.push(wire::raw_tls(&target.url, &target.ca, &[b"http/1.1"]).await);
    }
    let started = Instant::now();
    let workers: Vec<_> = streams
        .into_iter()
        .map(|mut stream| {
            let (key, call) = (target.key.clone(), call.clone());
            tokio::spawn(async move {
                let (mut took, mut answer) = (Vec::new(), Vec::with_capacity(2048));
                while started.elapsed() < length {
                    let request = request(&call, &key, SERIAL.fetch_add(1, Ordering::Relaxed));
                    let sent = Instant::now();
                    stream.write_all(&request).await.unwrap();
                    read_answer(&mut stream, &mut answer).await;
                    check(&call, &answer);
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
    Line { per_second: f64::from(count) / elapsed, p50: at(50), p99: at(99) }
}

/// One token to read.
pub(crate) async fn one_token(target: &Target) -> String {
    let mut stream = wire::raw_tls(&target.url, &target.ca, &[b"http/1.1"]).await;
    let request = request(&Call::Tokenize, &target.key, SERIAL.fetch_add(1, Ordering::Relaxed));
    stream.write_all(&request).await.unwrap();
    let mut answer = Vec::new();
    read_answer(&mut stream, &mut answer).await;
    check(&Call::Tokenize, &answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    let start = text.find("tok_test_").unwrap();
    text.get(start..start + 38).unwrap().to_owned()
}

/// Resident memory of a process, from `/proc` (proc(5), `VmRSS`).
pub(crate) fn resident_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib / 1024.0
}

fn request(call: &Call, key: &str, serial: u64) -> Vec<u8> {
    match call {
        Call::Read(token) => format!(
            "GET /v1/tokens/{token} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n"
        )
        .into_bytes(),
        Call::Tokenize | Call::Echo => {
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
    }
}

async fn read_answer(stream: &mut (impl tokio::io::AsyncRead + Unpin), answer: &mut Vec<u8>) {
    answer.clear();
    loop {
        let read = stream.read_buf(answer).await.unwrap();
        assert!(read > 0, "the connection closed");
        let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&answer[..end]).unwrap();
        let length = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map_or(0, |(_, length)| length.parse::<usize>().unwrap());
        if answer.len() >= end + 4 + length {
            return;
        }
    }
}

fn check(call: &Call, answer: &[u8]) {
    let text = std::str::from_utf8(answer).unwrap();
    let status = match call {
        Call::Read(_) => "HTTP/1.1 200",
        Call::Tokenize | Call::Echo => "HTTP/1.1 201",
    };
    if !text.starts_with(status) || !text.contains("\"tok_test_") {
        panic!("not a token: {text}");
    }
}
