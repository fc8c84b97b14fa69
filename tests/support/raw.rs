//! One HTTP/1.1 connection byte by byte: what no HTTP library would send, cut where none would cut it.

use super::{System, wire};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// No answer takes longer than the gateway's own limits allow.
const PATIENCE: Duration = Duration::from_secs(40);

/// A raw connection to the gateway.
pub struct Raw {
    stream: TlsStream<TcpStream>,
    waiting: Vec<u8>,
}

/// One answer as it stood on the wire.
#[derive(Debug)]
pub struct RawAnswer {
    /// The status.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// The body.
    pub body: String,
}

impl RawAnswer {
    /// The problem's code, or an empty text.
    pub fn code(&self) -> String {
        let body: Option<serde_json::Value> = serde_json::from_str(&self.body).ok();
        body.and_then(|body| body["code"].as_str().map(str::to_owned)).unwrap_or_default()
    }
}

impl Raw {
    /// Connects and shakes hands.
    pub async fn open(system: &System) -> Raw {
        let stream = wire::raw_tls(&system.url, &system.path("tls/ca.pem"), &[b"http/1.1"]).await;
        Raw { stream, waiting: Vec::new() }
    }

    /// Sends bytes as one TLS record; false when the peer is gone.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok() && self.stream.flush().await.is_ok()
    }

    /// The next answer; `None` when the connection ended without one.
    pub async fn answer(&mut self) -> Option<RawAnswer> {
        tokio::time::timeout(PATIENCE, self.read()).await.expect("an answer or an end within the limits")
    }

    async fn read(&mut self) -> Option<RawAnswer> {
        let end = loop {
            if let Some(at) = self.waiting.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let head = String::from_utf8_lossy(&self.waiting[..end]).into_owned();
        let field = |name: &str| {
            head.lines().find_map(|line| {
                let (field, value) = line.split_once(':')?;
                field.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let length: usize = field("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        while self.waiting.len() < end + length {
            self.more().await?;
        }
        let body = String::from_utf8_lossy(&self.waiting[end..end + length]).into_owned();
        self.waiting.drain(..end + length);
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
        Some(RawAnswer { status, head, body })
    }

    async fn more(&mut self) -> Option<()> {
        let mut buffer = [0_u8; 4096];
        match self.stream.read(&mut buffer).await {
            Ok(0) | Err(_) => None,
            Ok(bytes) => {
                self.waiting.extend_from_slice(&buffer[..bytes]);
                Some(())
            }
        }
    }
}

/// Sends one request on a connection of its own; `None` when it was closed without an answer.
pub async fn once(system: &System, request: &[u8]) -> Option<RawAnswer> {
    let mut raw = Raw::open(system).await;
    raw.send(request).await;
    raw.answer().await
}

/// The head of a request of the portal's, without the blank line.
pub fn head(system: &System, method: &str, target: &str) -> String {
    format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n",
        system.key("portal")
    )
}

/// A whole request of the portal's with a sized body.
pub fn post(system: &System, target: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let mut request = head(system, "POST", target);
    request.push_str(&format!("Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n", body.len()));
    [request.as_bytes(), body].concat()
}
