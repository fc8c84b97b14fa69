//! A token's masked metadata: `GET /v1/tokens/{id}`. Another tenant's token is answered like an unknown one.

use super::tokenize::{TokenBody, read_refusal};
use super::{Acted, Context, Refusal, vault_problem};
use crate::answer::{Answer, Code, Problem};
use crate::gateway::Gateway;
use crate::permit::{Permit, ReadToken};
use crate::record::Event;
use audit::{Action, Resource};
use http::StatusCode;
use store::Rows;
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
    let mut store = gateway.store.clone();
    let found =
        shelf::find(&mut store, permit.tenant(), &token).await.map_err(|e| refuse(vault_problem(&e)))?;
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
    let read = vec![Event::success(Action::TokenRead, resource)];
    let receipt = gateway
        .recorder
        .add(&gateway.store, Rows::new(), &context.origin, read)
        .await
        .map_err(|error| read_refusal(Action::TokenRead, &error))?;
    Ok(Answer::done(&receipt, StatusCode::OK, &body))
}
