//! The fast path for JSON bodies: checks form and values in one pass and builds nothing.
//!
//! Like `glance` it may only ever say "certainly clean": any oddity and any error of form is left to the parser and the
//! tree, which say what is wrong.

use crate::Limits;
use crate::bits::Window;
use crate::context::FieldContext;
use crate::document::{Json, Text};
use crate::work::Work;
use crate::{glance, glance_bits, join, leaf, sad};

/// Objects with more members than this are left to the parser, which finds duplicate names by sorting.
const MOST_MEMBERS: usize = 48;

/// Whether the body is one well-formed JSON text within the limits in which nothing can be found.
pub(crate) fn is_clean_json(body: &str, limits: &Limits) -> bool {
    let mut scan = Scan {
        body,
        window: Window::new(body.as_bytes()),
        at: 0,
        depth: limits.depth.min(64),
        nodes: limits.nodes,
        work: Work::first_look(body.len()),
        names: Vec::with_capacity(32),
    };
    let clean = scan.value(b"", 0).is_some();
    scan.space();
    clean && scan.at == body.len() && body.len() <= limits.body
}

struct Scan<'a> {
    body: &'a str,
    window: Window<'a, true>,
    at: usize,
    depth: usize,
    nodes: usize,
    work: Work,
    /// Names of all objects that are open, the innermost last.
    names: Vec<&'a [u8]>,
}

/// Digits of a value that neighbours could join with; 0 for none. The outer `None` is "not settled".
type Settled = Option<usize>;

impl<'a> Scan<'a> {
    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.body.as_bytes().get(self.at).copied()
    }

    #[inline(always)]
    fn space(&mut self) {
        if self.peek().is_some_and(|byte| byte > b' ') {
            return;
        }
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    #[inline(always)]
    fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at = self.at.wrapping_add(usize::from(there));
        there
    }

    fn value(&mut self, name: &[u8], depth: usize) -> Settled {
        self.nodes = self.nodes.checked_sub(1)?;
        self.space();
        match self.peek()? {
            b'"' => match self.plain() {
                Some(plain) => self.text(name, &plain),
                None => self.unusual_value(name),
            },
            b'{' => self.object(depth),
            b'[' => self.array(name, depth),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => self.number(name),
        }
    }

    #[inline(always)]
    fn text(&mut self, name: &[u8], plain: &Plain<'_>) -> Settled {
        if !self.settles(plain) {
            return None;
        }
        // Nothing but digits, or digits in groups or with spaces around them.
        let digits = match plain.digit {
            0 => return Some(0),
            all if all == plain.low && plain.text.len() < 14 => plain.text.len(),
            _ => std::str::from_utf8(plain.text).ok().and_then(join::piece).map_or(0, join::digits),
        };
        ((digits != 3 && digits != 4) || !names_code(name)).then_some(digits)
    }

    fn word(&mut self, word: &str) -> Settled {
        self.body.get(self.at..)?.starts_with(word).then(|| self.at += word.len())?;
        Some(0)
    }

    #[inline(never)]
    fn array(&mut self, name: &[u8], depth: usize) -> Settled {
        if depth >= self.depth {
            return None;
        }
        self.at += 1;
        self.space();
        if self.eat(b']') {
            return Some(0);
        }
        let mut row = Row::default();
        loop {
            let piece = self.value(name, depth + 1)?;
            row.add(piece)?;
            self.space();
            if self.eat(b']') {
                return Some(0);
            }
            self.eat(b',').then_some(())?;
        }
    }

    fn object(&mut self, depth: usize) -> Settled {
        if depth >= self.depth {
            return None;
        }
        self.at += 1;
        self.space();
        if self.eat(b'}') {
            return Some(0);
        }
        let first = self.names.len();
        // One bit for each name seen: names are compared only where bits collide.
        let mut seen = 0u64;
        let mut row = Row::default();
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return None;
            }
            let (name, clean) = match self.plain() {
                Some(plain) => (plain.text, self.settles(&plain)),
                None => self.unusual_name()?,
            };
            let others = self.names.get(first..)?;
            let bit = 1u64 << (mix(name) & 63);
            let twice = seen & bit != 0 && others.contains(&name);
            seen |= bit;
            if others.len() >= MOST_MEMBERS || twice || !clean || may_be_piece(name) {
                return None;
            }
            self.names.push(name);
            self.space();
            self.eat(b':').then_some(())?;
            self.space();
            // Most values are strings, and most strings are plain.
            let string = if self.peek() == Some(b'"') { self.plain() } else { None };
            let piece = match string {
                Some(plain) => {
                    self.nodes = self.nodes.checked_sub(1)?;
                    self.text(name, &plain)?
                }
                None => self.value(name, depth + 1)?,
            };
            row.add(piece)?;
            self.space();
            if self.eat(b'}') {
                self.names.truncate(first);
                return Some(0);
            }
            self.eat(b',').then_some(())?;
        }
    }

    /// The string that starts here, if it is plain and of at most 63 bytes; else it stays where it is.
    #[inline(always)]
    fn plain(&mut self) -> Option<Plain<'a>> {
        let start = self.at.wrapping_add(1);
        let shift = self.window.seek(start);
        let end = self.window.word(shift, |bits| bits.quote).trailing_zeros();
        let low = 1u64.checked_shl(end)?.wrapping_sub(1);
        if self.window.word(shift, |bits| bits.look) & low != 0 {
            return None;
        }
        let end = start.wrapping_add(end as usize);
        let text = self.body.as_bytes().get(start..end)?;
        self.at = end.wrapping_add(1);
        Some(Plain { text, shift, low, digit: self.window.word(shift, |bits| bits.digit) & low })
    }

    #[inline(always)]
    fn settles(&self, plain: &Plain<'_>) -> bool {
        let Plain { text, shift, low, digit } = *plain;
        let few = digit & digit.wrapping_sub(1) == 0;
        let opens = matches!(text.first(), Some(b'{' | b'[' | b'"' | b' '));
        if text.len() < 11 && !opens && (few || self.window.word(shift, |bits| bits.letter) & low == 0) {
            return true;
        }
        let letter = self.window.word(shift, |bits| bits.letter) & low;
        let sign = self.window.word(shift, |bits| bits.sign) & low;
        (!opens && glance_bits::settles(text, digit, letter, sign)) || leaf_is_clean(text, &self.work)
    }

    /// A value with signs of markup or of an encoding, beyond ASCII, or with escapes.
    #[cold]
    fn unusual_value(&mut self, name: &[u8]) -> Settled {
        let start = self.at + 1;
        match self.unusual(start)? {
            Some(text) => other_is_clean(name, text, &self.work),
            None => other_is_clean(name, &self.escaped(start)?, &self.work),
        }
    }

    /// A name of that kind and whether it is clean. Names with escapes are left to the parser.
    #[cold]
    fn unusual_name(&mut self) -> Option<(&'a [u8], bool)> {
        let name = self.unusual(self.at + 1)??;
        Some((name.as_bytes(), leaf_is_clean(name.as_bytes(), &self.work)))
    }

    /// The string that starts here; nothing when it has escapes.
    fn unusual(&mut self, start: usize) -> Option<Option<&'a str>> {
        let rest = self.body.get(start..)?;
        let length = memchr::memchr2(b'"', b'\\', rest.as_bytes())?;
        if rest.as_bytes().get(length) == Some(&b'\\') {
            return Some(None);
        }
        let text = rest.get(..length)?;
        self.at = start + length + 1;
        text.bytes().all(|byte| byte >= 0x20).then_some(Some(text))
    }

    /// A string with escapes, read by the parser itself.
    #[inline(never)]
    fn escaped(&mut self, start: usize) -> Option<Text> {
        let bytes = self.body.as_bytes().get(start..)?;
        let mut end = 0;
        loop {
            end += memchr::memchr2(b'"', b'\\', bytes.get(end..)?)?;
            if bytes.get(end) == Some(&b'"') {
                break;
            }
            end += 2;
        }
        let whole = self.body.as_bytes().get(start - 1..=start + end)?;
        let Ok(Json::Text(text)) = Json::parse(whole, &Limits { body: usize::MAX, ..Limits::default() })
        else {
            return None;
        };
        self.at = start + end + 1;
        Some(text)
    }

    #[inline(never)]
    fn number(&mut self, name: &[u8]) -> Settled {
        let start = self.at;
        self.eat(b'-');
        let whole = self.digits();
        let leading_zero = whole > 1 && self.body.as_bytes().get(self.at - whole) == Some(&b'0');
        let fraction = if self.eat(b'.') { Some(self.digits()) } else { None };
        if whole == 0 || leading_zero || fraction == Some(0) || matches!(self.peek(), Some(b'e' | b'E')) {
            return None;
        }
        let text = self.body.get(start..self.at)?;
        if whole + fraction.unwrap_or(0) >= 11 && !leaf_is_clean(text.as_bytes(), &self.work) {
            return None;
        }
        let could_be_code = matches!(text.len(), 3 | 4) && names_code(name);
        (!could_be_code).then_some(if text.len() == whole { whole } else { 0 })
    }

    fn digits(&mut self) -> usize {
        let rest = self.body.as_bytes().get(self.at..).unwrap_or_default();
        let count = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        self.at += count;
        count
    }
}

/// Neighbours that are digits and nothing else, one after the other.
#[derive(Default)]
struct Row {
    pieces: usize,
    digits: usize,
}

impl Row {
    /// `None` when the row has enough digits to be judged.
    fn add(&mut self, digits: usize) -> Option<()> {
        if digits == 0 {
            *self = Row::default();
        } else {
            self.pieces += 1;
            self.digits += digits;
        }
        (self.pieces < 2 || self.digits < 12).then_some(())
    }
}

/// Whether a name might be joined with its neighbours.
#[inline(always)]
fn may_be_piece(name: &[u8]) -> bool {
    name.first().is_some_and(|byte| !byte.is_ascii_alphabetic())
        && std::str::from_utf8(name).is_ok_and(|name| join::piece(name).is_some())
}

/// A few bits of a name, equal for equal names.
fn mix(bytes: &[u8]) -> u32 {
    let byte = |at: usize| u32::from(bytes.get(at).copied().unwrap_or(0));
    let last = u32::from(bytes.last().copied().unwrap_or(0));
    byte(0).wrapping_mul(29) ^ byte(2).wrapping_mul(7) ^ last.wrapping_mul(53) ^ byte(1)
}

/// A string of printable ASCII without escapes or markup.
struct Plain<'a> {
    text: &'a [u8],
    /// Its place in the window.
    shift: u32,
    /// A bit for each of its bytes.
    low: u64,
    /// Where its digits stand.
    digit: u64,
}

fn other_is_clean(name: &[u8], text: &str, work: &Work) -> Settled {
    let digits = join::piece(text).map_or(0, join::digits);
    let could_be_code = sad::is_code(text) && names_code(name);
    (!could_be_code && leaf_is_clean(text.as_bytes(), work)).then_some(digits)
}

/// By the rules for card fields, which find whatever those for other fields find.
#[cold]
#[inline(never)]
fn leaf_is_clean(text: &[u8], work: &Work) -> bool {
    glance::is_clean(text)
        || std::str::from_utf8(text)
            .is_ok_and(|text| leaf::thoroughly(text, FieldContext::Card, 0, work) == Ok(None))
}

#[inline(never)]
fn names_code(name: &[u8]) -> bool {
    std::str::from_utf8(name).is_ok_and(|name| FieldContext::of_name(name) == FieldContext::VerificationCode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Json;
    use crate::tree;
    use proptest::prelude::*;

    #[test]
    fn an_ordinary_claim_is_settled() {
        let body = r#"{"claim":"clm_abcdefghijkl","patient":{"name":"José Núñez","born":"1980-05-06","phone":"+1 415 555 1234"},
            "lines":[{"code":"99213","units":1,"charge":"125.40"},{"code":"36415","units":1,"charge":"12.00"}],
            "npi":"1234567893","id":"123e4567-e89b-12d3-a456-426614174000","paid":false,"at":1790000000000,"note":null}"#;
        assert!(is_clean_json(body, &Limits::default()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]
        #[test]
        fn a_document_settled_at_a_glance_is_well_formed_and_clean(
            names in proptest::collection::vec("[a-c]|4111|1111|41111111|cvv|cvc|p1|p2|card|note|4111111111111111", 4),
            values in proptest::collection::vec(prop_oneof![
                Just("4111111111111111".to_owned()), Just("\"41111111\"".to_owned()), Just("11111111".to_owned()),
                Just("\"4111\"".to_owned()), Just("\"4111-1111\"".to_owned()), Just("\"1111-1111\"".to_owned()), Just("[4111,1111,1111,1111]".to_owned()), Just("\"cvv 123\"".to_owned()),
                Just("123".to_owned()), Just("\" 123\"".to_owned()), Just("42e14".to_owned()), Just("null".to_owned()),
                Just("[\"123\"]".to_owned()), Just("{\"x\":\"1234\"}".to_owned()), Just("01".to_owned()), Just("1.".to_owned()),
                Just("\"4111 1111 1111 1111\"".to_owned()), Just("\"a\\u0034\"".to_owned()), "[0-9]{1,14}", "\"[ -!#-Z^-~]{0,30}\"",
                Just("4222222222222".to_owned()), Just("\"[{\"".to_owned()),
            ], 4),
            tail in "[}\\] ,1]{0,2}",
        ) {
            let members: Vec<String> = names.iter().zip(&values).map(|(n, v)| format!("\"{n}\":{v}")).collect();
            for body in [format!("{{{}}}", members.join(",")), format!("[{}]{tail}", values.join(", "))] {
                if is_clean_json(&body, &Limits::default()) {
                    let json = Json::parse(body.as_bytes(), &Limits::default()).ok().unwrap();
                    prop_assert_eq!(tree::sweep(&json, &[], &Work::new()), Ok(None));
                }
            }
        }
    }
}
