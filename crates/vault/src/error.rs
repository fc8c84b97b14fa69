//! What went wrong in the card room, by kind. No variant can hold a byte that came from a body: a place is a
//! declared field name or a path that the sweep already cleaned.

use crate::field::Field;

/// Why the card room refused or could not do something.
///
/// [`VaultError::code`] is stable and is what a caller branches on; the sentence says what happened and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// Not well-formed JSON, form or multipart.
    #[error("the body is not well-formed; send one complete JSON object, form or multipart form in UTF-8")]
    Malformed {
        /// `malformed_json`, `malformed_form`, `malformed_multipart` or `malformed_text`.
        code: &'static str,
    },
    /// The same key twice in one object, or the same form field twice.
    #[error("a key appears twice in the body; send each key once")]
    DuplicateKey,
    /// A declared field holds another kind of value.
    #[error("{field} has the wrong type")]
    WrongType {
        /// The declared field.
        field: Field,
    },
    /// Not a card number: characters, length, issuer range or Luhn.
    #[error(
        "{field} is no card number: 12 to 19 digits with a valid check digit, single spaces or dashes allowed"
    )]
    InvalidCardNumber {
        /// The declared field.
        field: Field,
    },
    /// A month or year that no card can bear.
    #[error("{field} is no expiry: exp_month is 1 to 12, exp_year is 20xx or two digits")]
    InvalidExpiry {
        /// The declared field.
        field: Field,
    },
    /// The card is past its date.
    #[error("{field} says that the card has expired")]
    CardExpired {
        /// The declared field.
        field: Field,
    },
    /// Not 3 digits (4 for American Express).
    #[error("{field} is no verification code: 3 digits, or 4 on an American Express card")]
    InvalidCvc {
        /// The declared field.
        field: Field,
    },
    /// A field that the shape does not declare.
    #[error("{field} holds a field that is not declared for this request; remove it")]
    UnknownField {
        /// The object that holds it; its own name is not repeated, it could be a card number.
        field: Field,
    },
    /// A required field is not there.
    #[error("{field} is missing")]
    MissingField {
        /// The declared field.
        field: Field,
    },
    /// A value outside what its field allows, or longer.
    #[error("{field} is longer or other than its field allows")]
    InvalidValue {
        /// The declared field.
        field: Field,
    },
    /// Something that reads like a card number stands where none is declared.
    #[error(
        "something that reads like a card number stands at {place}, where no card is declared; remove it"
    )]
    StrayPan {
        /// Where, in the sweep's cleaned words.
        place: String,
    },
    /// Something that reads like a verification code stands where none is declared (PCI DSS 3.3).
    #[error(
        "something that reads like a card verification code stands at {place}, where none is declared; remove it"
    )]
    StrayCode {
        /// Where, in the sweep's cleaned words.
        place: String,
    },
    /// The companion's answer holds something that reads like a card number.
    #[error("the answer was withheld: something in it reads like a card number, at {place}")]
    StrayInAnswer {
        /// Where, in the sweep's cleaned words.
        place: String,
    },
    /// The companion's answer could not be read to its end, decoded or searched.
    #[error("the answer was withheld: it could not be decoded and searched")]
    AnswerUnreadable,
    /// The companion's answer would have the request, card and all, sent on to where the companion points.
    #[error(
        "the answer was withheld: it redirects the request or switches protocols; have the companion answer it, or redirect with 303"
    )]
    AnswerDiverts,
    /// A content type, charset or content encoding that is not read here.
    #[error(
        "send application/json, application/x-www-form-urlencoded or multipart/form-data, in UTF-8, once"
    )]
    UnsupportedMediaType,
    /// The body could not be decoded, so it cannot be searched.
    #[error("the body could not be decoded and searched; send it plain or in a correct content encoding")]
    Undecodable,
    /// More bytes, keys or parts than allowed.
    #[error("the body is larger than allowed")]
    TooLarge,
    /// Nested deeper than allowed.
    #[error("the body is nested deeper than allowed")]
    TooDeep,
    /// No card, or more than 256, in a batch.
    #[error("a batch holds 1 to 256 cards")]
    BatchSize,
    /// The body did not arrive in time.
    #[error("the body did not arrive in time; send it again")]
    BodyTimeout,
    /// The connection broke inside the body.
    #[error("the body ended early; send it again")]
    BodyBroken,
    /// This tenant has no such token.
    #[error("no such token")]
    UnknownToken,
    /// The token was shredded.
    #[error("the token was shredded; collect the card again")]
    TokenGone,
    /// The token is past its own `expires_at`.
    #[error("the token has expired; collect the card again")]
    TokenExpired,
    /// The tenant has no active data key; `data_key_wanted` makes one.
    #[error("the tenant has no data key yet; try again")]
    NoDataKey,
    /// The HSM is away, slow or full.
    #[error("the HSM cannot be reached; try again")]
    HsmUnavailable,
    /// The HSM refuses: key missing, stopped, or not permitted.
    #[error("the HSM refuses the key; an administrator must look at the key inventory")]
    HsmRefused,
    /// The database is away or full.
    #[error("the database cannot be reached; try again")]
    StoreAway(store::StoreError),
    /// The write queue is full.
    #[error("the database is busy; try again")]
    StoreBusy,
    /// The database refused in a way that waiting does not heal.
    #[error("the database refused the statement; an administrator must look at its log")]
    StoreRefused,
    /// A stored byte is not what was stored: altered, moved, or written under another key.
    #[error("a stored record failed verification; the incident team must look at it")]
    Integrity,
    /// No card-shaped token can stand in this message without reading like a card number beside what else it says.
    #[error("no card-shaped token fits here without reading like a card number; use opaque tokens")]
    NoShapedToken,
    /// The operating system gives no random bytes.
    #[error("no random bytes; the host must be looked at")]
    RandomUnavailable,
    /// The upstream's address cannot be used.
    #[error("the upstream address in the settings is no scheme and authority")]
    BadTarget,
}

impl VaultError {
    /// The stable code, snake_case, for the problem document and the audit log.
    pub fn code(&self) -> &'static str {
        match self {
            VaultError::Malformed { code } => code,
            VaultError::DuplicateKey => "duplicate_key",
            VaultError::WrongType { .. } => "wrong_type",
            VaultError::InvalidCardNumber { .. } => "invalid_card_number",
            VaultError::InvalidExpiry { .. } | VaultError::CardExpired { .. } => "invalid_expiry",
            VaultError::InvalidCvc { .. } => "invalid_cvc",
            VaultError::UnknownField { .. } => "unknown_field",
            VaultError::MissingField { .. } => "missing_field",
            VaultError::InvalidValue { .. } => "invalid_value",
            VaultError::StrayPan { .. } => "stray_pan",
            VaultError::StrayCode { .. } => "stray_sensitive_data",
            VaultError::StrayInAnswer { .. } => "stray_pan_in_answer",
            VaultError::AnswerUnreadable => "answer_unreadable",
            VaultError::AnswerDiverts => "answer_diverts",
            VaultError::UnsupportedMediaType => "unsupported_media_type",
            VaultError::Undecodable => "undecodable",
            VaultError::TooLarge => "too_large",
            VaultError::TooDeep => "too_deep",
            VaultError::BatchSize => "batch_size",
            VaultError::BodyTimeout => "body_timeout",
            VaultError::BodyBroken => "body_broken",
            VaultError::UnknownToken => "unknown_token",
            VaultError::TokenGone => "token_gone",
            VaultError::TokenExpired => "token_expired",
            VaultError::NoDataKey => "data_key_missing",
            VaultError::HsmUnavailable => "hsm_unavailable",
            VaultError::HsmRefused => "hsm_refused",
            VaultError::StoreAway(_) => "store_unavailable",
            VaultError::StoreBusy => "store_busy",
            VaultError::StoreRefused => "store_refused",
            VaultError::Integrity => "integrity",
            VaultError::NoShapedToken => "no_shaped_token",
            VaultError::RandomUnavailable => "random_unavailable",
            VaultError::BadTarget => "bad_target",
        }
    }

    /// The field or place that the error is about, safe to show.
    pub fn place(&self) -> Option<String> {
        match self {
            VaultError::WrongType { field }
            | VaultError::InvalidCardNumber { field }
            | VaultError::InvalidExpiry { field }
            | VaultError::CardExpired { field }
            | VaultError::InvalidCvc { field }
            | VaultError::UnknownField { field }
            | VaultError::MissingField { field }
            | VaultError::InvalidValue { field } => Some(field.to_string()),
            VaultError::StrayPan { place }
            | VaultError::StrayCode { place }
            | VaultError::StrayInAnswer { place } => Some(place.clone()),
            _ => None,
        }
    }

    /// Whether the same request may succeed when it is sent again.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            VaultError::BodyTimeout
                | VaultError::BodyBroken
                | VaultError::NoDataKey
                | VaultError::HsmUnavailable
                | VaultError::StoreAway(_)
                | VaultError::StoreBusy
        )
    }
}

impl From<tokens::RandomUnavailable> for VaultError {
    fn from(_: tokens::RandomUnavailable) -> Self {
        VaultError::RandomUnavailable
    }
}

impl From<sweep::Undecidable> for VaultError {
    fn from(why: sweep::Undecidable) -> Self {
        use sweep::Undecidable as Why;
        match why {
            Why::TooLarge | Why::TooManyNodes => VaultError::TooLarge,
            Why::TooDeep => VaultError::TooDeep,
            Why::MalformedJson => VaultError::Malformed { code: "malformed_json" },
            Why::MalformedForm => VaultError::Malformed { code: "malformed_form" },
            Why::MalformedMultipart | Why::NestedMultipart => {
                VaultError::Malformed { code: "malformed_multipart" }
            }
            Why::NotUtf8 => VaultError::Malformed { code: "malformed_text" },
            Why::DuplicateKey => VaultError::DuplicateKey,
            Why::FileRefused
            | Why::ContentTypeMissing
            | Why::ContentTypeUnknown
            | Why::ContentTypeConfused
            | Why::Charset
            | Why::Encoding => VaultError::UnsupportedMediaType,
            Why::MalformedMarkup
            | Why::Doctype
            | Why::EncodingMismatch
            | Why::Bomb
            | Why::TooEntangled
            | Why::MalformedPath => VaultError::Undecodable,
        }
    }
}

impl From<hsm::HsmError> for VaultError {
    fn from(error: hsm::HsmError) -> Self {
        use hsm::HsmError;
        match error {
            HsmError::Integrity => VaultError::Integrity,
            HsmError::KeyNotFound
            | HsmError::KeyAmbiguous { .. }
            | HsmError::KeyStatus { .. }
            | HsmError::Denied
            | HsmError::Unsupported(_)
            | HsmError::InvalidInput(_) => VaultError::HsmRefused,
            HsmError::AuthFailed { .. }
            | HsmError::AuthLocked
            | HsmError::SessionLost
            | HsmError::NeedsReinit
            | HsmError::Overloaded
            | HsmError::Timeout
            | HsmError::LogFull
            | HsmError::Tampered
            | HsmError::SelfTestFailed
            | HsmError::RollbackDetected
            | HsmError::Misconfigured(_)
            | HsmError::Internal { .. } => VaultError::HsmUnavailable,
        }
    }
}

impl From<store::StoreError> for VaultError {
    fn from(error: store::StoreError) -> Self {
        use store::StoreError;
        match error {
            // A key that is taken: the same act with fresh random values goes through.
            StoreError::Busy | StoreError::Conflict => VaultError::StoreBusy,
            StoreError::Unavailable
            | StoreError::TimedOut
            | StoreError::Full
            | StoreError::ReadOnly
            | StoreError::Connections
            | StoreError::Login
            | StoreError::Taken
            | StoreError::Moved
            | StoreError::Arriving
            | StoreError::Denied
            | StoreError::Tls
            | StoreError::Pooler => VaultError::StoreAway(error),
            StoreError::Corrupt { .. } | StoreError::Damaged => VaultError::Integrity,
            StoreError::Constraint
            | StoreError::NewerSchema
            | StoreError::OlderSchema
            | StoreError::Migration
            | StoreError::Url
            | StoreError::Statement { .. }
            | StoreError::Panicked => VaultError::StoreRefused,
        }
    }
}

impl From<getrandom::Error> for VaultError {
    fn from(_: getrandom::Error) -> Self {
        VaultError::RandomUnavailable
    }
}
