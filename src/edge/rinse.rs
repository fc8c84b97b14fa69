//! Between TLS and the HTTP/2 parser: after a body went through and the peer falls silent, rinses the parser's buffer.
//! That buffer is used from front to back, so the last body would stay readable in it while the connection idles
//! (P1). A frame of a type that nobody knows, which RFC 9113 §4.1 tells every parser to discard, fills it to its
//! end; the parser then starts again from the front, and the front is wiped.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const PREFACE: usize = 24;
const HEADER: usize = 9;
/// Types and a flag of RFC 9113 §6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
/// An extension type (RFC 9113 §5.5).
const UNKNOWN: u8 = 0xfa;

pub(super) struct Rinse<S> {
    inner: S,
    frames: Frames,
    /// What is still to be passed on of a rinsing frame.
    rinsing: Vec<u8>,
    /// A body went through, and no rinsing frame after it.
    used: bool,
    /// A rinsing frame went through, and the buffer that came after it was not wiped.
    unwiped: bool,
}

/// Follows the frames, to know where one ends.
struct Frames {
    skip: usize,
    header: [u8; HEADER],
    have: usize,
    in_headers: bool,
}

impl<S> Rinse<S> {
    pub(super) fn new(inner: S) -> Rinse<S> {
        let frames = Frames { skip: PREFACE, header: [0; HEADER], have: 0, in_headers: false };
        Rinse { inner, frames, rinsing: Vec::new(), used: false, unwiped: false }
    }
}

impl Frames {
    /// Whether a frame of ours may stand here: between frames, and not within a header block.
    fn between(&self) -> bool {
        self.skip == 0 && self.have == 0 && !self.in_headers
    }

    /// Follows what the peer sent; true when it held part of a body.
    fn follow(&mut self, mut bytes: &[u8]) -> bool {
        let mut body = false;
        while let Some((first, rest)) = bytes.split_first() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            if let Some(place) = self.header.get_mut(self.have) {
                *place = *first;
            }
            self.have += 1;
            bytes = rest;
            if self.have == HEADER {
                self.have = 0;
                let [high, middle, low, kind, flags, ..] = self.header;
                self.skip = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                body |= kind == DATA && self.skip > 0;
                if kind == HEADERS || kind == CONTINUATION {
                    self.in_headers = flags & END_HEADERS == 0;
                }
            }
        }
        body
    }
}

/// A frame that fills `room` bytes, or the smallest one there is.
fn filler(room: usize) -> Vec<u8> {
    let length = room.saturating_sub(HEADER).min(16 * 1024);
    let [_, high, middle, low] = u32::try_from(length).unwrap_or(0).to_be_bytes();
    let mut frame = vec![high, middle, low, UNKNOWN, 0, 0, 0, 0, 0];
    frame.resize(HEADER + length, 0);
    frame
}

impl<S: AsyncRead + Unpin> AsyncRead for Rinse<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.rinsing.is_empty() {
            let before = buf.filled().len();
            let outcome = Pin::new(&mut this.inner).poll_read(cx, buf);
            if outcome.is_ready() {
                let body = this.frames.follow(buf.filled().get(before..).unwrap_or_default());
                this.used |= body;
                return outcome;
            }
            if this.unwiped {
                buf.initialize_unfilled().fill(0);
                this.unwiped = false;
            }
            if !this.used || !this.frames.between() {
                return outcome;
            }
            this.rinsing = filler(buf.remaining());
            this.used = false;
        }
        let length = this.rinsing.len().min(buf.remaining());
        buf.put_slice(this.rinsing.get(..length).unwrap_or_default());
        this.rinsing.drain(..length);
        this.unwiped = true;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rinse<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    async fn after(sent: &[u8]) -> Vec<u8> {
        let (mut client, server) = duplex(1024);
        let mut rinse = Rinse::new(server);
        client.write_all(&[b'p'; PREFACE]).await.unwrap();
        client.write_all(sent).await.unwrap();
        let mut seen = vec![0; PREFACE + sent.len()];
        rinse.read_exact(&mut seen).await.unwrap();
        let mut room = [1; 64];
        let waiting = std::time::Duration::from_millis(20);
        match tokio::time::timeout(waiting, rinse.read(&mut room)).await {
            Ok(length) => room[..length.unwrap()].to_vec(),
            Err(_) => Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_silent_peer_after_a_body_gets_the_buffer_rinsed_at_a_frames_end() {
        let rinsing = after(&[0, 0, 2, DATA, 1, 0, 0, 0, 1, b'4', b'1']).await;
        assert_eq!(rinsing.len(), 64);
        assert_eq!(rinsing[..9], [0, 0, 55, UNKNOWN, 0, 0, 0, 0, 0]);
    }

    #[tokio::test]
    async fn nothing_is_put_inside_a_frame_or_a_header_block_or_where_no_body_was() {
        assert!(after(&[0, 0, 2, DATA, 1, 0, 0, 0, 1, b'4']).await.is_empty());
        assert!(after(&[0, 0, 1, HEADERS, 4, 0, 0, 0, 1, 0x82]).await.is_empty());
        let body_then_open_block =
            [0, 0, 1, DATA, 1, 0, 0, 0, 1, b'4', 0, 0, 1, HEADERS, 0, 0, 0, 0, 3, 0x82];
        assert!(after(&body_then_open_block).await.is_empty());
    }
}
