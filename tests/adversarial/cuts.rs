//! A number that straddles a boundary: of chunks, of DATA frames, of TLS records. The sweep sees whole messages, so no
//! cut hides one. The gateway ends a connection that carried a stray number, so each cut has a connection of its own.

use crate::rows::{ROUTE, open_payment, read};
use crate::support::raw::{Raw, head};
use crate::support::{System, wire};
use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;

fn body(system: &System) -> Vec<u8> {
    format!("{},\"note\":\"pay with 4111 1111-1111.1111\"}}", open_payment(system)).into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn p2_a_number_cut_at_any_chunk_or_record_boundary_is_found() {
    let system = System::start().await;
    let body = body(&system);
    let chunked = format!(
        "{}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        head(&system, "POST", ROUTE)
    );
    let sized = format!(
        "{}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        head(&system, "POST", ROUTE),
        body.len()
    );
    for cut in 1..body.len() {
        let (first, second) = body.split_at(cut);
        let chunk = |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        let last = [chunk(second).as_slice(), b"0\r\n\r\n"].concat();
        for (head, pieces) in [(&chunked, [chunk(first), last]), (&sized, [first.to_vec(), second.to_vec()])]
        {
            let mut raw = Raw::open(&system).await;
            raw.send(head.as_bytes()).await;
            for piece in &pieces {
                assert!(raw.send(piece).await, "cut at {cut}");
            }
            let answer = raw.answer().await.unwrap_or_else(|| panic!("no answer, cut at {cut}"));
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (400, "stray_pan"),
                "cut at {cut}: {}",
                answer.body
            );
            assert!(answer.head.to_ascii_lowercase().contains("connection: close"), "{}", answer.head);
        }
    }
    assert_eq!(system.companion_messages(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn p2_a_number_cut_at_any_frame_boundary_of_http_2_is_found() {
    let system = System::start().await;
    let body = body(&system);
    for cut in 1..body.len() {
        let stream = wire::raw_tls(&system.url, &system.path("tls/ca.pem"), &[b"h2"]).await;
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let (first, second) = body.split_at(cut);
        let frames =
            [first, second].map(|part| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(part))));
        let request = http::Request::post(format!("https://localhost{ROUTE}"))
            .header("authorization", format!("Bearer {}", system.key("portal")))
            .header("content-type", "application/json")
            .body(StreamBody::new(futures_util::stream::iter(frames)))
            .unwrap();
        let answer =
            sender.send_request(request).await.unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        let (status, code, text) = read(answer).await;
        assert_eq!((status, code.as_str()), (400, "stray_pan"), "cut at {cut}: {text}");
    }
    assert_eq!(system.companion_messages(), 0);
}
