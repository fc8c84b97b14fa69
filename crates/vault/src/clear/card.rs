//! One card as a request gives it: number, expiry, code; and the body of `/v1/tokens` around it.

use super::cvc::Cvc;
use super::pan::Pan;
use super::stray;
use crate::error::VaultError;
use crate::field::Field;
use crate::shelf::Metadata;
use sweep::document::Json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokens::{Expiry, ExpiryError, Format};

const MOST_ENTRIES: usize = 20;
const LONGEST_NAME: usize = 40;
const LONGEST_TEXT: usize = 500;

/// A card that was read and checked, and what shall become of it.
pub(in crate::clear) struct Request {
    pub(in crate::clear) pan: Pan,
    pub(in crate::clear) cvc: Option<Cvc>,
    pub(in crate::clear) expiry: Expiry,
    pub(in crate::clear) format: Format,
    pub(in crate::clear) reuse: bool,
    pub(in crate::clear) expires_at_us: Option<i64>,
    pub(in crate::clear) metadata: Metadata,
}

/// Month and year of now, to tell whether a card is past its date.
pub(in crate::clear) struct Today {
    pub(in crate::clear) now_us: i64,
    month: u8,
    year: u16,
}

impl Today {
    pub(in crate::clear) fn at(now_us: i64) -> Self {
        let date =
            OffsetDateTime::from_unix_timestamp(now_us / 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        Today { now_us, month: date.month().into(), year: u16::try_from(date.year()).unwrap_or(0) }
    }

    /// An expiry from the digits of its two fields, which must not be past.
    pub(in crate::clear) fn expiry(
        &self,
        month: &str,
        year: &str,
        field: impl Fn(&'static str) -> Field,
    ) -> Result<Expiry, VaultError> {
        let invalid = |name| VaultError::InvalidExpiry { field: field(name) };
        let month = digits(month, 1..=2)
            .and_then(|month| u8::try_from(month).ok())
            .ok_or_else(|| invalid("exp_month"))?;
        let year = match (digits(year, 2..=2), digits(year, 4..=4)) {
            (Some(short), _) => short + 2000,
            (None, Some(year)) => year,
            (None, None) => return Err(invalid("exp_year")),
        };
        let expiry = Expiry::new(month, year).map_err(|error| match error {
            ExpiryError::Month => invalid("exp_month"),
            ExpiryError::Year => invalid("exp_year"),
        })?;
        // No card is issued for longer than twenty years; further away it is a mistake.
        if expiry.year() > self.year + 20 {
            return Err(invalid("exp_year"));
        }
        if expiry.is_past(self.month, self.year) {
            return Err(VaultError::CardExpired { field: field("exp_year") });
        }
        Ok(expiry)
    }
}

fn digits(text: &str, lengths: std::ops::RangeInclusive<usize>) -> Option<u16> {
    (lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// Which item of a batch is read, for the errors.
#[derive(Clone, Copy)]
pub(in crate::clear) struct Position(pub(in crate::clear) Option<usize>);

impl Position {
    fn field(self, name: &str) -> Field {
        Field::of_card(name, self.0)
    }

    fn wrong_type(self, name: &str) -> VaultError {
        VaultError::WrongType { field: self.field(name) }
    }

    fn text<'a>(self, object: &'a Json, path: &[&str], name: &str) -> Result<Option<&'a str>, VaultError> {
        match object.get(path) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong_type(name)),
        }
    }

    fn number<'a>(self, object: &'a Json, path: &[&str], name: &str) -> Result<&'a str, VaultError> {
        match object.get(path) {
            None | Some(Json::Null) => Err(VaultError::MissingField { field: self.field(name) }),
            Some(Json::Text(text) | Json::Number(text)) => Ok(text),
            Some(_) => Err(self.wrong_type(name)),
        }
    }

    /// Every member of the object at `path` is one of `names`.
    fn only(self, object: &Json, path: &[&str], names: &[&str], label: &str) -> Result<(), VaultError> {
        let Some(Json::Object(members)) = object.get(path) else { return Err(self.wrong_type(label)) };
        let known = members.iter().all(|(name, _)| names.contains(&name.as_str()));
        if known { Ok(()) } else { Err(VaultError::UnknownField { field: self.field(label) }) }
    }
}

/// Reads one object of the shape of `POST /v1/tokens`. The number and the code leave the tree, and what is left
/// is swept: metadata, a holder's name or a field that is not ours must not carry another card.
pub(in crate::clear) fn request(
    mut object: Json,
    at: Position,
    today: &Today,
) -> Result<Request, VaultError> {
    let read = fields(&object, at, today);
    object.remove(&["card", "number"]);
    object.remove(&["card", "cvc"]);
    let swept = stray::no_card_in_json(&object);
    match read {
        Ok(request) => swept.map(|()| request),
        Err(error) => Err(stray::first(swept, error)),
    }
}

fn fields(object: &Json, at: Position, today: &Today) -> Result<Request, VaultError> {
    at.only(object, &[], &["card", "format", "reuse", "expires_at", "metadata"], "request")?;
    if object.get(&["card"]).is_none() {
        return Err(VaultError::MissingField { field: at.field("card") });
    }
    at.only(object, &["card"], &["number", "exp_month", "exp_year", "cvc", "holder"], "card")?;

    let number = at
        .text(object, &["card", "number"], "card.number")?
        .ok_or_else(|| VaultError::MissingField { field: at.field("card.number") })?;
    let pan =
        Pan::parse(number).map_err(|_| VaultError::InvalidCardNumber { field: at.field("card.number") })?;
    let month = at.number(object, &["card", "exp_month"], "card.exp_month")?;
    let year = at.number(object, &["card", "exp_year"], "card.exp_year")?;
    let expiry = today.expiry(month, year, |name| at.field(&format!("card.{name}")))?;
    let cvc = at
        .text(object, &["card", "cvc"], "card.cvc")?
        .map(|text| Cvc::parse(text, pan.brand()))
        .transpose()
        .map_err(|_| VaultError::InvalidCvc { field: at.field("card.cvc") })?;
    let holder = at.text(object, &["card", "holder"], "card.holder")?;
    if holder.is_some_and(|holder| holder.chars().count() > 200) {
        return Err(VaultError::InvalidValue { field: at.field("card.holder") });
    }

    let format = match at.text(object, &["format"], "format")? {
        None | Some("opaque") => Format::Opaque,
        Some("card_shaped") => Format::CardShaped,
        Some(_) => return Err(VaultError::InvalidValue { field: at.field("format") }),
    };
    let reuse = match object.get(&["reuse"]) {
        None | Some(Json::Null | Json::Bool(false)) => false,
        Some(Json::Bool(true)) => true,
        Some(_) => return Err(at.wrong_type("reuse")),
    };
    let expires_at_us = at
        .text(object, &["expires_at"], "expires_at")?
        .map(|text| future(text, today.now_us))
        .transpose()
        .map_err(|()| VaultError::InvalidValue { field: at.field("expires_at") })?;
    let metadata = metadata(object, at)?;

    Ok(Request { pan, cvc, expiry, format, reuse, expires_at_us, metadata })
}

/// RFC 3339 with an offset, after now.
fn future(text: &str, now_us: i64) -> Result<i64, ()> {
    let date = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| ())?;
    let us = i64::try_from(date.unix_timestamp_nanos() / 1000).map_err(|_| ())?;
    if us > now_us { Ok(us) } else { Err(()) }
}

fn metadata(object: &Json, at: Position) -> Result<Metadata, VaultError> {
    let entries = match object.get(&["metadata"]) {
        None | Some(Json::Null) => return Ok(Metadata::new()),
        Some(Json::Object(entries)) => entries,
        Some(_) => return Err(at.wrong_type("metadata")),
    };
    let invalid = || VaultError::InvalidValue { field: at.field("metadata") };
    if entries.len() > MOST_ENTRIES {
        return Err(invalid());
    }
    let mut metadata = Metadata::new();
    for (name, value) in entries {
        let Json::Text(value) = value else { return Err(at.wrong_type("metadata")) };
        if name.is_empty() || name.chars().count() > LONGEST_NAME || value.chars().count() > LONGEST_TEXT {
            return Err(invalid());
        }
        metadata.insert(name.to_string(), value.to_string());
    }
    Ok(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sweep::Limits;

    // 2026-11-23.
    const NOW: i64 = 1_795_392_000_000_000;

    fn read(text: &str) -> Result<Request, VaultError> {
        let json = Json::parse(text.as_bytes(), &Limits::default())?;
        request(json, Position(None), &Today::at(NOW))
    }

    fn code(text: &str) -> &'static str {
        read(text).err().map_or("accepted", |error| error.code())
    }

    #[test]
    fn a_whole_request_is_read() {
        let request = read(
            r#"{"card":{"number":"3782 822463 10005","exp_month":12,"exp_year":"30","cvc":"1234","holder":"A. Person"},
               "format":"card_shaped","reuse":true,"expires_at":"2027-01-01T00:00:00Z","metadata":{"visit":"a-7"}}"#,
        )
        .ok()
        .unwrap();
        assert_eq!(request.pan.digits(), b"378282246310005");
        assert_eq!(request.expiry, Expiry::new(12, 2030).unwrap());
        assert!(request.cvc.is_some() && request.reuse);
        assert_eq!(request.format, Format::CardShaped);
        assert_eq!(request.expires_at_us, Some(1_798_761_600_000_000));
        assert_eq!(request.metadata.get("visit").map(String::as_str), Some("a-7"));
    }

    #[test]
    fn each_wrong_field_has_its_own_code() {
        let card = |inside: &str| {
            format!(r#"{{"card":{{"number":"4242424242424242","exp_month":12,"exp_year":2030{inside}}}}}"#)
        };
        let with = |outside: &str| {
            format!(r#"{{"card":{{"number":"4242424242424242","exp_month":12,"exp_year":2030}},{outside}}}"#)
        };
        let expiring = |month: &str, year: &str| {
            format!(r#"{{"card":{{"number":"4242424242424242","exp_month":{month},"exp_year":{year}}}}}"#)
        };
        for (text, expected) in [
            (card(""), "accepted"),
            ("[]".to_owned(), "wrong_type"),
            ("{}".to_owned(), "missing_field"),
            (r#"{"card":{"exp_month":1,"exp_year":2030}}"#.to_owned(), "missing_field"),
            (
                r#"{"card":{"number":4242424242424242,"exp_month":1,"exp_year":2030}}"#.to_owned(),
                "wrong_type",
            ),
            (
                r#"{"card":{"number":"4242424242424241","exp_month":1,"exp_year":2030}}"#.to_owned(),
                "invalid_card_number",
            ),
            (r#"{"card":{"number":"4242424242424242","exp_month":1}}"#.to_owned(), "missing_field"),
            (card(r#","cvc":"12""#), "invalid_cvc"),
            (card(r#","cvc":123"#), "wrong_type"),
            (card(r#","pin":"1234""#), "unknown_field"),
            (card(r#","pan":"5555555555554444""#), "stray_pan"),
            (with(r#""backup":"5555 5555 5555 4444""#), "stray_pan"),
            (r#"[{"number":"4242424242424242"}]"#.to_owned(), "stray_pan"),
            (with(r#""colour":1"#), "unknown_field"),
            (with(r#""format":"round""#), "invalid_value"),
            (with(r#""reuse":"yes""#), "wrong_type"),
            (with(r#""expires_at":"2020-01-01T00:00:00Z""#), "invalid_value"),
            (with(r#""expires_at":"tomorrow""#), "invalid_value"),
            (with(r#""metadata":{"a":1}"#), "wrong_type"),
            (with(r#""metadata":{"a":"4111 1111 1111 1111"}"#), "stray_pan"),
            (with(r#""metadata":{"4111111111111111":"a"}"#), "stray_pan"),
            (card(r#","holder":"5555555555554444""#), "stray_pan"),
            (expiring("13", "2030"), "invalid_expiry"),
            (expiring("0", "2030"), "invalid_expiry"),
            (expiring("12", "1999"), "invalid_expiry"),
            (expiring("10", "2026"), "invalid_expiry"),
            (expiring("11", "2026"), "accepted"),
            (expiring("12", "2099"), "invalid_expiry"),
            (expiring("\"1x\"", "2030"), "invalid_expiry"),
            (expiring("true", "2030"), "wrong_type"),
            (expiring("1.0", "2030"), "invalid_expiry"),
        ] {
            assert_eq!(code(&text), expected, "{text}");
        }
    }
}
