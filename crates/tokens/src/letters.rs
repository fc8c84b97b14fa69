//! Random letters, unbiased. Identifiers hold no digit, so no scanner can take one for a card number.

/// The operating system gave no random bytes; nothing was issued. Retry, or look at the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system's random source is unavailable; retry, and check the host if it lasts")]
pub struct RandomUnavailable;

/// `count` letters `a-z`, each uniform (rejection sampling: 256 is no multiple of 26): 4.7 bits a letter.
///
/// # Errors
/// [`RandomUnavailable`] when the operating system gives no random bytes.
pub fn random(count: usize) -> Result<String, RandomUnavailable> {
    const LARGEST_MULTIPLE: u8 = 26 * 9;
    let mut letters = String::with_capacity(count);
    let mut pool = [0u8; 64];
    while letters.len() < count {
        getrandom::fill(&mut pool).map_err(|_| RandomUnavailable)?;
        let wanted = count - letters.len();
        letters.extend(
            pool.iter()
                .filter(|byte| **byte < LARGEST_MULTIPLE)
                .take(wanted)
                .map(|byte| char::from(b'a' + byte % 26)),
        );
    }
    Ok(letters)
}

/// The check letter of `letters`: Luhn mod 26 (ISO/IEC 7812-1 annex B generalised), which finds every single
/// wrong letter and nearly every swap of neighbours. `None` when a byte is no letter `a-z`.
pub(crate) fn check_letter(letters: &str) -> Option<char> {
    let mut sum = 0u32;
    for (place, byte) in letters.bytes().rev().enumerate() {
        let value = u32::from(byte.checked_sub(b'a').filter(|v| *v < 26)?);
        let weighted = if place % 2 == 0 { value * 2 } else { value };
        sum += weighted / 26 + weighted % 26;
    }
    u8::try_from((26 - sum % 26) % 26).ok().map(|check| char::from(b'a' + check))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_wrong_letter_changes_the_check_letter() {
        let original = random(28).unwrap();
        let check = check_letter(&original).unwrap();
        for place in 0..28 {
            for letter in b'a'..=b'z' {
                let mut wrong = original.clone().into_bytes();
                if wrong[place] == letter {
                    continue;
                }
                wrong[place] = letter;
                assert_ne!(check_letter(std::str::from_utf8(&wrong).unwrap()), Some(check));
            }
        }
    }

    #[test]
    fn random_letters_are_letters_and_differ() {
        let (one, two) = (random(28).unwrap(), random(28).unwrap());
        assert!(one.bytes().all(|b| b.is_ascii_lowercase()));
        assert_eq!(one.len(), 28);
        assert_ne!(one, two);
    }

    #[test]
    fn digits_and_capitals_have_no_check_letter() {
        assert_eq!(check_letter("abc1"), None);
        assert_eq!(check_letter("abC"), None);
    }
}
