//! Follows the messages of one HTTP/1.1 connection byte by byte and says how far they are clear to be passed on.
//! Pure; the gate feeds it.

use super::head::{self, Length, Violation};

/// Bytes of one trailer section.
const TRAILER_BYTES: usize = 4096;

/// Where in the stream of messages we are.
#[derive(Debug)]
pub(super) struct Framing {
    state: State,
    lines: Lines,
    head_bytes: usize,
    headers: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Sized(u64),
    ChunkSize { size: u64, digits: u8 },
    ChunkSizeEnd(u64),
    ChunkData(u64),
    ChunkDataEnd { return_seen: bool },
    Trailers,
}

/// Progress through lines that end in CR LF.
#[derive(Debug, Default, Clone, Copy)]
struct Lines {
    scanned: usize,
    in_line: usize,
    lines: usize,
    return_seen: bool,
}

impl Framing {
    pub(super) fn new(head_bytes: usize, headers: usize) -> Framing {
        Framing { state: State::Head, lines: Lines::default(), head_bytes, headers }
    }

    /// Whether the next byte starts a new message.
    pub(super) fn between_messages(&self) -> bool {
        self.state == State::Head && self.lines.scanned == 0
    }

    /// Whether a head has begun and is not complete.
    pub(super) fn in_head(&self) -> bool {
        self.state == State::Head && self.lines.scanned > 0
    }

    /// Bytes of a sized body that are still to come; they need no looking at.
    pub(super) fn body_left(&self) -> u64 {
        if let State::Sized(left) = self.state { left } else { 0 }
    }

    /// Notes that so many bytes of a sized body went past.
    pub(super) fn passed(&mut self, bytes: usize) {
        if let State::Sized(left) = self.state {
            self.state = State::after(left.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX)));
        }
    }

    /// How many of the waiting bytes may be passed on, up to the end of a head or of a message. Zero asks for more;
    /// the same bytes are then offered again with what follows them.
    pub(super) fn clear(&mut self, waiting: &[u8]) -> Result<usize, Violation> {
        match self.state {
            State::Head => self.clear_head(waiting),
            State::Sized(left) => {
                let bytes = usize::try_from(left).unwrap_or(usize::MAX).min(waiting.len());
                self.passed(bytes);
                Ok(bytes)
            }
            _ => self.clear_chunks(waiting),
        }
    }

    fn clear_head(&mut self, waiting: &[u8]) -> Result<usize, Violation> {
        let complete = self.lines.scan(waiting, self.head_bytes, self.headers.saturating_add(1))?;
        if !complete {
            return Ok(0);
        }
        if self.lines.lines == 0 {
            return Err(Violation::RequestLine);
        }
        let end = std::mem::take(&mut self.lines).scanned;
        let head = waiting.get(..end).unwrap_or(waiting);
        self.state = match head::read(head)? {
            Length::Sized(left) => State::after(left),
            Length::Chunked => State::ChunkSize { size: 0, digits: 0 },
        };
        Ok(end)
    }

    fn clear_chunks(&mut self, waiting: &[u8]) -> Result<usize, Violation> {
        let mut cleared = 0;
        while let Some(rest) = waiting.get(cleared..).filter(|rest| !rest.is_empty()) {
            if let State::ChunkData(left) = self.state {
                let bytes = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                let left = left.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
                self.state = if left == 0 {
                    State::ChunkDataEnd { return_seen: false }
                } else {
                    State::ChunkData(left)
                };
                cleared += bytes;
            } else if self.state == State::Trailers {
                // Like a head, a trailer section is passed on whole.
                if cleared == 0 && self.lines.scan(rest, TRAILER_BYTES, self.headers)? {
                    cleared = std::mem::take(&mut self.lines).scanned;
                    self.state = State::Head;
                }
                return Ok(cleared);
            } else if let Some(byte) = rest.first() {
                self.state = self.state.chunk_byte(*byte)?;
                cleared += 1;
            }
        }
        Ok(cleared)
    }
}

impl State {
    fn after(left: u64) -> State {
        if left == 0 { State::Head } else { State::Sized(left) }
    }

    /// One byte of what stands around the chunks. Extensions are refused: nobody needs them, and parsers differ
    /// over where they end.
    fn chunk_byte(self, byte: u8) -> Result<State, Violation> {
        match (self, byte) {
            (State::ChunkSize { size, digits }, _) if byte.is_ascii_hexdigit() && digits < 12 => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                Ok(State::ChunkSize { size: size * 16 + u64::from(digit), digits: digits + 1 })
            }
            (State::ChunkSize { size, digits: 1.. }, b'\r') => Ok(State::ChunkSizeEnd(size)),
            (State::ChunkSizeEnd(0), b'\n') => Ok(State::Trailers),
            (State::ChunkSizeEnd(size), b'\n') => Ok(State::ChunkData(size)),
            (State::ChunkDataEnd { return_seen: false }, b'\r') => {
                Ok(State::ChunkDataEnd { return_seen: true })
            }
            (State::ChunkDataEnd { return_seen: true }, b'\n') => Ok(State::ChunkSize { size: 0, digits: 0 }),
            _ => Err(Violation::Chunk),
        }
    }
}

impl Lines {
    /// Goes on from where it stopped; true once a blank line ends the section.
    fn scan(&mut self, bytes: &[u8], most_bytes: usize, most_lines: usize) -> Result<bool, Violation> {
        for byte in bytes.iter().skip(self.scanned) {
            self.scanned += 1;
            if self.scanned > most_bytes {
                return Err(Violation::TooLarge);
            }
            match (byte, self.return_seen) {
                (b'\n', true) => {
                    self.return_seen = false;
                    if self.in_line == 0 {
                        return Ok(true);
                    }
                    self.lines += 1;
                    self.in_line = 0;
                    if self.lines > most_lines {
                        return Err(Violation::TooMany);
                    }
                }
                (b'\n', false) | (_, true) => return Err(Violation::LineEnd),
                (b'\r', false) => self.return_seen = true,
                (0, _) => return Err(Violation::Control),
                (b' ' | b'\t', _) if self.in_line == 0 => return Err(Violation::Folded),
                _ => self.in_line += 1,
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes the stream on in pieces of `step` bytes; returns the cleared segments.
    fn run(stream: &[u8], step: usize) -> Result<Vec<Vec<u8>>, Violation> {
        let mut framing = Framing::new(1024, 8);
        let (mut waiting, mut segments) = (Vec::new(), Vec::new());
        for piece in stream.chunks(step) {
            waiting.extend_from_slice(piece);
            loop {
                let bytes = framing.clear(&waiting)?;
                if bytes == 0 {
                    break;
                }
                segments.push(waiting.drain(..bytes).collect());
                if waiting.is_empty() {
                    break;
                }
            }
        }
        assert!(waiting.is_empty() && framing.between_messages(), "the stream is not complete");
        Ok(segments)
    }

    const TWO: &[u8] =
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const CHUNKED: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
        3\r\nabc\r\n00a\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n";

    #[test]
    fn messages_are_told_apart_however_they_are_cut() {
        for step in 1..TWO.len() {
            let all: Vec<u8> = run(TWO, step).unwrap().concat();
            assert_eq!(all, TWO);
            let all: Vec<u8> = run(&[CHUNKED, TWO, CHUNKED].concat(), step).unwrap().concat();
            assert_eq!(all, [CHUNKED, TWO, CHUNKED].concat());
        }
        let segments = run(TWO, TWO.len()).unwrap();
        assert_eq!(segments.iter().map(Vec::len).collect::<Vec<_>>(), [47, 3, 27]);
    }

    #[test]
    fn the_lenient_forms_are_refused_wherever_they_are_cut() {
        for (stream, expected) in [
            (&b"GET / HTTP/1.1\nHost: a\n\n"[..], Violation::LineEnd),
            (b"GET / HTTP/1.1\r\nHost: a\rX: 1\r\n\r\n", Violation::LineEnd),
            (b"GET / HTTP/1.1\r\nHost: a\0\r\n\r\n", Violation::Control),
            (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", Violation::Folded),
            (b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Violation::RequestLine),
            (
                b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc",
                Violation::Chunk,
            ),
            (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc", Violation::Chunk),
            (
                b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
                Violation::Chunk,
            ),
            (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", Violation::Chunk),
            (
                b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: 1\n\r\n",
                Violation::LineEnd,
            ),
        ] {
            for step in 1..stream.len() {
                assert_eq!(run(stream, step).unwrap_err(), expected, "{step}");
            }
        }
    }

    #[test]
    fn a_head_without_end_is_refused_at_its_limit() {
        let mut stream = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
        stream.resize(4096, b'x');
        assert_eq!(run(&stream, 100).unwrap_err(), Violation::TooLarge);
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "Host: a\r\n".repeat(9));
        assert_eq!(run(many.as_bytes(), 100).unwrap_err(), Violation::TooMany);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_stall_or_panic(stream: Vec<u8>, step in 1_usize..64) {
            let mut framing = Framing::new(256, 8);
            let mut waiting = Vec::new();
            'stream: for piece in stream.chunks(step) {
                waiting.extend_from_slice(piece);
                while let Ok(bytes) = framing.clear(&waiting) {
                    proptest::prop_assert!(bytes <= waiting.len());
                    waiting.drain(..bytes);
                    if bytes == 0 {
                        continue 'stream;
                    }
                }
                break;
            }
        }
    }
}
