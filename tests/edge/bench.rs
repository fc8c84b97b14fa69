//! The set-up that the cases share: a listener with fresh certificates, a trivial dispatch, raw clients.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: a failure here is a failed test"
)]

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::Full;
use pangate::edge::{self, Dispatch, Inbound, Limits, Peer};
use pangate::metrics::Metrics;
use rustls::pki_types::ServerName;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

/// The bound of every wait in these tests.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Certificate files of one throw-away authority that is its own server.
pub(crate) struct Certificates {
    _folder: tempfile::TempDir,
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

pub(crate) fn certificates() -> Certificates {
    let folder = tempfile::tempdir().unwrap();
    let pair =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let (chain, key) = (folder.path().join("door.pem"), folder.path().join("door.key"));
    std::fs::write(&chain, pair.cert.pem()).unwrap();
    std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    Certificates { _folder: folder, chain, key }
}

/// Answers every request with its method, path and body length; some paths misbehave.
#[derive(Default)]
pub(crate) struct Echo {
    pub(crate) begun: AtomicUsize,
    pub(crate) finished: Arc<AtomicUsize>,
}

impl Dispatch for Echo {
    fn dispatch(&self, request: Request<Inbound>, peer: Peer) -> BoxFuture<'static, Response<Full<Bytes>>> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let finished = Arc::clone(&self.finished);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            match parts.uri.path() {
                "/panic" => panic!("a handler that quotes 4111111111111111"),
                "/slow" => tokio::time::sleep(Duration::from_millis(600)).await,
                "/stuck" => std::future::pending().await,
                _ => {}
            }
            let length = if parts.uri.path() == "/unread" { None } else { Some(measure(body).await) };
            finished.fetch_add(1, Ordering::SeqCst);
            let text = format!("{} {} {length:?} {}", parts.method, parts.uri.path(), peer.tls.version);
            Response::new(Full::new(Bytes::from(text)))
        })
    }
}

async fn measure(body: Inbound) -> Result<usize, edge::InboundError> {
    use http_body::Body;
    let mut body = std::pin::pin!(body);
    let mut length = 0;
    while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        length += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(length)
}

/// A running listener.
pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    pub(crate) echo: Arc<Echo>,
    pub(crate) metrics: Metrics,
    pub(crate) stop: CancellationToken,
    pub(crate) serving: JoinHandle<std::io::Result<()>>,
}

pub(crate) fn serve_on(listener: TcpListener, certificates: &Certificates, limits: Limits) -> Running {
    let tls = edge::server_config(&certificates.chain, &certificates.key).unwrap();
    let addr = listener.local_addr().unwrap();
    let (echo, metrics, stop) = (Arc::new(Echo::default()), Metrics::new(), CancellationToken::new());
    let tls = Arc::new(ArcSwap::new(tls));
    let serving =
        tokio::spawn(edge::serve(listener, tls, limits, echo.clone(), metrics.clone(), stop.clone()));
    Running { addr, echo, metrics, stop, serving }
}

/// A running listener with certificates of its own.
pub(crate) struct Door {
    running: Running,
    pub(crate) certificates: Certificates,
}

pub(crate) async fn door(limits: Limits) -> Door {
    let certificates = certificates();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Door { running: serve_on(listener, &certificates, limits), certificates }
}

impl std::ops::Deref for Door {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

impl Door {
    /// Waits for the end of a drain.
    pub(crate) async fn served(self) -> std::io::Result<()> {
        soon(self.running.serving).await.unwrap()
    }

    /// A TLS connection that offers these protocols.
    pub(crate) async fn connect(&self, alpn: &[&str]) -> TlsStream<TcpStream> {
        let mut config = edge::client_config(&self.certificates.chain).unwrap();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let tcp = TcpStream::connect(self.addr).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        soon(TlsConnector::from(Arc::new(config)).connect(name, tcp)).await.unwrap()
    }

    /// Sends raw bytes on a fresh connection and reads until the door closes it.
    pub(crate) async fn send(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect(&["http/1.1"]).await;
        stream.write_all(bytes).await.unwrap();
        stream.flush().await.unwrap();
        rest(&mut stream).await
    }

    pub(crate) fn begun(&self) -> usize {
        self.echo.begun.load(Ordering::SeqCst)
    }
}

/// Everything until the other side closes; an error counts as the end.
pub(crate) async fn rest(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    soon(async {
        while let Ok(length) = stream.read(&mut buffer).await {
            if length == 0 {
                break;
            }
            bytes.extend_from_slice(&buffer[..length]);
        }
    })
    .await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One answer of known end: reads until the bytes so far satisfy the test.
pub(crate) async fn until(stream: &mut (impl AsyncReadExt + Unpin), mark: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains(mark) {
        let length = soon(stream.read(&mut buffer)).await.unwrap();
        assert!(length > 0, "the connection ended before {mark}: {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    text
}

/// Nothing in these tests may hang.
pub(crate) async fn soon<F: Future>(act: F) -> F::Output {
    tokio::time::timeout(SOON, act).await.expect("took longer than ten seconds")
}

/// The `code` of the last problem document in a raw answer.
pub(crate) fn code(answer: &str) -> String {
    let body = answer.rsplit("\r\n\r\n").next().unwrap_or_default();
    let document: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    document["code"].as_str().unwrap_or("none").to_owned()
}

/// Short times, so that the tests are quick.
pub(crate) fn quick() -> Limits {
    Limits {
        handshake: Duration::from_millis(600),
        head: Duration::from_millis(600),
        idle: Duration::from_millis(900),
        request: Duration::from_secs(2),
        abandon: Duration::from_secs(3),
        drain: Duration::from_secs(3),
        linger: Duration::from_millis(500),
        ..Limits::default()
    }
}
