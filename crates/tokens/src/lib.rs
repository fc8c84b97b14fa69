//! The words that both sides of the PCI wall may speak.
//!
//! Everything here is safe to log, store and send: nothing in this crate can hold a card number. It is one of
//! the two crates of ours that the companion links, so it has no Cargo features and opens nothing.

mod card;
mod id;
mod letters;
mod money;
mod name;
mod token;

pub use card::{Brand, Expiry, ExpiryError, Last4, Last4Error, MaskedCard};
pub use id::{ApprovalId, ChargeId, IdError, JobId, PaymentId, RefundId, RequestId, SessionId};
pub use letters::{RandomUnavailable, random as random_letters};
pub use money::{Currency, CurrencyError, Money, MoneyError};
pub use name::{NameError, Principal, Tenant};
pub use token::{Format, Realm, Token, TokenError};
