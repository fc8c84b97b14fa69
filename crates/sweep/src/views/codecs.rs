//! Base64, base32 and hex: tokens that decode to text are replaced by it where they stand.
//!
//! Only what decodes to *text* counts. Random bytes are next to never text, so keys, hashes and UUIDs stay as they
//! are, and each reader gives up at the first byte that no text has.

use super::codec_guess::starts_as_text;
use data_encoding::{BASE32_NOPAD, BASE32HEX_NOPAD};

/// Shortest base64 token that is decoded as a whole: twelve digits take sixteen characters.
pub(super) const SHORTEST_BASE64: usize = 16;
/// Shortest base32 token: twelve digits take twenty characters.
pub(super) const SHORTEST_BASE32: usize = 20;
/// Fewest hex digits in a row, or in groups with short gaps: twelve digits take twenty-four.
pub(super) const SHORTEST_HEX: usize = 24;

/// Base64 and base64url tokens, padded or not, replaced by their text.
pub(crate) fn base64_tokens(text: &str) -> Option<String> {
    let wide = replace_tokens(text, SHORTEST_BASE64, is_base64, |token| as_text(&decode_base64(token)?));
    // A token may stand directly beside a slash, dash or underscore that is no part of it.
    wide.or_else(|| {
        replace_tokens(
            text,
            SHORTEST_BASE64,
            |b| b.is_ascii_alphanumeric(),
            |token| as_text(&decode_base64(token)?),
        )
    })
}

/// The whole value as one base64 text broken into lines.
pub(crate) fn base64_wrapped(text: &str) -> Option<String> {
    let all = || text.bytes().filter(|b| !b.is_ascii_whitespace());
    if !text.bytes().any(|b| b.is_ascii_whitespace()) || !all().all(|b| is_base64(b) || b == b'=') {
        return None;
    }
    // Words and spaces alone look like this too; their first bytes give nearly all of them away.
    let mut head = [0u8; 8];
    let filled = head.iter_mut().zip(all()).map(|(place, b)| *place = b).count();
    if filled < 8 || !starts_as_text(&head) {
        return None;
    }
    let token: Vec<u8> = all().collect();
    if token.len() < SHORTEST_BASE64 { None } else { as_text(&decode_base64(&token)?) }
}

/// Digits in base64 wherever they start: every three digits make four characters of a narrow pattern, so
/// `41111111MTExMTExMTE=` (half literal, half encoded) reads `4111111111111111`.
pub(crate) fn base64_digits(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut at = starts_of_quads(bytes).next()?;
    let mut out = String::with_capacity(text.len());
    out.push_str(text.get(..at)?);
    while let Some(byte) = bytes.get(at) {
        let rest = bytes.get(at..).unwrap_or_default();
        if two_quads(rest) {
            let mut rest = rest;
            while let Some((triple, after)) =
                rest.split_at_checked(4).and_then(|(q, after)| Some((quad(q)?, after)))
            {
                out.extend(triple);
                at += 4;
                rest = after;
            }
            at += tail(rest, &mut out);
        } else {
            out.push(char::from(*byte));
            at += 1;
        }
    }
    Some(out)
}

/// Whether [`base64_digits`] finds anything.
pub(crate) fn has_base64_digits(bytes: &[u8]) -> bool {
    starts_of_quads(bytes).next().is_some()
}

fn starts_of_quads(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let ascii = bytes.is_ascii();
    memchr::memchr3_iter(b'M', b'N', b'O', bytes)
        .filter(move |at| ascii && bytes.get(*at..).is_some_and(two_quads))
}

/// Whether [`base64_digits`] reads digits from here on.
pub(crate) fn begins_base64_digits(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(b'M' | b'N' | b'O')) && two_quads(bytes)
}

fn two_quads(bytes: &[u8]) -> bool {
    let one = |at: usize| bytes.get(at..at + 4).and_then(quad).is_some();
    one(0) && one(4)
}

/// Four characters that are three digits.
fn quad(chars: &[u8]) -> Option<[char; 3]> {
    let mut bits = 0u32;
    for c in chars {
        bits = bits << 6 | u32::from(sextet(*c)?);
    }
    let [_, first, second, third] = bits.to_be_bytes();
    let all = [first, second, third];
    all.iter().all(u8::is_ascii_digit).then(|| all.map(char::from))
}

/// One or two digits at the end of an encoded run; how many characters they take with their padding.
fn tail(rest: &[u8], out: &mut String) -> usize {
    for (length, digits) in [(3usize, 2usize), (2, 1)] {
        let Some((chars, after)) = rest.split_at_checked(length) else { continue };
        let ends = after.first().is_none_or(|b| !is_base64(*b));
        let Some(decoded) =
            decode_base64(chars).filter(|d| ends && d.len() == digits && d.iter().all(u8::is_ascii_digit))
        else {
            continue;
        };
        out.extend(decoded.iter().map(|b| char::from(*b)));
        return length + after.iter().take_while(|b| **b == b'=').count();
    }
    0
}

/// Base32 and base32hex tokens in either case, padded or not.
pub(crate) fn base32_tokens(text: &str) -> Option<String> {
    let read = |token: &[u8]| {
        let upper = token.to_ascii_uppercase();
        let whole = |length: usize| upper.get(..length).filter(|_| matches!(length % 8, 0 | 2 | 4 | 5 | 7));
        let encoded = whole(upper.len()).or_else(|| whole(upper.len().checked_sub(1)?))?;
        let decode = |encoding: &data_encoding::Encoding| {
            encoding.decode(encoded).ok().and_then(|bytes| as_text(&bytes))
        };
        decode(&BASE32_NOPAD).or_else(|| decode(&BASE32HEX_NOPAD))
    };
    replace_tokens(text, SHORTEST_BASE32, |b| b.is_ascii_alphanumeric(), read)
}

/// Hex in one run or in groups (`34 31 31`, `0x34, 0x31`, `34:31`), decoded. Texts of several stand apart.
pub(crate) fn hex(text: &str) -> Option<String> {
    let plain = without_hex_prefix(text);
    let bytes = plain.as_deref().unwrap_or(text).as_bytes();
    let (mut run, mut gap): (Vec<u8>, usize) = (vec![], 0);
    let mut out = String::new();
    let mut finish = |run: &mut Vec<u8>| {
        if run.len() >= SHORTEST_HEX
            && let Ok(decoded) = data_encoding::HEXLOWER_PERMISSIVE.decode(run)
            && let Some(text) = as_text(&decoded)
        {
            out.push_str("zz");
            out.push_str(&text);
        }
        run.clear();
    };
    let mut rest = bytes;
    while let Some(first) = rest.first() {
        let length = rest.iter().take_while(|b| b.is_ascii_alphanumeric()).count();
        let Some((token, after)) = rest.split_at_checked(length.max(1)) else { break };
        if !first.is_ascii_alphanumeric() {
            gap += 1;
        } else {
            let hex = length % 2 == 0 && token.iter().all(u8::is_ascii_hexdigit);
            if gap > 3 || !hex {
                finish(&mut run);
            }
            if hex {
                run.extend_from_slice(token);
            }
            gap = 0;
        }
        rest = after;
    }
    finish(&mut run);
    (!out.is_empty()).then_some(out)
}

/// The text without `0x`, so that packed digits `0x41 0x11` read as digits.
pub(crate) fn without_hex_prefix(text: &str) -> Option<String> {
    let before = |at: usize| at.checked_sub(1).and_then(|at| text.as_bytes().get(at));
    let there = memchr::memchr2_iter(b'x', b'X', text.as_bytes()).any(|at| before(at) == Some(&b'0'));
    there.then(|| text.replace("0x", "").replace("0X", ""))
}

/// Bytes of base64 in either alphabet, padding and loose trailing bits ignored; `None` as soon as a byte comes
/// out that no text has.
pub(crate) fn decode_base64(token: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(token.len() / 4 * 3 + 3);
    let (mut bits, mut held) = (0u32, 0u32);
    for c in token.iter().filter(|c| **c != b'=') {
        bits = bits << 6 | u32::from(sextet(*c)?);
        held += 6;
        if held >= 8 {
            held -= 8;
            let [.., byte] = (bits >> held).to_be_bytes();
            if is_no_text(byte) {
                return None;
            }
            bytes.push(byte);
        }
        bits &= (1 << held) - 1;
    }
    Some(bytes)
}

/// The value of a base64 character in either alphabet.
#[inline]
pub(super) fn sextet(c: u8) -> Option<u8> {
    SEXTET.get(usize::from(c)).copied().filter(|value| *value < 64)
}

/// Values by character; 64 is none.
static SEXTET: [u8; 256] = sextets();

const fn sextets() -> [u8; 256] {
    let mut table = [64; 256];
    let mut c = 0u8;
    while c < 128 {
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which checks the bound")]
        {
            table[c as usize] = match c {
                b'A'..=b'Z' => c - b'A',
                b'a'..=b'z' => c - b'a' + 26,
                b'0'..=b'9' => c - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                _ => 64,
            };
        }
        c += 1;
    }
    table
}

pub(crate) fn is_base64(b: u8) -> bool {
    sextet(b).is_some()
}

/// Control characters but white space and NUL (which UTF-16 text is full of).
pub(super) fn is_no_text(byte: u8) -> bool {
    byte == 0x7f || (byte < 0x20 && !matches!(byte, 0 | b'\t' | b'\n' | b'\r'))
}

fn as_text(bytes: &[u8]) -> Option<String> {
    if bytes.iter().any(|b| is_no_text(*b)) {
        return None;
    }
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

/// Replaces maximal tokens of at least `shortest` bytes by what `read` makes of them; `None` when it makes nothing.
fn replace_tokens(
    text: &str,
    shortest: usize,
    is_part: impl Fn(u8) -> bool,
    read: impl Fn(&[u8]) -> Option<String>,
) -> Option<String> {
    let mut out: Option<String> = None;
    let mut copied = 0;
    let mut rest = text.as_bytes();
    let mut at = 0;
    while !rest.is_empty() {
        let length = rest.iter().take_while(|b| is_part(**b)).count();
        let (token, after) = rest.split_at_checked(length)?;
        if length >= shortest
            && let Some(decoded) = read(token)
        {
            let out = out.get_or_insert_with(String::new);
            out.push_str(text.get(copied..at)?);
            out.push_str(&decoded);
            let padding = after.iter().take_while(|b| **b == b'=').count();
            copied = at + length + padding;
        }
        let skip = after.iter().take_while(|b| !is_part(**b)).count();
        at += length + skip;
        rest = after.get(skip..).unwrap_or_default();
    }
    let mut out = out?;
    out.push_str(text.get(copied..)?);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_base64_spelling_of_digits_is_read() {
        assert_eq!(base64_tokens("x NDExMTExMTExMTExMTExMQ== y").as_deref(), Some("x 4111111111111111 y"));
        assert_eq!(
            base64_tokens("/api/NDExMSAxMTExIDExMTEgMTExMQ/x").as_deref(),
            Some("/api/4111 1111 1111 1111/x")
        );
        assert_eq!(base64_wrapped("NDExMTEx\r\nMTExMTEx\r\nMTExMQ==").as_deref(), Some("4111111111111111"));
        assert_eq!(base64_digits("41111111MTExMTExMTE=").as_deref(), Some("4111111111111111"));
        assert_eq!(
            base64_digits("data:;base64,NDExMTExMTExMTExMTExMQ").as_deref(),
            Some("data:;base64,4111111111111111")
        );
    }

    #[test]
    fn hashes_and_words_are_left_alone() {
        for text in
            ["123e4567-e89b-12d3-a456-426614174000", "internationalization", &"9f86d081884c7d65".repeat(4)]
        {
            assert_eq!(
                base64_tokens(text).or(base64_digits(text)).or(base32_tokens(text)).or(hex(text)),
                None,
                "{text}"
            );
        }
    }

    #[test]
    fn base32_and_hex_are_read() {
        assert_eq!(
            base32_tokens("GQYTCMJRGEYTCMJRGEYTCMJRGE======")
                .as_deref()
                .map(|t| t.starts_with("4111111111111111")),
            Some(true)
        );
        assert_eq!(base32_tokens("gqytcmjrgeytcmjrgeytcmjrge").as_deref(), Some("4111111111111111"));
        let spaced = "34 31 31 31 31 31 31 31 31 31 31 31 31 31 31 31";
        for text in [
            spaced.to_owned(),
            spaced.replace(' ', ""),
            spaced.replace(' ', ", 0x"),
            spaced.replace(' ', ":"),
        ] {
            assert_eq!(hex(&text).as_deref(), Some("zz4111111111111111"), "{text}");
        }
    }
}
