//! Stands between TLS and the HTTP/1.1 parser, which is lenient: passes on one clear segment at a time, replaces the
//! first bytes that break the rules by a refusal, times heads, and lingers when the connection closes.

use super::Limits;
use super::framing::Framing;
use super::head::Violation;
use http::header::HOST;
use http::request::Parts;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use zeroize::Zeroize;

/// Told to the service instead of the request that broke the rules; it then answers in the right order, after the
/// requests before it.
pub(super) type Verdict = Arc<OnceLock<Violation>>;

/// What the parser sees instead of a head that was refused.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";
/// Whether this is what the parser was given in place of a refused head.
pub(super) fn is_stand_in(parts: &Parts) -> bool {
    parts.uri.path() == "/" && parts.headers.get(HOST).is_some_and(|host| host == "refused")
}

/// Bytes of one read.
const READ: usize = 8 * 1024;
/// Most bytes passed on at once. Below hyper's own step, so that its buffer never grows and is used again from its
/// start, where [`Gate::rest`] wipes it.
const PASS: usize = READ - 1;

pub(super) struct Gate<S> {
    inner: S,
    framing: Framing,
    /// Bytes that arrived and were not passed on: `..clear` may be, the rest waits for judgement.
    waiting: Vec<u8>,
    passed: usize,
    clear: usize,
    verdict: Verdict,
    timer: Pin<Box<Sleep>>,
    timing: bool,
    unwiped: bool,
    closing: Option<Pin<Box<Sleep>>>,
    head: Duration,
    linger: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Gate<S> {
    pub(super) fn new(inner: S, limits: &Limits, verdict: Verdict) -> Gate<S> {
        Gate {
            inner,
            framing: Framing::new(limits.head_bytes, limits.headers),
            waiting: Vec::new(),
            passed: 0,
            clear: 0,
            verdict,
            timer: Box::pin(tokio::time::sleep(limits.head)),
            timing: false,
            unwiped: false,
            closing: None,
            head: limits.head,
            linger: limits.linger,
        }
    }

    /// Passes on what is clear. False when nothing is.
    fn pass(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let end = self.clear.min(self.passed.saturating_add(PASS.min(buf.remaining())));
        let Some(bytes) = self.waiting.get(self.passed..end).filter(|bytes| !bytes.is_empty()) else {
            return false;
        };
        buf.put_slice(bytes);
        self.passed = end;
        if self.passed == self.waiting.len() {
            // It may have held a card number.
            self.waiting.zeroize();
            self.waiting = Vec::new();
            (self.passed, self.clear) = (0, 0);
        }
        true
    }

    /// Judges what waits. True when something became clear.
    fn judge(&mut self) -> Result<bool, Violation> {
        let unjudged = self.waiting.get(self.clear..).unwrap_or_default();
        if unjudged.is_empty() {
            return Ok(false);
        }
        let bytes = self.framing.clear(unjudged)?;
        self.clear += bytes;
        Ok(bytes > 0)
    }

    fn refuse(&mut self, violation: Violation) -> io::Result<()> {
        let in_head = self.framing.in_head() || self.framing.between_messages();
        let _ = self.verdict.set(violation);
        self.waiting.zeroize();
        if !in_head {
            // In the middle of a body: its reader gets an error, and answers.
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.waiting = STAND_IN.to_vec();
        (self.passed, self.clear) = (0, self.waiting.len());
        Ok(())
    }

    /// Reads a sized body straight into the caller's buffer: no copy of it stays here.
    fn read_through(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        left: u64,
    ) -> Poll<io::Result<()>> {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(PASS).min(buf.remaining());
        let mut window = ReadBuf::new(buf.initialize_unfilled_to(most));
        std::task::ready!(Pin::new(&mut self.inner).poll_read(cx, &mut window))?;
        let bytes = window.filled().len();
        buf.advance(bytes);
        self.framing.passed(bytes);
        self.unwiped = true;
        Poll::Ready(Ok(()))
    }

    /// Reads more into `waiting`. Zero is the end of the stream.
    fn read_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let before = self.waiting.len();
        self.waiting.resize(before + READ, 0);
        let mut window = ReadBuf::new(self.waiting.get_mut(before..).unwrap_or_default());
        let outcome = Pin::new(&mut self.inner).poll_read(cx, &mut window);
        let bytes = window.filled().len();
        self.waiting.truncate(before + bytes);
        outcome.map_ok(|()| bytes)
    }

    /// Nothing to read: wipes the parser's buffer between messages and watches the clock within a head. Idling is
    /// timed by the connection, which knows whether a request is under way.
    fn rest(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.unwiped && self.framing.between_messages() {
            // The last body stood in this buffer, and the connection may idle for a minute.
            buf.initialize_unfilled().zeroize();
            self.unwiped = false;
        }
        if !self.framing.in_head() {
            return Poll::Pending;
        }
        if !self.timing {
            self.timer.as_mut().reset(Instant::now() + self.head);
            self.timing = true;
        }
        self.timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gate<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.pass(buf) {
                return Poll::Ready(Ok(()));
            }
            if this.verdict.get().is_some() {
                // The connection ends when the refusal is written; an end of stream here would cut it off.
                return Poll::Pending;
            }
            match this.judge() {
                Ok(true) => {
                    this.timing = false;
                    this.unwiped = true;
                    continue;
                }
                Ok(false) => {}
                Err(violation) => {
                    this.refuse(violation)?;
                    continue;
                }
            }
            let left = this.framing.body_left();
            if left > 0 && this.waiting.is_empty() {
                return this.read_through(cx, buf, left);
            }
            match this.read_more(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return this.rest(cx, buf),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    /// Says goodbye, then reads on for a moment: closing a socket with unread bytes resets it, and the reset would
    /// overtake the answer that says what was wrong.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.closing.is_none() {
            std::task::ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
        }
        let linger = this.linger;
        let closing = this.closing.get_or_insert_with(|| Box::pin(tokio::time::sleep(linger)));
        loop {
            if closing.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut scrap = [0_u8; 4096];
            let mut window = ReadBuf::new(&mut scrap);
            let outcome = Pin::new(&mut this.inner).poll_read(cx, &mut window);
            let ended = window.filled().is_empty();
            scrap.zeroize();
            match outcome {
                Poll::Ready(Ok(())) if !ended => {}
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test]
    async fn nothing_behind_a_violation_is_passed_on() {
        let (mut client, server) = duplex(1024);
        let verdict = Verdict::default();
        let mut gate = Gate::new(server, &Limits::default(), Arc::clone(&verdict));
        client
            .write_all(b"GET /a HTTP/1.1\nHost: a\n\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        let mut seen = vec![0; STAND_IN.len()];
        gate.read_exact(&mut seen).await.unwrap();
        assert_eq!(seen, STAND_IN);
        assert_eq!(verdict.get(), Some(&Violation::LineEnd));
        let more = tokio::time::timeout(Duration::from_millis(50), gate.read_u8()).await;
        assert!(more.is_err());
    }

    #[tokio::test]
    async fn a_message_is_never_passed_on_together_with_the_next() {
        let (mut client, server) = duplex(1024);
        let mut gate = Gate::new(server, &Limits::default(), Verdict::default());
        let post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
        client.write_all(&[&post[..], b"abc", &post[..]].concat()).await.unwrap();
        let mut buffer = [0; 4096];
        for length in [post.len(), 3, post.len()] {
            assert_eq!(gate.read(&mut buffer).await.unwrap(), length);
        }
    }

    #[tokio::test]
    async fn the_parsers_buffer_is_wiped_before_the_connection_idles() {
        let (mut client, server) = duplex(1024);
        let mut gate = Gate::new(server, &Limits::default(), Verdict::default());
        client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").await.unwrap();
        let mut buffer = [0; 256];
        let head = gate.read(&mut buffer).await.unwrap();
        assert_eq!(gate.read(&mut buffer).await.unwrap(), 3);
        assert!(head > 3 && buffer.iter().any(|b| *b != 0));
        assert!(tokio::time::timeout(Duration::from_millis(20), gate.read(&mut buffer)).await.is_err());
        assert_eq!(buffer, [0; 256]);
    }
}
