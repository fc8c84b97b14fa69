//! `application/x-www-form-urlencoded`, read strictly: a percent sign that starts no escape is refused.

use super::Text;
use crate::{Limits, Undecidable};
use zeroize::Zeroizing;

/// A form's fields in the order they came. Names may repeat; there is no `Debug`.
pub struct Form {
    pairs: Vec<(Text, Text)>,
}

impl Form {
    /// Parses `name=value&…` with `+` as space. An empty body is an empty form.
    ///
    /// # Errors
    /// [`Undecidable`] for invalid escapes, escapes that are no UTF-8, and anything beyond the limits.
    pub fn parse(body: &[u8], limits: &Limits) -> Result<Form, Undecidable> {
        if body.len() > limits.body {
            return Err(Undecidable::TooLarge);
        }
        let mut pairs = vec![];
        for piece in body.split(|b| *b == b'&').filter(|piece| !piece.is_empty()) {
            if pairs.len() >= limits.nodes {
                return Err(Undecidable::TooManyNodes);
            }
            let (name, value) = match memchr::memchr(b'=', piece).and_then(|at| piece.split_at_checked(at)) {
                Some((name, value)) => (name, value.get(1..).unwrap_or_default()),
                None => (piece, &[][..]),
            };
            pairs.push((decoded(name)?, decoded(value)?));
        }
        Ok(Form { pairs })
    }

    /// Names and values in order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of the one field of that name; `None` when there is none or more than one.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.pairs().filter(|(n, _)| *n == name).map(|(_, value)| value);
        values.next().filter(|_| values.next().is_none())
    }

    /// Replaces the value of the one field of that name; false when there is none or more than one.
    pub fn replace(&mut self, name: &str, text: &str) -> bool {
        let one = self.get(name).is_some();
        if let Some((_, value)) = self.pairs.iter_mut().find(|(n, _)| one && n.as_str() == name) {
            *value = Zeroizing::new(text.to_owned());
        }
        one
    }

    /// Takes every field of that name away; false when there was none.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.pairs.len();
        self.pairs.retain(|(n, _)| n.as_str() != name);
        self.pairs.len() < before
    }

    /// Adds a field next after the first one called `after`; false when there is none or the name is taken.
    pub fn insert_after(&mut self, after: &str, name: &str, text: &str) -> bool {
        let Some(place) = self.pairs.iter().position(|(n, _)| n.as_str() == after) else { return false };
        if self.pairs.iter().any(|(n, _)| n.as_str() == name) {
            return false;
        }
        self.pairs.insert(place + 1, (Zeroizing::new(name.to_owned()), Zeroizing::new(text.to_owned())));
        true
    }

    /// The form's bytes: everything but ASCII letters, digits and `*-._` escaped, in memory that is wiped.
    pub fn write(&self) -> Zeroizing<Vec<u8>> {
        let longest: usize = self.pairs.iter().map(|(name, value)| (name.len() + value.len()) * 3 + 2).sum();
        let mut bytes = Zeroizing::new(Vec::with_capacity(longest));
        for (place, (name, value)) in self.pairs.iter().enumerate() {
            if place > 0 {
                bytes.push(b'&');
            }
            encode(name, &mut bytes);
            bytes.push(b'=');
            encode(value, &mut bytes);
        }
        bytes
    }
}

/// One name or value without its escapes.
pub(crate) fn decoded(raw: &[u8]) -> Result<Text, Undecidable> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(raw.len()));
    let mut rest = raw;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let (high, low) = (after.first(), after.get(1));
                let value = hex(high).zip(hex(low)).ok_or(Undecidable::MalformedForm)?;
                bytes.push(value.0 << 4 | value.1);
                rest = after.get(2..).unwrap_or_default();
            }
            plain => bytes.push(*plain),
        }
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| Undecidable::NotUtf8)?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn hex(byte: Option<&u8>) -> Option<u8> {
    byte.and_then(|b| char::from(*b).to_digit(16)).and_then(|v| u8::try_from(v).ok())
}

fn encode(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b' ' => out.push(b'+'),
            b'*' | b'-' | b'.' | b'_' => out.push(byte),
            _ if byte.is_ascii_alphanumeric() => out.push(byte),
            _ => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_loose_percent_sign_is_refused() {
        for body in ["a=%", "a=%4", "a=%zz", "%=1", "a=%u0034"] {
            assert_eq!(
                Form::parse(body.as_bytes(), &Limits::default()).err(),
                Some(Undecidable::MalformedForm)
            );
        }
        assert_eq!(Form::parse(b"a=%C0%B4", &Limits::default()).err(), Some(Undecidable::NotUtf8));
    }

    #[test]
    fn a_field_that_stands_twice_is_neither_read_nor_replaced() {
        let mut form = Form::parse(b"c=1&c=2&d=3", &Limits::default()).ok().unwrap();
        assert_eq!(form.get("c"), None);
        assert!(!form.replace("c", "x"));
        assert!(form.remove("c"));
        assert_eq!(&*form.write(), b"d=3");
    }

    proptest! {
        #[test]
        fn fields_survive_a_round_trip(pairs in proptest::collection::vec((".{1,9}", ".*"), 0..6)) {
            let form = Form { pairs: pairs.iter().map(|(n, v)| (Zeroizing::new(n.clone()), Zeroizing::new(v.clone()))).collect() };
            let again = Form::parse(&form.write(), &Limits::default()).ok().unwrap();
            let again: Vec<_> = again.pairs().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            prop_assert_eq!(again, pairs);
        }
    }
}
