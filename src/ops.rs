//! The second listener, on loopback only: is it alive, is it ready, what does it count. Speaks plain HTTP/1.1 to the
//! machine it runs on, takes no credential and tells nothing about any request.

use crate::metrics::Metrics;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Connections at once.
const CONNECTIONS: usize = 32;
/// Time for a request's head, which is also how long a connection may idle.
const HEAD: Duration = Duration::from_secs(5);
/// Time for all parts to say how they are.
const READY: Duration = Duration::from_secs(3);
/// Time that a connection may live.
const LIFE: Duration = Duration::from_secs(60);

/// Asks every part that pangate depends on.
pub trait Readiness: Send + Sync + 'static {
    /// The state of each part, now.
    fn ready(&self) -> BoxFuture<'static, Vec<PartState>>;

    /// What somebody should look at, though pangate is ready.
    fn warnings(&self) -> Vec<Warning> {
        Vec::new()
    }

    /// SHA-256 of the policy folder that is in force, in hexadecimal.
    fn policy(&self) -> Option<String> {
        None
    }
}

/// Something to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// The stable code.
    pub code: &'static str,
    /// What it is about: a key's name, a tenant.
    pub subject: String,
    /// What to do.
    pub detail: &'static str,
}

/// How one part is. All words are ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PartState {
    /// `hsm`, `store`, `companion`, `processor`.
    pub part: &'static str,
    /// Whether it answered.
    pub ok: bool,
    /// The code that requests get while it is away.
    pub code: &'static str,
    /// What to do about it.
    pub detail: &'static str,
}

#[derive(Serialize)]
struct Report<'a> {
    ready: bool,
    parts: Vec<Shown<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Warning>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_sha256: Option<String>,
}

#[derive(Serialize)]
struct Shown<'a> {
    part: &'a str,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

/// Serves `GET /healthz`, `/readyz` and `/metrics` until `stop`.
///
/// # Errors
/// A listener whose address is not loopback is refused: what is told here is not for the network.
pub async fn serve(
    listener: TcpListener,
    readiness: Arc<dyn Readiness>,
    metrics: Metrics,
    stop: CancellationToken,
) -> io::Result<()> {
    if !listener.local_addr()?.ip().is_loopback() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "server.ops_listen must be a loopback address such as 127.0.0.1:9443",
        ));
    }
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let Ok((tcp, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let (readiness, metrics, stop) = (Arc::clone(&readiness), metrics.clone(), stop.clone());
        tokio::spawn(async move {
            let connection = tokio::time::timeout(LIFE, connection(tcp, readiness, metrics));
            let _ = stop.run_until_cancelled(connection).await;
            drop(place);
        });
    }
    Ok(())
}

async fn connection(tcp: TcpStream, readiness: Arc<dyn Readiness>, metrics: Metrics) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (readiness, metrics) = (Arc::clone(&readiness), metrics.clone());
        async move { Ok::<_, Infallible>(answer(&request, &*readiness, &metrics).await) }
    });
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_headers(32)
        .max_header_size(8 * 1024)
        .serve_connection(TokioIo::new(tcp), service)
        .await;
}

async fn answer(
    request: &Request<Incoming>,
    readiness: &dyn Readiness,
    metrics: &Metrics,
) -> Response<Full<Bytes>> {
    if !names_this_machine(request) {
        return plain(StatusCode::MISDIRECTED_REQUEST, "ask for localhost\n");
    }
    if request.method() != Method::GET {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "use GET\n");
    }
    match request.uri().path() {
        "/healthz" => plain(StatusCode::OK, "alive\n"),
        "/readyz" => ready(readiness, metrics).await,
        "/metrics" => response(
            StatusCode::OK,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            metrics.render().into_bytes(),
        ),
        _ => plain(StatusCode::NOT_FOUND, "use /healthz, /readyz or /metrics\n"),
    }
}

/// A web page in a browser on this machine can reach loopback under a name of its own (DNS rebinding); it cannot
/// make the browser say `localhost`.
fn names_this_machine(request: &Request<Incoming>) -> bool {
    let Some(host) = request.headers().get(HOST).and_then(|host| host.to_str().ok()) else { return false };
    let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

async fn ready(readiness: &dyn Readiness, metrics: &Metrics) -> Response<Full<Bytes>> {
    let Ok(states) = tokio::time::timeout(READY, readiness.ready()).await else {
        return unready(&Report {
            ready: false,
            parts: Vec::new(),
            warnings: Vec::new(),
            policy_sha256: None,
        });
    };
    for state in &states {
        metrics.part(state.part, state.ok);
    }
    let shown = |state: &PartState| Shown {
        part: state.part,
        ok: state.ok,
        code: (!state.ok).then_some(state.code),
        detail: (!state.ok).then_some(state.detail),
    };
    let report = Report {
        ready: states.iter().all(|state| state.ok),
        parts: states.iter().map(shown).collect(),
        warnings: readiness.warnings(),
        policy_sha256: readiness.policy(),
    };
    if report.ready { response(StatusCode::OK, "application/json", json(&report)) } else { unready(&report) }
}

fn unready(report: &Report<'_>) -> Response<Full<Bytes>> {
    let mut response = response(StatusCode::SERVICE_UNAVAILABLE, "application/json", json(report));
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn json(report: &Report<'_>) -> Vec<u8> {
    serde_json::to_vec(report).unwrap_or_default()
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", text.as_bytes().to_vec())
}

fn response(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[derive(Default)]
    struct Parts(AtomicBool);

    impl Readiness for Parts {
        fn warnings(&self) -> Vec<Warning> {
            vec![Warning { code: "key_overdue", subject: "kek/card".to_owned(), detail: "rotate it" }]
        }

        fn ready(&self) -> BoxFuture<'static, Vec<PartState>> {
            let ok = self.0.load(Ordering::Relaxed);
            Box::pin(async move {
                let detail = "start hsm-sim";
                vec![
                    PartState { part: "hsm", ok, code: "hsm_unavailable", detail },
                    PartState {
                        part: "store",
                        ok: true,
                        code: "store_unavailable",
                        detail: "check the disk",
                    },
                ]
            })
        }
    }

    async fn ask(addr: SocketAddr, path: &str, host: &str) -> String {
        let mut tcp = TcpStream::connect(addr).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn p9_readiness_names_the_part_that_is_away_and_recovers() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (parts, stop) = (Arc::new(Parts::default()), CancellationToken::new());
        let serving = tokio::spawn(serve(listener, parts.clone(), Metrics::new(), stop.clone()));

        let away = ask(addr, "/readyz", "localhost").await;
        assert!(away.starts_with("HTTP/1.1 503") && away.contains("retry-after: 1"), "{away}");
        assert!(away.contains(r#""ready":false"#) && away.contains(r#""code":"hsm_unavailable""#), "{away}");
        assert!(!away.contains("store_unavailable"), "{away}");
        assert!(ask(addr, "/metrics", "127.0.0.1").await.contains("pangate_part_up{part=\"hsm\"} 0"));

        parts.0.store(true, Ordering::Relaxed);
        let back = ask(addr, "/readyz", "localhost").await;
        assert!(back.starts_with("HTTP/1.1 200") && back.contains(r#""ready":true"#), "{back}");
        assert!(back.contains(r#""warnings":[{"code":"key_overdue","subject":"kek/card""#), "{back}");
        assert!(ask(addr, "/healthz", "localhost").await.starts_with("HTTP/1.1 200"));
        assert!(ask(addr, "/other", "localhost").await.starts_with("HTTP/1.1 404"));
        assert!(ask(addr, "/metrics", "rebound.example").await.starts_with("HTTP/1.1 421"));
        stop.cancel();
        serving.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn health_is_not_served_to_the_network() {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let refusal =
            serve(listener, Arc::new(Parts::default()), Metrics::new(), CancellationToken::new()).await;
        assert_eq!(refusal.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
