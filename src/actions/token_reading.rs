//! A token's masked metadata: `GET /v1/tokens/{id}`. Another tenant's token is answered like an unknown one.

use super::tokenize::{TokenBody, read_refusal};
use super::{Acted, Context, Refusal, Stopped, vault_problem};
use crate::answer::{Answer, Code, Problem};
use crate::gateway::Gateway;
use crate::permit::{Permit, ReadToken};
use crate::record::Event;
use audit::{Action, Resource};
use http::StatusCode;
use tokens::Token;
use vault::shelf::{self, CardState};

/// The answer for a token that is unknown, malformed or another tenant's: the three must not be told apart.
pub fn unknown() -> Problem {
    Problem::new(
        Code::UnknownToken,
        "Check the token and that your credential belongs to the tenant that made it",
    )
}

/// The answer for a token whose card is gone.
pub fn gone() -> Problem {
    Problem::new(Code::TokenGone, "Collect the card again; nothing can bring this record back")
}

/// Finds the token within the permit's tenant.
pub async fn show(gateway: &Gateway, context: &Context, permit: Permit<ReadToken>, id: &str) -> Acted {
    let refuse = |problem| Refusal::new(Action::TokenRead, problem);
    let token = Token::parse(id).map_err(|_| refuse(unknown()))?;
    let mut reader = gateway.store.read().await.map_err(|e| read_refusal(Action::TokenRead, &e))?;
    let found =
        shelf::find(&mut reader, permit.tenant(), &token).await.map_err(|e| refuse(vault_problem(&e)))?;
    drop(reader);
    let resource = Resource::Token(token);
    let record = found.ok_or_else(|| refuse(unknown()).on(resource.clone()))?;
    if record.state != CardState::Usable {
        return Err(refuse(gone()).on(resource));
    }
    let body = TokenBody::new(
        record.token,
        record.card,
        record.created_at_us,
        record.expires_at_us,
        record.metadata,
        None,
    );
    let (recorder, origin) = (gateway.recorder.clone(), context.origin.clone());
    gateway
        .store
        .commit(move |work| {
            Box::pin(async move {
                let receipt =
                    recorder.append(work, &origin, Event::success(Action::TokenRead, resource)).await?;
                Ok::<_, Stopped>(Answer::done(&receipt, StatusCode::OK, &body))
            })
        })
        .await
        .map_err(|stopped| refuse(stopped.problem()))
}
