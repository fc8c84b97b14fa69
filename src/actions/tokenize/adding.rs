//! New tokens as rows: nothing has to be asked of the database, so that the cards of many requests go down in one
//! statement.

use super::{Told, no_card};
use crate::actions::{Context, Stopped, store_problem, vault_problem};
use crate::answer::{Answer, Code, Problem};
use crate::gateway::Gateway;
use crate::idempotency::{Claim, Claimed};
use crate::payments::purpose;
use crate::record::now_us;
use store::{Rows, StoreError};
use tokens::Tenant;
use vault::{CardsDraft, CardsShape, Settled};

/// Adds the draft's cards, with the consent to charge them, the log's entries and the answer for whoever asks again.
pub(super) async fn add(
    gateway: &Gateway,
    context: &Context,
    tenant: &Tenant,
    shape: CardsShape,
    draft: CardsDraft,
    claim: Option<Claim>,
) -> Result<(Answer, Vec<Settled>), Problem> {
    let now = now_us();
    let (mut rows, mut told) = (Rows::new(), Told::default());
    for outcome in draft.lay_out(&mut rows, now).map_err(|error| vault_problem(&error))? {
        if let Ok(card) = &outcome {
            purpose::lay_out_stored_card(&mut rows, tenant, &card.token, context.request.as_str(), now);
        }
        told.tell(outcome);
    }
    if told.events.is_empty() {
        return Err(no_card());
    }
    let answer = told.answer(shape)?;
    if let Some(claim) = &claim {
        claim.lay_out(&mut rows, answer.to_store())?;
    }
    let events = std::mem::take(&mut told.events);
    match (gateway.recorder.add(&gateway.store, rows, &context.origin, events).await, claim) {
        (Ok(receipt), _) => Ok((answer.done(&receipt), told.settled)),
        (Err(StoreError::Conflict), Some(claim)) => Ok((earlier(gateway, claim).await?, Vec::new())),
        (Err(error), _) => Err(store_problem(&error)),
    }
}

/// The answer that the same key was given before. Where there is none, another row found no place: a token that is
/// taken (one in 10^39, or a card-shaped one in 10^7 and more) or a data key that ended. Sent again it goes through.
async fn earlier(gateway: &Gateway, claim: Claim) -> Result<Answer, Problem> {
    let found: Result<Answer, Stopped> = gateway
        .store
        .commit(move |work| {
            Box::pin(async move {
                match claim.take(work).await? {
                    Claimed::Replay(answer) => Ok(answer),
                    Claimed::Fresh | Claimed::TakenOver => Err(Problem::new(
                        Code::StoreBusy,
                        "A random value was taken and nothing was changed; retry",
                    )
                    .into()),
                }
            })
        })
        .await;
    found.map_err(Stopped::problem)
}
