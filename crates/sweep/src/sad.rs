//! The rule for card verification codes in text: a name of the code, then three or four digits (row 70 of §7.5).

use crate::runs::Found;
use crate::triples;
use crate::verdict::Kind;

/// Names that people write before the code, lower case without spaces and signs.
const NAMES: &[&str] =
    &["cvv", "cvc", "cvn", "cid", "csc", "cav", "securitycode", "cardcode", "verificationcode"];
/// Names among them that are claim numbers and clinics too.
const AMBIGUOUS: &[&str] = &["cid", "csc"];
/// The name whose digit belongs to it.
const WITH_DIGIT: &str = "cv2";
/// Words that name it together with `code`.
const BEFORE_CODE: &[&str] = &["security", "card", "verification"];
/// Words that may stand between the name and the digits.
const FILLERS: &[&str] = &["number", "value", "code", "num", "was", "is", "no"];
/// Words that may stand between the digits and the name; the first of them is a verb.
const VERBS: &[&str] = &["is", "was"];
const ARTICLES: &[&str] = &["the", "a", "my", "your", "her", "his", "their", "its", "our"];
/// Words beside which an ambiguous name is meant for a card's.
const CARD_WORDS: &[&str] =
    &["card", "cards", "pan", "visa", "mastercard", "amex", "american", "discover", "cvv", "cvc"];
/// So many words away may they stand.
const NEAR: usize = 6;

/// A verification code with its name in `text`.
pub(crate) fn code_in_text(text: &str) -> Option<Found> {
    if !text.bytes().any(|b| b.is_ascii_digit()) {
        return None;
    }
    let words = Words::of(text);
    (0..words.list.len()).find_map(|place| {
        let taken = words.name(place)?;
        let ambiguous = words.get(place).is_some_and(|word| among(AMBIGUOUS, word.text));
        let trusted = !ambiguous || words.near_card(place);
        let length = words
            .code_after(place, taken, trusted)
            .or_else(|| if trusted { words.code_before(place, taken) } else { None })?;
        Some(Found::new(Kind::VerificationCode, None, length))
    })
}

/// Whether `text` might hold a name of the code: every text in which [`code_in_text`] finds one, and a few more.
pub(crate) fn may_name_code(text: &[u8]) -> bool {
    let look = |a: u8, b: u8, c: u8| {
        let (a, b, c) = (a | 0x20, b | 0x20, c | 0x20);
        ((a == b'c') & (b == b'v') & ((c == b'v') | (c == b'c') | (c == b'n')))
            | ((a == b'c') & (b == b'v') & (c == b'2'))
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
        text.get(at..).is_some_and(|rest| {
            NAMES.iter().chain(BEFORE_CODE).chain([&WITH_DIGIT]).any(|name| starts(rest, name))
        })
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

/// Letters or digits, and what stands between them and the word before.
struct Word<'a> {
    text: &'a str,
    before: &'a str,
}

impl Word<'_> {
    fn is_number(&self) -> bool {
        self.text.as_bytes().first().is_some_and(u8::is_ascii_digit)
    }

    fn is(&self, text: &str) -> bool {
        self.text.eq_ignore_ascii_case(text)
    }
}

/// A text as words.
struct Words<'a> {
    list: Vec<Word<'a>>,
    /// What stands after the last.
    tail: &'a str,
}

impl<'a> Words<'a> {
    fn of(text: &'a str) -> Words<'a> {
        let bytes = text.as_bytes();
        let mut list = vec![];
        let (mut at, mut end) = (0, 0);
        while let Some(first) = bytes.get(at) {
            let is: fn(&u8) -> bool = match first {
                b'0'..=b'9' => u8::is_ascii_digit,
                b'a'..=b'z' | b'A'..=b'Z' => u8::is_ascii_alphabetic,
                _ => {
                    at += 1;
                    continue;
                }
            };
            let length = bytes.iter().skip(at).take_while(|byte| is(byte)).count();
            let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
            list.push(Word { text: part(at, at + length), before: part(end, at) });
            at += length;
            end = at;
        }
        Words { list, tail: text.get(end..).unwrap_or_default() }
    }

    fn get(&self, place: usize) -> Option<&Word<'a>> {
        self.list.get(place)
    }

    /// How many words name the code from that place on.
    fn name(&self, place: usize) -> Option<usize> {
        let word = self.get(place)?;
        let follows = |names: &[&str]| self.get(place + 1).is_some_and(|next| among(names, next.text));
        let after = |name: &str| place.checked_sub(1).and_then(|at| self.get(at)).is_some_and(|w| w.is(name));
        let glued_two = || self.get(place + 1).is_some_and(|next| next.text == "2" && next.before.is_empty());
        let two = (among(BEFORE_CODE, word.text) && follows(&["code"]))
            // Of the social kind, four digits are shown by custom.
            || (word.is("security") && follows(&["number"]) && !after("social"))
            || (word.is("verification") && follows(&["number", "value"]) && after("card"))
            || (word.is("cv") && glued_two());
        if two { Some(2) } else { among(NAMES, word.text).then_some(1) }
    }

    /// The length of a code that follows the name.
    fn code_after(&self, place: usize, taken: usize, trusted: bool) -> Option<usize> {
        // The 2 of CVV2 is a digit word of its own.
        let two = self.get(place + taken).is_some_and(|word| word.text == "2");
        [place + taken, place + taken + usize::from(two)].into_iter().find_map(|start| {
            let at = (start..start + 3).find(|at| {
                self.get(*at).is_some_and(|word| word.is_number() || !among(FILLERS, word.text))
            })?;
            let first = self.get(at).filter(|word| word.is_number())?;
            let length = self.code_at(at)?;
            let labelled = || first.before.contains([':', '=']) && !is_year(first.text);
            let short_cid = || length == 3 && self.get(place).is_some_and(|word| word.is("cid"));
            (trusted || labelled() || short_cid()).then_some(length)
        })
    }

    /// The length of the code that begins there, its digits together or one by one.
    fn code_at(&self, at: usize) -> Option<usize> {
        let length = match self.get(at)?.text.len() {
            1 => {
                let more = self.list.iter().skip(at + 1);
                1 + more
                    .take(4)
                    .take_while(|w| w.is_number() && w.text.len() == 1 && w.before.len() < 4)
                    .count()
            }
            length => length,
        };
        (3..=4).contains(&length).then_some(length)
    }

    /// The length of a code that stands before the name: `123 is the cvv`, `123 (cvv)`.
    fn code_before(&self, place: usize, taken: usize) -> Option<usize> {
        let blank = |word: &Word<'_>| word.before.trim().is_empty();
        let name = self.get(place)?;
        let mut at = place.checked_sub(1)?;
        let article = self.get(at).is_some_and(|word| among(ARTICLES, word.text) && blank(name));
        at = at.checked_sub(usize::from(article))?;
        let verb = self.get(at).is_some_and(|word| among(VERBS, word.text));
        at = at.checked_sub(usize::from(verb))?;
        let number = self.get(at).filter(|word| word.is_number() && (3..=4).contains(&word.text.len()))?;
        let said = verb && self.list.iter().skip(at + 1).take(place - at).all(blank);
        let glued_two =
            self.get(place + taken).is_some_and(|next| next.text == "2" && next.before.is_empty());
        let next = self.get(place + taken + usize::from(glued_two)).map_or(self.tail, |word| word.before);
        let bracketed = !verb
            && !article
            && ((name.before.trim().ends_with(['(', '[']) && next.trim_start().starts_with([')', ']']))
                || name.before.trim() == "=");
        // After another word the number is that word's: `room 123 cvv on file`.
        let own = || {
            let before = at.checked_sub(1).and_then(|at| self.get(at));
            before.is_none_or(|word| word.is_number() || !blank(number))
        };
        let bare = !verb && !article && blank(name) && !name.before.is_empty() && name.is("cvv") && own();
        (said || bracketed || bare).then_some(number.text.len())
    }

    fn near_card(&self, place: usize) -> bool {
        let around = self.list.iter().skip(place.saturating_sub(NEAR)).take(2 * NEAR + 1);
        around.into_iter().any(|word| among(CARD_WORDS, word.text))
    }
}

fn is_year(number: &str) -> bool {
    number.len() == 4 && (number.starts_with("19") || number.starts_with("20"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_code_is_found_and_other_numbers_are_not() {
        for text in [
            "cvv: 123",
            "CVV2 is 1234",
            "the security code was 987",
            "CID=1234",
            "cvc123",
            "Cvv 2: 123",
            "123 (cvv)",
            "4111 (CVV2)",
            "123 is the cvv",
            "987 was my security code",
            "exp 12/26 123 cvv",
            "CV2 123",
            "cv2: 1 2 3",
            "cvv 1 2 3",
            "CVV2 1-2-3-4",
            "cvv 2 3 4",
            "security number 123 please",
            "card verification number 123",
            "CID 123",
            "amex ending 0005, CID 4567",
            "csc: 123",
            "csc 123 of the visa",
        ] {
            assert!(code_in_text(text).is_some(), "{text}");
            assert!(may_name_code(text.as_bytes()), "{text}");
        }
        for text in [
            "room 123",
            "cvv on file",
            "code 99213",
            "accident 123",
            "cvv 12345",
            "CV 2024",
            "incident 2023",
            "room 123 (cvv on file)",
            "room 123 cvv on file",
            "room 123. Is the cvv on file?",
            "cvv 1 2 3 4 5",
            "social security number 1234",
            "CID 2026",
            "cid 4567",
            "CID: 2026",
            "CSC 123 clinic",
            "CV 2 123",
            "insurance verification number 1234",
            "in 2023 (CVC placed)",
        ] {
            assert!(code_in_text(text).is_none(), "{text}");
        }
    }
}
