//! `Content-Type` and `Content-Disposition` values (RFC 9110 §8.3, RFC 7578, RFC 2231), read strictly.

use crate::Undecidable;

/// A parsed `Content-Type`: lower-case type and parameters.
pub struct MediaType {
    essence: String,
    parameters: Vec<(String, String)>,
}

impl MediaType {
    /// Parses `type/subtype; name=value`. Two types in one value (joined header lines) are refused.
    ///
    /// # Errors
    /// [`Undecidable::ContentTypeUnknown`] when it is no media type.
    pub fn parse(value: &str) -> Result<MediaType, Undecidable> {
        let (essence, parameters) = header_value(value).ok_or(Undecidable::ContentTypeUnknown)?;
        let mut halves = essence.split('/');
        let shaped = halves.next().is_some_and(is_token) && halves.next().is_some_and(is_token);
        if !shaped || halves.next().is_some() {
            return Err(Undecidable::ContentTypeUnknown);
        }
        Ok(MediaType { essence: essence.to_ascii_lowercase(), parameters })
    }

    /// Whether it is exactly this type, given in lower case.
    pub fn is(&self, essence: &str) -> bool {
        self.essence == essence
    }

    /// Whether the body is one JSON text.
    pub fn is_json(&self) -> bool {
        self.is("application/json")
            || (self.essence.starts_with("application/") && self.essence.ends_with("+json"))
    }

    /// Whether the body is XML.
    pub fn is_xml(&self) -> bool {
        self.is("application/xml") || self.is("text/xml") || self.essence.ends_with("+xml")
    }

    /// The type in lower case, without parameters.
    pub fn essence(&self) -> &str {
        &self.essence
    }

    /// The value of a parameter, named in lower case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Splits `value; name=value; name="quoted \" value"`. `None` when malformed or a parameter comes twice.
pub(super) fn header_value(value: &str) -> Option<(String, Vec<(String, String)>)> {
    let (head, mut rest) = value.split_once(';').unwrap_or((value, ""));
    let mut parameters: Vec<(String, String)> = vec![];
    loop {
        rest = rest.trim_matches([' ', '\t']);
        if rest.is_empty() {
            return Some((head.trim_matches([' ', '\t']).to_owned(), parameters));
        }
        let (name, after) = rest.split_once('=')?;
        let name = name.trim_matches([' ', '\t']).to_ascii_lowercase();
        let (text, after) = parameter_value(after)?;
        if !is_token(&name) || parameters.iter().any(|(n, _)| *n == name) {
            return None;
        }
        parameters.push((name, text));
        rest = match after.trim_start_matches([' ', '\t']).strip_prefix(';') {
            Some(more) => more,
            None if after.trim_matches([' ', '\t']).is_empty() => "",
            None => return None,
        };
    }
}

fn parameter_value(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find([';', ' ', '\t']).unwrap_or(text.len());
        let (value, after) = text.split_at_checked(end)?;
        return is_token(value).then(|| (value.to_owned(), after));
    };
    let mut value = String::new();
    loop {
        let mut chars = rest.chars();
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(chars.next()?),
            c => value.push(c),
        }
        rest = chars.as_str();
    }
}

/// RFC 9110 token, with `'` and `*` and `%` for RFC 2231 and without comma, so that two joined values fail.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/:=?".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_with_their_parameters() {
        let media = MediaType::parse("Application/JSON; Charset=\"utf-8\"").ok().unwrap();
        assert!(media.is_json() && media.is("application/json"));
        assert_eq!(media.parameter("charset"), Some("utf-8"));
        assert!(MediaType::parse("application/problem+json").ok().unwrap().is_json());
    }

    #[test]
    fn two_types_at_once_are_refused() {
        for value in
            ["text/plain, application/json", "text", "", "a/b/c", "text/plain; a=1; a=2", "text/plain; a"]
        {
            assert!(MediaType::parse(value).is_err(), "{value}");
        }
    }
}
