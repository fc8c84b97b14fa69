//! Sweeps the head of a message: path, matrix parameters, query, header names and values.

use crate::body::{pairs, undecided, verdict};
use crate::context::FieldContext;
use crate::document::Form;
use crate::leaf;
use crate::verdict::{Limits, Place, Undecidable, Verdict};
use crate::views::codecs;
use crate::work::Work;

/// Sweeps a request or response head (and trailers, given as headers). What cannot be read, such as a broken
/// escape in the query, comes back as a hit whose view is `undecidable`: refuse it.
pub fn sweep_head<'a>(
    path_and_query: &str,
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Verdict {
    let work = &Work::new();
    match target(path_and_query, work) {
        Ok(Verdict::Clean) => {}
        Ok(hit) => return hit,
        Err(_) => return undecided(Place::new("path")),
    }
    for (name, value) in headers {
        match header(name, value, work) {
            Ok(Verdict::Clean) => {}
            Ok(hit) => return hit,
            Err(_) => return undecided(Place::new("header").child(name)),
        }
    }
    Verdict::Clean
}

fn target(path_and_query: &str, work: &Work) -> Result<Verdict, Undecidable> {
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    // The whole path too: its segments may be pieces of one number.
    let whole = leaf::sweep(path, FieldContext::Plain, 0, work)?;
    if whole.is_some() {
        return Ok(verdict(Place::new("path"), whole));
    }
    let mut before = FieldContext::Plain;
    for segment in path.split(['/', ';', ',']) {
        let (name, value) = segment.split_once('=').unwrap_or(("", segment));
        let context = if name.is_empty() { before } else { FieldContext::of_name(name) };
        // `/cards/4222222222222` says what the segment is; the code of a card is too short to be told in a path.
        let context = if context == FieldContext::VerificationCode { FieldContext::Plain } else { context };
        let seen = leaf::sweep(value, context, 0, work)?;
        if seen.is_some() {
            return Ok(verdict(Place::new("path"), seen));
        }
        before = FieldContext::of_name(value);
    }
    let form = Form::parse(query.as_bytes(), &Limits::default())?;
    match pairs(&form.pairs().collect::<Vec<_>>(), work)? {
        Verdict::Hit(hit) => {
            Ok(Verdict::Hit(crate::Hit { place: Place::new("query").child(hit.place.as_str()), ..hit }))
        }
        Verdict::Clean => Ok(verdict(Place::new("query"), leaf::sweep(query, FieldContext::Plain, 0, work)?)),
    }
}

fn header(name: &str, value: &[u8], work: &Work) -> Result<Verdict, Undecidable> {
    let place = || Place::new("header").child(name);
    let seen = leaf::sweep(name, FieldContext::Plain, 0, work)?;
    if seen.is_some() {
        return Ok(verdict(Place::new("header_name"), seen));
    }
    // Header bytes beyond ASCII are UTF-8 or, as of old, Latin-1: then no digit hides in them.
    let text = String::from_utf8_lossy(value);
    let context = FieldContext::of_name(name);
    let seen = leaf::sweep(&text, context, 0, work)?;
    if seen.is_some() {
        return Ok(verdict(place(), seen));
    }
    if let Some((scheme, credentials)) = text.split_once(' ')
        && scheme.eq_ignore_ascii_case("basic")
        && let Some(decoded) = codecs::decode_base64(credentials.trim().as_bytes())
    {
        let seen = leaf::sweep(&String::from_utf8_lossy(&decoded), FieldContext::FreeText, 0, work)?;
        if seen.is_some() {
            return Ok(verdict(place(), seen));
        }
    }
    if name.eq_ignore_ascii_case("cookie") || name.eq_ignore_ascii_case("set-cookie") {
        for pair in text.split(';') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let seen = leaf::sweep(value.trim(), FieldContext::of_name(name.trim()), 0, work)?;
            if seen.is_some() {
                return Ok(verdict(place(), seen));
            }
        }
    }
    Ok(Verdict::Clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_numbers_in_paths_queries_and_headers_are_found() {
        for path in [
            "/pay/4111111111111111",
            "/pay;pan=4222222222222/x",
            "/pay/4111/1111/1111/1111",
            "/cards/4222222222222",
            "/pay?x=4111+1111+1111+1111",
            "/pay?%34%31%31%31111111111111=1",
            "/pay?c=4111&c=1111&c=1111&c=1111",
            "/pay?cvv=123",
            "/pay?x=%",
            "/p%61y/%34111111111111111",
        ] {
            assert!(!sweep_head(path, []).is_clean(), "{path}");
        }
        for (name, value) in [
            ("cookie", "a=b; pan=4222222222222"),
            ("authorization", "Basic dXNlcjo0MTExMTExMTExMTExMTEx"),
            ("x-note", "4111-1111-1111-1111"),
            ("x-4111111111111111", "1"),
            ("referer", "https://example.test/#4111111111111111"),
        ] {
            assert!(!sweep_head("/", [(name, value.as_bytes())]).is_clean(), "{name}");
        }
    }

    #[test]
    fn an_ordinary_head_is_clean() {
        let headers = [
            ("content-type", "application/json"),
            ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/141.0.7390.54"),
            ("pangate-request-id", "req_abcdefghijklmnopqrstuvwx"),
            ("date", "Mon, 23 Nov 2026 23:37:22 GMT"),
            ("idempotency-key", "123e4567-e89b-12d3-a456-426614174000"),
        ];
        let head =
            sweep_head("/v1/statements/st_1?limit=10&after=abc", headers.map(|(n, v)| (n, v.as_bytes())));
        assert!(head.is_clean());
    }
}
