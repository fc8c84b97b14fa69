//! The baseline of the wire: our own door, with nothing behind it but an answer of the same size.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use pangate::edge::{self, Dispatch, Inbound, Limits, Peer};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

const WANTED: &str = "PANGATE_BENCH_ECHO";
/// As long as the answer to a card.
const ANSWER: &str = "{\"id\":\"tok_test_abcdefghijklmnopqrstuvwxyzabc\",\"object\":\"token\",\
    \"card\":{\"brand\":\"visa\",\"last4\":\"4242\",\"exp_month\":12,\"exp_year\":2034},\
    \"created_at\":\"2026-01-01T00:00:00Z\",\"expires_at\":null,\"reused\":false}";

/// Whether this process was started to be the echo.
pub(crate) fn is_wanted() -> bool {
    std::env::var_os(WANTED).is_some()
}

struct Echo;

impl Dispatch for Echo {
    #[expect(
        clippy::disallowed_methods,
        reason = "what the echo is sent is dropped; no card of anybody is in it"
    )]
    fn dispatch(&self, request: Request<Inbound>, _peer: Peer) -> BoxFuture<'static, Response<Full<Bytes>>> {
        Box::pin(async move {
            let (mut body, mut whole) = (request.into_body(), true);
            while let Some(frame) = body.frame().await {
                whole &= frame.is_ok();
            }
            let mut response = Response::new(Full::new(Bytes::from_static(ANSWER.as_bytes())));
            *response.status_mut() = if whole { StatusCode::CREATED } else { StatusCode::BAD_REQUEST };
            response
        })
    }
}

/// Serves until the process is ended.
pub(crate) fn serve() {
    let folder = std::env::var(WANTED).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let tls = edge::server_config(
            &Path::new(&folder).join("gateway.pem"),
            &Path::new(&folder).join("gateway.key"),
        )
        .unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap().port());
        std::io::stdout().flush().unwrap();
        let tls = Arc::new(arc_swap::ArcSwap::from(tls));
        let stop = tokio_util::sync::CancellationToken::new();
        let metrics = pangate::metrics::Metrics::new();
        edge::serve(listener, tls, Limits::default(), Arc::new(Echo), metrics, stop).await.unwrap();
    });
}

/// The echo as a process of its own, as the gateway is one.
pub(crate) struct Server {
    pub(crate) url: String,
    child: Child,
}

impl Server {
    pub(crate) fn start(tls: &Path) -> Server {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(WANTED, tls)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Server { url: format!("https://localhost:{}", line.trim()), child }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
