//! Frames by hand, as a peer that is no client of ours could send them.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The version every frame carries.
pub(crate) const VERSION: u8 = 2;

/// The body of a login.
pub(crate) fn login_body(account: &str, pin: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for part in [account, pin] {
        body.extend_from_slice(&u16::try_from(part.len()).unwrap().to_be_bytes());
        body.extend_from_slice(part.as_bytes());
    }
    body
}

/// One frame, with its length.
pub(crate) fn frame(version: u8, id: u32, code: u8, body: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(6 + body.len()).unwrap().to_be_bytes().to_vec();
    out.push(version);
    out.extend_from_slice(&id.to_be_bytes());
    out.push(code);
    out.extend_from_slice(body);
    out
}

/// Sends a frame and reads one reply, without its length.
pub(crate) fn exchange(stream: &mut UnixStream, frame: &[u8]) -> Vec<u8> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(frame).unwrap();
    let mut len = [0; 4];
    stream.read_exact(&mut len).unwrap();
    let mut reply = vec![0; usize::try_from(u32::from_be_bytes(len)).unwrap()];
    stream.read_exact(&mut reply).unwrap();
    reply
}
