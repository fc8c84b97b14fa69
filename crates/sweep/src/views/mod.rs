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

use crate::glance_text::Signs;
use zeroize::Zeroizing;

/// A text as one disguise less shows it, and that disguise's name.
pub(crate) type View = (&'static str, Zeroizing<String>);

/// Every view of `text` that differs from it. `text` is already normalised by [`unicode::normalise`], and `signs` say
/// which readers need not try.
pub(crate) fn of(text: &str, signs: &Signs) -> Vec<View> {
    type Reader = fn(&str) -> Option<String>;
    let readers: [(&str, bool, Reader); 13] = [
        ("percent", true, escapes::percent),
        ("entity", true, escapes::entities),
        ("escape", true, escapes::backslash),
        ("markup", true, markup::text_content),
        ("quoted-printable", true, mime::quoted_printable),
        ("encoded-word", true, mime::encoded_words),
        ("base64", signs.token, codecs::base64_tokens),
        ("base64", true, codecs::base64_wrapped),
        ("base64", true, codecs::base64_digits),
        ("base32", signs.token, codecs::base32_tokens),
        // Whatever hex decodes to, each character of it takes a digit, and the shortest finding twelve of them.
        ("hex", signs.digits >= 12, codecs::hex),
        ("hex", true, codecs::without_hex_prefix),
        ("number", signs.exponent, number::expanded),
    ];
    readers
        .into_iter()
        .filter(|(_, tries, _)| *tries)
        .filter_map(|(name, _, read)| read(text).map(|view| (name, Zeroizing::new(view))))
        .filter(|(_, view)| view.as_str() != text)
        .collect()
}
