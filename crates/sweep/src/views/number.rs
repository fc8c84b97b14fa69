//! Numbers in exponent form written out: `4.111111111111111e15` is a card number to every reader of numbers.

use crate::triples;

/// The text with every number in exponent form written out, exactly, by shifting digits; no float is involved.
/// `None` when there is none that becomes an integer of 12 to 25 digits.
pub(crate) fn expanded(text: &str) -> Option<String> {
    if !text.contains(['e', 'E']) {
        return None;
    }
    let mut out = String::new();
    let mut changed = false;
    for token in text.split_inclusive(|c: char| !is_number_part(c)) {
        let number = token.trim_end_matches(|c: char| !is_number_part(c));
        let rest = token.get(number.len()..).unwrap_or_default();
        match expand(number.trim_matches(['+', '-'])) {
            Some(digits) => {
                out.push_str(&digits);
                changed = true;
            }
            None => out.push_str(number),
        }
        out.push_str(rest);
    }
    changed.then_some(out)
}

/// Whether [`expanded`] might find a number: every text in which it does, and a few more.
pub(crate) fn may_expand(text: &[u8]) -> bool {
    let look = |a: u8, e: u8, c: u8| {
        (a.is_ascii_digit() | (a == b'.'))
            & (e | 0x20 == b'e')
            & (c.is_ascii_digit() | (c == b'+') | (c == b'-'))
    };
    triples::any(text, look, |at| may_expand_at(text, at + 1))
}

/// Whether the letter at that place might be the exponent's of a number that [`expanded`] finds.
pub(crate) fn may_expand_at(text: &[u8], at: usize) -> bool {
    let digit_or_dot = |byte: Option<&u8>| matches!(byte, Some(b'0'..=b'9' | b'.'));
    if !matches!(text.get(at), Some(b'e' | b'E'))
        || !digit_or_dot(at.checked_sub(1).and_then(|at| text.get(at)))
    {
        return false;
    }
    let after = text.get(at + 1..).unwrap_or_default();
    let exponent = after.strip_prefix(b"-").or_else(|| after.strip_prefix(b"+")).unwrap_or(after);
    let digits = exponent.iter().take_while(|b| b.is_ascii_digit()).count();
    let beyond = exponent.get(digits..).unwrap_or_default();
    let ends = beyond
        .iter()
        .find(|b| !matches!(b, b'+' | b'-'))
        .is_none_or(|b| !b.is_ascii() || !is_number_part(char::from(*b)));
    digits > 0 && ends
}

fn is_number_part(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '+' | '-')
}

fn expand(number: &str) -> Option<String> {
    let (mantissa, exponent) = number.split_once(['e', 'E'])?;
    let exponent: i32 = exponent.parse().ok().filter(|e: &i32| e.abs() <= 60)?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || digits.len() > 80 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let point = i32::try_from(whole.len()).ok()? + exponent;
    let point = usize::try_from(point).ok()?;
    let mut integer: String = digits.chars().chain(std::iter::repeat('0')).take(point).collect();
    let beyond = digits.get(point.min(digits.len())..).unwrap_or_default();
    if beyond.bytes().any(|b| b != b'0') {
        integer.push('.');
        integer.push_str(beyond);
    }
    let start = integer.find(|c| c != '0')?;
    integer.split_off(start).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents_are_written_out_exactly() {
        for (number, expected) in [
            ("4.111111111111111e15", Some("4111111111111111")),
            ("41111111111111110e-1", Some("4111111111111111")),
            ("-4.111111111111111E+15", Some("4111111111111111")),
            ("0.4111111111111111e16", Some("4111111111111111")),
            ("x 42e14, y", Some("x 4200000000000000, y")),
            ("1e999999999999", None),
            ("e15", None),
            ("4e", None),
            ("beef 12", None),
        ] {
            assert_eq!(expanded(number).as_deref(), expected, "{number}");
        }
    }
}
