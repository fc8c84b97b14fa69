//! `multipart/form-data` (RFC 7578), read so strictly that no two readers could split it differently.

use super::Text;
use super::part_headers::{PartHeaders, parse_headers};
use crate::{Limits, Undecidable};
use memchr::memmem;
use zeroize::Zeroizing;

/// A multipart form's parts in the order they came. There is no `Debug`.
pub struct Multipart {
    parts: Vec<Part>,
}

/// One field or text file.
pub struct Part {
    headers: PartHeaders,
    body: Text,
}

impl Part {
    /// The field's name.
    pub fn name(&self) -> &str {
        &self.headers.name
    }

    /// The file's name, when the part is a file.
    pub fn filename(&self) -> Option<&str> {
        self.headers.filename.as_ref().map(|name| name.as_str())
    }

    /// The part's type, `text/plain` or `text/csv`, when it names one.
    pub fn content_type(&self) -> Option<&str> {
        self.headers.content_type
    }

    /// The part's text.
    pub fn text(&self) -> &str {
        &self.body
    }
}

impl Multipart {
    /// Parses a whole body. No preamble, no epilogue, CRLF line ends, a final boundary, text parts only.
    ///
    /// # Errors
    /// [`Undecidable`] naming what is wrong.
    pub fn parse(boundary: &str, body: &[u8], limits: &Limits) -> Result<Multipart, Undecidable> {
        if body.len() > limits.body {
            return Err(Undecidable::TooLarge);
        }
        if boundary.is_empty() || boundary.len() > 70 || boundary.bytes().any(|b| !(b' '..=b'~').contains(&b))
        {
            return Err(Undecidable::MalformedMultipart);
        }
        let delimiter = format!("\r\n--{boundary}");
        // A reader that takes bare line feeds would see a boundary where we see text: refuse both readings.
        let dashes = format!("--{boundary}");
        let mut lines = memmem::find_iter(body, dashes.as_bytes());
        let split_here = |at: usize| {
            at == 0
                || at
                    .checked_sub(2)
                    .and_then(|from| body.get(from..at))
                    .is_some_and(|before| before == b"\r\n")
        };
        let line_start = |at: usize| {
            at.checked_sub(1).and_then(|b| body.get(b)).is_some_and(|b| matches!(b, b'\n' | b'\r'))
        };
        if lines.any(|at| line_start(at) && !split_here(at)) {
            return Err(Undecidable::MalformedMultipart);
        }
        let mut rest = body.strip_prefix(dashes.as_bytes()).ok_or(Undecidable::MalformedMultipart)?;
        let mut parts = vec![];
        loop {
            if let Some(end) = rest.strip_prefix(b"--") {
                return match end {
                    b"" | b"\r\n" => Ok(Multipart { parts }),
                    _ => Err(Undecidable::MalformedMultipart),
                };
            }
            rest = rest.strip_prefix(b"\r\n").ok_or(Undecidable::MalformedMultipart)?;
            let end = memmem::find(rest, delimiter.as_bytes()).ok_or(Undecidable::MalformedMultipart)?;
            let (part, after) = rest.split_at_checked(end).ok_or(Undecidable::MalformedMultipart)?;
            if parts.len() >= limits.parts {
                return Err(Undecidable::TooManyNodes);
            }
            parts.push(parse_part(part)?);
            rest = after.get(delimiter.len()..).unwrap_or_default();
        }
    }

    /// The parts in order.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter()
    }

    /// The text of the one part of that name; `None` when there is none or more than one.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut parts = self.parts.iter().filter(|part| part.name() == name);
        parts.next().filter(|_| parts.next().is_none()).map(Part::text)
    }

    /// Replaces the text of the one part of that name; false when there is none or more than one.
    pub fn replace(&mut self, name: &str, text: &str) -> bool {
        let one = self.get(name).is_some();
        if let Some(part) = self.parts.iter_mut().find(|part| one && part.name() == name) {
            part.body = Zeroizing::new(text.to_owned());
        }
        one
    }

    /// Takes every part of that name away; false when there was none.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.parts.len();
        self.parts.retain(|part| part.name() != name);
        self.parts.len() < before
    }

    /// Adds a part next after the first one called `after`; false when there is none or the name is taken.
    pub fn insert_after(&mut self, after: &str, name: &str, text: &str) -> bool {
        let Some(place) = self.parts.iter().position(|part| part.name() == after) else { return false };
        if self.parts.iter().any(|part| part.name() == name) {
            return false;
        }
        let headers =
            PartHeaders { name: Zeroizing::new(name.to_owned()), filename: None, content_type: None };
        self.parts.insert(place + 1, Part { headers, body: Zeroizing::new(text.to_owned()) });
        true
    }

    /// The body's bytes under a fresh boundary, in memory that is wiped.
    ///
    /// # Errors
    /// [`Undecidable::MalformedMultipart`] when the boundary is not 16 to 70 ASCII letters or occurs in a part.
    pub fn write(&self, boundary: &str) -> Result<Zeroizing<Vec<u8>>, Undecidable> {
        let letters = boundary.bytes().all(|b| b.is_ascii_alphabetic());
        let occurs = self.parts.iter().any(|part| part.body.contains(boundary));
        if !letters || !(16..=70).contains(&boundary.len()) || occurs {
            return Err(Undecidable::MalformedMultipart);
        }
        let size: usize =
            self.parts.iter().map(|part| part.body.len() + part.headers.size() + boundary.len() + 128).sum();
        let mut bytes = Zeroizing::new(Vec::with_capacity(size + boundary.len() + 8));
        for part in &self.parts {
            bytes.extend_from_slice(b"--");
            bytes.extend_from_slice(boundary.as_bytes());
            bytes.extend_from_slice(b"\r\n");
            part.headers.write(&mut bytes);
            bytes.extend_from_slice(b"\r\n");
            bytes.extend_from_slice(part.body.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"--");
        bytes.extend_from_slice(boundary.as_bytes());
        bytes.extend_from_slice(b"--\r\n");
        Ok(bytes)
    }
}

fn parse_part(part: &[u8]) -> Result<Part, Undecidable> {
    let (head, body) = match part.strip_prefix(b"\r\n") {
        Some(body) => (&[][..], body),
        None => {
            let end = memmem::find(part, b"\r\n\r\n").ok_or(Undecidable::MalformedMultipart)?;
            let (head, body) = part.split_at_checked(end).ok_or(Undecidable::MalformedMultipart)?;
            (head, body.get(4..).unwrap_or_default())
        }
    };
    let headers = parse_headers(head)?;
    let text = std::str::from_utf8(body).map_err(|_| Undecidable::NotUtf8)?;
    Ok(Part { headers, body: Zeroizing::new(text.to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<Multipart, Undecidable> {
        Multipart::parse("bb", body.as_bytes(), &Limits::default())
    }

    fn field(disposition: &str) -> String {
        format!("--bb\r\nContent-Disposition: {disposition}\r\n\r\nvalue\r\n--bb--\r\n")
    }

    #[test]
    fn a_body_that_two_readers_could_split_differently_is_refused() {
        let good = field("form-data; name=\"a\"");
        assert_eq!(parse(&good).ok().unwrap().get("a"), Some("value"));
        for body in [
            "".to_owned(),
            good.replace("--bb--\r\n", ""),
            good.replace("\r\n", "\n"),
            format!("preamble\r\n{good}"),
            format!("{good}epilogue"),
            good.replace("value", "va\n--bb\r\nlue"),
            good.replace("value", "va\r\n--bbX\r\nlue"),
            good.replace("Content-Disposition", "Content-Disposition "),
            good.replace("Content-Disposition: form-data; name=\"a\"", "X-Only: 1"),
            field("attachment; name=\"a\""),
            field("form-data"),
            field("form-data; name=\"a\"; name=\"b\""),
            field("form-data; name=\"a\"\r\nContent-Disposition: form-data; name=\"b\""),
            field("form-data; name=\"a\"\r\n folded"),
            field("form-data; name=\"a\"\r\nContent-Transfer-Encoding: base64"),
        ] {
            assert!(parse(&body).is_err(), "{body:?}");
        }
    }

    #[test]
    fn files_are_text_or_refused() {
        let file =
            |kind: &str| field(&format!("form-data; name=\"a\"; filename=\"f\"\r\nContent-Type: {kind}"));
        assert_eq!(parse(&file("text/csv; charset=utf-8")).ok().unwrap().parts().count(), 1);
        for kind in ["application/pdf", "image/png", "application/octet-stream", "text/html"] {
            assert_eq!(parse(&file(kind)).err(), Some(Undecidable::FileRefused), "{kind}");
        }
        assert_eq!(parse(&file("multipart/mixed; boundary=c")).err(), Some(Undecidable::NestedMultipart));
    }

    #[test]
    fn extended_names_are_read_as_rfc_2231_says() {
        let multipart =
            parse(&field("form-data; name*=UTF-8''%61%C3%A9; filename*=utf-8'en'%34.csv")).ok().unwrap();
        let part = multipart.parts().next().unwrap();
        assert_eq!((part.name(), part.filename()), ("aé", Some("4.csv")));
        assert!(parse(&field("form-data; name*=KOI8-R''%61")).is_err());
        assert!(parse(&field("form-data; name*0=a; name*1=b")).is_err());
    }
}
