//! Names inside an entry that are given by configuration, not by requests: validated, short, poor in digits.

use std::fmt;

/// The text is no such name. Never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a name for an audit entry: {rule}")]
pub struct NameError {
    rule: &'static str,
}

/// Fewer digits than half a card number, so that no name can hide one, nor one with its neighbour.
const DIGITS_BELOW: usize = 9;
const LENGTH_UP_TO: usize = 48;

fn fits(text: &str, digits: bool, also: &[u8]) -> bool {
    text.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
        && text.len() <= LENGTH_UP_TO
        && text.bytes().all(|b| b.is_ascii_lowercase() || (digits && b.is_ascii_digit()) || also.contains(&b))
        && text.bytes().filter(u8::is_ascii_digit).count() < DIGITS_BELOW
}

macro_rules! validated {
    ($(#[$doc:meta])* $name:ident, $digits:literal, $also:literal, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// Parses the name.
            ///
            /// # Errors
            /// [`NameError`], which tells the rule and never repeats the text.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                if fits(text, $digits, $also) { Ok($name(text.to_owned())) } else { Err(NameError { rule: $rule }) }
            }

            /// The name's text.
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
    };
}

validated!(
    /// Which log: one for each gateway instance.
    LogName, true, b"-", "up to 48 of a-z, 0-9, -, a letter first, fewer than 9 digits"
);
validated!(
    /// Why it ended so: a stable code such as `policy_denied` or a processor's decline code.
    Reason, false, b"_", "up to 48 of a-z, _, a letter first"
);
validated!(
    /// An HSM key's label, such as `kek/card`.
    KeyName, true, b"-_/", "up to 48 of a-z, 0-9, -, _, /, a letter first, fewer than 9 digits"
);
validated!(
    /// A route or call by its name in policy, never by the path that was asked for: paths hold input.
    RouteName, true, b"-_", "up to 48 of a-z, 0-9, -, _, a letter first, fewer than 9 digits"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_can_hold_a_card_number_or_free_text() {
        assert!(LogName::parse("gateway-1").is_ok());
        assert!(Reason::parse("insufficient_funds").is_ok());
        assert!(KeyName::parse("kek/card").is_ok());
        assert!(RouteName::parse("portal_payments").is_ok());
        let long = "a".repeat(49);
        for wrong in ["", "A", "a b", "a\"", "a\n", "é", "a4242424242424242", "a4-2-4-2-4-2-4-2-4", &long] {
            assert!(LogName::parse(wrong).is_err(), "{wrong}");
            assert!(Reason::parse(wrong).is_err(), "{wrong}");
            assert!(KeyName::parse(wrong).is_err(), "{wrong}");
            assert!(RouteName::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Reason::parse("code1").is_err());
    }
}
