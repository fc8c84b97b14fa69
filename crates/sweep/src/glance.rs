//! The fast path: settles ordinary values in one or two passes. It may only ever say "certainly clean".
//!
//! Everything here errs to one side: a value that any view could change, or that holds enough digits in a row, is
//! not settled and goes through `leaf::thoroughly`. A property test holds the two together.

use crate::context::FieldContext;
use crate::views::{codec_guess, codecs, number};
use crate::{glance_text, runs, sad};

/// A decimal digit.
const DIGIT: u16 = 1;
/// Any letter.
const LETTER: u16 = 2;
/// `e` or `E`, which may write a number in exponent form; a letter too.
const EXPONENT: u16 = 4;
/// White space.
const SPACE: u16 = 8;
/// A sign that base64 does not have.
const SIGN: u16 = 16;
/// May begin a JSON text when it stands first.
const BRACKET: u16 = 32;
/// `x` or `X`: hexadecimal prefix or mask.
const EX: u16 = 64;
/// Escapes, markup, controls, anything beyond ASCII: needs a thorough look.
pub(crate) const LOOK: u16 = 128;
/// Ends a plain run of a JSON string: quote, backslash, control.
pub(crate) const STOP: u16 = 256;
/// A sign that masks digits.
const MASK: u16 = 512;

/// What each byte may be part of.
static CLASS: [u16; 256] = classes();

const fn classes() -> [u16; 256] {
    let mut table = [LOOK; 256];
    let mut at = 0u8;
    while at < 128 {
        let class = match at {
            b'0'..=b'9' => DIGIT,
            b'e' | b'E' => LETTER | EXPONENT,
            b'x' | b'X' => LETTER | EX | MASK,
            b'a'..=b'z' | b'A'..=b'Z' => LETTER,
            b' ' => SPACE,
            b'\t' | b'\n' | b'\r' => SPACE | STOP,
            0..0x20 => LOOK | STOP,
            b'*' | b'#' => SIGN | MASK,
            b'"' => BRACKET | SIGN | STOP,
            b'{' | b'[' => BRACKET | SIGN,
            b'\\' => LOOK | STOP,
            b'%' | b'&' | b'<' | b'=' => LOOK,
            b'+' | b'/' | b'-' | b'_' => 0,
            b'!'..=b'~' => SIGN,
            _ => LOOK,
        };
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which checks the bound")]
        {
            table[at as usize] = class;
        }
        at += 1;
    }
    table
}

#[inline]
pub(crate) fn class(byte: u8) -> u16 {
    CLASS.get(usize::from(byte)).copied().unwrap_or(LOOK)
}

/// What a value is made of: all classes that occur, and how many digits.
#[derive(Clone, Copy, Default)]
pub(crate) struct Makeup {
    pub(crate) classes: u16,
    pub(crate) digits: usize,
}

impl Makeup {
    #[inline]
    pub(crate) fn add(&mut self, class: u16) {
        self.classes |= class;
        self.digits = self.digits.wrapping_add(usize::from(class & DIGIT));
    }

    fn has(self, class: u16) -> bool {
        self.classes & class != 0
    }
}

/// Whether no view of this value can show anything, in a field of any name but that of a verification code.
pub(crate) fn is_clean(text: &[u8]) -> bool {
    if glance_text::settles(text) {
        return true;
    }
    let mut makeup = Makeup::default();
    text.iter().for_each(|byte| makeup.add(class(*byte)));
    settles(text, makeup)
}

/// As [`is_clean`], when the makeup is known. Most values are short and plain, and end here.
#[inline]
pub(crate) fn settles(text: &[u8], makeup: Makeup) -> bool {
    let plain = !makeup.has(LOOK | BRACKET) && (makeup.digits < 2 || !makeup.has(LETTER));
    (plain && is_short(text, makeup)) || settles_closely(text, makeup)
}

/// Too short for a card number, whole or encoded.
fn is_short(text: &[u8], makeup: Makeup) -> bool {
    text.len() < 14 && makeup.digits < 11
}

fn settles_closely(text: &[u8], makeup: Makeup) -> bool {
    if makeup.has(LOOK) {
        return false;
    }
    let exponent = makeup.has(EXPONENT) && makeup.digits > 1;
    let short = is_short(text, makeup);
    if makeup.has(BRACKET) && matches!(text.trim_ascii_start().first(), Some(b'{' | b'[' | b'"')) {
        return false;
    }
    if makeup.has(LETTER) && makeup.digits >= 3 && sad::may_name_code(text) {
        return false;
    }
    if exponent && number::may_expand(text) {
        return false;
    }
    if makeup.digits >= 11 && !digits_are_clean(text, makeup) {
        return false;
    }
    short || !is_encoded(text, makeup)
}

/// Whether no digits that stand close together are a card number, by the rule for card fields, the strictest.
/// Only stretches that could be one are judged: neither a number nor a mask reaches beyond its stretch.
fn digits_are_clean(text: &[u8], makeup: Makeup) -> bool {
    let (mut near, mut gap, mut start) = (0usize, 0usize, 0usize);
    let masked = makeup.has(MASK);
    let judged = |start: usize, end: usize, near: usize| {
        let least = if masked { 11 } else { 12 };
        near < least
            || text.get(start..end).and_then(|stretch| std::str::from_utf8(stretch).ok()).is_some_and(
                |stretch| {
                    runs::find(stretch, FieldContext::Card).is_none()
                        && !(masked && runs::unmasked(stretch).is_some())
                },
            )
    };
    for (at, byte) in text.iter().enumerate() {
        let class = class(*byte);
        if class & DIGIT != 0 {
            if near == 0 {
                start = at;
            }
            (near, gap) = (near + 1, 0);
            continue;
        }
        if near == 0 {
            continue;
        }
        // Masks do not part what they stand between.
        gap = if class & MASK != 0 { 0 } else { gap + 1 };
        if (class & LETTER != 0 && class & MASK == 0) || gap > runs::WIDEST_BLANK {
            if !judged(start, at, near) {
                return false;
            }
            (near, gap) = (0, 0);
        }
    }
    judged(start, text.len(), near)
}

/// Whether base64, base32 or hex in the value decodes to text.
fn is_encoded(text: &[u8], makeup: Makeup) -> bool {
    let Ok(text_str) = std::str::from_utf8(text) else { return true };
    // A token of fifteen characters or more fills one of these blocks, wherever it starts.
    let (blocks, _) = text.as_chunks::<8>();
    let long_token = blocks.iter().any(|block| block.iter().all(|b| class(*b) & (SPACE | SIGN | LOOK) == 0));
    // Without its prefixes of hex a text is another one, which is judged anew.
    (makeup.has(EX) && codecs::without_hex_prefix(text_str).is_some())
        || (long_token
            && codec_guess::may_hold_tokens(text)
            && (codecs::base64_tokens(text_str).is_some() || codecs::base32_tokens(text_str).is_some()))
        || (makeup.has(SPACE) && !makeup.has(SIGN) && codecs::base64_wrapped(text_str).is_some())
        || codecs::has_base64_digits(text)
        || (makeup.digits >= 12 && codec_guess::may_be_hex(text) && codecs::hex(text_str).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_values_are_settled_at_a_glance() {
        for text in [
            "",
            "Maria",
            "2026-10-03",
            "125.40",
            "99213",
            "1234567893",
            "123e4567-e89b-12d3-a456-426614174000",
            "Follow-up visit, no complaints.",
            "+1 415 555 1234",
            "2026-11-23T23:37:22.123456Z",
            "tok_test_abcdefghijklmnopqrstuvwxyzabc",
            "J06.9 acute upper respiratory infection, unspecified",
        ] {
            assert!(is_clean(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn half_a_word_before_hex_does_not_hide_it() {
        for text in ["GA 34313131313131313131313131313131", "34 3431313131313131313131313131313131 g1"] {
            assert!(!is_clean(text.as_bytes()), "{text}");
        }
    }
}
