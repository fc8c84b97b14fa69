//! Concept identifiers of SNOMED CT, which are written in lists (SNOMED CT Release File Specification, 5.4 "SCTID").

/// Whether the digits are the identifier of a concept: 6 to 18 digits, partition `00` or `10` before the check digit,
/// and Verhoeff's check holds. Both halves of a card number are, one time in a million.
pub(crate) fn is_concept(digits: &[u8]) -> bool {
    let partition = digits.len().checked_sub(3).and_then(|at| digits.get(at..at + 2));
    (6..=18).contains(&digits.len())
        && digits.first() != Some(&b'0')
        && matches!(partition, Some(b"00" | b"10"))
        && verhoeff(digits)
}

/// Verhoeff's check over ASCII digits: the product in the dihedral group of order ten is its unit.
fn verhoeff(digits: &[u8]) -> bool {
    const PERMUTATION: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let mut product = 0u8;
    for (place, byte) in digits.iter().rev().enumerate() {
        let Some(mut value) = byte.checked_sub(b'0').filter(|value| *value < 10) else { return false };
        for _ in 0..place % 8 {
            value = PERMUTATION.get(usize::from(value)).copied().unwrap_or(value);
        }
        product = match (product, value) {
            (a @ 0..5, b @ 0..5) => (a + b) % 5,
            (a @ 0..5, b) => (a + b - 5) % 5 + 5,
            (a, b @ 0..5) => (a - b) % 5 + 5,
            (a, b) => (a + 5 - b) % 5,
        };
    }
    product == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_concepts_are_known_and_parts_of_card_numbers_are_not() {
        for concept in ["44054006", "38341003", "195967001", "138875005", "22298006", "73211009"] {
            assert!(is_concept(concept.as_bytes()), "{concept}");
        }
        for other in ["44054005", "41111111", "42424242", "11111111", "00000000", "5", ""] {
            assert!(!is_concept(other.as_bytes()), "{other}");
        }
    }
}
