//! The embedded test processor: it behaves like a card network's test mode. Published test cards approve or decline as
//! documented, every other card is declined, and no money moves.
//!
//! Its books are its own: written in transactions of their own, never together with ours, as a processor across a
//! network would. They hold keys, amounts and outcomes, and nothing of a card.

mod books;
mod cards;

use super::DeclineCode;
use super::processor::{Asking, Outcome, Processor, ProcessorError};
use books::Line;
use cards::{Card, Verdict};
use store::Store;
use time::OffsetDateTime;
use tokens::Money;
use vault::Revealed;

/// The test processor. Same key, same outcome, also after a restart.
pub struct Sandbox {
    store: Store,
}

impl Sandbox {
    /// A test processor whose books are in that store.
    pub fn new(store: Store) -> Sandbox {
        Sandbox { store }
    }

    async fn decide(
        &self,
        wire: &[u8],
        amount: Money,
        capture: bool,
        key: &str,
    ) -> Result<Outcome, ProcessorError> {
        let today = OffsetDateTime::now_utc();
        let verdict = Card::read(wire).map_or(Verdict::Decline(DeclineCode::IncorrectNumber), |card| {
            card.judge(u8::from(today.month()), u16::try_from(today.year()).unwrap_or(u16::MAX))
        });
        let outcome = match verdict {
            Verdict::Approve | Verdict::Silent => Outcome::Approved { reference: format!("sandbox/{key}") },
            Verdict::Decline(code) => Outcome::Declined { code },
        };
        let line = Line::authorization(key, amount, capture, outcome);
        let (booked, fresh) = books::enter(&self.store, line).await?;
        if fresh && verdict == Verdict::Silent {
            // Done and booked, but the answer is lost on its way: only asking again brings it out.
            return Err(ProcessorError::Unknown);
        }
        Ok(booked)
    }
}

impl Processor for Sandbox {
    fn name(&self) -> &'static str {
        "sandbox"
    }

    fn authorize<'a>(
        &'a self,
        card: &'a Revealed,
        amount: Money,
        capture: bool,
        key: &'a str,
    ) -> Asking<'a, Outcome> {
        Box::pin(async move { self.decide(card.wire(), amount, capture, key).await })
    }

    fn refund<'a>(&'a self, charge_reference: &'a str, amount: Money, key: &'a str) -> Asking<'a, Outcome> {
        Box::pin(async move {
            let line = Line::refund(key, charge_reference, amount);
            Ok(books::enter(&self.store, line).await?.0)
        })
    }

    fn ask<'a>(&'a self, key: &'a str) -> Asking<'a, Option<Outcome>> {
        Box::pin(books::find(&self.store, key.to_owned()))
    }
}
