//! Why money did not move. No variant can hold a text from outside.

use crate::permit::Denied;
use store::StoreError;
use vault::VaultError;

/// What stopped a charge, a refund or a look at them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PaymentError {
    /// The store failed before anything was sent.
    #[error("the store failed before anything was sent; retry with the same key")]
    Store(#[source] StoreError),
    /// The card room failed before anything was sent.
    #[error("the card room failed before anything was sent; retry with the same key")]
    Vault(#[source] VaultError),
    /// The operating system gives no random bytes.
    #[error("no random bytes; check the host")]
    Random,
    /// The same key still runs.
    #[error("a request with this key is still running; wait for its answer")]
    InFlight,
    /// The key was used with another request.
    #[error("the key was used with another request; use a new key")]
    KeyReused,
    /// No such token of this tenant.
    #[error("there is no such token")]
    UnknownToken,
    /// The card was shredded, or its token is past its date.
    #[error("the card behind the token is gone; collect it again")]
    TokenGone,
    /// The token was not collected for this.
    #[error("no open payment of this amount and no stored-card consent; collect the card for this charge")]
    NoOpenPayment,
    /// No such charge of this tenant.
    #[error("there is no such charge")]
    UnknownCharge,
    /// The charge captured nothing.
    #[error("the charge captured nothing that could be given back")]
    ChargeState,
    /// More than what is left.
    #[error("the refund is more than what is left of the charge")]
    ExceedsCapture,
    /// The amount is none in the charge's currency.
    #[error("the refund's amount is not a positive amount in the charge's currency")]
    Amount,
    /// Another currency than the charge's.
    #[error("a refund is in the charge's own currency")]
    Currency,
    /// No such refund of this tenant.
    #[error("there is no such refund")]
    UnknownRefund,
    /// The refund does not wait for this approval.
    #[error("the refund waits for no approval, or was approved by somebody else")]
    RefundState,
    /// Nobody approved it in time.
    #[error("the approval came too late; ask for the refund again")]
    ApprovalExpired,
    /// The requester cannot approve.
    #[error("another person has to approve this refund")]
    SecondPerson,
    /// The policy does not let this caller move that much.
    #[error("{0}")]
    Denied(#[source] Denied),
    /// The list has no such place.
    #[error("the cursor names no row of this list")]
    Cursor,
    /// Nothing was sent.
    #[error("the processor cannot be reached and nothing was sent; retry with the same key")]
    ProcessorUnavailable,
    /// The outcome is not known.
    #[error("the outcome is not known yet; ask again with the same key")]
    InDoubt,
    /// A stored row is not what was stored.
    #[error("a stored payment failed its check; the incident team must look at it")]
    Integrity,
}

impl From<StoreError> for PaymentError {
    fn from(error: StoreError) -> Self {
        match error {
            // Another process inserted the same key in this instant.
            StoreError::Conflict => PaymentError::InFlight,
            other => PaymentError::Store(other),
        }
    }
}

impl From<VaultError> for PaymentError {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::UnknownToken => PaymentError::UnknownToken,
            VaultError::TokenGone | VaultError::TokenExpired => PaymentError::TokenGone,
            other => PaymentError::Vault(other),
        }
    }
}

impl From<tokens::RandomUnavailable> for PaymentError {
    fn from(_: tokens::RandomUnavailable) -> Self {
        PaymentError::Random
    }
}
