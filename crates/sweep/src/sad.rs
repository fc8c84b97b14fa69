//! The rule for card verification codes in text: a name of the code, then three or four digits (row 70 of §7.5).

use crate::runs::Found;
use crate::triples;
use crate::verdict::Kind;

/// Names that people write before the code, lower case without spaces and signs.
const NAMES: &[&str] =
    &["cvv", "cvc", "cvn", "cid", "csc", "cav", "securitycode", "cardcode", "verificationcode"];
/// Words that name it together with `code`.
const BEFORE_CODE: &[&str] = &["security", "card", "verification"];
/// Words that may stand between the name and the digits.
const FILLERS: &[&str] = &["number", "value", "code", "num", "was", "is", "no"];

/// A verification code with its name in `text`.
pub(crate) fn code_in_text(text: &str) -> Option<Found> {
    if !text.bytes().any(|b| b.is_ascii_digit()) {
        return None;
    }
    let words = words(text);
    for (place, word) in words.iter().enumerate() {
        let Word::Letters(letters) = word else { continue };
        let taken = match words.get(place + 1) {
            Some(Word::Letters(next)) if next.eq_ignore_ascii_case("code") && among(BEFORE_CODE, letters) => {
                2
            }
            // The 2 of CVV2 is a digit word of its own.
            Some(Word::Digits(2, 1)) if among(NAMES, letters) => 2,
            _ if among(NAMES, letters) => 1,
            _ => continue,
        };
        let after = words.iter().skip(place + taken).take(3);
        let next = after.into_iter().find(|word| !matches!(word, Word::Letters(w) if among(FILLERS, w)));
        if let Some(Word::Digits(_, count @ 3..=4)) = next {
            return Some(Found::new(Kind::VerificationCode, None, *count));
        }
    }
    None
}

/// Whether `text` might hold a name of the code: every text in which [`code_in_text`] finds one, and a few more.
pub(crate) fn may_name_code(text: &[u8]) -> bool {
    let look = |a: u8, b: u8, c: u8| {
        let (a, b, c) = (a | 0x20, b | 0x20, c | 0x20);
        ((a == b'c') & (b == b'v') & ((c == b'v') | (c == b'c') | (c == b'n')))
            | ((a == b'c') & (b == b'i') & (c == b'd'))
            | ((a == b'c') & (b == b's') & (c == b'c'))
            | ((a == b'c') & (b == b'a') & ((c == b'v') | (c == b'r')))
            | ((a == b's') & (b == b'e') & (c == b'c'))
            | ((a == b'v') & (b == b'e') & (c == b'r'))
    };
    triples::any(text, look, |at| begins_code_name(text, at))
}

/// Whether a name of the code might begin at that place.
pub(crate) fn begins_code_name(text: &[u8], at: usize) -> bool {
    let first = text.get(at).map(|byte| byte | 0x20);
    matches!(first, Some(b'c' | b's' | b'v')) && {
        let starts = |rest: &[u8], name: &str| {
            rest.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name.as_bytes()))
        };
        text.get(at..).is_some_and(|rest| NAMES.iter().chain(BEFORE_CODE).any(|name| starts(rest, name)))
    }
}

/// Whether a whole value is a verification code, for fields named so.
pub(crate) fn is_code(value: &str) -> bool {
    let value = value.trim();
    (3..=4).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit())
}

fn among(names: &[&str], word: &str) -> bool {
    names.iter().any(|name| name.eq_ignore_ascii_case(word))
}

enum Word<'a> {
    Letters(&'a str),
    /// The last digit and how many.
    Digits(u8, usize),
}

/// Letters and digits in the order they come; what stands between them is left out.
fn words(text: &str) -> Vec<Word<'_>> {
    let bytes = text.as_bytes();
    let mut words = vec![];
    let mut at = 0;
    while let Some(first) = bytes.get(at) {
        let rest = bytes.get(at..).unwrap_or_default();
        let run = |is: fn(&u8) -> bool| rest.iter().take_while(|byte| is(byte)).count();
        let length = if first.is_ascii_digit() {
            let length = run(u8::is_ascii_digit);
            let last = rest.get(length - 1).map_or(0, |byte| byte - b'0');
            words.push(Word::Digits(last, length));
            length
        } else {
            let length = run(u8::is_ascii_alphabetic);
            words.extend(text.get(at..at + length).filter(|word| !word.is_empty()).map(Word::Letters));
            length
        };
        at += length.max(1);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_code_is_found_and_other_numbers_are_not() {
        for text in
            ["cvv: 123", "CVV2 is 1234", "the security code was 987", "CID=1234", "cvc123", "Cvv 2: 123"]
        {
            assert!(code_in_text(text).is_some(), "{text}");
            assert!(may_name_code(text.as_bytes()), "{text}");
        }
        for text in
            ["room 123", "cvv on file", "code 99213", "accident 123", "cvv 12345", "CV 2024", "incident 2023"]
        {
            assert!(code_in_text(text).is_none(), "{text}");
        }
    }
}
