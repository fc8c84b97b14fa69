//! Requests with two readings (rows 63, 64 and 69 of the adversarial list), byte for byte over TLS.

use super::bench::{code, door, quick, rest, soon, until};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt;

const HIDDEN: &str = "POST /hidden HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn p9_a_request_with_two_readings_is_refused_and_nothing_behind_it_is_read() {
    let door = door(quick()).await;
    for (what, head, expected) in [
        (
            "CL+TE",
            "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "ambiguous_request",
        ),
        (
            "TE+CL",
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
            "ambiguous_request",
        ),
        (
            "dup CL",
            "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
            "ambiguous_request",
        ),
        ("CL list", "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 0\r\n\r\n", "ambiguous_request"),
        ("CL sign", "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n", "ambiguous_request"),
        (
            "TE gzip",
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "ambiguous_request",
        ),
        (
            "TE twice",
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
            "ambiguous_request",
        ),
        ("obs-fold", "GET /x HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", "ambiguous_request"),
        ("bare LF", "GET /x HTTP/1.1\nHost: a\n\n", "ambiguous_request"),
        ("one bare LF", "GET /x HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", "ambiguous_request"),
        ("bare CR", "GET /x HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", "ambiguous_request"),
        ("NUL", "GET /x HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n", "ambiguous_request"),
        (
            "space before colon",
            "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n",
            "ambiguous_request",
        ),
        ("two hosts", "GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "ambiguous_request"),
        ("no host", "GET /x HTTP/1.1\r\n\r\n", "ambiguous_request"),
        ("other host", "GET https://b/x HTTP/1.1\r\nHost: a\r\n\r\n", "ambiguous_request"),
        ("blank line first", "\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n", "ambiguous_request"),
        ("two spaces", "GET  /x HTTP/1.1\r\nHost: a\r\n\r\n", "ambiguous_request"),
        ("fragment", "GET /x#y HTTP/1.1\r\nHost: a\r\n\r\n", "invalid_target"),
        ("dots", "GET /x/../y HTTP/1.1\r\nHost: a\r\n\r\n", "invalid_target"),
        ("hidden slash", "GET /x%2fy HTTP/1.1\r\nHost: a\r\n\r\n", "invalid_target"),
        ("1.0", "GET /x HTTP/1.0\r\nHost: a\r\n\r\n", "protocol_refused"),
        ("CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "protocol_refused"),
        (
            "upgrade",
            "GET /x HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            "protocol_refused",
        ),
        (
            "expect",
            "POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
            "protocol_refused",
        ),
        ("early data", "GET /x HTTP/1.1\r\nHost: a\r\nEarly-Data: 1\r\n\r\n", "protocol_refused"),
        ("TRACE", "TRACE /x HTTP/1.1\r\nHost: a\r\n\r\n", "method_not_allowed"),
        (
            "two types",
            "POST /x HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nContent-Type: c/d\r\nContent-Length: 0\r\n\r\n",
            "ambiguous_request",
        ),
        (
            "two keys",
            "POST /x HTTP/1.1\r\nHost: a\r\nIdempotency-Key: a\r\nIdempotency-Key: b\r\nContent-Length: 0\r\n\r\n",
            "ambiguous_request",
        ),
        (
            "two identities",
            "POST /x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\nContent-Length: 0\r\n\r\n",
            "ambiguous_request",
        ),
    ] {
        let answer = door.send(format!("{head}{HIDDEN}").as_bytes()).await;
        assert_eq!(code(&answer), expected, "{what}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 4").count(), 1, "{what}: {answer}");
        assert!(
            answer.contains("pangate-request-id: req_") && answer.contains("connection: close"),
            "{what}: {answer}"
        );
        assert_eq!(door.begun(), 0, "{what}");
    }
}

#[tokio::test]
async fn honest_pipelined_requests_are_answered_in_order_and_garbage_behind_them_is_refused() {
    let door = door(quick()).await;
    let bytes = "POST /one HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
        POST /two HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n\
        \u{1}\u{2}garbage\r\n\r\nGET /three HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = door.send(bytes.as_bytes()).await;
    let one = answer.find("POST /one Some(Ok(3))").expect(&answer);
    let two = answer.find("POST /two Some(Ok(4))").expect(&answer);
    assert!(one < two && code(&answer) == "ambiguous_request", "{answer}");
    assert_eq!(door.begun(), 2);
}

#[tokio::test]
async fn a_chunk_with_two_readings_breaks_the_body_off() {
    let door = door(quick()).await;
    for chunks in [
        "3;x=\"\r\nabc\r\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
    ] {
        let head = "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answer = door.send(format!("{head}{chunks}{HIDDEN}").as_bytes()).await;
        assert!(
            code(&answer) == "ambiguous_request" || answer.contains("Some(Err(InboundError))"),
            "{answer}"
        );
        assert!(!answer.contains("/hidden") && !answer.contains("Some(Ok("), "{answer}");
    }
}

#[tokio::test]
async fn a_body_larger_than_the_buffers_arrives_whole_in_both_framings() {
    let door = door(quick()).await;
    let body = vec![b'x'; 300_000];
    let mut stream = door.connect(&["http/1.1"]).await;
    for _ in 0..2 {
        stream.write_all(b"POST /sized HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n").await.unwrap();
        stream.write_all(&body).await.unwrap();
        assert!(until(&mut stream, "TLSv1_3").await.contains("Some(Ok(300000))"));
        stream
            .write_all(b"POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await
            .unwrap();
        for chunk in body.chunks(30_000) {
            stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await.unwrap();
            stream.write_all(chunk).await.unwrap();
            stream.write_all(b"\r\n").await.unwrap();
        }
        stream.write_all(b"0\r\n\r\n").await.unwrap();
        assert!(until(&mut stream, "TLSv1_3").await.contains("Some(Ok(300000))"));
    }
}

#[tokio::test]
async fn an_answer_is_not_lost_when_the_body_was_never_read() {
    let door = door(quick()).await;
    for _ in 0..20 {
        let mut stream = door.connect(&["http/1.1"]).await;
        stream.write_all(b"TRACE /x HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n").await.unwrap();
        let _ = stream.write_all(&vec![b'x'; 400_000]).await;
        let answer = rest(&mut stream).await;
        assert_eq!(code(&answer), "method_not_allowed", "{answer}");
        assert!(answer.contains("allow: GET, HEAD, POST"), "{answer}");
    }
}

#[tokio::test]
async fn http2_holds_the_same_line() {
    let door = door(quick()).await;
    let stream = door.connect(&["h2"]).await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request =
        |method: &str, path: &str| Request::builder().method(method).uri(format!("https://localhost{path}"));
    for (built, expected) in [
        (request("GET", "/x"), 200),
        (request("POST", "/x").header("expect", "100-continue"), 400),
        (request("TRACE", "/x"), 405),
        (request("GET", "/x/../y"), 400),
        (request("GET", "/x").header("host", "other"), 400),
        (request("POST", "/x").header("authorization", "Bearer a").header("authorization", "Bearer b"), 400),
        (request("GET", "/y"), 200),
    ] {
        let response =
            soon(sender.send_request(built.body(Full::<Bytes>::default()).unwrap())).await.unwrap();
        assert_eq!(response.status(), expected);
    }
}

#[tokio::test]
async fn http2_requests_with_connection_headers_are_reset() {
    let door = door(quick()).await;
    // Connection preface, SETTINGS, then HEADERS with literal fields: hyper's own client would strip them.
    for field in [("connection", "close"), ("transfer-encoding", "chunked"), ("upgrade", "h2c")] {
        let mut block = vec![0x83, 0x87, 0x84];
        for (name, value) in [(":authority", "localhost"), field] {
            block.push(0);
            for text in [name, value] {
                block.push(u8::try_from(text.len()).unwrap());
                block.extend_from_slice(text.as_bytes());
            }
        }
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
        bytes.extend_from_slice(&[0, 0, u8::try_from(block.len()).unwrap(), 1, 0x05, 0, 0, 0, 1]);
        bytes.extend_from_slice(&block);
        let mut stream = door.connect(&["h2"]).await;
        stream.write_all(&bytes).await.unwrap();
        rest(&mut stream).await;
        assert_eq!(door.begun(), 0, "{field:?}");
    }
}

#[tokio::test]
async fn http2_bodies_arrive_whole_with_pauses_between_them() {
    let door = door(quick()).await;
    let stream = door.connect(&["h2"]).await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for length in [1, 200, 9_000, 300_000, 3] {
        let body = Full::new(Bytes::from(vec![b'x'; length]));
        let response = soon(sender.send_request(Request::post("https://localhost/x").body(body).unwrap()))
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        let size = http_body::Body::size_hint(response.body()).exact();
        // The answer ends in the length that was read, so its own length tells whether all of it was.
        let expected = format!("POST /x {:?} TLSv1_3", Some(Ok::<usize, ()>(length))).len();
        assert_eq!(size, u64::try_from(expected).ok());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
