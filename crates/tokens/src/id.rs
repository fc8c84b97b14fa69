//! Identifiers of what pangate creates. They cannot be mixed up, and like tokens they hold no digit.

use crate::letters::{self, RandomUnavailable};
use serde::{Deserialize, Serialize};
use std::fmt;

const LETTERS: usize = 24;

/// The text is no identifier of the wanted kind. Never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no identifier of the form {prefix}… with 24 letters")]
pub struct IdError {
    prefix: &'static str,
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// A new random identifier of 112 bits.
            ///
            /// # Errors
            /// [`RandomUnavailable`] when the operating system gives no random bytes.
            pub fn mint() -> Result<Self, RandomUnavailable> {
                Ok($name(format!(concat!($prefix, "{}"), letters::random(LETTERS)?)))
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
                    _ => Err(IdError { prefix: $prefix }),
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

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                $name::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    };
}

identifier!(
    /// One charge: `ch_…`.
    ChargeId, "ch_"
);
identifier!(
    /// One refund: `re_…`.
    RefundId, "re_"
);
identifier!(
    /// One payment that the companion posted: `pay_…`.
    PaymentId, "pay_"
);
identifier!(
    /// One request: `req_…`, in every answer, log line and audit entry that it caused.
    RequestId, "req_"
);
identifier!(
    /// One piece of work on keys that goes on in the background: `job_…`.
    JobId, "job_"
);
identifier!(
    /// One act on keys that waits for a second person: `apr_…`.
    ApprovalId, "apr_"
);
identifier!(
    /// One signed-in person's session, by its name; what opens it is another text: `ses_…`.
    SessionId, "ses_"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_parse_back_and_do_not_mix() {
        let charge = ChargeId::mint().unwrap();
        assert_eq!(ChargeId::parse(charge.as_str()), Ok(charge.clone()));
        assert!(RefundId::parse(charge.as_str()).is_err());
        assert!(charge.as_str().bytes().all(|b| !b.is_ascii_digit()));
    }
}
