//! The token: what stands in for a card everywhere outside the card room.

use crate::letters::{self, RandomUnavailable};
use serde::{Deserialize, Serialize};
use std::fmt;

const LETTERS: usize = 28;

/// Live cards and test cards never mix: their keys, tokens and data differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Realm {
    /// Cards of patients.
    Live,
    /// Published test cards and demonstrations.
    Test,
}

impl Realm {
    /// `live` or `test`.
    pub fn as_str(self) -> &'static str {
        match self {
            Realm::Live => "live",
            Realm::Test => "test",
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Realm::Live => "tok_live_",
            Realm::Test => "tok_test_",
        }
    }
}

/// What a new token looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// `tok_live_` or `tok_test_`, 28 random letters, 1 check letter. No digit at all.
    #[default]
    Opaque,
    /// For old systems that insist on digits: the card's length and last four, leading 9, never Luhn-valid.
    CardShaped,
}

/// A parsed token. It is random, never derived from the card, and safe to log, store and send.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Token(String);

/// Why a text is no token. Holds nothing of the text: it could have been a card number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Neither of the two shapes.
    #[error("this is no token: expected tok_live_ or tok_test_ followed by 29 letters")]
    Shape,
    /// Right shape, wrong check letter: mistyped or cut.
    #[error("the token's check letter does not match: it was mistyped or cut")]
    CheckLetter,
}

impl Token {
    /// A new random token of 131 bits.
    ///
    /// # Errors
    /// [`RandomUnavailable`] when the operating system gives no random bytes.
    pub fn mint(realm: Realm) -> Result<Self, RandomUnavailable> {
        let body = letters::random(LETTERS)?;
        let check = letters::check_letter(&body).ok_or(RandomUnavailable)?;
        Ok(Token(format!("{}{body}{check}", realm.prefix())))
    }

    /// A new card-shaped token: `length` digits (12 to 19), leading 9, ending in `last4`, Luhn-invalid by
    /// construction. Returns `None` when the length is out of range.
    ///
    /// # Errors
    /// [`RandomUnavailable`] when the operating system gives no random bytes.
    pub fn mint_card_shaped(length: usize, last4: &crate::Last4) -> Result<Option<Self>, RandomUnavailable> {
        if !(12..=19).contains(&length) {
            return Ok(None);
        }
        let mut digits = String::with_capacity(length);
        digits.push('9');
        // Letters are uniform over 26; those below 20 give two for each digit, so digits stay uniform.
        while digits.len() < length - 4 {
            digits.extend(
                letters::random(length)?
                    .bytes()
                    .map(|b| b - b'a')
                    .filter(|v| *v < 20)
                    .take(length - 4 - digits.len())
                    .map(|v| char::from(b'0' + v % 10)),
            );
        }
        digits.push_str(last4.as_str());
        if luhn_valid(digits.as_bytes()) {
            // The digit before the last four moves by one: the Luhn sum changes by 1, 2 or 9, never by a multiple of 10.
            let place = length - 5;
            let moved: String = digits
                .char_indices()
                .map(|(i, c)| if i == place { if c == '9' { '8' } else { next_digit(c) } } else { c })
                .collect();
            digits = moved;
        }
        Ok(Some(Token(digits)))
    }

    /// Parses a token that arrived from outside.
    ///
    /// # Errors
    /// [`TokenError`], which never repeats the text.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let body = text.strip_prefix("tok_live_").or_else(|| text.strip_prefix("tok_test_"));
        if let Some(body) = body {
            if body.len() != LETTERS + 1 || !body.bytes().all(|b| b.is_ascii_lowercase()) {
                return Err(TokenError::Shape);
            }
            let (letters, check) = body.split_at_checked(LETTERS).ok_or(TokenError::Shape)?;
            return if letters::check_letter(letters).is_some_and(|c| check.chars().eq([c])) {
                Ok(Token(text.to_owned()))
            } else {
                Err(TokenError::CheckLetter)
            };
        }
        let digits = text.as_bytes();
        let shaped = (12..=19).contains(&digits.len())
            && digits.first() == Some(&b'9')
            && digits.iter().all(u8::is_ascii_digit);
        if shaped && !luhn_valid(digits) { Ok(Token(text.to_owned())) } else { Err(TokenError::Shape) }
    }

    /// The token's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The realm that the text names; a card-shaped token names none.
    pub fn realm(&self) -> Option<Realm> {
        match self.0.as_bytes().get(4) {
            Some(b'l') => Some(Realm::Live),
            Some(b't') => Some(Realm::Test),
            _ => None,
        }
    }
}

fn next_digit(digit: char) -> char {
    char::from(u8::try_from(digit).map_or(b'0', |d| d.saturating_add(1)))
}

/// ISO/IEC 7812-1 annex B. Only ever applied to tokens here; cards are checked in the card room.
fn luhn_valid(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let value = u32::from(digit.wrapping_sub(b'0'));
            if place % 2 == 0 { value } else { value / 5 + value * 2 % 10 }
        })
        .sum();
    sum.is_multiple_of(10)
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Token {
    type Error = TokenError;
    fn try_from(text: String) -> Result<Self, TokenError> {
        Token::parse(&text)
    }
}

impl From<Token> for String {
    fn from(token: Token) -> String {
        token.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Last4;
    use proptest::prelude::*;

    #[test]
    fn an_opaque_token_holds_no_digit_and_parses_back() {
        for realm in [Realm::Live, Realm::Test] {
            let token = Token::mint(realm).unwrap();
            assert!(token.as_str().bytes().all(|b| !b.is_ascii_digit()));
            assert_eq!(Token::parse(token.as_str()), Ok(token.clone()));
            assert_eq!(token.realm(), Some(realm));
        }
    }

    #[test]
    fn a_wrong_check_letter_is_told_apart_from_a_wrong_shape() {
        let token = Token::mint(Realm::Test).unwrap();
        let (head, last) = token.as_str().split_at(token.as_str().len() - 1);
        let other = if last == "a" { "b" } else { "a" };
        assert_eq!(Token::parse(&format!("{head}{other}")), Err(TokenError::CheckLetter));
        assert_eq!(Token::parse("4242424242424242"), Err(TokenError::Shape));
        assert_eq!(Token::parse(""), Err(TokenError::Shape));
    }

    proptest! {
        #[test]
        fn a_card_shaped_token_is_never_luhn_valid(length in 12usize..=19, last4 in "[0-9]{4}") {
            let last4 = Last4::parse(&last4).unwrap();
            let token = Token::mint_card_shaped(length, &last4).unwrap().unwrap();
            prop_assert_eq!(token.as_str().len(), length);
            prop_assert!(token.as_str().starts_with('9'));
            prop_assert!(token.as_str().ends_with(last4.as_str()));
            prop_assert!(!luhn_valid(token.as_str().as_bytes()));
            prop_assert_eq!(Token::parse(token.as_str()), Ok(token.clone()));
        }

        #[test]
        fn any_text_parses_or_is_refused_without_a_panic(text in ".*") {
            let _ = Token::parse(&text);
        }
    }
}
