//! The disguises a card number may wear, taken off one at a time. A view is the same text without one disguise.
//!
//! Every view shrinks or keeps its text (NFKC aside), and all views of one value share one budget: a value built
//! to make the search expensive is refused, not searched for ever.

pub(crate) mod codec_guess;
pub(crate) mod codecs;
pub(crate) mod escapes;
pub(crate) mod markup;
pub(crate) mod mime;
pub(crate) mod number;
pub(crate) mod unicode;
mod unicode_tables;

use zeroize::Zeroizing;

/// A text as one disguise less shows it, and that disguise's name.
pub(crate) type View = (&'static str, Zeroizing<String>);

/// Every view of `text` that differs from it. `text` is already normalised by [`unicode::normalise`].
pub(crate) fn of(text: &str) -> Vec<View> {
    type Reader = fn(&str) -> Option<String>;
    const READERS: &[(&str, Reader)] = &[
        ("percent", escapes::percent),
        ("entity", escapes::entities),
        ("escape", escapes::backslash),
        ("markup", markup::text_content),
        ("quoted-printable", mime::quoted_printable),
        ("encoded-word", mime::encoded_words),
        ("base64", codecs::base64_tokens),
        ("base64", codecs::base64_wrapped),
        ("base64", codecs::base64_digits),
        ("base32", codecs::base32_tokens),
        ("hex", codecs::hex),
        ("hex", codecs::without_hex_prefix),
        ("number", number::expanded),
    ];
    READERS
        .iter()
        .filter_map(|(name, read)| read(text).map(|view| (*name, Zeroizing::new(view))))
        .filter(|(_, view)| view.as_str() != text)
        .collect()
}
