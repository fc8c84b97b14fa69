//! Frames on a stream: cut out of what arrives, with a bound on size and a deadline on the whole frame, so that a
//! peer that drips bytes holds a connection no longer than one that is silent. Kept out: what frames say.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use zeroize::{Zeroize, Zeroizing};

use super::codec::{Malformed, Reader, Writer};
use super::{MAX_FRAME, VERSION};

const LENGTH: usize = 4;
/// Version, request id, code.
const HEAD: usize = 6;

/// One frame, taken apart but not understood.
pub(crate) struct Frame<'a> {
    pub(crate) id: u32,
    pub(crate) code: u8,
    pub(crate) body: &'a [u8],
}

/// Why no frame could be read.
#[derive(Debug)]
pub(crate) enum FrameError {
    /// The peer closed between frames.
    Closed,
    /// Too long, too short, or of another version.
    Malformed,
    /// Nothing, or not all of it, came in time.
    TimedOut,
    /// The stream broke.
    Broken,
}

impl From<Malformed> for FrameError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// A frame with room for its length, ready to be filled and sent.
pub(crate) fn start(id: u32, code: u8, body_size: usize) -> Writer {
    let mut out = Writer::with_capacity(LENGTH + HEAD + body_size);
    out.u32(0);
    out.u8(VERSION);
    out.u32(id);
    out.u8(code);
    out
}

/// Sends a frame made by [`start`], in one write, so that the peer wakes once.
pub(crate) fn send(stream: &mut UnixStream, mut frame: Writer) -> io::Result<()> {
    let len = frame.len().saturating_sub(LENGTH);
    let sent = u32::try_from(len).ok().filter(|_| len <= MAX_FRAME);
    frame.set_head(sent.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?.to_be_bytes());
    stream.write_all(frame.as_slice())
}

/// Cuts frames out of a stream. The buffer may hold what is to be fingerprinted, so it is wiped after every frame.
pub(crate) struct FrameReader {
    buffer: Zeroizing<Vec<u8>>,
    filled: usize,
    timeout: Option<Duration>,
}

impl FrameReader {
    pub(crate) fn new() -> Self {
        Self { buffer: Zeroizing::new(vec![0; LENGTH + MAX_FRAME]), filled: 0, timeout: None }
    }

    /// Waits up to `idle` for a frame to begin and up to `whole` for the rest of it, and hands it to `act`.
    pub(crate) fn next<T>(
        &mut self,
        stream: &mut UnixStream,
        idle: Duration,
        whole: Duration,
        act: impl FnOnce(Frame<'_>) -> T,
    ) -> Result<T, FrameError> {
        let mut deadline = Instant::now() + if self.filled == 0 { idle } else { whole };
        let end = loop {
            if let Some(end) = self.frame_end()? {
                break end;
            }
            let begun = self.filled > 0;
            self.fill(stream, deadline)?;
            if !begun {
                deadline = Instant::now() + whole;
            }
        };
        let outcome = self.buffer.get(LENGTH..end).ok_or(Malformed).and_then(parse).map(act);
        self.consume(end);
        Ok(outcome?)
    }

    fn frame_end(&self) -> Result<Option<usize>, FrameError> {
        let Some(arrived) = self.buffer.get(..self.filled) else { return Err(FrameError::Malformed) };
        let Some((head, _)) = arrived.split_first_chunk::<LENGTH>() else { return Ok(None) };
        let len = usize::try_from(u32::from_be_bytes(*head)).map_err(|_| FrameError::Malformed)?;
        if !(HEAD..=MAX_FRAME).contains(&len) {
            return Err(FrameError::Malformed);
        }
        let end = LENGTH + len;
        Ok((self.filled >= end).then_some(end))
    }

    fn fill(&mut self, stream: &mut UnixStream, deadline: Instant) -> Result<(), FrameError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(FrameError::TimedOut);
        }
        // A timeout that is nearly right is left alone: setting it costs a system call on every frame.
        let near = self.timeout.is_some_and(|set| set <= left.saturating_mul(2) && set >= left / 2);
        if !near {
            stream.set_read_timeout(Some(left)).map_err(|_| FrameError::Broken)?;
            self.timeout = Some(left);
        }
        let Some(space) = self.buffer.get_mut(self.filled..) else { return Err(FrameError::Malformed) };
        match stream.read(space) {
            Ok(0) if self.filled == 0 => Err(FrameError::Closed),
            Ok(0) => Err(FrameError::Broken),
            Ok(count) => {
                self.filled += count;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Err(FrameError::TimedOut)
            }
            Err(_) => Err(FrameError::Broken),
        }
    }

    fn consume(&mut self, end: usize) {
        let filled = self.filled.min(self.buffer.len());
        self.buffer.copy_within(end.min(filled)..filled, 0);
        let left = filled.saturating_sub(end);
        if let Some(used) = self.buffer.get_mut(left..filled) {
            used.zeroize();
        }
        self.filled = left;
    }
}

fn parse(payload: &[u8]) -> Result<Frame<'_>, Malformed> {
    let (head, body) = payload.split_at_checked(HEAD).ok_or(Malformed)?;
    let mut head = Reader::new(head);
    if head.u8()? != VERSION {
        return Err(Malformed);
    }
    Ok(Frame { id: head.u32()?, code: head.u8()?, body })
}
