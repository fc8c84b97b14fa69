//! What a route's body looks like: where its cards are and which other fields it may have. Built from policy and
//! checked when the gateway starts; the body of a request never adds to it.

mod path;

pub use path::FieldPath;

use serde::Deserialize;
use sweep::{Exempt, Exemption};
use tokens::Format;

/// The policy cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// Not RFC 9535, or a query that can name more than one place.
    #[error("{0} is no JSONPath that names one place; write $.card.number or $.cards[0]['number']")]
    Path(String),
    /// The same field for two purposes.
    #[error("{0} is named twice in one route")]
    Twice(String),
    /// More cards than one message may hold.
    #[error("a route names 0 to 8 cards")]
    Cards,
    /// The exemption's kind is unknown.
    #[error("{0} is no kind of exemption; use uuid, sha256, iccid, imei or control_number")]
    Exemption(String),
}

/// A route's shape as `policy/routes.toml` writes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapeSpec {
    /// The cards of the message.
    #[serde(default)]
    pub cards: Vec<CardSpec>,
    /// The patient's account. It and the three after it must be there in a message, where the route names them.
    pub account: Option<String>,
    /// The statement that is paid.
    pub statement: Option<String>,
    /// The amount, a decimal string.
    pub amount: Option<String>,
    /// The currency.
    pub currency: Option<String>,
    /// Free text.
    pub note: Option<String>,
    /// Any other declared field.
    #[serde(default)]
    pub fields: Vec<String>,
    /// What to do with fields that are not declared.
    #[serde(default)]
    pub unknown_fields: Unknown,
    /// Whether a card that the tenant has already gets its token again.
    #[serde(default)]
    pub reuse: bool,
    /// What new tokens look like.
    #[serde(default)]
    pub format: Format,
    /// Longest note in characters.
    #[serde(default = "default_note")]
    pub note_limit: usize,
    /// Longest other text in characters.
    #[serde(default = "default_text")]
    pub text_limit: usize,
    /// Typed fields whose values may look like card numbers.
    #[serde(default)]
    pub exempt: Vec<ExemptSpec>,
}

/// One card of a message, as JSONPath queries; forms use the same names with brackets.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardSpec {
    /// The card number.
    pub number: String,
    /// The verification code.
    pub cvc: Option<String>,
    /// The month of expiry.
    pub exp_month: String,
    /// The year of expiry.
    pub exp_year: String,
    /// The cardholder's name; it travels on, swept.
    pub holder: Option<String>,
    /// Whether a message without this card is refused.
    #[serde(default = "yes")]
    pub required: bool,
}

/// One typed field.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExemptSpec {
    /// JSONPath of the field.
    pub field: String,
    /// `uuid`, `sha256`, `iccid`, `imei` or `control_number`.
    pub kind: String,
}

/// What to do with fields that the shape does not declare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unknown {
    /// Refuse the message: the positive model.
    #[default]
    Refuse,
    /// Let them through, swept like everything else.
    Keep,
}

/// A checked shape.
#[derive(Debug, Clone)]
pub struct Shape {
    pub(crate) cards: Vec<CardFields>,
    pub(crate) account: Option<FieldPath>,
    pub(crate) statement: Option<FieldPath>,
    pub(crate) amount: Option<FieldPath>,
    pub(crate) currency: Option<FieldPath>,
    pub(crate) note: Option<FieldPath>,
    pub(crate) fields: Vec<FieldPath>,
    pub(crate) unknown: Unknown,
    pub(crate) reuse: bool,
    pub(crate) format: Format,
    pub(crate) note_limit: usize,
    pub(crate) text_limit: usize,
    pub(crate) exempt: Vec<Exemption>,
}

/// Where one card's fields are.
#[derive(Debug, Clone)]
pub(crate) struct CardFields {
    pub(crate) number: FieldPath,
    pub(crate) cvc: Option<FieldPath>,
    pub(crate) exp_month: FieldPath,
    pub(crate) exp_year: FieldPath,
    pub(crate) holder: Option<FieldPath>,
    pub(crate) required: bool,
}

impl Shape {
    /// Checks a route's shape.
    ///
    /// # Errors
    /// [`ShapeError`] naming the query of the policy that is wrong.
    pub fn new(spec: &ShapeSpec) -> Result<Shape, ShapeError> {
        if spec.cards.len() > 8 {
            return Err(ShapeError::Cards);
        }
        let optional = |query: &Option<String>| query.as_deref().map(FieldPath::parse).transpose();
        let card = |card: &CardSpec| {
            Ok(CardFields {
                number: FieldPath::parse(&card.number)?,
                cvc: optional(&card.cvc)?,
                exp_month: FieldPath::parse(&card.exp_month)?,
                exp_year: FieldPath::parse(&card.exp_year)?,
                holder: optional(&card.holder)?,
                required: card.required,
            })
        };
        let shape = Shape {
            cards: spec.cards.iter().map(card).collect::<Result<_, ShapeError>>()?,
            account: optional(&spec.account)?,
            statement: optional(&spec.statement)?,
            amount: optional(&spec.amount)?,
            currency: optional(&spec.currency)?,
            note: optional(&spec.note)?,
            fields: spec.fields.iter().map(|query| FieldPath::parse(query)).collect::<Result<_, _>>()?,
            unknown: spec.unknown_fields,
            reuse: spec.reuse,
            format: spec.format,
            note_limit: spec.note_limit,
            text_limit: spec.text_limit,
            exempt: spec.exempt.iter().map(exemption).collect::<Result<_, _>>()?,
        };
        let mut seen: Vec<&FieldPath> = vec![];
        for path in shape.declared() {
            if seen.contains(&path) {
                return Err(ShapeError::Twice(path.query()));
            }
            seen.push(path);
        }
        Ok(shape)
    }

    /// Every declared field.
    pub(crate) fn declared(&self) -> impl Iterator<Item = &FieldPath> {
        let cards = self.cards.iter().flat_map(|card| {
            [
                Some(&card.number),
                card.cvc.as_ref(),
                Some(&card.exp_month),
                Some(&card.exp_year),
                card.holder.as_ref(),
            ]
        });
        let rest = [&self.account, &self.statement, &self.amount, &self.currency, &self.note];
        cards.flatten().chain(rest.into_iter().flatten()).chain(&self.fields)
    }
}

fn exemption(spec: &ExemptSpec) -> Result<Exemption, ShapeError> {
    let kind = match spec.kind.as_str() {
        "uuid" => Exempt::Uuid,
        "sha256" => Exempt::Sha256,
        "iccid" => Exempt::Iccid,
        "imei" => Exempt::Imei,
        "control_number" => Exempt::ControlNumber,
        other => return Err(ShapeError::Exemption(other.to_owned())),
    };
    Ok(Exemption { path: FieldPath::parse(&spec.field)?.pattern(), kind })
}

fn default_note() -> usize {
    500
}

fn default_text() -> usize {
    200
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> Result<Shape, ShapeError> {
        Shape::new(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn a_route_names_its_fields_once_each() {
        let card = r#"{"number":"$.card.number","cvc":"$.card.cvc","exp_month":"$.card.exp_month","exp_year":"$.card.exp_year"}"#;
        let shape =
            spec(&format!(r#"{{"cards":[{card}],"account":"$.account","fields":["$.reference"]}}"#)).unwrap();
        assert_eq!(shape.declared().count(), 6);
        assert_eq!(shape.unknown, Unknown::Refuse);

        let twice = spec(&format!(r#"{{"cards":[{card}],"account":"$.card.number"}}"#));
        assert_eq!(twice.err(), Some(ShapeError::Twice("$.card.number".to_owned())));
    }

    #[test]
    fn a_query_that_can_name_many_places_is_refused() {
        for query in
            ["$..number", "$.cards[*].number", "$.a[?@.b]", "card.number", "$", "$.a[-1]", "$.a[0:2]", "$.a["]
        {
            assert!(spec(&format!(r#"{{"account":"{query}"}}"#)).is_err(), "{query}");
        }
    }
}
