//! The words of an answer: where something was found, or why nothing can be said. Never any input text.

use std::fmt;
use tokens::Brand;

/// What a sweep says. `Undecidable` is the third answer and comes as an error, so that `?` refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// No view of the content shows a card number.
    Clean,
    /// Something that must not leave.
    Hit(Hit),
}

impl Verdict {
    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        matches!(self, Verdict::Clean)
    }
}

/// One finding. It holds no digit of what was found and is safe to log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Where it was.
    pub place: Place,
    /// The view in which it became visible, such as `raw`, `percent` or `base64`.
    pub view: &'static str,
    /// What it is.
    pub kind: Kind,
    /// The network, where one is known.
    pub brand: Option<Brand>,
    /// How many digits it has.
    pub length: u8,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A card number.
    Pan,
    /// A card number with more than ten digits left visible.
    Unmasked,
    /// A card verification code (sensitive authentication data, PCI DSS 3.3).
    VerificationCode,
}

impl Kind {
    /// Stable name for logs and audit entries.
    pub fn code(self) -> &'static str {
        match self {
            Kind::Pan => "pan",
            Kind::Unmasked => "unmasked_pan",
            Kind::VerificationCode => "verification_code",
        }
    }
}

/// Path of a field, header or offset. Names that could themselves hold a card number are shown as `*`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place(String);

impl Place {
    const LONGEST: usize = 160;
    /// Digits of a whole path: fewer than PCI DSS lets be seen of a card number.
    const MOST_DIGITS: usize = 6;

    /// A place of one step.
    pub fn new(step: &str) -> Place {
        Place::default().child(step)
    }

    /// The place one step further in. The name comes from outside, so it is cut and cleaned.
    #[must_use]
    pub fn child(&self, step: &str) -> Place {
        let mut path = self.0.clone();
        if path.len() < Place::LONGEST {
            if !path.is_empty() {
                path.push('.');
            }
            let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).count();
            let plain = step.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-[]".contains(&b));
            // Names too may be pieces of one number.
            if digits(step) > 3
                || digits(step) + digits(&path) > Place::MOST_DIGITS
                || !plain
                || step.is_empty()
                || step.len() > 40
            {
                path.push('*');
            } else {
                path.push_str(step);
            }
        }
        Place(path)
    }

    /// The path, steps joined by dots.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Bounds of one sweep. Whatever is beyond them is refused, never skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest body in bytes, before and after decompression.
    pub body: usize,
    /// Deepest nesting of a JSON document, at most 128.
    pub depth: usize,
    /// Most values, keys and fields of a document.
    pub nodes: usize,
    /// Most parts of a multipart body.
    pub parts: usize,
    /// Largest growth on decompression, counted beyond the first 64 KiB.
    pub ratio: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { body: 1 << 20, depth: 32, nodes: 100_000, parts: 64, ratio: 100 }
    }
}

macro_rules! undecidable {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $say:literal;)*) => {
        /// Why nothing can be said about the content. Every one means: do not let it pass.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
        pub enum Undecidable {
            $($(#[$doc])* #[error($say)] $name,)*
        }

        impl Undecidable {
            /// Stable code for problem documents, logs and audit entries.
            pub fn code(self) -> &'static str {
                match self { $(Undecidable::$name => $code,)* }
            }
        }
    };
}

undecidable! {
    /// Larger than [`Limits::body`].
    TooLarge = "body_too_large", "the body is larger than allowed; send less at once";
    /// Deeper than [`Limits::depth`].
    TooDeep = "body_too_deep", "the document is nested deeper than allowed; flatten it";
    /// More values than [`Limits::nodes`] or parts than [`Limits::parts`].
    TooManyNodes = "body_too_many_values", "the document holds more values than allowed; split it";
    /// Not one JSON text of RFC 8259.
    MalformedJson = "malformed_json", "the body is not one well-formed JSON text (RFC 8259, UTF-8 without BOM)";
    /// One object names a member twice; readers would disagree which one counts.
    DuplicateKey = "duplicate_key", "an object names the same member twice; name it once";
    /// Not application/x-www-form-urlencoded.
    MalformedForm = "malformed_form", "the form is not well-formed; check the percent escapes";
    /// Not multipart/form-data of RFC 7578.
    MalformedMultipart = "malformed_multipart", "the multipart body is not well-formed (RFC 7578)";
    /// A multipart inside a multipart.
    NestedMultipart = "nested_multipart", "a multipart inside a multipart is not accepted; send the fields flat";
    /// A file part of a type that cannot be searched.
    FileRefused = "file_refused", "a file part is neither text/plain nor text/csv; send only those";
    /// Not XML or HTML that can be read.
    MalformedMarkup = "malformed_markup", "the markup is not well-formed; close every tag and comment";
    /// A document type, entity declaration or inclusion.
    Doctype = "doctype_refused", "document types, entities and inclusions are not accepted; send plain elements";
    /// A body without a type.
    ContentTypeMissing = "content_type_missing", "the body has no Content-Type; name one";
    /// A type that cannot be searched.
    ContentTypeUnknown = "content_type_unsupported", "bodies of this Content-Type cannot be searched; send JSON or a form";
    /// The content is of another type than it says.
    ContentTypeConfused = "content_type_confused", "the body is not what its Content-Type says; name the true one";
    /// A charset that is not read.
    Charset = "charset_unsupported", "the charset is not accepted; send UTF-8";
    /// Not well-formed in its charset.
    NotUtf8 = "malformed_text", "the text is not well-formed in its charset; send UTF-8";
    /// A coding other than gzip, deflate, br, zstd.
    Encoding = "content_encoding_unsupported", "the Content-Encoding is not accepted; use gzip, deflate, br or zstd, two layers at most";
    /// The bytes are not what Content-Encoding says.
    EncodingMismatch = "content_encoding_mismatch", "the body is not compressed as its Content-Encoding says";
    /// Grows too much on decompression.
    Bomb = "decompression_bomb", "the body grows more on decompression than allowed; send it uncompressed";
    /// So many encodings inside each other that searching them all would cost too much.
    TooEntangled = "too_many_encodings", "a value is encoded too many times over; send it plainly";
    /// The request line cannot be read.
    MalformedPath = "malformed_path", "the path or query is not well-formed; check the percent escapes";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_never_repeats_a_name_that_could_be_a_card_number() {
        let place = Place::new("cards").child("4111111111111111").child("number");
        assert_eq!(place.as_str(), "cards.*.number");
        assert_eq!(Place::new("a b").child("").as_str(), "*.*");
        let pieces = ["411", "111", "111", "111", "111", "1"];
        let place = pieces.iter().fold(Place::default(), |place, piece| place.child(piece));
        assert_eq!(place.as_str(), "411.111.*.*.*.*");
    }

    #[test]
    fn a_place_is_bounded() {
        let mut place = Place::default();
        for _ in 0..1000 {
            place = place.child("abcdefghij");
        }
        assert!(place.as_str().len() < 220);
    }
}
