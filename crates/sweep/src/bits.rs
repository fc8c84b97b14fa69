//! Sixty-four bytes at a time as bits: which are quotes, digits and letters, and which need a closer look. Branches
//! are taken once for a string and not once for a byte.

use std::ops::{BitAnd, Shr};

/// Bytes that one word of bits speaks of.
pub(crate) const BLOCK: usize = 64;

/// One bit for each of 64 bytes, the first byte lowest.
#[derive(Clone, Copy, Default)]
pub(crate) struct Bits {
    /// Quotation marks, of JSON.
    pub(crate) quote: u64,
    /// Escapes, markup, controls and white space but the space, anything beyond ASCII.
    pub(crate) look: u64,
    /// ASCII digits.
    pub(crate) digit: u64,
    /// ASCII letters.
    pub(crate) letter: u64,
    /// The four signs that base64 has.
    pub(crate) sign: u64,
    /// Of other text, letters that neither hex nor a masked number has: all beyond f but x.
    pub(crate) beyond: u64,
}

/// The bits of a block and of the one after it.
#[inline]
pub(crate) fn joined(here: u64, next: u64) -> u128 {
    u128::from(next) << 64 | u128::from(here)
}

/// The bits of the block alone.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the upper half belongs to the next block")]
pub(crate) fn here(bits: u128) -> u64 {
    bits as u64
}

/// Where at least `count` bits in a row begin.
#[inline]
pub(crate) fn runs<T: Copy + Shr<u32, Output = T> + BitAnd<Output = T>>(bits: T, count: u32) -> T {
    let (mut starts, mut known) = (bits, 1);
    while known < count {
        let more = known.min(count - known);
        starts = starts & (starts >> more);
        known += more;
    }
    starts
}

impl Bits {
    #[inline]
    fn of<const JSON: bool>(block: &[u8; BLOCK]) -> Bits {
        Bits {
            quote: if JSON { pack(block, |b| b == b'"') } else { 0 },
            look: pack(block, |b| {
                !(0x20..0x7f).contains(&b)
                    | (b == b'\\')
                    | (b.wrapping_sub(b'%') < 2)
                    | (b.wrapping_sub(b'<') < 2)
            }),
            digit: pack(block, |b| b.wrapping_sub(b'0') < 10),
            letter: pack(block, |b| (b | 0x20).wrapping_sub(b'a') < 26),
            sign: pack(block, |b| (b == b'+') | (b == b'/') | (b == b'-') | (b == b'_')),
            beyond: if JSON {
                0
            } else {
                pack(block, |b| ((b | 0x20).wrapping_sub(b'g') < 20) & (b | 0x20 != b'x'))
            },
        }
    }
}

/// Tests all bytes without a branch, which compiles to vector code, then moves the answers together, eight at a time.
#[inline]
fn pack(block: &[u8; BLOCK], test: impl Fn(u8) -> bool) -> u64 {
    /// Moves the lowest bit of byte n to bit 56 + n.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let answers = block.map(|b| u8::from(test(b)));
    let (words, _) = answers.as_chunks::<8>();
    words.iter().rev().fold(0, |bits, word| bits << 8 | u64::from_le_bytes(*word).wrapping_mul(GATHER) >> 56)
}

/// The bits of a text, read forwards: for JSON with quotation marks, else with `beyond`.
pub(crate) struct Window<'a, const JSON: bool> {
    blocks: &'a [[u8; BLOCK]],
    /// What is left after the last whole block, filled up with spaces.
    tail: [u8; BLOCK],
    /// Number of the block that `near` is.
    index: usize,
    near: Bits,
    far: Bits,
}

impl<'a, const JSON: bool> Window<'a, JSON> {
    pub(crate) fn new(text: &'a [u8]) -> Self {
        let (blocks, rest) = text.as_chunks::<BLOCK>();
        let mut tail = [b' '; BLOCK];
        tail.iter_mut().zip(rest).for_each(|(place, byte)| *place = *byte);
        let mut window = Window { blocks, tail, index: 0, near: Bits::default(), far: Bits::default() };
        (window.near, window.far) = (window.load(0), window.load(1));
        window
    }

    fn load(&self, index: usize) -> Bits {
        match self.blocks.get(index) {
            Some(block) => Bits::of::<JSON>(block),
            None if index == self.blocks.len() => Bits::of::<JSON>(&self.tail),
            None => Bits::default(),
        }
    }

    /// Moves to the block of `at`, and gives what [`Window::word`] needs to know of the place.
    #[inline]
    pub(crate) fn seek(&mut self, at: usize) -> u32 {
        let index = at / BLOCK;
        if index != self.index {
            self.near = if index == self.index.wrapping_add(1) { self.far } else { self.load(index) };
            self.far = self.load(index.wrapping_add(1));
            self.index = index;
        }
        u32::try_from(at % BLOCK).unwrap_or(0)
    }

    /// The bits of one class for the 64 bytes from the place that was sought.
    #[inline]
    pub(crate) fn word(&self, shift: u32, class: impl Fn(&Bits) -> u64) -> u64 {
        class(&self.near) >> (shift & 63) | (class(&self.far) << 1) << (!shift & 63)
    }

    /// The block that was sought and the one after it.
    #[inline]
    pub(crate) fn blocks(&self) -> (&Bits, &Bits) {
        (&self.near, &self.far)
    }
}

/// The places of a word's bits, lowest first.
pub(crate) fn places(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = bits.trailing_zeros();
        bits &= bits.wrapping_sub(1);
        (place < u64::BITS).then_some(place as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::glance;
    use proptest::prelude::*;

    #[test]
    fn every_byte_has_the_bits_of_its_class() {
        for byte in 0..=u8::MAX {
            let text = [byte];
            let (json, other) = (Window::<true>::new(&text), Window::<false>::new(&text));
            let (bits, beyond) = (json.blocks().0, other.blocks().0.beyond);
            assert_eq!(other.blocks().0.digit, bits.digit);
            assert_eq!(bits.quote == 1, byte == b'"', "{byte}");
            assert_eq!(bits.digit == 1, byte.is_ascii_digit(), "{byte}");
            assert_eq!(bits.letter == 1, byte.is_ascii_alphabetic(), "{byte}");
            assert_eq!(bits.sign == 1, b"+/-_".contains(&byte), "{byte}");
            let hex_or_mask = byte.is_ascii_hexdigit() || matches!(byte, b'x' | b'X');
            assert_eq!(beyond == 1, byte.is_ascii_alphabetic() && !hex_or_mask, "{byte}");
            let look = glance::class(byte) & (glance::LOOK | glance::STOP) != 0 && byte != b'"';
            assert_eq!(bits.look == 1, look, "{byte}");
        }
    }

    #[test]
    fn runs_begin_where_enough_bits_follow() {
        for count in 1..=64 {
            for length in 0..=100u32 {
                let bits = (1u128 << length) - 1;
                assert_eq!(
                    runs(bits, count).count_ones(),
                    (length + 1).saturating_sub(count),
                    "{count} in {length}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn bits_are_the_same_wherever_the_window_stands(
            text in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b'7'), Just(b'a'), Just(b' ')], 0..300),
            skips in proptest::collection::vec(0usize..90, 0..20),
        ) {
            let mut window = Window::<true>::new(&text);
            let mut at = 0;
            for skip in skips {
                at += skip;
                let shift = window.seek(at);
                let digit = window.word(shift, |bits| bits.digit);
                let quote = window.word(shift, |bits| bits.quote);
                let letter = window.word(shift, |bits| bits.letter);
                for place in 0..BLOCK {
                    let byte = text.get(at + place).copied().unwrap_or(b' ');
                    prop_assert_eq!(digit >> place & 1 == 1, byte == b'7');
                    prop_assert_eq!(quote >> place & 1 == 1, byte == b'"');
                    prop_assert_eq!(letter >> place & 1 == 1, byte == b'a');
                }
            }
        }
    }
}
