//! The load: connections that send, wait, check and send again.

use crate::support::{System, cards, wire};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// No two requests of a run have the same card.
static SERIAL: AtomicU64 = AtomicU64::new(1);

/// Whom to ask, and as whom.
pub(crate) struct Target {
    urls: Vec<String>,
    ca: PathBuf,
    key: String,
}

impl Target {
    pub(crate) fn of(system: &System, url: &str) -> Target {
        let urls = vec![url.to_owned()];
        Target { urls, ca: system.path("tls/ca.pem"), key: system.key("portal").to_owned() }
    }

    /// The connections are shared out between all that are named.
    pub(crate) fn and(mut self, url: &str) -> Target {
        self.urls.push(url.to_owned());
        self
    }
}

/// What is asked for.
#[derive(Clone)]
pub(crate) enum Call {
    /// `POST /v1/tokens` with a card that nobody sent before.
    Tokenize,
    /// The same with `reuse`: the HSM fingerprints the card, and it is asked whether the vault has it.
    Reuse,
    /// `GET /v1/tokens/{id}`, one of these after the other.
    Read(Arc<Vec<String>>),
    /// The same bytes as [`Call::Tokenize`], to the echo.
    Echo,
}

/// What came of it.
pub(crate) struct Line {
    /// Answers, each of them checked.
    pub(crate) answers: u32,
    pub(crate) per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// Open connections with nothing on them yet.
pub(crate) struct Fleet {
    streams: Vec<TlsStream<TcpStream>>,
    key: String,
}

impl Fleet {
    /// Connects, so many at a time that no handshake waits for long.
    pub(crate) async fn open(target: &Target, connections: usize) -> Fleet {
        const AT_ONCE: usize = 16;
        let mut streams = Vec::with_capacity(connections);
        let mut places = (0..connections).map(|at| &target.urls[at % target.urls.len()]);
        while streams.len() < connections {
            let some =
                places.by_ref().take(AT_ONCE).map(|url| wire::raw_tls(url, &target.ca, &[b"http/1.1"]));
            streams.extend(futures_util::future::join_all(some).await);
        }
        Fleet { streams, key: target.key.clone() }
    }

    /// Every connection sends, waits, checks and sends again, until the time is over.
    pub(crate) async fn run(self, call: &Call, length: Duration) -> Line {
        let started = Instant::now();
        let workers = self.streams.into_iter().map(|mut stream| {
            let (key, call) = (self.key.clone(), call.clone());
            tokio::spawn(async move {
                let (mut took, mut answer) = (Vec::new(), Vec::with_capacity(2048));
                while started.elapsed() < length {
                    took.push(exchange(&mut stream, &call, &key, &mut answer).await);
                }
                took
            })
        });
        let workers: Vec<_> = workers.collect();
        let mut took = Vec::new();
        for worker in workers {
            took.extend(worker.await.unwrap());
        }
        let elapsed = started.elapsed().as_secs_f64();
        took.sort_unstable();
        let at = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or_default();
        let answers = u32::try_from(took.len()).unwrap();
        Line { answers, per_second: f64::from(answers) / elapsed, p50: at(50), p99: at(99) }
    }

    /// One request on each connection, a few at a time; all stay open.
    pub(crate) async fn once_each(&mut self, call: &Call) {
        for some in self.streams.chunks_mut(16) {
            let asked = some.iter_mut().map(|stream| async {
                exchange(stream, call, &self.key, &mut Vec::with_capacity(2048)).await;
            });
            futures_util::future::join_all(asked).await;
        }
    }
}

/// One request with its answer checked.
async fn exchange(
    stream: &mut TlsStream<TcpStream>,
    call: &Call,
    key: &str,
    answer: &mut Vec<u8>,
) -> Duration {
    let Request { bytes, expected } = request(call, key, SERIAL.fetch_add(1, Ordering::Relaxed));
    let sent = Instant::now();
    stream.write_all(&bytes).await.unwrap();
    read_answer(stream, answer).await;
    let took = sent.elapsed();
    check(call, &expected, answer);
    took
}

pub(crate) async fn measure(target: &Target, call: &Call, connections: usize, length: Duration) -> Line {
    Fleet::open(target, connections).await.run(call, length).await
}

/// A call that reads one token, which `make` makes.
pub(crate) async fn read_one(target: &Target, make: &Call) -> Call {
    let mut fleet = Fleet::open(target, 1).await;
    let mut answer = Vec::new();
    exchange(&mut fleet.streams[0], make, &fleet.key, &mut answer).await;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let start = text.find("tok_test_").unwrap();
    Call::Read(Arc::new(vec![text.get(start..start + 38).unwrap().to_owned()]))
}

struct Request {
    bytes: Vec<u8>,
    /// Stands in the answer, or it is a wrong one.
    expected: String,
}

fn request(call: &Call, key: &str, serial: u64) -> Request {
    match call {
        Call::Read(tokens) => {
            let token = &tokens[usize::try_from(serial).unwrap() % tokens.len()];
            let bytes = format!(
                "GET /v1/tokens/{token} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n"
            );
            Request { bytes: bytes.into_bytes(), expected: format!("\"{token}\"") }
        }
        Call::Tokenize | Call::Reuse | Call::Echo => {
            let number = cards::generated(serial);
            let reuse = if matches!(call, Call::Reuse) { ",\"reuse\":true" } else { "" };
            let body = format!(
                "{{\"card\":{{\"number\":\"{number}\",\"exp_month\":12,\"exp_year\":2034,\"cvc\":\"123\"}}{reuse}}}"
            );
            let bytes = format!(
                "POST /v1/tokens HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            // The echo knows no card.
            let last4 = if matches!(call, Call::Echo) { "4242" } else { cards::last4(&number) };
            Request { bytes: bytes.into_bytes(), expected: format!("\"last4\":\"{last4}\"") }
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

fn check(call: &Call, expected: &str, answer: &[u8]) {
    let text = std::str::from_utf8(answer).unwrap();
    let status = match call {
        Call::Read(_) => "HTTP/1.1 200",
        Call::Tokenize | Call::Reuse | Call::Echo => "HTTP/1.1 201",
    };
    if !text.starts_with(status) || !text.contains("\"tok_test_") || !text.contains(expected) {
        panic!("not the answer to what was asked ({expected}): {text}");
    }
}
