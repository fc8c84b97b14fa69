//! JSON as RFC 8259 has it and no looser: a tree in the order it came, numbers as their own text.

use super::Text;
use crate::{Limits, Undecidable};
use zeroize::Zeroizing;

/// One JSON value. Text and numbers are wiped when dropped; there is no `Debug`.
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number exactly as it was written; no digit ever passes through a float.
    Number(Text),
    /// A string without its escapes.
    Text(Text),
    /// An array.
    Array(Vec<Json>),
    /// An object, members in the order they came, no name twice.
    Object(Vec<(Text, Json)>),
}

impl Json {
    /// Parses exactly one JSON text in UTF-8. Refuses what readers disagree about: duplicate names, lone
    /// surrogates, a byte order mark, comments, trailing commas, NaN, and anything after the value.
    ///
    /// # Errors
    /// [`Undecidable`] naming the first thing that is wrong.
    pub fn parse(body: &[u8], limits: &Limits) -> Result<Json, Undecidable> {
        if body.len() > limits.body {
            return Err(Undecidable::TooLarge);
        }
        let text = std::str::from_utf8(body).map_err(|_| Undecidable::NotUtf8)?;
        let mut reader = Reader { text, at: 0, nodes: limits.nodes, depth: limits.depth.min(DEEPEST) };
        let value = reader.value(0)?;
        reader.space();
        if reader.at == text.len() { Ok(value) } else { Err(Undecidable::MalformedJson) }
    }

    /// A string value.
    pub fn text(text: &str) -> Json {
        Json::Text(Zeroizing::new(text.to_owned()))
    }

    /// The text of a string, or a number as it was written.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Json::Text(text) | Json::Number(text) => Some(text.as_str()),
            _ => None,
        }
    }
}

/// Beyond this the recursion itself would be at risk, whatever the limits say.
const DEEPEST: usize = 128;

struct Reader<'a> {
    text: &'a str,
    at: usize,
    nodes: usize,
    depth: usize,
}

type Parsed<T> = Result<T, Undecidable>;

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        if there {
            self.at += 1;
        }
        there
    }

    fn word(&mut self, word: &str, value: Json) -> Parsed<Json> {
        if self.rest().starts_with(word) {
            self.at += word.len();
            Ok(value)
        } else {
            Err(Undecidable::MalformedJson)
        }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn value(&mut self, depth: usize) -> Parsed<Json> {
        self.nodes = self.nodes.checked_sub(1).ok_or(Undecidable::TooManyNodes)?;
        self.space();
        match self.peek().ok_or(Undecidable::MalformedJson)? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string().map(Json::Text),
            b't' => self.word("true", Json::Bool(true)),
            b'f' => self.word("false", Json::Bool(false)),
            b'n' => self.word("null", Json::Null),
            _ => self.number(),
        }
    }

    fn array(&mut self, depth: usize) -> Parsed<Json> {
        if depth >= self.depth {
            return Err(Undecidable::TooDeep);
        }
        self.at += 1;
        let mut items = vec![];
        self.space();
        if self.eat(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.space();
            if self.eat(b']') {
                return Ok(Json::Array(items));
            }
            if !self.eat(b',') {
                return Err(Undecidable::MalformedJson);
            }
        }
    }

    fn object(&mut self, depth: usize) -> Parsed<Json> {
        if depth >= self.depth {
            return Err(Undecidable::TooDeep);
        }
        self.at += 1;
        let mut members: Vec<(Text, Json)> = vec![];
        self.space();
        if self.eat(b'}') {
            return Ok(Json::Object(members));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(Undecidable::MalformedJson);
            }
            let name = self.string()?;
            self.space();
            if !self.eat(b':') {
                return Err(Undecidable::MalformedJson);
            }
            members.push((name, self.value(depth + 1)?));
            self.space();
            if self.eat(b'}') {
                break;
            }
            if !self.eat(b',') {
                return Err(Undecidable::MalformedJson);
            }
        }
        let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(Undecidable::DuplicateKey);
        }
        Ok(Json::Object(members))
    }

    fn string(&mut self) -> Parsed<Text> {
        self.at += 1;
        let mut text = Zeroizing::new(String::new());
        loop {
            let plain = self.rest().as_bytes();
            let length = plain
                .iter()
                .position(|b| *b < 0x20 || *b == b'"' || *b == b'\\')
                .ok_or(Undecidable::MalformedJson)?;
            let run = self.rest().get(..length).ok_or(Undecidable::MalformedJson)?;
            if text.is_empty() && plain.get(length) == Some(&b'"') {
                // The usual string has no escape: one allocation of the right size leaves no copy behind.
                self.at += length + 1;
                return Ok(Zeroizing::new(run.to_owned()));
            }
            reserve(&mut text, run.len());
            text.push_str(run);
            self.at += length;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    self.at += 1;
                    let c = self.escape()?;
                    reserve(&mut text, 4);
                    text.push(c);
                }
                _ => return Err(Undecidable::MalformedJson),
            }
        }
    }

    fn escape(&mut self) -> Parsed<char> {
        let kind = self.peek().ok_or(Undecidable::MalformedJson)?;
        self.at += 1;
        Ok(match kind {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.four_hex()?;
                let code = if (0xD800..0xDC00).contains(&first) {
                    if !(self.eat(b'\\') && self.eat(b'u')) {
                        return Err(Undecidable::MalformedJson);
                    }
                    let second = self.four_hex()?;
                    if !(0xDC00..0xE000).contains(&second) {
                        return Err(Undecidable::MalformedJson);
                    }
                    0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)
                } else {
                    first
                };
                char::from_u32(code).ok_or(Undecidable::MalformedJson)?
            }
            _ => return Err(Undecidable::MalformedJson),
        })
    }

    fn four_hex(&mut self) -> Parsed<u32> {
        let mut code = 0;
        for _ in 0..4 {
            let digit =
                self.peek().and_then(|b| char::from(b).to_digit(16)).ok_or(Undecidable::MalformedJson)?;
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }

    fn number(&mut self) -> Parsed<Json> {
        let start = self.at;
        self.eat(b'-');
        if !self.eat(b'0') && !self.digits() {
            return Err(Undecidable::MalformedJson);
        }
        if self.eat(b'.') && !self.digits() {
            return Err(Undecidable::MalformedJson);
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _ = self.eat(b'+') || self.eat(b'-');
            if !self.digits() {
                return Err(Undecidable::MalformedJson);
            }
        }
        let raw = self.text.get(start..self.at).ok_or(Undecidable::MalformedJson)?;
        Ok(Json::Number(Zeroizing::new(raw.to_owned())))
    }

    fn digits(&mut self) -> bool {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        self.at > start
    }
}

/// Grows by moving into a new block and wiping the old one, which `String` itself would leave as it was.
fn reserve(text: &mut Text, more: usize) {
    if text.capacity() - text.len() < more {
        let mut larger = Zeroizing::new(String::with_capacity((text.len() + more) * 2));
        larger.push_str(text);
        *text = larger;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Json, Undecidable> {
        Json::parse(text.as_bytes(), &Limits::default())
    }

    fn written(text: &str) -> Result<String, Undecidable> {
        parse(text).map(|json| String::from_utf8(json.write().to_vec()).unwrap())
    }

    #[test]
    fn what_readers_disagree_about_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "[1] [2]",
            "1 2",
            "// x\n1",
            "/* */1",
            "NaN",
            "Infinity",
            "-",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "\"\\x41\"",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\\udc00\"",
            "\"a\nb\"",
            "\u{feff}1",
            "'a'",
            "[1}",
            "tru",
            "\"",
            "\"\\",
            "\"\\u12",
            "{\"a\" 1}",
            "[,]",
            "nul",
        ] {
            assert_eq!(parse(text).err(), Some(Undecidable::MalformedJson), "{text:?}");
        }
        assert_eq!(parse(r#"{"a":1,"b":2,"\u0061":3}"#).err(), Some(Undecidable::DuplicateKey));
        assert_eq!(Json::parse(b"\"\xc0\xb4\"", &Limits::default()).err(), Some(Undecidable::NotUtf8));
    }

    #[test]
    fn depth_and_count_are_bounded() {
        let limits = Limits { depth: 4, nodes: 10, ..Limits::default() };
        assert!(Json::parse(b"[[[[]]]]", &limits).is_ok());
        assert_eq!(Json::parse(b"[[[[[]]]]]", &limits).err(), Some(Undecidable::TooDeep));
        assert_eq!(Json::parse(b"[1,1,1,1,1,1,1,1,1,1]", &limits).err(), Some(Undecidable::TooManyNodes));
        assert_eq!(parse(&"[".repeat(100_000)).err(), Some(Undecidable::TooDeep));
    }

    #[test]
    fn numbers_keep_every_digit_and_members_their_order() {
        let text = r#"{"z":6205500000000000004,"a":4.111111111111111e15,"m":-0.10}"#;
        assert_eq!(written(text).unwrap(), text);
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_means_the_same_to_serde_json(text in r#"[\[\]{}",:0-9.eE+a-c\\u -]{0,40}"#) {
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            if let Ok(mine) = parse(&text) {
                let again: serde_json::Value = serde_json::from_slice(&mine.write()).unwrap();
                // A number outside the range of a double is theirs to refuse.
                if let Ok(theirs) = theirs { prop_assert_eq!(again, theirs); }
            } else if theirs.is_ok() {
                // We are stricter in duplicate names only.
                prop_assert_eq!(parse(&text).err(), Some(Undecidable::DuplicateKey));
            }
        }

        #[test]
        fn every_string_survives_a_round_trip(text in ".*") {
            let json = Json::Array(vec![Json::text(&text)]);
            let again: Vec<String> = serde_json::from_slice(&json.write()).unwrap();
            prop_assert_eq!(&again[0], &text);
            let mine = Json::parse(&json.write(), &Limits::default()).ok().unwrap();
            prop_assert_eq!(mine.get(&["0"]).unwrap().as_text(), Some(text.as_str()));
        }
    }
}
