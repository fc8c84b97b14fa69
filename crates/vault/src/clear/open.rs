//! An envelope back into its card number. The key comes out of the check: format, commitment and binding first.

use super::pan::Pan;
use crate::binding::Binding;
use crate::envelope::Envelope;
use crate::error::VaultError;
use crate::record_key::RecordKey;

/// Opens a stored envelope for that tenant and token.
///
/// # Errors
/// [`VaultError::Integrity`] for anything that [`super::seal::seal`] did not write for this binding and key.
pub(in crate::clear) fn open(
    data_key: &[u8; 32],
    binding: &Binding<'_>,
    envelope: &Envelope<'_>,
) -> Result<Pan, VaultError> {
    let key = RecordKey::verified(data_key, envelope)?;
    let aad = binding.aad(envelope.header);
    Pan::from_block(|block| {
        block.copy_from_slice(envelope.ciphertext);
        key.open(envelope.nonce, &aad, block, envelope.tag)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clear::seal::seal;
    use proptest::prelude::*;
    use tokens::{Realm, Tenant, Token};

    const KEY: [u8; 32] = [7; 32];

    fn place() -> (Tenant, Token) {
        (Tenant::parse("clinic").unwrap(), Token::mint(Realm::Test).unwrap())
    }

    fn sealed(tenant: &Tenant, token: &Token, number: &str) -> Vec<u8> {
        seal(&KEY, &[1; 16], &Binding { tenant, token }, &Pan::parse(number).ok().unwrap()).unwrap()
    }

    fn opens(key: &[u8; 32], tenant: &Tenant, token: &Token, bytes: &[u8]) -> bool {
        Envelope::parse(bytes).and_then(|envelope| open(key, &Binding { tenant, token }, &envelope)).is_ok()
    }

    #[test]
    fn a_sealed_card_opens_where_it_belongs() {
        let (tenant, token) = place();
        let bytes = sealed(&tenant, &token, "6205500000000000004");
        let pan = open(&KEY, &Binding { tenant: &tenant, token: &token }, &Envelope::parse(&bytes).unwrap());
        assert_eq!(pan.ok().unwrap().digits(), b"6205500000000000004");
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let (tenant, token) = place();
        let bytes = sealed(&tenant, &token, "4242424242424242");
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!opens(&KEY, &tenant, &token, &other), "bit {bit}");
        }
    }

    #[test]
    fn every_truncation_and_every_splice_is_noticed() {
        let (tenant, token) = place();
        let one = sealed(&tenant, &token, "4242424242424242");
        let two = sealed(&tenant, &token, "5555555555554444");
        for cut in 0..one.len() {
            assert!(!opens(&KEY, &tenant, &token, &one[..cut]), "cut {cut}");
        }
        for cut in 5..one.len() {
            let spliced = [&one[..cut], &two[cut..]].concat();
            assert!(
                spliced == one || spliced == two || !opens(&KEY, &tenant, &token, &spliced),
                "splice {cut}"
            );
        }
    }

    #[test]
    fn a_card_moved_to_another_tenant_token_or_key_does_not_open() {
        let (tenant, token) = place();
        let bytes = sealed(&tenant, &token, "4242424242424242");
        let (other, (_, another)) = (Tenant::parse("other").unwrap(), place());

        assert!(opens(&KEY, &tenant, &token, &bytes));
        assert!(!opens(&KEY, &other, &token, &bytes));
        assert!(!opens(&KEY, &tenant, &another, &bytes));
        assert!(!opens(&[8; 32], &tenant, &token, &bytes));
    }

    #[test]
    fn an_envelope_says_nothing_of_the_numbers_length_and_never_repeats() {
        let (tenant, token) = place();
        let short = sealed(&tenant, &token, "4222222222222");
        let long = sealed(&tenant, &token, "6205500000000000004");
        assert_eq!(short.len(), long.len());
        assert_ne!(short, sealed(&tenant, &token, "4222222222222"));
    }

    proptest! {
        #[test]
        fn any_bytes_open_or_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (tenant, token) = place();
            prop_assert!(!opens(&KEY, &tenant, &token, &bytes));
        }
    }
}
