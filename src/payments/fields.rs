//! Strict reading of a request's fields: every field is known and of its type, or the request is refused. Only
//! names of ours are ever repeated; an unknown key could itself be a card number.

use serde_json::{Map, Value};

/// What is wrong with a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// Not an object.
    #[error("the body is no JSON object")]
    NoObject,
    /// A key that is none of ours; its name is not repeated.
    #[error("the body holds a field that is not part of this request")]
    Unknown,
    /// A field that must be there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field of another type.
    #[error("{0} has the wrong type")]
    WrongType(&'static str),
}

/// The fields of one body.
pub struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// The body as an object that holds only `known` fields.
    ///
    /// # Errors
    /// [`FieldError::NoObject`] or [`FieldError::Unknown`].
    pub fn of(body: &'a Value, known: &[&str]) -> Result<Fields<'a>, FieldError> {
        let object = body.as_object().ok_or(FieldError::NoObject)?;
        if object.keys().all(|key| known.contains(&key.as_str())) {
            Ok(Fields(object))
        } else {
            Err(FieldError::Unknown)
        }
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// [`FieldError::Missing`] or [`FieldError::WrongType`].
    pub fn text(&self, name: &'static str) -> Result<&'a str, FieldError> {
        self.optional_text(name)?.ok_or(FieldError::Missing(name))
    }

    /// A text, or nothing when the field is absent or null.
    ///
    /// # Errors
    /// [`FieldError::WrongType`].
    pub fn optional_text(&self, name: &'static str) -> Result<Option<&'a str>, FieldError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(FieldError::WrongType(name)),
        }
    }

    /// A truth value, or nothing when the field is absent or null.
    ///
    /// # Errors
    /// [`FieldError::WrongType`].
    pub fn optional_truth(&self, name: &'static str) -> Result<Option<bool>, FieldError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(truth)) => Ok(Some(*truth)),
            Some(_) => Err(FieldError::WrongType(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_unknown_field_is_refused_without_its_name() {
        let body = json!({"charge": "x", "4242424242424242": "y"});
        let error = Fields::of(&body, &["charge"]).err().unwrap();
        assert_eq!(error, FieldError::Unknown);
        assert!(!error.to_string().contains("4242"));
    }

    #[test]
    fn a_number_is_no_text_and_a_text_is_no_truth() {
        let body = json!({"amount": 125.4, "capture": "true", "reference": null});
        let fields = Fields::of(&body, &["amount", "capture", "reference"]).unwrap();
        assert_eq!(fields.text("amount"), Err(FieldError::WrongType("amount")));
        assert_eq!(fields.optional_truth("capture"), Err(FieldError::WrongType("capture")));
        assert_eq!(fields.optional_text("reference"), Ok(None));
        assert_eq!(fields.text("reference"), Err(FieldError::Missing("reference")));
        assert_eq!(Fields::of(&json!([]), &[]).err(), Some(FieldError::NoObject));
    }
}
