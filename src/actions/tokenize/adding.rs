//! New tokens as rows: nothing has to be asked of the database, so that the cards of many requests go down in one
//! statement.

use super::{Told, no_card};
use crate::actions::{Context, store_problem, vault_problem};
use crate::answer::{Answer, Problem};
use crate::gateway::Gateway;
use crate::idempotency::Claim;
use crate::record::now_us;
use store::{Rows, StoreError};
use vault::{CardsDraft, CardsShape, Settled};

/// What became of it.
pub(super) enum Added {
    /// The cards are durable.
    Durable(Answer, Vec<Settled>),
    /// Something may be there already, a token of the card or an answer to the key: it has to be asked for, and nothing
    /// was added.
    NotNew(CardsDraft),
}

/// Adds the draft's cards, the log's entries and the answer for whoever asks again.
pub(super) async fn add(
    gateway: &Gateway,
    context: &Context,
    shape: CardsShape,
    draft: CardsDraft,
    claim: Option<&Claim>,
) -> Result<Added, Problem> {
    if !draft.only_adds() {
        return Ok(Added::NotNew(draft));
    }
    let (mut rows, mut told) = (Rows::new(), Told::default());
    for outcome in draft.lay_out(&mut rows, now_us()).map_err(|error| vault_problem(&error))? {
        told.tell(outcome);
    }
    if told.events.is_empty() {
        return Err(no_card());
    }
    let answer = told.answer(shape)?;
    if let Some(claim) = claim {
        claim.lay_out(&mut rows, answer.to_store())?;
    }
    let events = std::mem::take(&mut told.events);
    match gateway.recorder.add(&gateway.store, rows, &context.origin, events).await {
        Ok(receipt) => {
            draft.hand_codes_to(&mut told.settled);
            Ok(Added::Durable(answer.done(&receipt), told.settled))
        }
        // The key came first elsewhere. So may a token: one in 10^39, or a card-shaped one in 10^7 and more.
        Err(StoreError::Conflict) => Ok(Added::NotNew(draft)),
        Err(error) => Err(store_problem(&error)),
    }
}
