//! Beneath TLS: whoever reads from the socket and finds nothing gets its buffer wiped. rustls decrypts in place, and
//! without this the last request, card and all, would stay readable there for as long as the connection idles (P1).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(super) struct Wiped<S> {
    inner: S,
    /// Something was read since the last wipe.
    unwiped: bool,
}

impl<S> Wiped<S> {
    pub(super) fn new(inner: S) -> Wiped<S> {
        Wiped { inner, unwiped: false }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wiped<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_read(cx, buf);
        if outcome.is_ready() {
            self.unwiped = true;
        } else if self.unwiped {
            buf.initialize_unfilled().fill(0);
            self.unwiped = false;
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wiped<S> {
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

    #[tokio::test]
    async fn a_buffer_is_wiped_when_nothing_more_comes() {
        let (mut client, server) = duplex(64);
        let mut wiped = Wiped::new(server);
        client.write_all(b"a card").await.unwrap();
        let mut buffer = [0; 32];
        assert_eq!(wiped.read(&mut buffer).await.unwrap(), 6);
        assert_eq!(&buffer[..6], b"a card");
        let waiting = std::time::Duration::from_millis(20);
        assert!(tokio::time::timeout(waiting, wiped.read(&mut buffer)).await.is_err());
        assert_eq!(buffer, [0; 32]);
    }
}
