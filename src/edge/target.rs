//! Request targets that two readers could take for two paths are refused: dots, doubled slashes, hidden slashes.
//! What the path means is decided by the routes.

use crate::answer::{Code, Problem};
use http::Uri;
use std::borrow::Cow;

/// Bytes of a path with its query.
const LONGEST: usize = 4096;

/// Checks path and query.
pub(super) fn check(uri: &Uri) -> Result<(), Problem> {
    let wrong = |detail| Err(Problem::new(Code::InvalidTarget, detail));
    let path = &*keys_are_named(uri.path());
    if uri.path_and_query().map_or(0, |target| target.as_str().len()) > LONGEST {
        return wrong("Send a path and query of at most 4096 bytes");
    }
    if !path.starts_with('/') {
        return wrong("Send a path that starts with a slash");
    }
    let plain = |text: &str| text.bytes().all(|b| (0x21..0x7f).contains(&b));
    if !plain(path) || !uri.query().is_none_or(plain) {
        return wrong("Send printable ASCII and percent escapes only");
    }
    if path.contains('\\') {
        return wrong("Send a path without backslashes");
    }
    if path.contains("//") {
        return wrong("Send a path without empty segments");
    }
    if !escapes_are_harmless(path.as_bytes()) {
        return wrong("Send no escaped slash, backslash, dot, percent sign or control byte in the path");
    }
    // `/a/..;x/b`: some servers cut the parameters off before they look at the dots.
    let dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
    if path.split('/').any(dots) {
        return wrong("Send a path without dot segments");
    }
    Ok(())
}

/// Names of keys hold slashes, and a client that builds its path from parts escapes them. The routes read both as the
/// same name, so here, and here alone, an escaped slash is a slash.
fn keys_are_named(path: &str) -> Cow<'_, str> {
    if path.starts_with("/v1/keys/") && path.contains('%') {
        Cow::Owned(path.replace("%2F", "/").replace("%2f", "/"))
    } else {
        Cow::Borrowed(path)
    }
}

fn escapes_are_harmless(path: &[u8]) -> bool {
    path.iter().enumerate().filter(|(_, byte)| **byte == b'%').all(|(place, _)| {
        let digit = |offset: usize| path.get(place + offset).and_then(|b| char::from(*b).to_digit(16));
        match (digit(1), digit(2)) {
            (Some(high), Some(low)) => {
                let byte = high * 16 + low;
                byte >= 0x20 && byte != 0x7f && ![0x2e, 0x2f, 0x5c, 0x25].contains(&byte)
            }
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_two_readings_is_refused() {
        for path in [
            "/a/../b",
            "/..",
            "/./a",
            "/a/.",
            "/a/..;x=1/b",
            "//a",
            "/a//b",
            "/a%2fb",
            "/v1/keys/..%2f..",
            "/v1/keys/a%2f/rotate",
            "/v1/keys/a%2f%2fb/rotate",
            "/v1/keys/a%252fb/rotate",
            "/a%2Fb",
            "/%2e%2e/a",
            "/a%5cb",
            "/a%00",
            "/a%0ab",
            "/a%252e",
            "/a%7f",
            "/a%",
            "/a%4",
            "/a%zz",
            "/a\\b",
            "*",
        ] {
            let refused = path.parse::<Uri>().map_or(true, |uri| check(&uri).is_err());
            assert!(refused, "{path}");
        }
        assert!(check(&format!("/{}", "a".repeat(5000)).parse().unwrap()).is_err());
    }

    #[test]
    fn a_plain_path_passes() {
        for path in [
            "/",
            "/v1/tokens",
            "/v1/tokens?limit=2&after=a%2Fb",
            "/v1/keys/kek%2Fcard/rotate",
            "/a;v=1/b",
            "/a%20b",
            "/...",
            "/a.b",
        ] {
            assert!(check(&path.parse().unwrap()).is_ok(), "{path}");
        }
    }
}
