//! Cheap looks that tell the fast path whether decoding could show anything. They err only towards yes.

#[cfg(doc)]
use super::codecs;
use super::codecs::{SHORTEST_BASE32, SHORTEST_BASE64, SHORTEST_HEX, is_base64, is_no_text, sextet};

/// Whether [`codecs::base64_tokens`] or [`codecs::base32_tokens`] might find anything, by the first bytes of each token alone.
pub(crate) fn may_hold_tokens(text: &[u8]) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let wide = rest.iter().take_while(|b| is_base64(**b)).count();
        let Some((token, after)) = rest.split_at_checked(wide) else { return true };
        if wide >= SHORTEST_BASE64 {
            if starts_as_text(token) {
                return true;
            }
            for narrow in token.split(|b| !b.is_ascii_alphanumeric()) {
                let base64 = narrow.len() >= SHORTEST_BASE64 && starts_as_text(narrow);
                if base64 || (narrow.len() >= SHORTEST_BASE32 && starts_as_base32_text(narrow)) {
                    return true;
                }
            }
        }
        let skip = after.iter().take_while(|b| !is_base64(**b)).count();
        rest = after.get(skip..).unwrap_or_default();
    }
    false
}

/// Whether [`codecs::base64_wrapped`] might find anything in a text of base64 and white space, by its first bytes alone.
pub(crate) fn may_be_wrapped(text: &[u8]) -> bool {
    let mut head = [0u8; 8];
    let all = text.iter().filter(|byte| !byte.is_ascii_whitespace());
    let filled = head.iter_mut().zip(all).map(|(place, byte)| *place = *byte).count();
    filled == 8 && starts_as_text(&head)
}

/// Whether the first eight characters of base64 may begin a text.
pub(crate) fn starts_as_text(token: &[u8]) -> bool {
    let mut bits = 0u64;
    for c in token.iter().take(8) {
        let Some(value) = sextet(*c) else { return false };
        bits = bits << 6 | u64::from(value);
    }
    let [_, _, decoded @ ..] = bits.to_be_bytes();
    may_begin_text(&decoded)
}

/// Whether the first eight characters of base32 or base32hex may begin a text.
pub(crate) fn starts_as_base32_text(token: &[u8]) -> bool {
    let (mut plain, mut hex) = (Some(0u64), Some(0u64));
    for c in token.iter().take(8) {
        let c = c.to_ascii_uppercase();
        let add = |bits: Option<u64>, value: Option<u8>| Some(bits? << 5 | u64::from(value?));
        plain = add(
            plain,
            match c {
                b'A'..=b'Z' => Some(c - b'A'),
                b'2'..=b'7' => Some(c - b'2' + 26),
                _ => None,
            },
        );
        hex = add(
            hex,
            match c {
                b'0'..=b'9' => Some(c - b'0'),
                b'A'..=b'V' => Some(c - b'A' + 10),
                _ => None,
            },
        );
    }
    [plain, hex].into_iter().flatten().any(|bits| {
        let [_, _, _, decoded @ ..] = bits.to_be_bytes();
        may_begin_text(&decoded)
    })
}

fn may_begin_text(bytes: &[u8]) -> bool {
    !bytes.iter().any(|b| is_no_text(*b))
        && std::str::from_utf8(bytes).map_or_else(|error| error.error_len().is_none(), |_| true)
}

/// Whether [`codecs::hex`] might find anything: enough hex digits close together, and the first of them begin a text.
pub(crate) fn may_be_hex(text: &[u8]) -> bool {
    let (mut run, mut gap) = (0usize, 0usize);
    // The first eight digits, while no prefix makes it unsure which they are.
    let (mut head, mut prefixed) = (0u32, false);
    let mut rest = text;
    while let Some(first) = rest.first() {
        if !first.is_ascii_alphanumeric() {
            gap += 1;
            rest = rest.get(1..).unwrap_or_default();
            continue;
        }
        let length = rest.iter().take_while(|b| b.is_ascii_alphanumeric()).count();
        let Some((token, after)) = rest.split_at_checked(length) else { return true };
        let prefix = token.iter().any(|b| b | 0x20 == b'x');
        let hex = prefix || (length % 2 == 0 && token.iter().all(u8::is_ascii_hexdigit));
        if gap > 3 || !hex {
            (run, head, prefixed) = (0, 0, false);
        }
        prefixed |= prefix;
        if hex && !prefix && run >= 8 {
            run += length;
        } else if hex {
            for digit in token.iter().filter_map(|b| char::from(*b).to_digit(16)) {
                if run < 8 {
                    head = head << 4 | digit;
                }
                run += 1;
            }
        }
        if run >= SHORTEST_HEX && (prefixed || may_begin_text(&head.to_be_bytes())) {
            return true;
        }
        (gap, rest) = (0, after);
    }
    false
}
