//! Percent escapes, HTML character references and backslash escapes, read as loosely as the loosest reader.

/// Percent escapes undone once, `%u0034` too. Loose signs stay: this is a search, not a parser.
pub(crate) fn percent(text: &str) -> Option<String> {
    memchr::memchr(b'%', text.as_bytes())?;
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let long = after
                .strip_prefix(b"u")
                .or_else(|| after.strip_prefix(b"U"))
                .and_then(|hex| hex_value(hex, 4));
            if let Some(value) = hex_value(after, 2) {
                bytes.push(u8::try_from(value).unwrap_or(b'%'));
                rest = after.get(2..).unwrap_or_default();
                continue;
            }
            if let Some(c) = long.and_then(char::from_u32) {
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after.get(5..).unwrap_or_default();
                continue;
            }
        }
        bytes.push(*first);
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// HTML character references: decimal and hexadecimal, padded or not, with or without semicolon. Named ones that
/// stand for spaces and signs become a space, for no reader gives them a digit.
pub(crate) fn entities(text: &str) -> Option<String> {
    memchr::memchr(b'&', text.as_bytes())?;
    let mut out = String::with_capacity(text.len());
    let mut pieces = text.split('&');
    out.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        match reference(piece) {
            Some((c, rest)) => {
                out.extend(c);
                out.push_str(rest);
            }
            None => {
                out.push('&');
                out.push_str(piece);
            }
        }
    }
    Some(out)
}

fn reference(piece: &str) -> Option<(Option<char>, &str)> {
    if let Some(number) = piece.strip_prefix('#') {
        let (digits, radix) = match number.strip_prefix(['x', 'X']) {
            Some(hex) => (hex, 16),
            None => (number, 10),
        };
        let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
        let (digits, rest) = digits.split_at_checked(end)?;
        let c = u32::from_str_radix(digits.trim_start_matches('0'), radix).ok().and_then(char::from_u32)?;
        return Some((Some(c), rest.strip_prefix(';').unwrap_or(rest)));
    }
    let end = piece.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(piece.len());
    let (name, rest) = piece.split_at_checked(end)?;
    let rest = rest.strip_prefix(';')?;
    Some(match name {
        "amp" => (Some('&'), rest),
        "lt" => (Some('<'), rest),
        "gt" => (Some('>'), rest),
        "quot" | "apos" => (Some('"'), rest),
        "shy" | "zwj" | "zwnj" | "lrm" | "rlm" | "ZeroWidthSpace" | "NoBreak" => (None, rest),
        "frac12" | "frac14" | "frac34" => return None,
        "sup1" => (Some('1'), rest),
        "sup2" => (Some('2'), rest),
        "sup3" => (Some('3'), rest),
        _ if (2..=24).contains(&name.len()) => (Some(' '), rest),
        _ => return None,
    })
}

/// Backslash escapes: `\u0034`, `\u{34}`, `\U00000034`, `\x34`, octal `\064`; any other backslash goes away with
/// nothing put in its place, so that `4111\-1111` reads `4111-1111`.
pub(crate) fn backslash(text: &str) -> Option<String> {
    memchr::memchr(b'\\', text.as_bytes())?;
    let mut out = String::with_capacity(text.len());
    let mut pieces = text.split('\\');
    out.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let coded = |skip: usize, digits: usize, radix: u32| {
            let hex = piece.get(skip..skip + digits).filter(|hex| hex.chars().all(|c| c.is_digit(radix)))?;
            let c = u32::from_str_radix(hex, radix).ok().and_then(char::from_u32)?;
            Some((c, piece.get(skip + digits..).unwrap_or_default()))
        };
        let braced = || {
            let (hex, rest) =
                piece.strip_prefix("u{").or_else(|| piece.strip_prefix("x{"))?.split_once('}')?;
            Some((u32::from_str_radix(hex, 16).ok().and_then(char::from_u32)?, rest))
        };
        let named = || match piece.as_bytes().first()? {
            b'n' | b'r' | b't' | b'f' | b'v' => Some((' ', piece.get(1..).unwrap_or_default())),
            _ => None,
        };
        let escape = match piece.as_bytes().first() {
            Some(b'u') => braced().or_else(|| coded(1, 4, 16)),
            Some(b'U') => coded(1, 8, 16),
            Some(b'x' | b'X') => braced().or_else(|| coded(1, 2, 16)),
            Some(b'0'..=b'3') => coded(0, 3, 8),
            _ => named(),
        };
        match escape {
            Some((c, rest)) => {
                out.push(c);
                out.push_str(rest);
            }
            None => out.push_str(piece),
        }
    }
    Some(out)
}

fn hex_value(bytes: &[u8], count: usize) -> Option<u32> {
    let digits = bytes.get(..count)?;
    digits.iter().try_fold(0, |value, b| char::from(*b).to_digit(16).map(|digit| value * 16 + digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_every_spelling_are_undone() {
        assert_eq!(percent("%34%u0031%U0031%zz%").as_deref(), Some("411%zz%"));
        assert_eq!(percent("%2534").as_deref(), Some("%34"));
        assert_eq!(entities("&#52;&#x31;&#0000049;&#49 &nbsp;&shy;&lt;&").as_deref(), Some("4111  <&"));
        assert_eq!(backslash(r"\u0034\x31\u{31}\061\-\,\U00000034").as_deref(), Some("4111-,4"));
        assert_eq!(backslash(r"4111\u").as_deref(), Some("4111u"));
        assert_eq!(percent("plain").or(entities("plain")).or(backslash("plain")), None);
    }
}
