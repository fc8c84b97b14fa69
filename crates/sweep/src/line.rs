//! Sweeps a finished log line, also for numbers that the formatter put together from two fields.

use crate::body::{undecided, verdict};
use crate::context::FieldContext;
use crate::document::Json;
use crate::leaf::{self, Seen};
use crate::verdict::{Limits, Place, Verdict};
use crate::work::Work;
use crate::{glance_json, join, tree};

/// Sweeps one log line, JSON or text. Bytes that are no UTF-8 and lines that cannot be searched to their end come
/// back as a hit whose view is `undecidable`: do not write them.
pub fn sweep_line(line: &[u8]) -> Verdict {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let Ok(text) = std::str::from_utf8(line) else { return undecided(Place::new("line")) };
    let limits = Limits::default();
    if text.starts_with('{') {
        if glance_json::is_clean_json(text, &limits) && straddling(text).is_none() {
            return Verdict::Clean;
        }
        if let Ok(json) = Json::parse(line, &limits) {
            return match tree::sweep(&json, &[], &Work::new()) {
                Ok(Some(hit)) => Verdict::Hit(hit),
                Ok(None) => verdict(Place::new("line"), straddling(text)),
                Err(_) => undecided(Place::new("line")),
            };
        }
    }
    match leaf::sweep(text, FieldContext::Plain, 0, &Work::new()) {
        Ok(seen) => verdict(Place::new("line"), seen.or_else(|| straddling(text))),
        Err(_) => undecided(Place::new("line")),
    }
}

/// A card number that the values of `name=value` or `"name":"value"` fields make when they are read in order.
fn straddling(line: &str) -> Option<Seen> {
    let ends = |c: char| matches!(c, ' ' | ',' | '{' | '}' | '[' | ']');
    let values = line.split(ends).filter(|field| !field.is_empty());
    let pieces = values.map(|field| {
        // Nearly all fields end in a letter or a sign, which no piece does.
        let last = field.as_bytes().last().copied().unwrap_or(b' ');
        if last.is_ascii_graphic() && last != b'"' && !last.is_ascii_digit() {
            return None;
        }
        let value = field.rsplit(['=', ':']).next().unwrap_or_default();
        join::piece(value.trim_matches('"'))
    });
    join::find(pieces, FieldContext::Plain).map(|found| (found, "joined"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_in_one_field_or_over_two_is_found() {
        for line in [
            "got 4111111111111111",
            "first=41111111 second=11111111",
            r#"{"a":"41111111","b":"11111111"}"#,
            r#"{"msg":"x","fields":{"a":41111111},"b":11111111}"#,
            r#"{"msg":"card 4111 1111 1111 1111"}"#,
        ] {
            assert!(!sweep_line(line.as_bytes()).is_clean(), "{line}");
        }
        assert!(!sweep_line(b"\xff").is_clean());
    }

    #[test]
    fn an_ordinary_line_is_clean() {
        let line = r#"{"timestamp":"2026-11-23T23:37:22.123456Z","level":"INFO","message":"answered","status":201,"micros":1234,"request_id":"req_abcdefghijklmnopqrstuvwx","path":"/v1/tokens"}"#;
        assert!(sweep_line(line.as_bytes()).is_clean());
        assert!(sweep_line(b"listening on 127.0.0.1:8443\n").is_clean());
    }
}
