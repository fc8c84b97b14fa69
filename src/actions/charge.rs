//! A charge by token: `POST /v1/charges`, `GET /v1/charges`, `GET /v1/charges/{id}`. Staff and companion see brand and
//! last four, never more. A decline is an outcome, not a refusal: it is answered like a success, with its reason.

use super::{Acted, Context, Refusal, store_problem, token_reading, vault_problem};
use crate::answer::{Answer, Code, Problem, denied_problem};
use crate::gateway::Gateway;
use crate::payments::charge::{Charge, ChargeOrder, ChargeRequest, Charged};
use crate::payments::fields::{FieldError, Fields};
use crate::payments::{List, Page, PaymentError};
use crate::permit::{self, Permit, ReadCharge};
use crate::record::rfc3339;
use audit::{Action, Resource};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use tokens::{Brand, ChargeId, Currency, Last4, Money, Token};

/// A charge as the contract shows it.
#[derive(Serialize)]
struct Body<'a> {
    id: &'a ChargeId,
    object: &'static str,
    token: &'a Token,
    amount: String,
    currency: Currency,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    decline_code: Option<&'static str>,
    captured: String,
    refunded: String,
    card: Card<'a>,
    reference: Option<&'a str>,
    created_at: String,
}

#[derive(Serialize)]
struct Card<'a> {
    brand: Brand,
    last4: &'a Last4,
}

impl<'a> Body<'a> {
    fn now(charge: &'a Charge) -> Body<'a> {
        Body {
            id: &charge.id,
            object: "charge",
            token: &charge.token,
            amount: charge.amount.to_string(),
            currency: charge.amount.currency(),
            status: charge.status.as_str(),
            decline_code: charge.decline.map(|code| code.as_str()),
            captured: charge.captured.to_string(),
            refunded: charge.refunded.to_string(),
            card: Card { brand: charge.brand, last4: &charge.last4 },
            reference: charge.reference.as_deref(),
            created_at: rfc3339(charge.created_at_us),
        }
    }

    /// As it was when it was settled: what the first answer said, whatever was refunded since.
    fn then(charge: &'a Charge) -> Body<'a> {
        let refunded = Money::zero(charge.amount.currency()).to_string();
        Body { refunded, ..Body::now(charge) }
    }
}

/// Charges, or gives the stored answer of the same key again.
pub async fn create(
    gateway: &Gateway,
    context: &Context,
    permit: Permit<permit::Charge>,
    body: Value,
) -> Acted {
    let refuse = |problem: Problem| Refusal::new(Action::ChargeCreate, problem);
    let key = required_key(context).map_err(refuse)?;
    let request = read(&body).map_err(refuse)?;
    let resource = Resource::Token(request.token.clone());
    let order = ChargeOrder {
        tenant: permit.tenant().clone(),
        principal: permit.caller().principal().clone(),
        key,
        request,
        judge: permit.judge(),
    };
    match gateway.payments.charge(context.origin.clone(), order).await {
        Ok(Charged::Now(charge, receipt)) => {
            Ok(Answer::done(&receipt, StatusCode::CREATED, &Body::now(&charge)))
        }
        Ok(Charged::Before(charge)) => replayed(StatusCode::CREATED, &Body::then(&charge)).map_err(refuse),
        Err(error) => Err(refuse(problem(&error)).on(resource)),
    }
}

/// One charge of the permit's tenant.
pub async fn show(gateway: &Gateway, context: &Context, permit: Permit<ReadCharge>, id: &str) -> Acted {
    let refuse = |error: &PaymentError| Refusal::new(Action::ChargeRead, problem(error));
    let id = ChargeId::parse(id).map_err(|_| refuse(&PaymentError::UnknownCharge))?;
    let shown =
        gateway.payments.show_charge(context.origin.clone(), permit.tenant().clone(), id.clone()).await;
    let (charge, receipt) = shown.map_err(|error| refuse(&error).on(Resource::Charge(id)))?;
    Ok(Answer::done(&receipt, StatusCode::OK, &Body::now(&charge)))
}

/// The charges of the permit's tenant, newest first; with `idempotency_key`, the caller's one charge of that key.
pub async fn list(gateway: &Gateway, context: &Context, permit: Permit<ReadCharge>, query: &str) -> Acted {
    let refuse = |problem: Problem| Refusal::new(Action::ChargeRead, problem);
    let (origin, tenant) = (context.origin.clone(), permit.tenant().clone());
    let listed = match key(query) {
        Some(key) => {
            let principal = permit.caller().principal().clone();
            gateway.payments.charge_of_key(origin, tenant, principal, key).await
        }
        None => gateway.payments.list_charges(origin, tenant, page(query).map_err(refuse)?).await,
    };
    let (list, receipt) = listed.map_err(|error| refuse(problem(&error)))?;
    let next = list.rows.last().map(|charge| charge.id.as_str());
    Ok(Answer::done(&receipt, StatusCode::OK, &Listed::of(&list, Body::now, next)))
}

/// The contract's list.
#[derive(Serialize)]
pub(super) struct Listed<'a, B> {
    data: Vec<B>,
    has_more: bool,
    next: Option<&'a str>,
}

impl<'a, B> Listed<'a, B> {
    /// `last` is the id of the page's last row.
    pub(super) fn of<R>(
        list: &'a List<R>,
        show: impl Fn(&'a R) -> B,
        last: Option<&'a str>,
    ) -> Listed<'a, B> {
        let next = last.filter(|_| list.has_more);
        Listed { data: list.rows.iter().map(show).collect(), has_more: list.has_more, next }
    }
}

/// The key without which no money moves.
pub(super) fn required_key(context: &Context) -> Result<String, Problem> {
    context.idempotency_key.as_ref().map(|key| key.as_str().to_owned()).ok_or(Problem::new(
        Code::IdempotencyKeyRequired,
        "Send an Idempotency-Key header, for instance a UUID, and the same one again when you retry",
    ))
}

/// The stored answer again.
pub(super) fn replayed(status: StatusCode, body: &impl Serialize) -> Result<Answer, Problem> {
    let body = serde_json::to_vec(body).map_err(|_| {
        Problem::new(Code::Internal, "The stored answer could not be written; report its request_id")
    })?;
    Ok(Answer::replayed(status, "application/json", body))
}

/// `limit` and `after`, and nothing else.
pub(super) fn page(query: &str) -> Result<Page, Problem> {
    let wrong = |place: &'static str, detail| Problem::new(Code::InvalidField, detail).at(place);
    let mut page = Page { limit: Page::USUAL, after: None };
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=Page::MOST).contains(limit));
                page.limit = limit.ok_or_else(|| wrong("limit", "Send a limit of 1 to 100"))?;
            }
            "after" => page.after = Some(value.into_owned()),
            _ => {
                let detail = "A list takes limit and after and nothing else";
                return Err(Problem::new(Code::UnknownField, detail).at("query"));
            }
        }
    }
    Ok(page)
}

/// The value of `idempotency_key`, where nothing else is asked.
fn key(query: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    match (pairs.next(), pairs.next()) {
        (Some((name, value)), None) if name == "idempotency_key" => Some(value.into_owned()),
        _ => None,
    }
}

const REFERENCE_LENGTH: usize = 100;

fn read(body: &Value) -> Result<ChargeRequest, Problem> {
    let fields =
        Fields::of(body, &["token", "amount", "currency", "reference", "capture"]).map_err(field_problem)?;
    let token = fields.text("token").map_err(field_problem)?;
    let amount = fields.text("amount").map_err(field_problem)?;
    let currency = fields.text("currency").map_err(field_problem)?;
    let reference = fields.optional_text("reference").map_err(field_problem)?;
    let capture = fields.optional_truth("capture").map_err(field_problem)?.unwrap_or(true);
    let currency = read_currency(currency)?;
    let amount = Money::parse(amount, currency).ok().filter(|amount| !amount.is_zero()).ok_or_else(|| {
        let detail =
            "Send a decimal string above zero with at most the currency's decimals, such as \"125.40\"";
        Problem::new(Code::InvalidAmount, detail).at("amount")
    })?;
    let plain = |text: &&str| {
        (1..=REFERENCE_LENGTH).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
    };
    if !reference.iter().all(plain) {
        let detail = "Send 1 to 100 visible ASCII characters, such as a statement's id";
        return Err(Problem::new(Code::InvalidField, detail).at("reference"));
    }
    Ok(ChargeRequest {
        token: Token::parse(token).map_err(|_| token_reading::unknown())?,
        amount,
        reference: reference.map(str::to_owned),
        capture,
    })
}

/// A currency that pangate handles.
pub(super) fn read_currency(text: &str) -> Result<Currency, Problem> {
    Currency::parse(text).map_err(|_| {
        let detail = "Use an ISO 4217 code in capitals that pangate handles, such as \"USD\"";
        Problem::new(Code::InvalidAmount, detail).at("currency")
    })
}

/// What is wrong with a field. An unknown field's own name is not repeated: it could be a card number.
pub(super) fn field_problem(error: FieldError) -> Problem {
    match error {
        FieldError::NoObject => Problem::new(Code::WrongType, "Send one JSON object").at("body"),
        FieldError::Unknown => {
            Problem::new(Code::UnknownField, "Remove the field that is not declared").at("body")
        }
        FieldError::Missing(name) => Problem::new(Code::MissingField, "Send this field").at(name),
        FieldError::WrongType(name) => {
            Problem::new(Code::WrongType, "Send this field in its declared JSON type; amounts are strings")
                .at(name)
        }
    }
}

/// What stopped the money, as the caller is told it.
pub(super) fn problem(error: &PaymentError) -> Problem {
    match error {
        PaymentError::Store(error) => store_problem(error),
        PaymentError::Vault(error) => vault_problem(error),
        PaymentError::Random => {
            Problem::new(Code::Internal, "The host gives no random bytes; nothing happened")
        }
        PaymentError::InFlight => Problem::new(
            Code::IdempotencyInFlight,
            "Wait for the first request's answer, or retry in a second",
        ),
        PaymentError::KeyReused => {
            Problem::new(Code::IdempotencyKeyReused, "Use a new Idempotency-Key for a new request")
        }
        PaymentError::UnknownToken => token_reading::unknown(),
        PaymentError::TokenGone => token_reading::gone(),
        PaymentError::NoOpenPayment => Problem::new(
            Code::NoOpenPayment,
            "Charge exactly the amount that the card was collected for, once, or collect the card to be stored",
        ),
        PaymentError::UnknownCharge => Problem::new(
            Code::UnknownCharge,
            "Check the id and that your credential belongs to the charge's tenant",
        ),
        PaymentError::ChargeState => Problem::new(
            Code::ChargeState,
            "Only a charge that succeeded, and so captured money, can be refunded",
        ),
        PaymentError::ExceedsCapture => Problem::new(
            Code::RefundExceedsCapture,
            "Look at the charge's captured and refunded amounts; refund at most what is left",
        )
        .at("amount"),
        PaymentError::Amount => Problem::new(
            Code::InvalidAmount,
            "Send a decimal string above zero in the charge's currency, or leave it out for all that is left",
        )
        .at("amount"),
        PaymentError::Currency => {
            Problem::new(Code::InvalidAmount, "A refund is in the charge's own currency").at("currency")
        }
        PaymentError::UnknownRefund => Problem::new(
            Code::UnknownRefund,
            "Check the id and that your credential belongs to the refund's tenant",
        ),
        PaymentError::RefundState => Problem::new(
            Code::RefundState,
            "Only a refund with status pending_approval can be approved, once",
        ),
        PaymentError::ApprovalExpired => {
            Problem::new(Code::RefundState, "Nobody approved it within 24 hours; ask for the refund again")
        }
        PaymentError::SecondPerson => Problem::new(
            Code::SecondPersonRequired,
            "Let a colleague with a credential of their own approve it",
        ),
        PaymentError::Denied(denied) => denied_problem(denied),
        PaymentError::Cursor => {
            Problem::new(Code::InvalidField, "Send the next value of the page before, unchanged").at("after")
        }
        PaymentError::ProcessorUnavailable => Problem::new(
            Code::ProcessorUnavailable,
            "Nothing was sent to the processor; retry with the same Idempotency-Key and body",
        ),
        PaymentError::InDoubt => Problem::new(
            Code::InDoubt,
            "Retry with the same Idempotency-Key and body to learn the outcome; never with another key",
        ),
        PaymentError::Integrity => {
            Problem::new(Code::Integrity, "A stored payment failed its check; tell the operator")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body() -> Value {
        let token = Token::mint(tokens::Realm::Test).unwrap();
        json!({"token": token, "amount": "125.40", "currency": "USD", "reference": "st-1"})
    }

    #[test]
    fn a_charge_is_read_strictly() {
        let request = read(&body()).unwrap();
        assert_eq!((request.amount.minor(), request.capture), (12_540, true));
        for (name, value, code, place) in [
            ("amount", json!(125.4), Code::WrongType, "amount"),
            ("amount", json!("0.00"), Code::InvalidAmount, "amount"),
            ("amount", json!("1.005"), Code::InvalidAmount, "amount"),
            ("currency", json!("usd"), Code::InvalidAmount, "currency"),
            ("capture", json!("yes"), Code::WrongType, "capture"),
            ("reference", json!("line\nbreak"), Code::InvalidField, "reference"),
            ("reference", json!(""), Code::InvalidField, "reference"),
            ("card", json!({}), Code::UnknownField, "body"),
            ("amount", Value::Null, Code::MissingField, "amount"),
        ] {
            let mut body = body();
            body[name] = value;
            let problem = read(&body).unwrap_err();
            assert_eq!(problem, problem.clone().at(place), "{name}");
            assert_eq!(problem.code(), code, "{name}");
        }
    }

    #[test]
    fn what_is_no_token_is_an_unknown_token() {
        let mut body = body();
        body["token"] = json!("4242424242424242");
        let problem = read(&body).unwrap_err();
        assert_eq!(problem, token_reading::unknown());
        assert!(!format!("{problem:?}").contains("4242"));
    }

    #[test]
    fn a_page_has_one_to_a_hundred_rows() {
        assert_eq!(page("").unwrap(), Page { limit: 20, after: None });
        assert_eq!(page("limit=3&after=x").unwrap(), Page { limit: 3, after: Some("x".to_owned()) });
        for wrong in ["limit=0", "limit=101", "limit=x", "limits=1"] {
            assert!(page(wrong).is_err(), "{wrong}");
        }
    }
}
