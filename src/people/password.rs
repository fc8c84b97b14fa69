//! What a password has to be (PCI DSS 8.3.6, 8.3.7; NIST SP 800-63B 3.1.1.2), and its slow hash (Argon2id, RFC 9106).

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use std::collections::BTreeSet;
use tokens::Principal;

/// Fewest characters.
pub const SHORTEST: usize = 12;
/// Most bytes.
pub const LONGEST: usize = 256;
/// So many passwords back none may be used again.
pub const REMEMBERED: usize = 4;

/// Cost of one comparison: 19 MiB and two passes, the OWASP minimum for Argon2id.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Passwords of twelve characters and more that head the published lists of breached ones, lower case, sorted.
const BREACHED: &str = include_str!("common_passwords.txt");
/// Words that people make passwords of by adding digits and signs, lower case, sorted.
const WORDS: &str = include_str!("common_words.txt");
/// Rows of the keyboard and of the alphabet, along which a password is not to run.
const ROWS: [&str; 5] =
    ["abcdefghijklmnopqrstuvwxyz", "01234567890123456789", "qwertyuiop", "asdfghjkl", "zxcvbnm"];

/// What is wrong with a new password; each says what to do.
///
/// # Errors
/// One sentence, which never repeats the password.
pub fn judge(password: &str, owner: &Principal) -> Result<(), &'static str> {
    if password.chars().count() < SHORTEST || password.len() > LONGEST {
        return Err("Choose a password of 12 to 256 characters");
    }
    if password.chars().any(char::is_control) {
        return Err("Choose a password without control characters");
    }
    if !password.chars().any(char::is_alphabetic) || !password.chars().any(char::is_numeric) {
        return Err("Choose a password with letters and with digits");
    }
    let lower = password.to_lowercase();
    let names = owner.as_str().split('-').chain([owner.as_str()]).filter(|part| part.len() > 2);
    if names.into_iter().any(|name| lower.contains(name)) {
        return Err("Choose a password that does not hold your name");
    }
    if is_common(&lower) {
        return Err(
            "Choose another password: this one, or one like it, is on the lists of breached passwords",
        );
    }
    Ok(())
}

/// Whether it is breached, or a common word dressed up with digits and signs, or hardly more than one key.
fn is_common(lower: &str) -> bool {
    if BREACHED.lines().any(|breached| breached == lower) {
        return true;
    }
    if lower.chars().collect::<BTreeSet<_>>().len() < 5 {
        return true;
    }
    let plain: String = lower.chars().filter(|c| c.is_alphabetic()).collect();
    let core = lower.trim_matches(|c: char| !c.is_alphabetic());
    let [undressed, core] =
        [lower, core].map(|text| text.chars().map(undress).filter(|c| c.is_alphabetic()).collect::<String>());
    [plain, undressed, core].iter().any(|letters| is_made_of_words(letters)) || follows_rows(lower)
}

/// The letter that a digit or sign stands for in what people take for a disguise.
fn undress(c: char) -> char {
    match c {
        '0' => 'o',
        '1' | '!' | '|' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        '8' => 'b',
        other => other,
    }
}

/// Nothing but one common word, once or repeated.
fn is_made_of_words(letters: &str) -> bool {
    WORDS.lines().any(|word| !letters.is_empty() && letters.replace(word, "").is_empty())
}

/// At most three runs along the rows of a keyboard, forwards or backwards.
fn follows_rows(lower: &str) -> bool {
    let letters: Vec<char> = lower.chars().collect();
    let neighbours = |a: char, b: char| {
        ROWS.iter().any(|row| {
            let pair = |x, y| row.contains(&String::from_iter([x, y]));
            pair(a, b) || pair(b, a)
        })
    };
    let breaks = letters.windows(2).filter(|pair| match pair {
        [a, b] => !neighbours(*a, *b),
        _ => true,
    });
    breaks.count() < 3
}

/// The hash to store, in PHC form, with a salt of its own. Slow on purpose: for the hasher's thread alone.
///
/// # Errors
/// Nothing, when the system gives no random bytes or no memory.
pub fn hash(password: &str) -> Option<String> {
    let hash = argon2()?.hash_password(password.as_bytes()).ok()?;
    Some(hash.to_string())
}

/// Whether the password is the one that was hashed. Slow on purpose: for the hasher's thread alone.
pub fn verify(password: &str, stored: &str) -> bool {
    let (Some(argon2), Ok(stored)) = (argon2(), PasswordHash::new(stored)) else { return false };
    argon2.verify_password(password.as_bytes(), &stored).is_ok()
}

fn argon2() -> Option<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).ok()?;
    Some(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn anna() -> Principal {
        Principal::parse("anna-lindt").unwrap()
    }

    #[test]
    fn a_password_is_long_mixed_and_neither_breached_nor_a_name() {
        for good in ["violet tram 7 quarry", "0ff-the-map-Harbour", "mk9#Tulip+Vane"] {
            assert_eq!(judge(good, &anna()), Ok(()), "{good}");
        }
        for bad in [
            "",
            "short1short",
            "no digits in it at all",
            "987654329876543",
            "Anna-Lindt-7-trams",
            "seven LINDT trams 7",
            "violet\ttram7quarry",
            "Password1234",
            "P@ssw0rd2026!!",
            "passwordpassword1",
            "Welcome202612345",
            "qwertyuiop1234",
            "1qaz2wsx3edc",
            "aaaaaaaaaaa1",
            "abcdefghij1234567890",
            "0987654321qwertz",
        ] {
            assert!(judge(bad, &anna()).is_err(), "{bad}");
        }
        assert!(judge(&format!("{}7", "x".repeat(LONGEST)), &anna()).is_err());
    }

    #[test]
    fn the_hash_names_its_algorithm_and_cost_and_admits_one_password() {
        let stored = hash("violet tram 7 quarry").unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(verify("violet tram 7 quarry", &stored));
        assert!(!verify("violet tram 7 quarrY", &stored));
        assert!(!verify("", &stored) && !verify("violet tram 7 quarry", "") && !verify("x", "$argon2id$"));
        assert_ne!(stored, hash("violet tram 7 quarry").unwrap());
    }

    #[test]
    fn the_lists_are_sorted_and_lower_case() {
        for list in [BREACHED, WORDS] {
            let lines: Vec<&str> = list.lines().collect();
            assert!(lines.windows(2).all(|pair| pair[0] < pair[1]));
            assert!(lines.iter().all(|line| *line == line.to_lowercase()));
        }
        assert!(BREACHED.lines().all(|line| line.len() >= SHORTEST));
    }

    proptest! {
        #[test]
        fn what_is_too_short_is_never_taken(password in "\\PC{0,11}") {
            prop_assert!(judge(&password, &anna()).is_err());
        }
    }
}
