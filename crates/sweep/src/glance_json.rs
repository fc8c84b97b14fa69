//! The fast path for JSON bodies: checks form and values in one pass and builds nothing.
//!
//! Like `glance` it may only ever say "certainly clean": any escape, any oddity, and any error of form is left to
//! the parser and the tree, which say what is wrong.

use crate::Limits;
use crate::context::FieldContext;
use crate::glance::{self, Makeup};
use crate::{join, leaf};

/// Objects with more members than this are left to the parser, which finds duplicate names by sorting.
const MOST_MEMBERS: usize = 48;

/// Whether the body is one well-formed JSON text within the limits in which nothing can be found.
pub(crate) fn is_clean_json(body: &str, limits: &Limits) -> bool {
    let mut scan =
        Scan { body, at: 0, depth: limits.depth.min(64), nodes: limits.nodes, names: Vec::with_capacity(32) };
    let clean = scan.value(b"", 0).is_some();
    scan.space();
    clean && scan.at == body.len() && body.len() <= limits.body
}

struct Scan<'a> {
    body: &'a str,
    at: usize,
    depth: usize,
    nodes: usize,
    /// Names of all objects that are open, the innermost last.
    names: Vec<&'a [u8]>,
}

/// Digits of a value that neighbours could join with; 0 for none. The outer `None` is "not settled".
type Settled = Option<usize>;

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.body.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn value(&mut self, name: &[u8], depth: usize) -> Settled {
        self.nodes = self.nodes.checked_sub(1)?;
        self.space();
        match self.peek()? {
            b'"' => {
                let (text, makeup) = self.string()?;
                value_is_clean(name, text, makeup).then_some(joinable(text, makeup))
            }
            b'{' => self.object(depth),
            b'[' => self.array(name, depth),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => self.number(name),
        }
    }

    fn word(&mut self, word: &str) -> Settled {
        self.body.get(self.at..)?.starts_with(word).then(|| self.at += word.len())?;
        Some(0)
    }

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
        let mut seen = 0u128;
        let mut row = Row::default();
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return None;
            }
            let (name, makeup) = self.string()?;
            let others = self.names.get(first..)?;
            let bit = 1u128 << (mix(name) & 127);
            let twice = seen & bit != 0 && others.contains(&name);
            seen |= bit;
            if others.len() >= MOST_MEMBERS || twice || !glance::settles(name, makeup) {
                return None;
            }
            self.names.push(name);
            self.space();
            self.eat(b':').then_some(())?;
            let piece = self.value(name, depth + 1)?;
            row.add(piece)?;
            self.space();
            if self.eat(b'}') {
                self.names.truncate(first);
                return Some(0);
            }
            self.eat(b',').then_some(())?;
        }
    }

    #[inline]
    fn string(&mut self) -> Option<(&'a [u8], Makeup)> {
        let start = self.at + 1;
        let mut makeup = Makeup::default();
        let bytes = self.body.as_bytes().get(start..)?;
        // Eight bytes at a time while none of them ends the string; one branch for all.
        let (blocks, _) = bytes.as_chunks::<8>();
        let mut length = 0;
        for block in blocks {
            let classes = block.map(glance::class);
            if classes.iter().fold(0, |all, class| all | class) & glance::STOP != 0 {
                break;
            }
            classes.into_iter().for_each(|class| makeup.add(class));
            length += 8;
        }
        for byte in bytes.get(length..)? {
            let class = glance::class(*byte);
            if class & glance::STOP == 0 {
                makeup.add(class);
                length += 1;
                continue;
            }
            if *byte != b'"' {
                return None;
            }
            self.at = start + length + 1;
            return Some((bytes.get(..length)?, makeup));
        }
        None
    }

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
        if whole + fraction.unwrap_or(0) >= 11 && !leaf_is_clean(text) {
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

/// A few bits of a name, equal for equal names.
fn mix(bytes: &[u8]) -> u32 {
    let byte = |at: usize| u32::from(bytes.get(at).copied().unwrap_or(0));
    let last = u32::from(bytes.last().copied().unwrap_or(0));
    byte(0).wrapping_mul(29) ^ byte(2).wrapping_mul(7) ^ last.wrapping_mul(53) ^ byte(1)
}

fn value_is_clean(name: &[u8], text: &[u8], makeup: Makeup) -> bool {
    if (3..=4).contains(&makeup.digits) && makeup.is_bare() && names_code(name) {
        return false;
    }
    glance::settles(text, makeup) || std::str::from_utf8(text).is_ok_and(leaf_is_clean)
}

/// By the rules for card fields, which find whatever those for other fields find.
fn leaf_is_clean(text: &str) -> bool {
    leaf::thoroughly(text, FieldContext::Card, 0) == Ok(None)
}

fn joinable(text: &[u8], makeup: Makeup) -> usize {
    let piece = makeup.is_bare() && std::str::from_utf8(text).is_ok_and(|text| join::piece(text).is_some());
    if piece { makeup.digits } else { 0 }
}

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
            names in proptest::collection::vec("[a-c]|cvv|cvc|p1|p2|card|note|4111111111111111", 4),
            values in proptest::collection::vec(prop_oneof![
                Just("4111111111111111".to_owned()), Just("\"41111111\"".to_owned()), Just("11111111".to_owned()),
                Just("\"4111\"".to_owned()), Just("[4111,1111,1111,1111]".to_owned()), Just("\"cvv 123\"".to_owned()),
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
                    prop_assert_eq!(tree::sweep(&json, &[]), Ok(None));
                }
            }
        }
    }
}
