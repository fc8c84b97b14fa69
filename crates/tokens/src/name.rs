//! Names that people give: a tenant (one clinic or group) and a principal (who acts).

use serde::{Deserialize, Serialize};
use std::fmt;

/// The text is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to 48 characters a-z, 0-9 or -, starts with a letter and has fewer than 9 digits")]
pub struct NameError;

/// Fewer than 9 digits, so that no name can be taken for a card number or hide half of one.
fn is_name(text: &str) -> bool {
    text.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && text.len() <= 48
        && text.bytes().filter(u8::is_ascii_digit).count() < 9
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses a name: 1 to 48 characters of `a-z`, `0-9`, `-`, starting with a letter, fewer than 9 digits.
            ///
            /// # Errors
            /// [`NameError`] when the text breaks that rule; it never repeats the text.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                if is_name(text) { Ok($name(text.to_owned())) } else { Err(NameError) }
            }

            /// The name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                $name::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}

name!(
    /// One clinic or group: part of every key, query and binding.
    Tenant
);
name!(
    /// Who acts: a portal, a staff member, an auditor, the companion, an administrator.
    Principal
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_hold_a_card_number() {
        assert!(Tenant::parse("north-clinic-7").is_ok());
        assert!(Principal::parse("portal").is_ok());
        for wrong in ["", "7north", "North", "a b", "t4242424242424242", "t-424242424", &"a".repeat(49)] {
            assert_eq!(Tenant::parse(wrong), Err(NameError), "{wrong}");
            assert_eq!(Principal::parse(wrong), Err(NameError), "{wrong}");
        }
    }
}
