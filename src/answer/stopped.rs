//! How errors of the parts become problems: one exhaustive table for each, and the error of a whole transaction.

use super::{Code, Problem};
use store::StoreError;
use vault::VaultError;

/// An error inside a transaction: the store's, the card room's, or a decision to refuse.
#[derive(Debug)]
pub enum Stopped {
    /// The store failed.
    Store(StoreError),
    /// The card room refused.
    Vault(VaultError),
    /// The act was refused for a reason of its own.
    Problem(Problem),
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        Stopped::Store(error)
    }
}

impl From<VaultError> for Stopped {
    fn from(error: VaultError) -> Self {
        Stopped::Vault(error)
    }
}

impl From<Problem> for Stopped {
    fn from(problem: Problem) -> Self {
        Stopped::Problem(problem)
    }
}

impl Stopped {
    /// The problem that the caller is told.
    pub fn problem(self) -> Problem {
        match self {
            Stopped::Store(error) => store_problem(&error),
            Stopped::Vault(error) => vault_problem(&error),
            Stopped::Problem(problem) => problem,
        }
    }
}

/// The store's error as the caller is told it; the log has the rest.
pub fn store_problem(error: &StoreError) -> Problem {
    tracing::warn!(error = %error, "store");
    match error {
        StoreError::Busy => {
            Problem::new(Code::StoreBusy, "The database is busy and nothing was changed; retry")
        }
        StoreError::Corrupt { .. } => Problem::new(
            Code::Integrity,
            "A stored row could not be read; tell the operator, who finds it in the log",
        ),
        _ => Problem::new(
            store_code(*error),
            "The database could not do it and nothing was acknowledged; retry under the same Idempotency-Key",
        ),
    }
}

/// The code of a store that is away, by what keeps it.
pub fn store_code(error: StoreError) -> Code {
    match error {
        StoreError::Busy | StoreError::Conflict => Code::StoreBusy,
        StoreError::TimedOut => Code::StoreSlow,
        StoreError::Full => Code::StoreFull,
        StoreError::ReadOnly => Code::StoreReadOnly,
        StoreError::Connections => Code::StoreConnections,
        StoreError::Login | StoreError::Denied | StoreError::Tls | StoreError::Pooler => Code::StoreLogin,
        StoreError::Corrupt { .. } => Code::Integrity,
        _ => Code::StoreUnavailable,
    }
}

/// The card room's error as the caller is told it: a code, our own sentence, and at most the name of a field.
pub fn vault_problem(error: &VaultError) -> Problem {
    let code = vault_code(error);
    let mut problem = Problem::new(code, error.to_string());
    if let Some(place) = error.place() {
        problem = problem.at(place);
    }
    if code.status().is_server_error() {
        tracing::warn!(error = error.code(), "card room");
    }
    problem
}

/// Exhaustive, so that a new kind of error asks here what its answer is.
fn vault_code(error: &VaultError) -> Code {
    match error {
        VaultError::Malformed { code } => Code::from_name(code).unwrap_or(Code::Undecodable),
        VaultError::DuplicateKey => Code::DuplicateKey,
        VaultError::WrongType { .. } => Code::WrongType,
        VaultError::InvalidCardNumber { .. } => Code::InvalidCardNumber,
        VaultError::InvalidExpiry { .. } | VaultError::CardExpired { .. } => Code::InvalidExpiry,
        VaultError::InvalidCvc { .. } => Code::InvalidCvc,
        VaultError::UnknownField { .. } => Code::UnknownField,
        VaultError::MissingField { .. } => Code::MissingField,
        VaultError::InvalidValue { .. } | VaultError::BatchSize => Code::InvalidField,
        VaultError::StrayPan { .. } | VaultError::NoShapedToken => Code::StrayPan,
        VaultError::StrayCode { .. } => Code::StraySensitiveData,
        VaultError::StrayInAnswer { .. } => Code::StrayPanInAnswer,
        VaultError::AnswerUnreadable => Code::AnswerUnreadable,
        VaultError::AnswerDiverts => Code::AnswerDiverts,
        VaultError::UnsupportedMediaType => Code::UnsupportedMediaType,
        VaultError::Undecodable => Code::Undecodable,
        VaultError::TooLarge => Code::TooLarge,
        VaultError::TooDeep => Code::TooDeep,
        VaultError::BodyTimeout => Code::BodyTimeout,
        VaultError::BodyBroken => Code::BodyIncomplete,
        VaultError::UnknownToken => Code::UnknownToken,
        VaultError::TokenGone | VaultError::TokenExpired => Code::TokenGone,
        VaultError::HsmUnavailable => Code::HsmUnavailable,
        VaultError::StoreBusy | VaultError::NoDataKey => Code::StoreBusy,
        VaultError::StoreAway(error) => store_code(*error),
        VaultError::Integrity => Code::Integrity,
        VaultError::HsmRefused
        | VaultError::StoreRefused
        | VaultError::RandomUnavailable
        | VaultError::BadTarget => Code::Internal,
    }
}
