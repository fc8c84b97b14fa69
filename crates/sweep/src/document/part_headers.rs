//! The headers of one multipart part: only those three that a form field may have, each once.

use super::Text;
use super::media::MediaType;
use super::media::header_value;
use crate::Undecidable;
use zeroize::Zeroizing;

/// What a part says about itself.
pub(super) struct PartHeaders {
    pub(super) name: Text,
    pub(super) filename: Option<Text>,
    pub(super) content_type: Option<&'static str>,
}

impl PartHeaders {
    /// At least the bytes that [`PartHeaders::write`] takes beyond its fixed words.
    pub(super) fn size(&self) -> usize {
        (self.name.len() + self.filename.as_ref().map_or(0, |name| name.len())) * 3
    }

    /// Header lines, each with CRLF. Quotes and line ends in names are percent-escaped as browsers do.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"Content-Disposition: form-data; name=\"");
        quoted(&self.name, out);
        if let Some(filename) = &self.filename {
            out.extend_from_slice(b"\"; filename=\"");
            quoted(filename, out);
        }
        out.extend_from_slice(b"\"\r\n");
        if let Some(kind) = self.content_type {
            out.extend_from_slice(b"Content-Type: ");
            out.extend_from_slice(kind.as_bytes());
            out.extend_from_slice(b"; charset=utf-8\r\n");
        }
    }
}

/// Parses the header lines of one part (without the empty line).
pub(super) fn parse_headers(head: &[u8]) -> Result<PartHeaders, Undecidable> {
    let malformed = Undecidable::MalformedMultipart;
    let head = std::str::from_utf8(head).map_err(|_| Undecidable::NotUtf8)?;
    let (mut names, mut content_type, mut transfer) = (None, None, false);
    for line in head.split("\r\n") {
        let (name, value) = line.split_once(':').ok_or(malformed)?;
        if value.bytes().any(|b| b < b' ' && b != b'\t') {
            return Err(malformed);
        }
        match name.to_ascii_lowercase().as_str() {
            "content-disposition" if names.is_none() => names = Some(disposition(value).ok_or(malformed)?),
            "content-type" if content_type.is_none() => content_type = Some(text_type(value)?),
            "content-transfer-encoding" if !transfer => {
                transfer = true;
                if !["7bit", "8bit", "binary"].contains(&value.trim().to_ascii_lowercase().as_str()) {
                    return Err(malformed);
                }
            }
            _ => return Err(malformed),
        }
    }
    let (name, filename) = names.ok_or(malformed)?;
    Ok(PartHeaders { name, filename, content_type })
}

fn disposition(value: &str) -> Option<(Text, Option<Text>)> {
    let (kind, parameters) = header_value(value)?;
    if !kind.eq_ignore_ascii_case("form-data") {
        return None;
    }
    let (mut name, mut filename) = (None, None);
    for (parameter, value) in parameters {
        let value = Zeroizing::new(value);
        match parameter.as_str() {
            "name" if name.is_none() => name = Some(value),
            "name*" if name.is_none() => name = Some(extended(&value)?),
            "filename" if filename.is_none() => filename = Some(value),
            "filename*" if filename.is_none() => filename = Some(extended(&value)?),
            // Both spellings at once, continuations and unknown parameters: readers choose differently.
            _ => return None,
        }
    }
    Some((name?, filename))
}

/// RFC 2231 extended value, `UTF-8'lang'%34…`, in UTF-8 only.
fn extended(value: &str) -> Option<Text> {
    let mut parts = value.splitn(3, '\'');
    let (charset, _language, text) = (parts.next()?, parts.next()?, parts.next()?);
    if !charset.eq_ignore_ascii_case("utf-8") || text.contains('+') {
        return None;
    }
    super::form::decoded(text.as_bytes()).ok()
}

fn text_type(value: &str) -> Result<&'static str, Undecidable> {
    let media = MediaType::parse(value)?;
    if media.essence().starts_with("multipart/") {
        return Err(Undecidable::NestedMultipart);
    }
    if !matches!(
        media.parameter("charset").map(str::to_ascii_lowercase).as_deref(),
        None | Some("utf-8" | "us-ascii")
    ) {
        return Err(Undecidable::Charset);
    }
    if media.is("text/plain") {
        Ok("text/plain")
    } else if media.is("text/csv") {
        Ok("text/csv")
    } else {
        Err(Undecidable::FileRefused)
    }
}

fn quoted(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"%22"),
            b'\r' => out.extend_from_slice(b"%0D"),
            b'\n' => out.extend_from_slice(b"%0A"),
            // A reader that knows backslash escapes and one that does not see the same name.
            b'\\' => out.extend_from_slice(b"%5C"),
            plain => out.push(plain),
        }
    }
}
