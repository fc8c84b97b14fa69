//! The three body formats that carry fields: parsed strictly, edited by path, serialised anew.
//!
//! Nothing is passed through unread: what a reader downstream could understand differently (duplicate keys, loose
//! escapes, a missing boundary) is refused here. Text lives in memory that is wiped; nothing prints its contents.

mod form;
mod json;
mod json_edit;
mod json_write;
mod media;
mod multipart;
mod part_headers;

pub use form::Form;
pub use json::Json;
pub use media::MediaType;
pub use multipart::{Multipart, Part};

use crate::{Limits, Undecidable};
use zeroize::Zeroizing;

/// Text that is wiped when it is dropped.
pub type Text = Zeroizing<String>;

/// A body with fields, of whichever format.
pub enum Document {
    /// `application/json` and `…+json`.
    Json(Json),
    /// `application/x-www-form-urlencoded`.
    Form(Form),
    /// `multipart/form-data`.
    Multipart(Multipart),
}

impl Document {
    /// Parses a decompressed body by its `Content-Type`.
    ///
    /// # Errors
    /// [`Undecidable`] for other types and for anything malformed or beyond the limits.
    pub fn parse(content_type: Option<&str>, body: &[u8], limits: &Limits) -> Result<Document, Undecidable> {
        let media = MediaType::parse(content_type.ok_or(Undecidable::ContentTypeMissing)?)?;
        let text = crate::decode::charset(&media, body)?;
        if media.is_json() {
            Json::parse(text.as_bytes(), limits).map(Document::Json)
        } else if media.is("application/x-www-form-urlencoded") {
            Form::parse(text.as_bytes(), limits).map(Document::Form)
        } else if media.is("multipart/form-data") {
            let boundary = media.parameter("boundary").ok_or(Undecidable::MalformedMultipart)?;
            Multipart::parse(boundary, body, limits).map(Document::Multipart)
        } else {
            Err(Undecidable::ContentTypeUnknown)
        }
    }

    /// The text or number at `path`. In forms the path is the bracket name: `["card", "number"]` is
    /// `card[number]`. `None` also when the name stands there more than once or holds no text.
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        match self {
            Document::Json(json) => json.get(path)?.as_text(),
            Document::Form(form) => form.get(&bracket_name(path)),
            Document::Multipart(multipart) => multipart.get(&bracket_name(path)),
        }
    }

    /// Whether anything stands at `path`, of whatever kind and however often.
    pub fn has(&self, path: &[&str]) -> bool {
        match self {
            Document::Json(json) => json.get(path).is_some(),
            Document::Form(form) => form.pairs().any(|(name, _)| name == bracket_name(path)),
            Document::Multipart(multipart) => multipart.parts().any(|part| part.name() == bracket_name(path)),
        }
    }

    /// Puts text in the place of what stands at `path`; false when nothing (or more than one field) stands there.
    pub fn replace(&mut self, path: &[&str], text: &str) -> bool {
        match self {
            Document::Json(json) => json.replace(path, Json::text(text)).is_some(),
            Document::Form(form) => form.replace(&bracket_name(path), text),
            Document::Multipart(multipart) => multipart.replace(&bracket_name(path), text),
        }
    }

    /// Takes every field at `path` away; false when there was none.
    pub fn remove(&mut self, path: &[&str]) -> bool {
        match self {
            Document::Json(json) => json.remove(path).is_some(),
            Document::Form(form) => form.remove(&bracket_name(path)),
            Document::Multipart(multipart) => multipart.remove(&bracket_name(path)),
        }
    }

    /// Adds a text field `name` next after the field at `path`, in the same object or bracket group. False when
    /// nothing stands at `path` or the name is taken.
    pub fn insert_after(&mut self, path: &[&str], name: &str, text: &str) -> bool {
        match self {
            Document::Json(json) => json.insert_after(path, name, Json::text(text)),
            Document::Form(form) => form.insert_after(&bracket_name(path), &sibling_name(path, name), text),
            Document::Multipart(multipart) => {
                multipart.insert_after(&bracket_name(path), &sibling_name(path, name), text)
            }
        }
    }

    /// Content type and bytes to send. `boundary` is used for multipart only: fresh random letters, 16 to 70.
    ///
    /// # Errors
    /// [`Undecidable::MalformedMultipart`] when the boundary is not 16 to 70 letters or occurs in a part.
    pub fn write(&self, boundary: &str) -> Result<(String, Zeroizing<Vec<u8>>), Undecidable> {
        match self {
            Document::Json(json) => Ok(("application/json".to_owned(), json.write())),
            Document::Form(form) => Ok(("application/x-www-form-urlencoded".to_owned(), form.write())),
            Document::Multipart(multipart) => {
                let body = multipart.write(boundary)?;
                Ok((format!("multipart/form-data; boundary={boundary}"), body))
            }
        }
    }
}

/// `["card", "number"]` as a form names it: `card[number]`.
fn bracket_name(path: &[&str]) -> String {
    let mut steps = path.iter();
    let mut name = steps.next().map_or_else(String::new, |first| (*first).to_owned());
    for step in steps {
        name.push('[');
        name.push_str(step);
        name.push(']');
    }
    name
}

fn sibling_name(path: &[&str], name: &str) -> String {
    let mut sibling: Vec<&str> = path.split_last().map_or(vec![], |(_, group)| group.to_vec());
    sibling.push(name);
    bracket_name(&sibling)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_edit_works_in_every_format() {
        let multipart = "--bbbbbbbbbbbbbbbb\r\nContent-Disposition: form-data; name=\"card[number]\"\r\n\r\n4242 4242 4242 4242\r\n--bbbbbbbbbbbbbbbb\r\nContent-Disposition: form-data; name=\"card[cvc]\"\r\n\r\n123\r\n--bbbbbbbbbbbbbbbb--\r\n";
        for (content_type, body, expected) in [
            (
                "application/json",
                r#"{"card":{"number":"4242 4242 4242 4242","cvc":"123"}}"#,
                r#"{"card":{"number":"tok_a","brand":"visa"}}"#,
            ),
            (
                "application/x-www-form-urlencoded",
                "card%5Bnumber%5D=4242+4242+4242+4242&card[cvc]=123",
                "card%5Bnumber%5D=tok_a&card%5Bbrand%5D=visa",
            ),
            (
                "multipart/form-data; boundary=bbbbbbbbbbbbbbbb",
                multipart,
                "--abcdefghijklmnop\r\nContent-Disposition: form-data; name=\"card[number]\"\r\n\r\ntok_a\r\n--abcdefghijklmnop\r\nContent-Disposition: form-data; name=\"card[brand]\"\r\n\r\nvisa\r\n--abcdefghijklmnop--\r\n",
            ),
        ] {
            let limits = Limits::default();
            let mut document = Document::parse(Some(content_type), body.as_bytes(), &limits).ok().unwrap();
            assert_eq!(document.text(&["card", "number"]), Some("4242 4242 4242 4242"));
            assert!(document.replace(&["card", "number"], "tok_a"));
            assert!(document.insert_after(&["card", "number"], "brand", "visa"));
            assert!(document.remove(&["card", "cvc"]));
            assert!(!document.has(&["card", "cvc"]));
            let (_, bytes) = document.write("abcdefghijklmnop").unwrap();
            assert_eq!(std::str::from_utf8(&bytes).unwrap(), expected);
        }
    }
}
