//! One card number: checked, boxed, wiped. The only type that holds its digits, and only this module tree can say
//! its name. It has no trait by which it could be printed, cloned, compared, serialised or borrowed away.

use crate::envelope::BLOCK;
use tokens::{Brand, Last4};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The text is no card number. Says nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::clear) struct NoCardNumber;

/// ISO/IEC 7812: 12 to 19 digits of a known issuer range and its length, the last a Luhn check digit.
pub(in crate::clear) struct Pan(Box<Digits>);

/// The padded block as it is sealed: the length, the digits, zeros. On the heap from the first digit on.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Digits([u8; BLOCK]);

impl Pan {
    /// Reads what a person typed into a card field: digits with single spaces or dashes between them, and blanks
    /// around. Digits of other scripts are refused, not translated: a number that only looks like one is a trick.
    pub(in crate::clear) fn parse(text: &str) -> Result<Pan, NoCardNumber> {
        let mut pan = Pan(Box::new(Digits([0; BLOCK])));
        let mut separated = true;
        for byte in text.trim_matches(' ').bytes() {
            match byte {
                b'0'..=b'9' => {
                    pan.push(byte)?;
                    separated = false;
                }
                b' ' | b'-' if !separated => separated = true,
                _ => return Err(NoCardNumber),
            }
        }
        if separated { Err(NoCardNumber) } else { pan.checked() }
    }

    /// Takes over a block that was just decrypted, wiping nothing: the caller's memory becomes the card's.
    pub(in crate::clear) fn from_block(
        fill: impl FnOnce(&mut [u8; BLOCK]) -> Result<(), crate::VaultError>,
    ) -> Result<Pan, crate::VaultError> {
        let mut pan = Pan(Box::new(Digits([0; BLOCK])));
        fill(&mut pan.0.0)?;
        let padding_is_zero = pan.0.0.iter().skip(1 + pan.length()).all(|byte| *byte == 0);
        // The tag was right, so another form means that it was sealed by other code than this.
        if !padding_is_zero || !pan.digits().iter().all(u8::is_ascii_digit) {
            return Err(crate::VaultError::Integrity);
        }
        pan.checked().map_err(|NoCardNumber| crate::VaultError::Integrity)
    }

    /// The padded block that is sealed.
    pub(in crate::clear) fn block(&self) -> &[u8; BLOCK] {
        &self.0.0
    }

    /// The digits, ASCII.
    pub(in crate::clear) fn digits(&self) -> &[u8] {
        self.0.0.get(1..=self.length()).unwrap_or_default()
    }

    /// The network, by issuer range.
    pub(in crate::clear) fn brand(&self) -> Brand {
        sweep::pan::brand_of_pan_field(self.digits()).brand
    }

    /// How many digits, 12 to 19.
    pub(in crate::clear) fn length(&self) -> usize {
        self.0.0.first().map_or(0, |length| usize::from(*length))
    }

    /// The last four digits, which anyone may see.
    pub(in crate::clear) fn last4(&self) -> Result<Last4, NoCardNumber> {
        let four = self.digits().last_chunk::<4>().ok_or(NoCardNumber)?;
        std::str::from_utf8(four).ok().and_then(|text| Last4::parse(text).ok()).ok_or(NoCardNumber)
    }

    fn push(&mut self, digit: u8) -> Result<(), NoCardNumber> {
        let (length, digits) = self.0.0.split_first_mut().ok_or(NoCardNumber)?;
        if *length >= 19 {
            return Err(NoCardNumber);
        }
        *digits.get_mut(usize::from(*length)).ok_or(NoCardNumber)? = digit;
        *length += 1;
        Ok(())
    }

    fn checked(self) -> Result<Pan, NoCardNumber> {
        // Length before the table: the block says how long it is, and a forged length must not reach further.
        let issued =
            (12..=19).contains(&self.length()) && sweep::pan::brand_of_pan_field(self.digits()).is_valid();
        if issued { Ok(self) } else { Err(NoCardNumber) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_people_type_into_a_card_field_is_read() {
        for text in ["4242424242424242", "4242 4242 4242 4242", " 4242-4242-4242-4242 ", "4242 4242-42424242"]
        {
            let pan = Pan::parse(text).unwrap();
            assert_eq!(pan.digits(), b"4242424242424242");
            assert_eq!(pan.brand(), Brand::Visa);
            assert_eq!(pan.last4().unwrap().as_str(), "4242");
        }
    }

    #[test]
    fn what_only_looks_like_a_card_number_is_refused() {
        for text in [
            "",
            "4242",
            "4242424242424241",
            "4242  4242 4242 4242",
            "4242--4242-4242-4242",
            "-4242424242424242",
            "4242.4242.4242.4242",
            "4242424242424242x",
            "\u{ff14}242424242424242",
            "0000000000000000",
            "+4242424242424242",
            "42424242424242424242424242",
            "4242\t4242\t4242\t4242",
            "9999999999999995",
            "4242424242424242 -",
        ] {
            assert!(Pan::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_block_with_another_padding_is_refused() {
        let pan = Pan::parse("4242424242424242").unwrap();
        let read = |change: fn(&mut [u8; BLOCK])| {
            Pan::from_block(|block| {
                block.copy_from_slice(pan.block());
                change(block);
                Ok(())
            })
        };
        assert!(read(|_| ()).is_ok());
        assert!(read(|block| block[23] = 1).is_err());
        assert!(read(|block| block[0] = 15).is_err());
        assert!(read(|block| block[0] = 255).is_err());
        assert!(read(|block| block[1] = b'x').is_err());
        assert!(read(|block| block.fill(0)).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_a_card_number_or_is_refused_without_a_panic(text in ".{0,40}") {
            if let Ok(pan) = Pan::parse(&text) {
                prop_assert!((12..=19).contains(&pan.digits().len()));
                prop_assert!(pan.last4().is_ok());
            }
        }
    }
}

static_assertions::assert_not_impl_any!(
    Pan: std::fmt::Debug, std::fmt::Display, Clone, Copy, PartialEq, PartialOrd, std::hash::Hash, Default,
    serde::Serialize, AsRef<[u8]>, AsRef<str>, std::ops::Deref, Into<String>, Into<Vec<u8>>
);
