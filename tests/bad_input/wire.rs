//! What no honest client sends: framing with two readings, half-open and idle connections, slow drips, garbage.

use crate::support::raw::{Raw, head, once, post};
use crate::support::{System, wire};
use crate::{Refused, all_recorded, refusal, unharmed};
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ROUTE: &str = "/portal/payments";
const HIDDEN: &str = "POST /portal/payments HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";

fn address(system: &System) -> (&'static str, u16) {
    ("127.0.0.1", system.url.rsplit(':').next().unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_requests_with_two_readings_are_refused_and_recorded() {
    let system = System::start().await;
    let key = format!("Authorization: Bearer {}\r\n", system.key("portal"));
    let long = "x".repeat(40_000);
    let many: String = (0..100).map(|n| format!("X-A{n}: b\r\n")).collect();
    let ambiguous = (400, "ambiguous_request");
    let mut refusals: Vec<Refused> = Vec::new();
    for (what, start, headers, expected) in [
        (
            "CL and TE",
            "POST /portal/payments HTTP/1.1",
            "Host: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n",
            ambiguous,
        ),
        (
            "two lengths",
            "POST /portal/payments HTTP/1.1",
            "Host: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n",
            ambiguous,
        ),
        ("two hosts", "GET /v1/keys HTTP/1.1", "Host: a\r\nHost: b\r\n", ambiguous),
        ("no host", "GET /v1/keys HTTP/1.1", "", ambiguous),
        ("bare LF", "GET /v1/keys HTTP/1.1\nX: a", "Host: a\r\n", ambiguous),
        ("bare CR", "GET /v1/keys HTTP/1.1", "Host: a\rX: b\r\n", ambiguous),
        ("NUL", "GET /v1/keys HTTP/1.1", "Host: a\r\nX: b\0c\r\n", ambiguous),
        ("folded", "GET /v1/keys HTTP/1.1", "Host: a\r\nX: b\r\n c\r\n", ambiguous),
        ("space before the colon", "GET /v1/keys HTTP/1.1", "Host : a\r\n", ambiguous),
        (
            "two types",
            "POST /portal/payments HTTP/1.1",
            "Host: a\r\nContent-Type: application/json\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n",
            ambiguous,
        ),
        ("HTTP/1.0", "GET /v1/keys HTTP/1.0", "Host: a\r\n", (400, "protocol_refused")),
        ("HTTP/0.9", "GET /v1/keys", "", ambiguous),
        ("TRACE", "TRACE /v1/keys HTTP/1.1", "Host: a\r\n", (405, "method_not_allowed")),
        ("unknown method", "BREW /v1/keys HTTP/1.1", "Host: a\r\n", (405, "method_not_allowed")),
        ("CONNECT", "CONNECT a:443 HTTP/1.1", "Host: a:443\r\n", (400, "protocol_refused")),
        (
            "Expect",
            "POST /portal/payments HTTP/1.1",
            "Host: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n",
            (400, "protocol_refused"),
        ),
        (
            "Upgrade",
            "GET /v1/keys HTTP/1.1",
            "Host: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n",
            (400, "protocol_refused"),
        ),
        ("early data", "GET /v1/keys HTTP/1.1", "Host: a\r\nEarly-Data: 1\r\n", (400, "protocol_refused")),
        ("dots", "GET /portal/../v1/keys HTTP/1.1", "Host: a\r\n", (400, "invalid_target")),
        ("escaped dots", "GET /portal/%2e%2e/v1/keys HTTP/1.1", "Host: a\r\n", (400, "invalid_target")),
        ("escaped slash", "GET /v1%2fkeys HTTP/1.1", "Host: a\r\n", (400, "invalid_target")),
        ("backslash", "GET /v1\\keys HTTP/1.1", "Host: a\r\n", (400, "invalid_target")),
        ("empty segment", "GET //v1/keys HTTP/1.1", "Host: a\r\n", (400, "invalid_target")),
        ("another scheme", "GET http://a/v1/keys HTTP/1.1", "Host: a\r\n", (400, "invalid_target")),
        (
            "a huge header",
            "GET /v1/keys HTTP/1.1",
            &format!("Host: a\r\nX: {long}\r\n"),
            (431, "headers_too_large"),
        ),
        ("many headers", "GET /v1/keys HTTP/1.1", &format!("Host: a\r\n{many}"), (431, "headers_too_large")),
    ] {
        let request = format!("{start}\r\n{headers}{key}\r\n{HIDDEN}");
        let mut raw = Raw::open(&system).await;
        raw.send(request.as_bytes()).await;
        let answer = raw.answer().await.unwrap_or_else(|| panic!("{what}: no answer"));
        refusals.push(refusal(what, (answer.status, &answer.body), expected));
        assert!(answer.head.to_ascii_lowercase().contains("connection: close"), "{what}: {}", answer.head);
        assert!(raw.answer().await.is_none(), "{what}: what stood behind it was answered");
    }
    all_recorded(&system, &refusals).await;
    unharmed(&system).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_plain_http_on_the_tls_port_is_told_so_and_recorded() {
    let system = System::start().await;
    let mut tcp = TcpStream::connect(address(&system)).await.unwrap();
    let body = "{\"card\":{\"number\":\"4242424242424242\"}}";
    let request = format!("POST {ROUTE} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    tcp.write_all(request.as_bytes()).await.unwrap();
    tcp.shutdown().await.unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.unwrap();
    let (head, problem) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    all_recorded(&system, &[refusal("plain", (400, problem), (400, "tls_required"))]).await;
    unharmed(&system).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_garbage_behind_a_valid_request_does_not_harm_it() {
    let system = System::start().await;
    let body = serde_json::to_vec(&system.payment("5105105105105100", "1.00")).unwrap();
    let mut raw = Raw::open(&system).await;
    let garbage = b"\x00\x01\x02 4111111111111111 \xff\xfe\r\n\r\n".as_slice();
    raw.send(&[post(&system, ROUTE, "application/json", &body).as_slice(), garbage].concat()).await;
    let first = raw.answer().await.unwrap();
    assert_eq!(first.status, 201, "{}", first.body);
    let second = raw.answer().await.unwrap();
    let refused = refusal("garbage", (second.status, &second.body), (400, "ambiguous_request"));
    assert!(raw.answer().await.is_none());
    all_recorded(&system, &[refused]).await;
    assert_eq!(system.posted_payments().await, 1);
    assert_eq!(system.files_with(&["4111111111111111"]), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_heads_and_bodies_that_drip_in_are_cut_off_in_time() {
    let system = System::start_with(|settings| {
        *settings = settings.replace("realm = \"test\"\n", "realm = \"test\"\nbody_seconds = 2\n");
    })
    .await;
    let started = Instant::now();
    let drip_head = async {
        let mut raw = Raw::open(&system).await;
        for byte in head(&system, "POST", ROUTE).bytes() {
            if !raw.send(&[byte]).await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        raw.answer().await
    };
    let drip_body = async {
        let mut raw = Raw::open(&system).await;
        let request = post(&system, ROUTE, "application/json", &[b' '; 1000]);
        let (start, rest) = request.split_at(request.len() - 1000);
        raw.send(start).await;
        for byte in rest.iter().take(25) {
            if !raw.send(&[*byte]).await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        raw.answer().await
    };
    let (head, body) = tokio::join!(drip_head, drip_body);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert!(head.is_none_or(|answer| answer.status == 408), "a head that drips in has no outcome");
    let body = body.unwrap();
    all_recorded(&system, &[refusal("body", (body.status, &body.body), (408, "body_timeout"))]).await;
    unharmed(&system).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_a_body_that_breaks_off_leaves_nothing() {
    let system = System::start().await;
    let payment = serde_json::to_vec(&system.payment("4242424242424242", "1.00")).unwrap();
    for cut in [1, payment.len() / 2, payment.len() - 1] {
        let mut raw = Raw::open(&system).await;
        let whole = post(&system, ROUTE, "application/json", &payment);
        raw.send(&whole[..whole.len() - cut]).await;
        drop(raw);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let broken = system.entries().await.iter().filter(|entry| entry["reason"] == "body_incomplete").count();
    assert_eq!(broken, 3, "each is recorded");
    unharmed(&system).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_h2_requests_that_hyper_would_never_send_are_refused() {
    let system = System::start().await;
    let stream = wire::raw_tls(&system.url, &system.path("tls/ca.pem"), &[b"h2"]).await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = |method: &str, path: &str| {
        http::Request::builder().method(method).uri(format!("https://localhost{path}"))
    };
    for (built, expected) in [
        (request("POST", ROUTE).header("expect", "100-continue"), 400),
        (request("TRACE", ROUTE), 405),
        (request("GET", "/v1/../keys"), 400),
        (request("GET", "/v1/keys").header("host", "other"), 400),
        (request("GET", "/v1/keys"), 401),
    ] {
        let response = sender.send_request(built.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
        assert_eq!(response.status(), expected);
    }
    // Connection headers, which hyper's own client would strip: preface, SETTINGS, HEADERS with literal fields.
    for (name, value) in [("connection", "close"), ("transfer-encoding", "chunked"), ("upgrade", "h2c")] {
        let mut block = vec![0x83, 0x87, 0x84];
        for (name, value) in [(":authority", "localhost"), (name, value)] {
            block.push(0);
            for text in [name, value] {
                block.push(u8::try_from(text.len()).unwrap());
                block.extend_from_slice(text.as_bytes());
            }
        }
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
        bytes.extend_from_slice(&[0, 0, u8::try_from(block.len()).unwrap(), 1, 0x05, 0, 0, 0, 1]);
        bytes.extend_from_slice(&block);
        let mut stream = wire::raw_tls(&system.url, &system.path("tls/ca.pem"), &[b"h2"]).await;
        stream.write_all(&bytes).await.unwrap();
        let mut answer = [0_u8; 4096];
        let _ = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut answer)).await;
    }
    unharmed(&system).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_service_goes_on_beside_half_open_and_a_thousand_idle_connections() {
    let system = System::start().await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(address(&system)).await.unwrap());
    }
    let mut idle = Vec::new();
    for _ in 0..50 {
        let twenty = (0..20)
            .map(|_| async { wire::raw_tls(&system.url, &system.path("tls/ca.pem"), &[b"http/1.1"]).await });
        idle.extend(futures_util::future::join_all(twenty).await);
    }
    assert_eq!(idle.len(), 1000);
    for _ in 0..20 {
        let started = Instant::now();
        let answer = system.post("portal", ROUTE, &system.payment("4242424242424242", "0.10")).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
    // Silent ones are closed by the gateway, not by us.
    tokio::time::sleep(Duration::from_secs(7)).await;
    for mut tcp in silent {
        let end = tokio::time::timeout(Duration::from_secs(2), tcp.read(&mut [0_u8; 1])).await;
        assert!(matches!(end, Ok(Ok(0) | Err(_))), "a connection without a handshake is still open");
    }
    drop(idle);
    assert!(once(&system, &post(&system, ROUTE, "application/json", b"{}")).await.is_some());
}
