//! Finds where three bytes in a row have some look, many places at a time, so that long clean text costs little.

/// Places at a time. The look is taken at all of them without a branch, which compiles to vector code.
const BLOCK: usize = 64;

/// Whether at some place three neighbouring bytes have the `look` and `confirm` agrees about the text from there.
/// Texts shorter than three bytes have no such place.
pub(crate) fn any(text: &[u8], look: impl Fn(u8, u8, u8) -> bool, confirm: impl Fn(usize) -> bool) -> bool {
    let (second, third) = (text.get(1..).unwrap_or_default(), text.get(2..).unwrap_or_default());
    let blocks = text.chunks(BLOCK).zip(second.chunks(BLOCK)).zip(third.chunks(BLOCK));
    blocks.enumerate().any(|(block, ((first, second), third))| {
        let triples = || first.iter().zip(second).zip(third);
        let somewhere = triples().fold(false, |seen, ((a, b), c)| seen | look(*a, *b, *c));
        somewhere
            && triples().enumerate().any(|(at, ((a, b), c))| look(*a, *b, *c) && confirm(block * BLOCK + at))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_triple_is_found_at_every_place() {
        for before in 0..200 {
            let text = format!("{}abc{}", "x".repeat(before), "y".repeat(200 - before));
            let look = |a: u8, b: u8, c: u8| (a == b'a') & (b == b'b') & (c == b'c');
            assert!(any(text.as_bytes(), look, |at| at == before));
            assert!(!any(text.replace('b', "x").as_bytes(), look, |_| true));
        }
        assert!(any(b"abc", |a, _, c| (a == b'a') & (c == b'c'), |_| true));
        assert!(!any(b"ab", |_, _, _| true, |_| true));
    }
}
