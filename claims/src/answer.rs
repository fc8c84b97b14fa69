//! Every answer the companion gives, and every reason to refuse (RFC 9457). Status codes live here alone.
//! No variant can hold text of a request: it could be a card number.

use crate::database::StoreError;
use serde_json::{Map, Value, json};
use tokens::{ChargeId, Money, RequestId};

/// Why a request was refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A card number, or what could be one.
    #[error("the request holds what could be a card number; only tokens belong here, and nothing was stored")]
    PanSeen,
    /// A verification code.
    #[error("the request holds a card verification code; it must never leave the gateway")]
    CvcSeen,
    /// `card.number` is no token.
    #[error("card.number is not a token; send the payment through the gateway, which swaps it")]
    NotAToken,
    /// A field below `card` that no payment has.
    #[error(
        "card holds a field that is not expected; send number, brand, last4, exp_month, exp_year, holder"
    )]
    CardFieldUnexpected,
    /// A field that must be there.
    #[error("{0} is missing")]
    FieldMissing(&'static str),
    /// A field with a wrong value.
    #[error("{field}: {why}")]
    FieldInvalid {
        /// Which field.
        field: &'static str,
        /// What it should be.
        why: &'static str,
    },
    /// A header that the gateway always sends.
    #[error("the header {0} is missing or not valid; the gateway sets it on what it forwards")]
    HeaderInvalid(&'static str),
    /// A body that cannot be read with certainty.
    #[error("{why}")]
    Undecidable {
        /// 400, 413 or 415.
        status: u16,
        /// The reader's stable reason.
        code: &'static str,
        /// The reader's fixed sentence for that reason.
        why: String,
    },
    /// The body did not arrive in time.
    #[error("the body did not arrive within its time; send it again")]
    BodySlow,
    /// No or a wrong credential.
    #[error("this call needs the bearer credential of its caller: the gateway's to post, a reader's to read")]
    Unauthenticated,
    /// No such account here.
    #[error("there is no such account")]
    AccountUnknown,
    /// No such statement on the account.
    #[error("there is no such statement on this account")]
    StatementUnknown,
    /// The statement is paid.
    #[error("the statement is paid; nothing is owed on it")]
    StatementPaid,
    /// Another currency than the statement's.
    #[error("the currency is not the statement's; pay in the currency it was issued in")]
    CurrencyDiffers,
    /// More than is owed and not yet being paid.
    #[error(
        "the amount exceeds what is owed less what is being paid at this moment ({available}); pay that or less"
    )]
    AmountExceedsBalance {
        /// What could be paid now.
        available: Money,
    },
    /// Same key, other request.
    #[error("this idempotency key belongs to another request; use a new key")]
    KeyReused,
    /// Same key, at the same time.
    #[error("a request with this idempotency key is under way; repeat it in a moment")]
    InProgress,
    /// The gateway did not say whether it charged.
    #[error(
        "the gateway did not answer; repeat the request with the same idempotency key, it cannot charge twice"
    )]
    GatewayUnavailable,
    /// The processor declined.
    #[error("the card was declined; use another card or ask its bank")]
    Declined {
        /// The processor's reason.
        code: String,
        /// The declined charge.
        charge: Option<ChargeId>,
    },
    /// The gateway will not charge this token.
    #[error("the gateway refused the charge; the code says why")]
    ChargeRefused {
        /// The gateway's reason.
        code: String,
    },
    /// A refund of a charge that no payment here has.
    #[error("no payment of this tenant has that charge")]
    ChargeUnknown,
    /// More back than was paid.
    #[error("refunds would exceed the payment; nothing was posted")]
    RefundExceedsPayment,
    /// No such path.
    #[error("there is no such path; see the companion's contract")]
    RouteUnknown,
    /// The path has other methods.
    #[error("this path does not take that method; it takes {0}")]
    MethodNotAllowed(&'static str),
    /// The database.
    #[error("the companion's database cannot be reached; repeat the request with the same idempotency key")]
    Store(#[from] StoreError),
    /// Our own fault.
    #[error("the companion failed; report the request_id to its operator")]
    Internal,
}

impl Refusal {
    /// HTTP status and the stable code.
    pub fn kind(&self) -> (u16, &str) {
        match self {
            Refusal::PanSeen => (422, "pan_seen"),
            Refusal::CvcSeen => (422, "cvc_seen"),
            Refusal::NotAToken => (422, "not_a_token"),
            Refusal::CardFieldUnexpected => (422, "card_field_unexpected"),
            Refusal::FieldMissing(_) => (422, "field_missing"),
            Refusal::FieldInvalid { .. } => (422, "field_invalid"),
            Refusal::HeaderInvalid(_) => (400, "header_invalid"),
            Refusal::Undecidable { status, code, .. } => (*status, code),
            Refusal::BodySlow => (408, "body_timeout"),
            Refusal::Unauthenticated => (401, "unauthenticated"),
            Refusal::AccountUnknown => (404, "account_unknown"),
            Refusal::StatementUnknown => (404, "statement_unknown"),
            Refusal::StatementPaid => (422, "statement_paid"),
            Refusal::CurrencyDiffers => (422, "currency_differs"),
            Refusal::AmountExceedsBalance { .. } => (422, "amount_exceeds_balance"),
            Refusal::KeyReused => (422, "idempotency_key_reused"),
            Refusal::InProgress => (409, "payment_in_progress"),
            Refusal::GatewayUnavailable => (503, "gateway_unavailable"),
            Refusal::Declined { code, .. } => (402, code),
            Refusal::ChargeRefused { code } => (422, code),
            Refusal::ChargeUnknown => (404, "charge_unknown"),
            Refusal::RefundExceedsPayment => (422, "refund_exceeds_payment"),
            Refusal::RouteUnknown => (404, "route_unknown"),
            Refusal::MethodNotAllowed(_) => (405, "method_not_allowed"),
            Refusal::Store(StoreError::Unavailable(_)) => (503, "store_unavailable"),
            Refusal::Store(_) | Refusal::Internal => (500, "internal"),
        }
    }

    /// The answer that says so.
    pub fn answer(&self, request: &RequestId) -> Answer {
        let (status, code) = self.kind();
        let mut body = Map::from_iter([
            ("type".to_owned(), json!(format!("urn:pangate:problem:{code}"))),
            ("title".to_owned(), json!(title(status))),
            ("status".to_owned(), json!(status)),
            ("detail".to_owned(), json!(self.to_string())),
            ("code".to_owned(), json!(code)),
            ("request_id".to_owned(), json!(request.as_str())),
        ]);
        match self {
            Refusal::Declined { charge: Some(charge), .. } => {
                body.insert("charge".to_owned(), json!(charge.as_str()));
            }
            Refusal::AmountExceedsBalance { available } => {
                body.insert("available".to_owned(), json!(available.to_string()));
            }
            _ => {}
        }
        let allow = match self {
            Refusal::MethodNotAllowed(methods) => Some(*methods),
            _ => None,
        };
        Answer { status, body: Value::Object(body).to_string(), replayed: false, allow }
    }
}

/// An answer, ready to be sent or kept for a repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// JSON; a problem document from status 400 on.
    pub body: String,
    /// Whether this was said before.
    pub replayed: bool,
    /// The methods of the path, on a 405.
    pub allow: Option<&'static str>,
}

impl Answer {
    /// A success.
    pub fn success(status: u16, body: &Value) -> Self {
        Answer { status, body: body.to_string(), replayed: false, allow: None }
    }

    /// An answer that was kept.
    pub fn repeated(status: u16, body: String) -> Self {
        Answer { status, body, replayed: true, allow: None }
    }

    /// `application/json`, or `application/problem+json` from status 400 on.
    pub fn content_type(&self) -> &'static str {
        if self.status < 400 { "application/json" } else { "application/problem+json" }
    }

    /// Seconds after which a repeat may succeed, where it may.
    pub fn retry_after(&self) -> Option<&'static str> {
        matches!(self.status, 409 | 503).then_some("1")
    }
}

fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad request",
        401 => "Credential needed",
        402 => "Payment declined",
        404 => "Not found",
        405 => "Method not allowed",
        408 => "Too slow",
        409 => "Under way",
        413 => "Too large",
        415 => "Kind of body not supported",
        422 => "Refused",
        503 => "Unavailable",
        _ => "Failed",
    }
}
