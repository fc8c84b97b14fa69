//! Identifiers that only the companion gives out: accounts and statements. Like tokens they hold no digit.

use std::fmt;
use tokens::{PaymentId, RandomUnavailable};

const LETTERS: usize = 24;

/// The text is no identifier of the wanted kind. Never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no identifier of the form acct_… or stmt_… with 24 letters")]
pub struct IdError;

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub struct $name(String);

        impl $name {
            /// A new random identifier of 112 bits.
            ///
            /// # Errors
            /// [`RandomUnavailable`] when the operating system gives no random bytes.
            pub fn mint() -> Result<Self, RandomUnavailable> {
                let letters = PaymentId::mint()?;
                Ok($name(letters.as_str().replacen("pay_", $prefix, 1)))
            }

            /// Parses an identifier that arrived from outside.
            ///
            /// # Errors
            /// [`IdError`], which never repeats the text.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                match text.strip_prefix($prefix) {
                    Some(rest) if rest.len() == LETTERS && rest.bytes().all(|b| b.is_ascii_lowercase()) => {
                        Ok($name(text.to_owned()))
                    }
                    _ => Err(IdError),
                }
            }

            /// The identifier's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

identifier!(
    /// One patient's account at one tenant: `acct_…`.
    AccountId, "acct_"
);
identifier!(
    /// One statement of an account: `stmt_…`.
    StatementId, "stmt_"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_parse_back_and_do_not_mix() {
        let account = AccountId::mint().unwrap();

        assert_eq!(AccountId::parse(account.as_str()), Ok(account.clone()));
        assert_eq!(StatementId::parse(account.as_str()), Err(IdError));
        assert_eq!(AccountId::parse("acct_4242424242424242"), Err(IdError));
    }
}
