//! `numeric` in its binary form: digits of base 10,000 behind a header of four numbers
//! (src/backend/utils/adt/numeric.c, `numeric_send`).

const NEGATIVE: u16 = 0x4000;
const BASE: i64 = 10_000;

/// The bytes of a whole number.
pub(super) fn encode(number: i64, out: &mut Vec<u8>) {
    let mut digits = Vec::with_capacity(5);
    let mut left = number.unsigned_abs();
    while left > 0 {
        digits.push(u16::try_from(left % 10_000).unwrap_or(0));
        left /= 10_000;
    }
    let weight = i16::try_from(digits.len()).unwrap_or(0) - 1;
    out.extend_from_slice(&u16::try_from(digits.len()).unwrap_or(0).to_be_bytes());
    out.extend_from_slice(&weight.max(0).to_be_bytes());
    out.extend_from_slice(&(if number < 0 { NEGATIVE } else { 0 }).to_be_bytes());
    out.extend_from_slice(&0_u16.to_be_bytes());
    for digit in digits.iter().rev() {
        out.extend_from_slice(&digit.to_be_bytes());
    }
}

/// The whole number in `bytes`; none when there is a fraction, no number (NaN, infinity) or no room in 64 bits.
pub(super) fn decode(bytes: &[u8]) -> Option<i64> {
    let mut words = bytes.as_chunks::<2>().0.iter().map(|word| u16::from_be_bytes(*word));
    let (count, weight, sign, _scale) =
        (words.next()?, words.next()?.cast_signed(), words.next()?, words.next()?);
    if sign != 0 && sign != NEGATIVE {
        return None;
    }
    let mut number = 0_i64;
    let mut power = i32::from(weight);
    for _ in 0..count {
        let digit = words.next()?;
        if power < 0 {
            // What is behind the point must be nothing.
            if digit != 0 {
                return None;
            }
        } else {
            number = number.checked_mul(BASE)?.checked_sub(i64::from(digit))?;
        }
        power -= 1;
    }
    if count > 0 {
        for _ in 0..=power {
            number = number.checked_mul(BASE)?;
        }
    }
    // Gathered below zero, where there is room for one more.
    if sign == NEGATIVE { Some(number) } else { number.checked_neg() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round(number: i64) -> Option<i64> {
        let mut bytes = Vec::new();
        encode(number, &mut bytes);
        decode(&bytes)
    }

    proptest! {
        #[test]
        fn every_whole_number_comes_back(number in any::<i64>()) {
            prop_assert_eq!(round(number), Some(number));
        }
    }

    #[test]
    fn the_ends_come_back_and_what_is_no_whole_number_does_not() {
        for number in [0, 1, -1, 9_999, 10_000, -10_000, 100_000_000, i64::MAX, i64::MIN] {
            assert_eq!(round(number), Some(number));
        }
        // 1.5, NaN, 10^20, and a header that promises more than there is.
        assert_eq!(decode(&[0, 2, 0, 0, 0, 0, 0, 1, 0, 1, 0x13, 0x88]), None);
        assert_eq!(decode(&[0, 0, 0, 0, 0xc0, 0, 0, 0]), None);
        assert_eq!(decode(&[0, 1, 0, 5, 0, 0, 0, 0, 0, 1]), None);
        assert_eq!(decode(&[0, 3, 0, 2, 0, 0, 0, 0, 0, 1]), None);
        // 1.00 as PostgreSQL may send it: a scale, no digits behind the point.
        assert_eq!(decode(&[0, 1, 0, 0, 0, 0, 0, 2, 0, 1]), Some(1));
    }
}
