//! What is spoken before HTTP: plain text, old versions, nonsense; and certificates that change under way.

use super::bench::{certificates, code, door, quick, rest, until};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const GET: &[u8] = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn plain_http_on_the_tls_port_is_told_so() {
    let door = door(quick()).await;
    let mut tcp = TcpStream::connect(door.addr).await.unwrap();
    tcp.write_all(b"POST /portal/payments HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
        .await
        .unwrap();
    tcp.write_all(&vec![b'x'; 100_000]).await.unwrap();
    let answer = rest(&mut tcp).await;
    assert!(answer.starts_with("HTTP/1.1 400") && code(&answer) == "tls_required", "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
}

#[tokio::test]
async fn nonsense_on_the_tls_port_is_closed() {
    let door = door(quick()).await;
    for bytes in [
        &[0_u8; 64][..],
        b"\x80\x2e\x01\x03\x01",
        b"\x16\x03\x01\xff\xff\xff\xff",
        b"\x16\x03\x01\0\x05hello",
    ] {
        let mut tcp = TcpStream::connect(door.addr).await.unwrap();
        tcp.write_all(bytes).await.unwrap();
        let answer = rest(&mut tcp).await;
        assert!(!answer.contains("HTTP"), "{answer}");
    }
    assert_eq!(door.begun(), 0);
}

#[tokio::test]
async fn tls_1_1_is_refused_with_an_alert() {
    let door = door(quick()).await;
    // ClientHello of TLS 1.1 with one RSA and one ECDHE suite, no extensions.
    let mut hello = vec![3, 2];
    hello.extend_from_slice(&[7; 32]);
    hello.extend_from_slice(&[0, 0, 4, 0x00, 0x2f, 0xc0, 0x13, 1, 0]);
    let mut bytes = vec![0x16, 3, 1, 0, u8::try_from(hello.len() + 4).unwrap(), 1, 0, 0];
    bytes.push(u8::try_from(hello.len()).unwrap());
    bytes.extend_from_slice(&hello);
    let mut tcp = TcpStream::connect(door.addr).await.unwrap();
    tcp.write_all(&bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(
        Duration::from_secs(5),
        tokio::io::AsyncReadExt::read_to_end(&mut tcp, &mut answer),
    )
    .await;
    assert_eq!(answer.first(), Some(&0x15), "an alert record");
    assert_eq!(answer.get(5), Some(&2), "fatal");
}

#[tokio::test]
async fn the_key_exchange_is_post_quantum_by_default() {
    let door = door(quick()).await;
    let stream = door.connect(&["h2", "http/1.1"]).await;
    let session = stream.get_ref().1;
    assert_eq!(session.negotiated_key_exchange_group().unwrap().name(), rustls::NamedGroup::X25519MLKEM768);
    assert_eq!(session.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(session.alpn_protocol(), Some(&b"h2"[..]));
}

#[tokio::test]
async fn a_client_without_alpn_gets_http_1_1() {
    let door = door(quick()).await;
    let mut stream = door.connect(&[]).await;
    stream.write_all(GET).await.unwrap();
    until(&mut stream, "GET /x Some(Ok(0))").await;
}

#[tokio::test]
async fn a_client_that_does_not_know_the_authority_does_not_talk() {
    let door = door(quick()).await;
    let tls = pangate::edge::client_config(&certificates().chain).unwrap();
    let tcp = TcpStream::connect(door.addr).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    assert!(tokio_rustls::TlsConnector::from(std::sync::Arc::new(tls)).connect(name, tcp).await.is_err());
}
