//! The only room that reads what a stranger wrote: swept first, whole, then read field by field into typed
//! orders. The gateway has swept it before; here it is looked at again, because a second wall must not trust
//! the first.

use crate::answer::Refusal;
use crate::ids::{AccountId, StatementId};
use crate::order::{Order, RefundNotice};
use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use sweep::document::{Document, Json};
use sweep::{Kind, Limits, Undecidable, Verdict};
use tokens::{Brand, ChargeId, Currency, Last4, Money, RefundId, Token};

const LIMITS: Limits = Limits { body: 64 * 1024, depth: 8, nodes: 512, parts: 32, ratio: 1 };
const NOTE_CHARACTERS: usize = 500;
const REASON_CHARACTERS: usize = 200;
const CARD_FIELDS: [&str; 6] = ["number", "brand", "last4", "exp_month", "exp_year", "holder"];

/// Searches the request line and the headers for card numbers. Call after the credential was admitted: it is
/// then known to be our own secret, and is left out so that no chance run of its characters can look like one.
///
/// # Errors
/// [`Refusal::PanSeen`], [`Refusal::CvcSeen`].
pub fn sweep_head(head: &Parts) -> Result<(), Refusal> {
    let target = head.uri.path_and_query().map_or("", |target| target.as_str());
    let headers = head.headers.iter().filter(|(name, _)| *name != AUTHORIZATION);
    let headers = headers.map(|(name, value)| (name.as_str(), value.as_bytes()));
    judge(sweep::sweep_head(target, headers))
}

/// Searches a whole body for card numbers; one that cannot be searched with certainty is refused too.
///
/// # Errors
/// [`Refusal::PanSeen`], [`Refusal::CvcSeen`], [`Refusal::Undecidable`].
pub fn sweep_body(headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(refuse(Undecidable::Encoding));
    }
    judge(sweep::sweep_body(content_type(headers), body, &LIMITS).map_err(refuse)?)
}

/// Reads a payment from JSON, a form or a multipart form. Call after [`sweep_body`].
///
/// # Errors
/// [`Refusal`] naming the field.
pub fn order(headers: &HeaderMap, body: &[u8]) -> Result<Order, Refusal> {
    let document = Document::parse(content_type(headers), body, &LIMITS).map_err(refuse)?;
    for name in card_fields(&document) {
        if sweep::FieldContext::of_name(name) == sweep::FieldContext::VerificationCode {
            return Err(Refusal::CvcSeen);
        }
        if !CARD_FIELDS.contains(&name) {
            return Err(Refusal::CardFieldUnexpected);
        }
    }
    let token = need(&document, &["card", "number"], "card.number")?;
    let token = Token::parse(token).map_err(|_| Refusal::NotAToken)?;
    let last4 = need(&document, &["card", "last4"], "card.last4")?;
    let note = optional(&document, &["note"], "note", NOTE_CHARACTERS)?;
    Ok(Order {
        account: AccountId::parse(need(&document, &["account"], "account")?)
            .map_err(|_| Refusal::AccountUnknown)?,
        statement: StatementId::parse(need(&document, &["statement"], "statement")?)
            .map_err(|_| Refusal::StatementUnknown)?,
        money: money(&document)?,
        token,
        brand: Brand::from_name(need(&document, &["card", "brand"], "card.brand")?),
        last4: Last4::parse(last4)
            .map_err(|_| Refusal::FieldInvalid { field: "card.last4", why: "exactly four digits" })?,
        note: note.filter(|note| !note.is_empty()).map(str::to_owned),
    })
}

/// Reads a refund notice. Call after [`sweep_body`].
///
/// # Errors
/// [`Refusal`] naming the field.
pub fn refund_notice(headers: &HeaderMap, body: &[u8]) -> Result<RefundNotice, Refusal> {
    let document = Document::parse(content_type(headers), body, &LIMITS).map_err(refuse)?;
    let refund = need(&document, &["refund"], "refund")?;
    let charge = need(&document, &["charge"], "charge")?;
    let reason = optional(&document, &["reason"], "reason", REASON_CHARACTERS)?;
    Ok(RefundNotice {
        refund: RefundId::parse(refund)
            .map_err(|_| Refusal::FieldInvalid { field: "refund", why: "an identifier re_…" })?,
        charge: ChargeId::parse(charge).map_err(|_| Refusal::ChargeUnknown)?,
        money: money(&document)?,
        reason: reason.unwrap_or_default().to_owned(),
    })
}

fn money(document: &Document) -> Result<Money, Refusal> {
    let currency = Currency::parse(need(document, &["currency"], "currency")?).map_err(|_| {
        Refusal::FieldInvalid { field: "currency", why: "one of USD, CAD, EUR, GBP, MXN, JPY, KWD" }
    })?;
    let wrong = || Refusal::FieldInvalid {
        field: "amount",
        why: "a decimal string above zero such as \"125.40\", with the currency's decimals",
    };
    // A JSON number may have been through a float on its way here; only text says exactly what was meant.
    if let Document::Json(json) = document
        && !matches!(json.get(&["amount"]), None | Some(Json::Text(_)))
    {
        return Err(wrong());
    }
    let money = Money::parse(need(document, &["amount"], "amount")?, currency).map_err(|_| wrong())?;
    if money.is_zero() { Err(wrong()) } else { Ok(money) }
}

fn need<'d>(document: &'d Document, path: &[&str], field: &'static str) -> Result<&'d str, Refusal> {
    match document.text(path) {
        Some(text) => Ok(text),
        None if document.has(path) => Err(Refusal::FieldInvalid { field, why: "one text value" }),
        None => Err(Refusal::FieldMissing(field)),
    }
}

fn optional<'d>(
    document: &'d Document,
    path: &[&str],
    field: &'static str,
    characters: usize,
) -> Result<Option<&'d str>, Refusal> {
    match document.text(path) {
        Some(text) if text.chars().count() > characters => Err(Refusal::FieldInvalid {
            field,
            why: "shorter text: 500 characters for a note, 200 for a reason",
        }),
        None if document.has(path) => Err(Refusal::FieldInvalid { field, why: "one text value" }),
        text => Ok(text),
    }
}

/// The names below `card`, in any of the three formats.
fn card_fields(document: &Document) -> Vec<&str> {
    fn inside(name: &str) -> Option<&str> {
        name.strip_prefix("card[").map(|rest| rest.strip_suffix(']').unwrap_or(rest))
    }
    match document {
        Document::Json(json) => match json.get(&["card"]) {
            Some(Json::Object(members)) => members.iter().map(|(name, _)| name.as_str()).collect(),
            _ => Vec::new(),
        },
        Document::Form(form) => form.pairs().filter_map(|(name, _)| inside(name)).collect(),
        Document::Multipart(multipart) => multipart.parts().filter_map(|part| inside(part.name())).collect(),
    }
}

/// The one `Content-Type`; two would let two readers see two bodies.
fn content_type(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

fn judge(verdict: Verdict) -> Result<(), Refusal> {
    match verdict {
        Verdict::Clean => Ok(()),
        Verdict::Hit(hit) => Err(match hit.kind {
            Kind::Pan | Kind::Unmasked => Refusal::PanSeen,
            Kind::VerificationCode => Refusal::CvcSeen,
        }),
    }
}

fn refuse(reason: Undecidable) -> Refusal {
    let status = match reason {
        Undecidable::TooLarge => 413,
        Undecidable::ContentTypeMissing
        | Undecidable::ContentTypeUnknown
        | Undecidable::Charset
        | Undecidable::Encoding => 415,
        _ => 400,
    };
    Refusal::Undecidable { status, code: reason.code(), why: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use serde_json::json;
    use tokens::Realm;

    fn headers() -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))])
    }

    fn body(token: &Token, last4: &str) -> Vec<u8> {
        json!({
            "account": AccountId::mint().unwrap().as_str(),
            "statement": StatementId::mint().unwrap().as_str(),
            "amount": "125.40",
            "currency": "USD",
            "card": { "number": token.as_str(), "brand": "visa", "last4": last4, "exp_month": 12, "exp_year": 2030 },
        })
        .to_string()
        .into_bytes()
    }

    #[test]
    fn no_honest_payment_is_taken_for_a_card() {
        for n in 0..500 {
            let last4 = format!("{:04}", n * 19 % 10_000);
            let body = body(&Token::mint(Realm::Test).unwrap(), &last4);
            assert!(sweep_body(&headers(), &body).is_ok(), "{}", String::from_utf8_lossy(&body));
            assert_eq!(order(&headers(), &body).unwrap().last4.as_str(), last4);
        }
    }

    #[test]
    fn a_card_shaped_token_is_read_as_a_token() {
        for length in 12..=19 {
            for n in 0..50 {
                let last4 = Last4::parse(&format!("{:04}", n * 197)).unwrap();
                let body = body(&Token::mint_card_shaped(length, &last4).unwrap().unwrap(), last4.as_str());
                assert!(order(&headers(), &body).is_ok());
            }
        }
    }
}
