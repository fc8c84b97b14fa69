//! Quoted-printable (RFC 2045 §6.7) and encoded words (RFC 2047), as mail and MIME headers carry text.

use super::codecs::{decode_base64, is_base64};

/// Quoted-printable undone: `=34` and soft line breaks.
pub(crate) fn quoted_printable(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    let mut changed = false;
    while let Some(at) = memchr::memchr(b'=', rest) {
        let (before, after) = rest.split_at_checked(at)?;
        bytes.extend_from_slice(before);
        let after = after.get(1..).unwrap_or_default();
        if let Some(after) = after.strip_prefix(b"\r\n").or_else(|| after.strip_prefix(b"\n")) {
            rest = after;
        } else if let Some(value) = hex_pair(after) {
            bytes.push(value);
            rest = after.get(2..).unwrap_or_default();
        } else {
            bytes.push(b'=');
            rest = after;
            continue;
        }
        changed = true;
    }
    bytes.extend_from_slice(rest);
    changed.then(|| String::from_utf8_lossy(&bytes).into_owned())
}

/// Encoded words `=?charset?B|Q?text?=` replaced by their text; white space between two of them goes away.
pub(crate) fn encoded_words(text: &str) -> Option<String> {
    let (mut out, mut rest, mut changed) = (String::new(), text, false);
    let last_end = text.rfind("?=").unwrap_or(0);
    while let Some((before, after)) = rest.split_once("=?") {
        let word = || {
            let mut parts = after.splitn(3, '?');
            let (_charset, kind, tail) = (parts.next()?, parts.next()?, parts.next()?);
            let base64 = matches!(kind, "B" | "b");
            if !base64 && !matches!(kind, "Q" | "q") {
                return None;
            }
            // The end is looked for only where there is one: to look for it from every word would cost the square of
            // their number. Base64 also ends at the first byte that it does not have.
            let (coded, rest) = if base64 {
                let end = tail.bytes().take_while(|b| is_base64(*b) || *b == b'=' || *b == b' ').count();
                let (coded, rest) = tail.split_at_checked(end)?;
                (coded, rest.strip_prefix("?=")?)
            } else if text.len() - tail.len() <= last_end {
                tail.split_once("?=")?
            } else {
                return None;
            };
            let text = if base64 {
                String::from_utf8_lossy(&decode_base64(coded.trim().as_bytes())?).into_owned()
            } else {
                let spaced = coded.replace('_', " ");
                quoted_printable(&spaced).unwrap_or(spaced)
            };
            Some((text, rest))
        };
        if !(changed && before.trim().is_empty()) {
            out.push_str(before);
        }
        match word() {
            Some((text, after)) => {
                out.push_str(&text);
                rest = after;
                changed = true;
            }
            None => {
                out.push_str("=?");
                rest = after;
            }
        }
    }
    out.push_str(rest);
    changed.then_some(out)
}

fn hex_pair(bytes: &[u8]) -> Option<u8> {
    let pair = std::str::from_utf8(bytes.get(..2)?).ok()?;
    pair.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u8::from_str_radix(pair, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_encodings_are_undone() {
        assert_eq!(quoted_printable("=34=\r\n1=31 a=b").as_deref(), Some("411 a=b"));
        assert_eq!(quoted_printable("a=b"), None);
        assert_eq!(encoded_words("x =?utf-8?Q?41=31?= =?UTF-8?B?MQ==?= y").as_deref(), Some("x 4111 y"));
        assert_eq!(encoded_words("a =? b"), None);
    }
}
