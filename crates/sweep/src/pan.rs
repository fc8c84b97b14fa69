//! Facts of card numbers: issuer ranges, lengths, Luhn (ISO/IEC 7812-1; standards §7.1). No text, no views.

use tokens::Brand;

/// Whether whole digits `0-9` (ASCII) are taken for a card number anywhere, whatever the field is called.
///
/// Strict on purpose: Luhn holds, the length is 14 to 19, and the issuer range is one that ordinary numbers
/// rarely enter by chance. Short and catch-all ranges count only in fields declared or named as a card:
/// see [`brand_of_pan_field`].
pub fn judge(digits: &[u8]) -> Option<Brand> {
    judge_with(digits, Strictness::Anywhere)
}

/// As [`judge`], with the short and catch-all ranges too: 12-digit Maestro, 13-digit Visa, 14-digit UnionPay,
/// 15-digit UATP, Maestro's plain `6`.
pub fn judge_in_card_field(digits: &[u8]) -> Option<Brand> {
    judge_with(digits, Strictness::CardField)
}

/// What a field that is *declared* to be a card number holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PanField {
    /// The network by issuer range alone, [`Brand::Unknown`] when no range fits.
    pub brand: Brand,
    /// Whether the brand issues numbers of this length.
    pub length_valid: bool,
    /// Whether the check digit holds.
    pub luhn_valid: bool,
}

impl PanField {
    /// Whether it is a card number to accept.
    pub fn is_valid(self) -> bool {
        self.brand != Brand::Unknown && self.length_valid && self.luhn_valid
    }
}

/// Brand, length and Luhn of the ASCII digits of a field declared to be a card number. Anything but digits
/// makes it invalid.
pub fn brand_of_pan_field(digits: &[u8]) -> PanField {
    let clean = !digits.is_empty() && digits.len() <= 19 && digits.iter().all(u8::is_ascii_digit);
    let luhn_valid = clean && luhn(digits);
    let fitting = |with_length: bool| {
        RANGES
            .iter()
            .filter(|range| clean && range.holds(digits) && (!with_length || range.lengths_any(digits.len())))
            .min_by_key(|range| range.width())
    };
    match (fitting(true), fitting(false)) {
        (Some(range), _) => PanField { brand: range.brand, length_valid: true, luhn_valid },
        (None, Some(range)) => PanField { brand: range.brand, length_valid: false, luhn_valid },
        (None, None) => PanField { brand: Brand::Unknown, length_valid: false, luhn_valid },
    }
}

/// The Luhn check (ISO/IEC 7812-1 annex B) over ASCII digits; false for anything else and for nothing.
pub fn luhn(digits: &[u8]) -> bool {
    let mut sum = 0u32;
    for (place, byte) in digits.iter().rev().enumerate() {
        let Some(value) = byte.checked_sub(b'0').filter(|v| *v < 10) else { return false };
        let value = u32::from(value);
        sum += if place % 2 == 0 { value } else { value * 2 % 10 + value / 5 };
    }
    !digits.is_empty() && sum.is_multiple_of(10)
}

/// Whether the first digits belong to any issuer whose numbers can have `length` digits. For masked numbers.
pub(crate) fn known_issuer(first: &[u8], length: usize) -> bool {
    RANGES
        .iter()
        .any(|range| first.len() >= range.low.len() && range.holds(first) && range.lengths_anywhere(length))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Strictness {
    Anywhere,
    CardField,
}

fn judge_with(digits: &[u8], strictness: Strictness) -> Option<Brand> {
    if !(12..=19).contains(&digits.len()) || !luhn(digits) {
        return None;
    }
    RANGES
        .iter()
        .filter(|range| {
            range.holds(digits)
                && match strictness {
                    Strictness::Anywhere => range.lengths_anywhere(digits.len()),
                    Strictness::CardField => range.lengths_any(digits.len()),
                }
        })
        .min_by_key(|range| range.width())
        .map(|range| range.brand)
}

/// One issuer range: numbers whose first digits lie between `low` and `high`, which are equally long.
struct Range {
    brand: Brand,
    low: &'static [u8],
    high: &'static [u8],
    /// Lengths that count in any field.
    anywhere: &'static [u8],
    /// Further lengths that count only in a card field.
    card_field: &'static [u8],
}

impl Range {
    fn holds(&self, digits: &[u8]) -> bool {
        digits.get(..self.low.len()).is_some_and(|head| self.low <= head && head <= self.high)
    }

    /// How many of all eight-digit prefixes it holds: the narrowest fitting range is the issuer's own.
    fn width(&self) -> u64 {
        let number = |prefix: &[u8]| {
            (0..8).fold(0u64, |n, at| n * 10 + prefix.get(at).map_or(0, |b| u64::from(b.wrapping_sub(b'0'))))
        };
        let unit = (self.low.len()..8).fold(1u64, |unit, _| unit * 10);
        number(self.high) + unit - number(self.low)
    }

    fn lengths_anywhere(&self, length: usize) -> bool {
        self.anywhere.iter().any(|l| usize::from(*l) == length)
    }

    fn lengths_any(&self, length: usize) -> bool {
        self.lengths_anywhere(length) || self.card_field.iter().any(|l| usize::from(*l) == length)
    }
}

const fn range(
    brand: Brand,
    low: &'static str,
    high: &'static str,
    anywhere: &'static [u8],
    card_field: &'static [u8],
) -> Range {
    Range { brand, low: low.as_bytes(), high: high.as_bytes(), anywhere, card_field }
}

const VISA: &[u8] = &[16, 18, 19];
const ONLY_16: &[u8] = &[16];
const FROM_16: &[u8] = &[16, 17, 18, 19];
const BELOW_16: &[u8] = &[12, 13, 14, 15];
const NONE: &[u8] = &[];

/// The narrowest fitting range wins, so co-brands stand beside the range they are cut out of.
static RANGES: &[Range] = &[
    range(Brand::Visa, "4", "4", VISA, &[13]),
    range(Brand::Mastercard, "51", "55", ONLY_16, NONE),
    range(Brand::Mastercard, "2221", "2720", ONLY_16, NONE),
    range(Brand::Amex, "34", "34", &[15], NONE),
    range(Brand::Amex, "37", "37", &[15], NONE),
    range(Brand::Diners, "300", "305", &[14, 16, 19], NONE),
    range(Brand::Diners, "3088", "3094", &[16], &[17, 18, 19]),
    range(Brand::Diners, "3095", "3095", &[14, 16, 19], NONE),
    range(Brand::Diners, "36", "36", &[14, 16, 19], NONE),
    range(Brand::Diners, "38", "39", &[14, 16, 19], NONE),
    range(Brand::Discover, "6011", "6011", &[16, 19], NONE),
    range(Brand::Discover, "644", "649", &[16, 19], NONE),
    range(Brand::Discover, "65", "65", &[16, 19], NONE),
    range(Brand::Jcb, "3528", "3589", FROM_16, NONE),
    // Sixteen digits from 1800 on are today's time in microseconds, so the legacy ranges count at 15 alone.
    range(Brand::Jcb, "2131", "2131", &[15], NONE),
    range(Brand::Jcb, "1800", "1800", &[15], NONE),
    range(Brand::Unionpay, "620", "620", FROM_16, &[14, 15]),
    range(Brand::Unionpay, "62100", "62197", FROM_16, &[14, 15]),
    range(Brand::Unionpay, "622", "626", FROM_16, &[14, 15]),
    range(Brand::Unionpay, "6282", "6289", FROM_16, &[14, 15]),
    range(Brand::Unionpay, "6291", "6292", FROM_16, &[14, 15]),
    range(Brand::Unionpay, "810", "810", FROM_16, &[14, 15]),
    range(Brand::Unionpay, "8110", "8171", FROM_16, &[14, 15]),
    range(Brand::Maestro, "493698", "493698", FROM_16, BELOW_16),
    range(Brand::Maestro, "500000", "506698", FROM_16, BELOW_16),
    range(Brand::Maestro, "506779", "508999", FROM_16, BELOW_16),
    range(Brand::Maestro, "56", "59", FROM_16, BELOW_16),
    range(Brand::Maestro, "63", "63", FROM_16, BELOW_16),
    range(Brand::Maestro, "67", "67", FROM_16, BELOW_16),
    range(Brand::Maestro, "6", "6", NONE, &[12, 13, 14, 15, 16, 17, 18, 19]),
    range(Brand::Mir, "2200", "2204", FROM_16, NONE),
    range(Brand::Elo, "401178", "401179", ONLY_16, NONE),
    range(Brand::Elo, "438935", "438935", ONLY_16, NONE),
    range(Brand::Elo, "457631", "457632", ONLY_16, NONE),
    range(Brand::Elo, "504175", "504175", ONLY_16, NONE),
    range(Brand::Elo, "506699", "506778", ONLY_16, NONE),
    range(Brand::Elo, "509000", "509999", ONLY_16, NONE),
    range(Brand::Elo, "627780", "627780", ONLY_16, NONE),
    range(Brand::Elo, "636297", "636297", ONLY_16, NONE),
    range(Brand::Elo, "636368", "636368", ONLY_16, NONE),
    range(Brand::Elo, "650031", "650033", ONLY_16, NONE),
    range(Brand::Elo, "651652", "651679", ONLY_16, NONE),
    range(Brand::Elo, "655000", "655019", ONLY_16, NONE),
    range(Brand::Elo, "655021", "655058", ONLY_16, NONE),
    range(Brand::Hipercard, "606282", "606282", ONLY_16, NONE),
    range(Brand::Hipercard, "637095", "637095", ONLY_16, NONE),
    range(Brand::Hipercard, "637568", "637568", ONLY_16, NONE),
    range(Brand::Hipercard, "637599", "637599", ONLY_16, NONE),
    range(Brand::Hipercard, "637609", "637609", ONLY_16, NONE),
    range(Brand::Hipercard, "637612", "637612", ONLY_16, NONE),
    range(Brand::Troy, "9792", "9792", ONLY_16, NONE),
    range(Brand::Verve, "506099", "506198", &[16, 18, 19], NONE),
    range(Brand::Verve, "507865", "507964", &[16, 18, 19], NONE),
    range(Brand::Verve, "650002", "650027", &[16, 18, 19], NONE),
    range(Brand::Rupay, "60", "60", ONLY_16, NONE),
    range(Brand::Rupay, "81", "82", ONLY_16, NONE),
    range(Brand::Rupay, "508", "508", ONLY_16, NONE),
    range(Brand::Dankort, "5019", "5019", ONLY_16, NONE),
    // Fifteen digits that start with 1 are too common to count outside a card field.
    range(Brand::Uatp, "1", "1", NONE, &[15]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_numbers_have_their_brand() {
        for (number, brand) in [
            ("4111111111111111", Brand::Visa),
            ("5555555555554444", Brand::Mastercard),
            ("2223003122003222", Brand::Mastercard),
            ("378282246310005", Brand::Amex),
            ("36227206271667", Brand::Diners),
            ("3566002020360505", Brand::Jcb),
            ("6205500000000000004", Brand::Unionpay),
            ("6011111111111117", Brand::Discover),
            ("6759649826438453", Brand::Maestro),
            ("5019717010103742", Brand::Dankort),
        ] {
            assert_eq!(judge(number.as_bytes()), Some(brand), "{brand}");
            assert!(brand_of_pan_field(number.as_bytes()).is_valid(), "{brand}");
        }
    }

    #[test]
    fn short_and_catch_all_ranges_count_only_in_a_card_field() {
        for number in ["4222222222222", "4007000000027", "4012888818888"] {
            assert_eq!(judge(number.as_bytes()), None);
            assert_eq!(judge_in_card_field(number.as_bytes()), Some(Brand::Visa));
            assert!(brand_of_pan_field(number.as_bytes()).is_valid());
        }
    }

    #[test]
    fn an_npi_with_its_luhn_prefix_is_no_card() {
        assert_eq!(judge(b"808401234567893"), None);
        assert_eq!(judge_in_card_field(b"808401234567893"), None);
    }

    #[test]
    fn a_wrong_check_digit_is_invalid_and_keeps_its_brand() {
        let field = brand_of_pan_field(b"4242424242424241");
        assert_eq!((field.brand, field.length_valid, field.luhn_valid), (Brand::Visa, true, false));
        assert!(!field.is_valid());
        assert!(!brand_of_pan_field(b"0000000000000000").is_valid());
        assert!(!brand_of_pan_field(b"").is_valid());
        assert!(!brand_of_pan_field(b"4242 4242 4242 4242").is_valid());
    }

    proptest! {
        #[test]
        fn one_wrong_digit_never_passes_luhn(number in "[0-9]{12,19}", place in 0usize..12, shift in 1u8..10) {
            let good = number.into_bytes();
            let mut bad = good.clone();
            bad[place] = b'0' + (bad[place] - b'0' + shift) % 10;
            prop_assert!(!(luhn(&good) && luhn(&bad)));
        }

        #[test]
        fn what_counts_anywhere_counts_in_a_card_field(number in "[0-9]{10,21}") {
            if judge(number.as_bytes()).is_some() {
                prop_assert!(judge_in_card_field(number.as_bytes()).is_some());
                prop_assert!(brand_of_pan_field(number.as_bytes()).is_valid());
            }
        }
    }
}
