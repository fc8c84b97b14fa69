//! Who moves the money. A processor is asked with a key of ours, and does under one key at most one thing.

use super::DeclineCode;
use std::future::Future;
use std::pin::Pin;
use tokens::Money;
use vault::Revealed;

/// What a processor is asked, on its way.
pub type Asking<'a, T> = Pin<Box<dyn Future<Output = Result<T, ProcessorError>> + Send + 'a>>;

/// A final answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done; `reference` is the processor's name for it.
    Approved {
        /// What a later refund or question names.
        reference: String,
    },
    /// Not done, and never will be under this key.
    Declined {
        /// Why.
        code: DeclineCode,
    },
}

/// No answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProcessorError {
    /// Nothing left this process: nothing can have happened.
    #[error("the processor cannot be reached and nothing was sent; retry")]
    NotSent,
    /// Something may have happened. Ask again with the same key; never try under another.
    #[error("the processor's answer did not arrive; ask again with the same key")]
    Unknown,
}

/// A payment processor. Every call carries a key; the same key again gives the same outcome and moves nothing.
pub trait Processor: Send + Sync {
    /// The processor's stable name, as it stands beside every charge.
    fn name(&self) -> &'static str;

    /// Authorizes `amount` on the card, and captures it at once when `capture` says so.
    fn authorize<'a>(
        &'a self,
        card: &'a Revealed,
        amount: Money,
        capture: bool,
        key: &'a str,
    ) -> Asking<'a, Outcome>;

    /// Gives `amount` back on what was captured under that reference, and nowhere else.
    fn refund<'a>(&'a self, charge_reference: &'a str, amount: Money, key: &'a str) -> Asking<'a, Outcome>;

    /// What became of that key; `None` when the processor never heard of it.
    fn ask<'a>(&'a self, key: &'a str) -> Asking<'a, Option<Outcome>>;
}
