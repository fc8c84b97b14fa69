//! A card destroyed: `DELETE /v1/tokens/{id}`. Later use of the token says 410.

use super::token_reading::{gone, unknown};
use super::{Acted, Context, Refusal, Stopped};
use crate::answer::Answer;
use crate::gateway::Gateway;
use crate::idempotency;
use crate::permit::{Permit, Shred};
use crate::record::{Event, now_us};
use audit::{Action, Resource};
use http::StatusCode;
use std::time::Duration;
use store::Store;
use tokens::Token;
use vault::shelf::{self, Shredded};

const CLEAR_TRIES: u32 = 60;
const CLEAR_PAUSE: Duration = Duration::from_secs(1);

#[derive(serde::Serialize)]
struct Body {
    id: Token,
    deleted: bool,
}

/// Shreds the record within the permit's tenant: envelope, fingerprint and metadata go, the last also from the answers
/// that are stored for retries; brand and last four stay.
pub async fn shred(gateway: &Gateway, context: &Context, permit: Permit<Shred>, id: &str) -> Acted {
    let refuse = |problem| Refusal::new(Action::TokenShred, problem);
    let token = Token::parse(id).map_err(|_| refuse(unknown()))?;
    let (recorder, origin, tenant) =
        (gateway.recorder.clone(), context.origin.clone(), permit.tenant().clone());
    let resource = Resource::Token(token.clone());
    let (subject, body) = (token.clone(), Body { id: token.clone(), deleted: true });
    let answer = gateway
        .store
        .commit(move |work| {
            Box::pin(async move {
                match shelf::shred(work, &tenant, &subject, now_us()).await? {
                    Shredded::Done => {}
                    Shredded::Already => return Err(Stopped::Problem(gone())),
                    Shredded::Unknown => return Err(Stopped::Problem(unknown())),
                }
                idempotency::forget_metadata(work, &tenant, &subject).await?;
                let event = Event::success(Action::TokenShred, Resource::Token(subject));
                let receipt = recorder.append(work, &origin, event).await?;
                Ok(Answer::done(&receipt, StatusCode::OK, &body))
            })
        })
        .await
        .map_err(|stopped| refuse(stopped.problem()).on(resource))?;
    gateway.vault.forget_cvc(permit.tenant(), &token);
    tokio::spawn(clear_log(gateway.store.clone()));
    Ok(answer)
}

/// The database's write-ahead log still holds the row as it was; it is emptied as soon as no reader needs it.
async fn clear_log(store: Store) {
    for _ in 0..CLEAR_TRIES {
        if store.checkpoint().await.is_ok() {
            return;
        }
        tokio::time::sleep(CLEAR_PAUSE).await;
    }
    tracing::warn!("the write-ahead log could not be emptied after a shredding; it is at the next stop");
}
