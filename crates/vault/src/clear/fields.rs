//! Reads and edits declared fields in a parsed body, alike in JSON, forms and multipart forms.

use crate::error::VaultError;
use crate::field::Field;
use crate::shape::{FieldPath, Shape};
use sweep::document::{Document, Json};
use tokens::{Brand, Last4, Token};

/// The value of a declared field.
pub(in crate::clear) enum Found<'a> {
    /// A string.
    Text(&'a str),
    /// A JSON number, as it was written.
    Number(&'a str),
}

/// What stands in a declared field. JSON `null` and an empty form field are "nothing".
pub(in crate::clear) fn find<'a>(
    document: &'a Document,
    path: &FieldPath,
) -> Result<Option<Found<'a>>, VaultError> {
    let steps = path.steps();
    if let Document::Json(json) = document {
        return match json.get(&steps) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::Text(text)) => Ok(Some(Found::Text(text))),
            Some(Json::Number(number)) => Ok(Some(Found::Number(number))),
            Some(Json::Bool(_) | Json::Array(_) | Json::Object(_)) => Err(wrong_type(path)),
        };
    }
    match document.text(&steps) {
        Some(text) => Ok(Some(text).filter(|text| !text.is_empty()).map(Found::Text)),
        // Two readers of a repeated form field may take different ones.
        None if document.has(&steps) => Err(VaultError::DuplicateKey),
        None => Ok(None),
    }
}

/// A declared text; a number is the wrong type.
pub(in crate::clear) fn text<'a>(
    document: &'a Document,
    path: &FieldPath,
) -> Result<Option<&'a str>, VaultError> {
    match find(document, path)? {
        None => Ok(None),
        Some(Found::Text(text)) => Ok(Some(text)),
        Some(Found::Number(_)) => Err(wrong_type(path)),
    }
}

/// Refuses a body with a field that the shape does not declare.
pub(in crate::clear) fn only_declared(document: &Document, shape: &Shape) -> Result<(), VaultError> {
    let unknown = || VaultError::UnknownField { field: Field::named("the body") };
    match document {
        Document::Json(json) => {
            let declared: Vec<Vec<String>> = shape.declared().map(FieldPath::pattern).collect();
            let mut stray = false;
            // An empty object or array may stand where declared fields would; elsewhere its name alone tells something.
            let may_stand = |path: &[&str], leaf: &Json| {
                let group = matches!(leaf, Json::Array(_) | Json::Object(_));
                declared.iter().any(|known| known == path || (group && starts_with(known, path)))
            };
            json.leaves(&mut |path, leaf| stray |= !may_stand(path, leaf));
            if stray { Err(unknown()) } else { Ok(()) }
        }
        Document::Form(form) => {
            let declared: Vec<String> = shape.declared().map(FieldPath::form_name).collect();
            form.pairs()
                .all(|(name, _)| declared.iter().any(|known| known == name))
                .then_some(())
                .ok_or_else(unknown)
        }
        Document::Multipart(parts) => {
            let declared: Vec<String> = shape.declared().map(FieldPath::form_name).collect();
            let all = parts.parts().all(|part| declared.iter().any(|known| known == part.name()));
            all.then_some(()).ok_or_else(unknown)
        }
    }
}

fn starts_with(path: &[String], group: &[&str]) -> bool {
    path.get(..group.len()).is_some_and(|head| head == group)
}

/// Refuses a JSON body that is no object, a declared form field that is repeated, and texts longer than the shape
/// allows.
pub(in crate::clear) fn bounded(document: &Document, shape: &Shape) -> Result<(), VaultError> {
    if matches!(document, Document::Json(json) if !matches!(json, Json::Object(_))) {
        return Err(VaultError::WrongType { field: Field::named("the body") });
    }
    let texts = [&shape.account, &shape.statement, &shape.amount, &shape.currency];
    let holders = shape.cards.iter().filter_map(|card| card.holder.as_ref());
    for path in texts.into_iter().flatten().chain(holders) {
        check(text(document, path)?, path, shape.text_limit)?;
    }
    for path in &shape.fields {
        let Some(Found::Text(value) | Found::Number(value)) = find(document, path)? else { continue };
        check(Some(value), path, shape.text_limit)?;
    }
    match &shape.note {
        Some(note) => check(text(document, note)?, note, shape.note_limit),
        None => Ok(()),
    }
}

fn check(value: Option<&str>, path: &FieldPath, limit: usize) -> Result<(), VaultError> {
    match value {
        Some(value) if value.chars().count() > limit => {
            Err(VaultError::InvalidValue { field: Field::named(&path.dotted()) })
        }
        _ => Ok(()),
    }
}

/// Puts text into a declared field.
pub(in crate::clear) fn put(document: &mut Document, path: &FieldPath, text: &str) -> Result<(), VaultError> {
    if document.replace(&path.steps(), text) { Ok(()) } else { Err(missing(path)) }
}

/// Puts a card's token into its declared field, with last four and brand beside it.
pub(in crate::clear) fn put_card(
    document: &mut Document,
    path: &FieldPath,
    token: &Token,
    last4: &Last4,
    brand: Brand,
) -> Result<(), VaultError> {
    put(document, path, token.as_str())?;
    put_beside(document, path, "last4", last4.as_str())?;
    put_beside(document, path, "brand", brand.as_str())
}

/// Adds or overwrites a field beside a declared one.
fn put_beside(document: &mut Document, path: &FieldPath, name: &str, text: &str) -> Result<(), VaultError> {
    let steps = path.steps();
    if document.insert_after(&steps, name, text) {
        return Ok(());
    }
    // The name is taken, which only a route that keeps unknown fields allows: our word replaces the caller's.
    let mut sibling = steps.split_last().map_or(vec![], |(_, group)| group.to_vec());
    sibling.push(name);
    if document.replace(&sibling, text) { Ok(()) } else { Err(VaultError::DuplicateKey) }
}

pub(in crate::clear) fn wrong_type(path: &FieldPath) -> VaultError {
    VaultError::WrongType { field: Field::named(&path.dotted()) }
}

pub(in crate::clear) fn missing(path: &FieldPath) -> VaultError {
    VaultError::MissingField { field: Field::named(&path.dotted()) }
}
