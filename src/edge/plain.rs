//! Plain HTTP on the TLS port: one clear answer, then the end. Nothing of what was sent is read beyond its first byte,
//! for it travelled in the clear.

use crate::answer::{Answer, Code, Problem};
use std::time::Duration;
use tokens::RequestId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zeroize::Zeroize;

/// Whether what begins like this could be HTTP; anything else gets no answer.
pub(super) fn speaks_http(first: [u8; 1]) -> bool {
    first.iter().all(u8::is_ascii_alphabetic)
}

/// Tells an HTTP client that this port speaks TLS. Gives up after `linger`.
pub(super) async fn refuse(mut tcp: TcpStream, request: &RequestId, linger: Duration) {
    let answer = answer(request);
    let _ = tokio::time::timeout(linger, async {
        tcp.write_all(answer.as_slice()).await?;
        tcp.shutdown().await?;
        // Closing with unread bytes would reset the connection and lose the answer.
        let mut scrap = [0_u8; 1024];
        while tcp.read(&mut scrap).await? > 0 {
            scrap.zeroize();
        }
        std::io::Result::Ok(())
    })
    .await;
}

fn answer(request: &RequestId) -> Vec<u8> {
    let problem =
        Problem::new(Code::TlsRequired, "Use https://; whatever was sent in the clear is to be replaced");
    let answer = Answer::at_the_door(&problem, request);
    let mut bytes = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: {}\r\ncontent-length: {}\r\npangate-request-id: {}\r\n\
         cache-control: no-store\r\nconnection: close\r\n\r\n",
        answer.content_type(),
        answer.body().len(),
        request.as_str(),
    )
    .into_bytes();
    bytes.extend_from_slice(answer.body());
    bytes
}
