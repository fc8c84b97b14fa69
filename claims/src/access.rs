//! Who may call: the gateway may post, staff tools may read. Only digests of the credentials are held.

use crate::answer::Refusal;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A bearer credential that is expected, as its SHA-256.
pub struct Expected([u8; 32]);

impl Expected {
    /// Expects this credential.
    pub fn new(credential: &str) -> Self {
        Expected(Sha256::digest(credential.as_bytes()).into())
    }

    /// Whether the request bears it. Digests are compared, in constant time, so that an answer's time says
    /// nothing about how much of a guess was right.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`].
    pub fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(Refusal::Unauthenticated);
        };
        let (scheme, credential) = value.as_bytes().split_at_checked(7).ok_or(Refusal::Unauthenticated)?;
        if !scheme.eq_ignore_ascii_case(b"bearer ") {
            return Err(Refusal::Unauthenticated);
        }
        let given: [u8; 32] = Sha256::digest(credential).into();
        if bool::from(given.ct_eq(&self.0)) { Ok(()) } else { Err(Refusal::Unauthenticated) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn bearing(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn only_the_one_credential_is_admitted() {
        let expected = Expected::new("open-sesame-and-more");

        assert!(expected.admit(&bearing(&["Bearer open-sesame-and-more"])).is_ok());
        assert!(expected.admit(&bearing(&["bearer open-sesame-and-more"])).is_ok());
        for wrong in [
            vec![],
            vec!["Bearer "],
            vec!["Bearer open-sesame-and-mor"],
            vec!["Basic open-sesame-and-more"],
            vec!["Bearer open-sesame-and-more", "Bearer open-sesame-and-more"],
        ] {
            assert!(expected.admit(&bearing(&wrong)).is_err(), "{wrong:?}");
        }
    }
}
