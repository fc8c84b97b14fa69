//! What a sealed card belongs to. The binding is authenticated with the ciphertext and stored nowhere: a row that
//! is copied to another tenant or another token does not open there.

use crate::envelope::HEADER;
use tokens::{Tenant, Token};

const DOMAIN: &[u8] = b"pangate/aad/v1";
/// Which value of the record the envelope holds.
const FIELD: &[u8] = b"number";
/// The layout of the padded block and of the `card` row around it.
const SCHEMA: &[u8] = &[1];

/// Tenant and token of one record.
pub(crate) struct Binding<'a> {
    pub(crate) tenant: &'a Tenant,
    pub(crate) token: &'a Token,
}

impl Binding<'_> {
    /// The additional authenticated data: the domain, then the envelope's header, tenant, token, field and schema,
    /// each behind its length as two bytes big-endian. Without the lengths `("…07", "tok")` and `("…07t", "ok")`
    /// would be one binding.
    pub(crate) fn aad(&self, header: &[u8; HEADER]) -> Vec<u8> {
        let fields = [
            header.as_slice(),
            self.tenant.as_str().as_bytes(),
            self.token.as_str().as_bytes(),
            FIELD,
            SCHEMA,
        ];
        let mut aad =
            Vec::with_capacity(DOMAIN.len() + fields.iter().map(|field| field.len() + 2).sum::<usize>());
        aad.extend_from_slice(DOMAIN);
        for field in fields {
            append(&mut aad, field);
        }
        aad
    }
}

/// One field behind its length. Names and tokens are at most 48 bytes, so the length always fits.
pub(crate) fn append(message: &mut Vec<u8>, field: &[u8]) {
    message.extend_from_slice(&u16::try_from(field.len()).unwrap_or(u16::MAX).to_be_bytes());
    message.extend_from_slice(field);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn two_bindings_are_equal_only_when_every_part_is(
            a in "[a-z]{1,6}", b in "[a-z]{1,6}", c in "[a-z]{28}", d in "[a-z]{28}",
        ) {
            let token = |letters: &str| ('a'..='z')
                .find_map(|check| Token::parse(&format!("tok_test_{letters}{check}")).ok())
                .unwrap();
            let (left, right) = (Tenant::parse(&a).unwrap(), Tenant::parse(&b).unwrap());
            let one = Binding { tenant: &left, token: &token(&c) }.aad(&[9; HEADER]);
            let two = Binding { tenant: &right, token: &token(&d) }.aad(&[9; HEADER]);
            prop_assert_eq!(one == two, a == b && c == d);
        }
    }

    #[test]
    fn a_letter_moved_between_two_fields_changes_the_message() {
        let (mut one, mut two) = (Vec::new(), Vec::new());
        for (message, fields) in [(&mut one, ["07", "tok"]), (&mut two, ["07t", "ok"])] {
            fields.iter().for_each(|field| append(message, field.as_bytes()));
        }
        assert_ne!(one, two);
    }
}
