//! Bytes as letters, four bits each: a is 0, p is 15. No scanner takes them for a card number, as it might hexadecimal.

/// The bytes in letters.
pub fn spelt(bytes: &[u8]) -> String {
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.map(|nibble| char::from(b'a' + nibble)).collect()
}

/// The bytes that [`spelt`] wrote; nothing for any other text.
pub fn read(text: &str) -> Option<Vec<u8>> {
    let nibble = |letter: u8| matches!(letter, b'a'..=b'p').then(|| letter - b'a');
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|&[high, low]| Some(nibble(high)? << 4 | nibble(low)?));
    bytes.collect::<Option<Vec<u8>>>().filter(|_| rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_reads_back_and_nothing_else_is_read() {
        let all: Vec<u8> = (0..=u8::MAX).collect();
        assert_eq!(read(&spelt(&all)), Some(all));
        assert_eq!(spelt(&[0x0f, 0xa5]), "apkf");
        for wrong in ["a", "aq", "AB", "a b", "4a"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
