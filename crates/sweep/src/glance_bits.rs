//! The glance at a short value whose bytes are already sorted into bits. Like `glance` it may only say "certainly
//! clean"; what it does not settle is looked at by `glance`, and then thoroughly.

use crate::bits::{places, runs};
use crate::context::FieldContext;
use crate::views::{codec_guess, codecs, number};
use crate::{pan, runs as digits, sad};

/// Whether no view of `text` can show anything in a field of any name but that of a verification code. It is at most
/// 63 bytes of printable ASCII without escapes or markup and opens no JSON text; each bit of `digit`, `letter` and
/// `sign` (those of base64) stands for one of its bytes.
pub(crate) fn settles(text: &[u8], digit: u64, letter: u64, sign: u64) -> bool {
    let some = digit & digit.wrapping_sub(1) != 0;
    if some && letter != 0 {
        // The name of a code is a word, or two letters and a digit; an exponent stands alone between digits, dots and signs.
        let short = letter & (letter >> 1) & (digit >> 2);
        if places(runs(letter, 3) | short).any(|at| sad::begins_code_name(text, at)) {
            return false;
        }
        let alone = letter & !(letter << 1) & !(letter >> 1);
        if places(alone).any(|at| number::may_expand_at(text, at)) {
            return false;
        }
    }
    if text.len() < 11 {
        return true;
    }
    let count = digit.count_ones();
    if count >= 11 && !digits_are_clean(text, digit, letter) {
        return false;
    }
    (text.len() < 14 && count < 11) || !is_encoded(text, digit, letter, sign)
}

/// Whether no digits between two letters are a card number, by the rule for card fields, the strictest.
fn digits_are_clean(text: &[u8], mut digit: u64, letter: u64) -> bool {
    if text.iter().any(|byte| matches!(byte, b'*' | b'#' | b'x' | b'X')) {
        return false;
    }
    while digit != 0 {
        let start = digit.trailing_zeros();
        let end = start + (letter >> start).trailing_zeros().min(u64::BITS - start);
        let beyond = u64::MAX.checked_shl(end).unwrap_or(0);
        let count = (digit & !beyond).count_ones();
        if count >= 12 {
            let Some(stretch) = text.get(start as usize..text.len().min(end as usize)) else { return false };
            // Twelve digits and nothing else, as at the end of every UUID, have no other reading.
            let bare = count == 12 && stretch.len() == 12;
            let found = if bare {
                pan::judge_in_card_field(stretch).is_some()
            } else {
                std::str::from_utf8(stretch)
                    .map_or(true, |text| digits::find(text, FieldContext::Card).is_some())
            };
            if found {
                return false;
            }
        }
        digit &= beyond;
    }
    true
}

/// Whether base64, base32 or hex in the value might decode to text.
fn is_encoded(text: &[u8], digit: u64, letter: u64, sign: u64) -> bool {
    let alphanumeric = digit | letter;
    let part = alphanumeric | sign;
    let begin = |bits: u64, count: u32| {
        let starts = runs(bits, count);
        starts & !(starts << 1)
    };
    let rest = |at: usize| text.get(at..).unwrap_or_default();
    let eight = runs(part, 8);
    if eight != 0 {
        let sixteen = begin(part, 16) | begin(alphanumeric, 16);
        if places(sixteen).any(|at| codec_guess::starts_as_text(rest(at)))
            || places(begin(alphanumeric, 20)).any(|at| codec_guess::starts_as_base32_text(rest(at)))
            || places(eight).any(|at| codecs::begins_base64_digits(rest(at)))
        {
            return true;
        }
    }
    if alphanumeric.count_ones() >= 24 && digit.count_ones() >= 12 && codec_guess::may_be_hex(text) {
        return true;
    }
    // Words and spaces alone may be one text that is broken into lines.
    let all = (1u64 << (text.len() & 63)).wrapping_sub(1);
    let others = all & !part;
    others != 0 && places(others).all(|at| text.get(at) == Some(&b' ')) && codec_guess::may_be_wrapped(text)
}
