//! The grammar of an HTTP/1.1 head, strict (RFC 9112): what two parsers could read in two ways is refused before
//! the lenient parser behind us sees it. Pure; knows no sockets.

use crate::answer::{Code, Problem};

/// How the body of a request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// After that many bytes.
    Sized(u64),
    /// With a chunk of size zero.
    Chunked,
}

/// What is wrong with the bytes. Holds none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Violation {
    /// A line ends in LF or CR alone.
    LineEnd,
    /// A NUL or another control byte.
    Control,
    /// A header line that starts with a space (obs-fold).
    Folded,
    /// Not `METHOD SP target SP HTTP/1.1`.
    RequestLine,
    /// The target holds a byte that no target has, or a fragment.
    Target,
    /// Another version.
    Version,
    /// Not `name: value`.
    Field,
    /// `Content-Length` twice, or none that is a plain number.
    ContentLength,
    /// `Transfer-Encoding` twice, or other than `chunked`.
    TransferEncoding,
    /// `Content-Length` and `Transfer-Encoding` together.
    BothLengths,
    /// No `Host`, or several.
    Host,
    /// A chunk line that is no plain hex number.
    Chunk,
    /// The head or the trailers are too large.
    TooLarge,
    /// Too many header lines.
    TooMany,
}

impl Violation {
    /// The problem that the caller is told.
    pub(super) fn problem(self) -> Problem {
        let ambiguous = |detail| Problem::new(Code::AmbiguousRequest, detail);
        match self {
            Violation::LineEnd => ambiguous("End every line of the head with CR LF"),
            Violation::Control => ambiguous("Send no control bytes in the head"),
            Violation::Folded => ambiguous("Send each header on one line"),
            Violation::RequestLine => ambiguous("Start with METHOD, one space, target, one space, HTTP/1.1"),
            Violation::Target => {
                Problem::new(Code::InvalidTarget, "Send a target of printable ASCII without a fragment")
            }
            Violation::Version => Problem::new(Code::ProtocolRefused, "Use HTTP/1.1 or HTTP/2"),
            Violation::Field => {
                ambiguous("Send headers as name, colon, value, without a space before the colon")
            }
            Violation::ContentLength => {
                ambiguous("Send one Content-Length, a plain number").at("content-length")
            }
            Violation::TransferEncoding => {
                ambiguous("Send at most one Transfer-Encoding, chunked").at("transfer-encoding")
            }
            Violation::BothLengths => {
                ambiguous("Send Content-Length or Transfer-Encoding, not both").at("content-length")
            }
            Violation::Host => ambiguous("Send exactly one Host").at("host"),
            Violation::Chunk => ambiguous("Send chunk sizes as plain hex numbers without extensions"),
            Violation::TooLarge => Problem::new(Code::HeadersTooLarge, "Send a smaller header section"),
            Violation::TooMany => Problem::new(Code::HeadersTooLarge, "Send fewer headers"),
        }
    }
}

/// Reads a complete head, blank line included, whose line ends were checked.
pub(super) fn read(head: &[u8]) -> Result<Length, Violation> {
    let mut lines = head.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    request_line(lines.next().unwrap_or_default())?;
    let (mut hosts, mut length, mut chunked) = (0_u8, None, false);
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = field(line)?;
        if name.eq_ignore_ascii_case(b"host") {
            hosts = hosts.saturating_add(1);
        } else if name.eq_ignore_ascii_case(b"content-length") {
            if length.is_some() {
                return Err(Violation::ContentLength);
            }
            length = Some(content_length(value)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Violation::TransferEncoding);
            }
            chunked = true;
        }
    }
    match (hosts, chunked, length) {
        (_, true, Some(_)) => Err(Violation::BothLengths),
        (0 | 2.., ..) => Err(Violation::Host),
        (1, true, None) => Ok(Length::Chunked),
        (1, false, length) => Ok(Length::Sized(length.unwrap_or(0))),
    }
}

fn request_line(line: &[u8]) -> Result<(), Violation> {
    let mut words = line.split(|b| *b == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Violation::RequestLine);
    };
    if method.is_empty() || method.len() > 16 || !method.iter().all(u8::is_ascii_uppercase) {
        return Err(Violation::RequestLine);
    }
    if target.is_empty() || !target.iter().all(|b| (0x21..0x7f).contains(b) && *b != b'#') {
        return Err(Violation::Target);
    }
    match version {
        b"HTTP/1.1" => Ok(()),
        _ if version.starts_with(b"HTTP/") => Err(Violation::Version),
        _ => Err(Violation::RequestLine),
    }
}

fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Violation> {
    let colon = line.iter().position(|b| *b == b':').ok_or(Violation::Field)?;
    let (name, rest) = line.split_at_checked(colon).ok_or(Violation::Field)?;
    let value = rest.strip_prefix(b":").ok_or(Violation::Field)?.trim_ascii();
    if name.is_empty() || !name.iter().copied().all(is_token) {
        return Err(Violation::Field);
    }
    if value.iter().any(|b| (*b < 0x20 && *b != b'\t') || *b == 0x7f) {
        return Err(Violation::Control);
    }
    Ok((name, value))
}

/// `1*DIGIT` and nothing else: `+5`, `0x5`, `5, 5` are how two readers come to two lengths.
fn content_length(value: &[u8]) -> Result<u64, Violation> {
    if value.is_empty() || value.len() > 15 || !value.iter().all(u8::is_ascii_digit) {
        return Err(Violation::ContentLength);
    }
    Ok(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// `tchar` of RFC 9110 §5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(head: &str) -> Result<Length, Violation> {
        read(head.as_bytes())
    }

    #[test]
    fn a_plain_head_says_how_its_body_ends() {
        assert_eq!(judge("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(Length::Sized(0)));
        assert_eq!(judge("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n"), Ok(Length::Sized(12)));
        assert_eq!(
            judge("POST /x HTTP/1.1\r\nhost:a\r\ntransfer-encoding: Chunked\r\n\r\n"),
            Ok(Length::Chunked)
        );
    }

    #[test]
    fn a_head_with_two_readings_is_refused() {
        use Violation::{
            BothLengths, ContentLength, Control, Field, Host, RequestLine, Target, TransferEncoding, Version,
        };
        for (lines, expected) in [
            ("Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked", BothLengths),
            ("Host: a\r\nContent-Length: 1\r\nContent-Length: 1", ContentLength),
            ("Host: a\r\nContent-Length: 1, 1", ContentLength),
            ("Host: a\r\nContent-Length: +1", ContentLength),
            ("Host: a\r\nContent-Length: 0x1", ContentLength),
            ("Host: a\r\nContent-Length:", ContentLength),
            ("Host: a\r\nContent-Length: 1000000000000000", ContentLength),
            ("Host: a\r\nTransfer-Encoding: chunked, identity", TransferEncoding),
            ("Host: a\r\nTransfer-Encoding: xchunked", TransferEncoding),
            ("Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked", TransferEncoding),
            ("Host: a\r\nContent-Length : 1", Field),
            ("Host: a\r\n: 1", Field),
            ("Host: a\r\nno colon", Field),
            ("Host: a\r\nX: \u{1}", Control),
            ("Host: a\r\nHost: a", Host),
            ("X: a", Host),
        ] {
            assert_eq!(judge(&format!("POST / HTTP/1.1\r\n{lines}\r\n\r\n")), Err(expected), "{lines}");
        }
        for (line, expected) in [
            ("GET  / HTTP/1.1", RequestLine),
            ("GET / HTTP/1.1 ", RequestLine),
            ("get / HTTP/1.1", RequestLine),
            ("GET /", RequestLine),
            ("GET / FTP/1.1", RequestLine),
            ("GET / HTTP/1.0", Version),
            ("GET /#x HTTP/1.1", Target),
            ("GET /\u{e9} HTTP/1.1", Target),
        ] {
            assert_eq!(judge(&format!("{line}\r\nHost: a\r\n\r\n")), Err(expected), "{line}");
        }
    }
}
