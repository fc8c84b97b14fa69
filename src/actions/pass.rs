//! A message with a card, on its way to the companion: swapped, swept, forwarded; the answer swept on its way back.
//!
//! ```text
//! intake ► claim ► draft (seal) ► [ settle + purposes + entries ] ► scrub ► send ► sweep answer ► [ entry + stored answer ]
//! ```
//! Brackets are transactions; the HSM and the companion are never called inside one.

use super::tokenize::{Claimant, claim, ensure_data_key};
use super::{Acted, Context, Refusal, Stopped, vault_problem};
use crate::answer::{Answer, Code, Problem};
use crate::edge::Inbound;
use crate::gateway::Gateway;
use crate::governance::NoEgress;
use crate::idempotency::{Claim, Claimed};
use crate::payments::purpose;
use crate::permit::{Pass, Permit};
use crate::record::{Event, Receipt, now_us};
use crate::routes::PassRoute;
use crate::upstream::companion::CompanionError;
use audit::{Action, Resource};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use store::{StoreError, Work};
use tokens::{Currency, Money, Tenant, Token};
use vault::{Declared, Facts, Head, Scrubbed, Settled, SettledMessage, SweptAnswer};

/// Swaps, forwards and answers.
pub async fn forward(
    gateway: &Gateway,
    context: &Context,
    permit: Permit<Pass>,
    route: &PassRoute,
    parts: &Parts,
    body: Inbound,
) -> Acted {
    let resource = Resource::Route(route.name.clone());
    let refuse = |problem: Problem| Refusal::new(Action::MessageRefuse, problem).on(resource.clone());

    let intake = gateway.vault.intake(&parts.headers, body).await.map_err(|e| refuse(vault_problem(&e)))?;
    let claimant =
        Claimant { tenant: permit.tenant().clone(), principal: permit.caller().principal().clone() };
    let claim =
        claim(gateway, context, &claimant, route.name.as_str(), &intake, Declared::Route(&route.shape))
            .await
            .map_err(refuse)?;
    let _working = claim.as_ref().map(|claim| gateway.running.enter(claim)).transpose().map_err(refuse)?;
    ensure_data_key(gateway, context, permit.tenant()).await.map_err(refuse)?;

    let head = head(context, &permit, parts).map_err(refuse)?;
    let draft = gateway
        .vault
        .draft_message(permit.tenant(), head, intake, &route.shape)
        .await
        .map_err(|e| refuse(vault_problem(&e)))?;
    let amount = amount(draft.facts()).map_err(refuse)?;

    let settled =
        settle(gateway, context, &permit, route, draft, amount, claim.clone()).await.map_err(refuse)?;
    let mut message = match settled {
        Step::Replayed(answer) => return Ok(answer),
        Step::Settled(message) => message,
    };
    let opened = Opened {
        tenant: permit.tenant().clone(),
        opener: opener(context, claim.as_ref()),
        tokens: message.cards().iter().map(|card| card.token.clone()).collect(),
    };
    for card in message.cards() {
        gateway.vault.hold_cvc(card);
        gateway.metrics.token_created(card.reused);
    }
    let scrubbed = match message.scrub() {
        Ok(scrubbed) => scrubbed,
        Err(error) => {
            let refusal = refuse(vault_problem(&error));
            release(gateway, claim, Some(opened)).await;
            return Err(refusal);
        }
    };
    match exchange(gateway, scrubbed).await {
        Ok(answer) => conclude(gateway, context, route, claim, opened, answer).await.map_err(refuse),
        Err(Unanswered { problem, sent }) => {
            // What was sent may still be charged; what never left will not be.
            release(gateway, claim, (!sent).then_some(opened)).await;
            let action = if problem.code() == Code::StrayPanInAnswer {
                Action::AnswerReplace
            } else {
                Action::MessageForward
            };
            Err(Refusal::new(action, problem).on(resource))
        }
    }
}

/// The payments that one message opened.
struct Opened {
    tenant: Tenant,
    opener: String,
    tokens: Vec<Token>,
}

impl Opened {
    async fn close(&self, work: &mut Work<'_>) -> Result<(), StoreError> {
        for token in &self.tokens {
            purpose::close_payment(work, &self.tenant, token, &self.opener).await?;
        }
        Ok(())
    }
}

/// What opens a message's payments: its idempotency key, or else the one request.
fn opener(context: &Context, claim: Option<&Claim>) -> String {
    claim.map_or_else(|| context.request.as_str().to_owned(), Claim::name)
}

enum Step {
    Settled(Box<SettledMessage>),
    Replayed(Answer),
}

/// What the companion is told: allowed headers of the caller's, and who calls for whom.
fn head(context: &Context, permit: &Permit<Pass>, parts: &Parts) -> Result<Head, Problem> {
    let mut headers: HeaderMap = crate::edge::forwardable(&parts.headers);
    for (name, value) in [
        ("pangate-tenant", permit.tenant().as_str()),
        ("pangate-principal", permit.caller().principal().as_str()),
        ("pangate-request-id", context.request.as_str()),
    ] {
        let value = HeaderValue::from_str(value).map_err(|_| {
            Problem::new(Code::Internal, "The request could not be prepared; report its request_id")
        })?;
        headers.insert(name, value);
    }
    let path_and_query = parts.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
    Ok(Head { method: parts.method.clone(), path_and_query, headers })
}

/// The amount that the message collects a card for, when its route names one.
fn amount(facts: &Facts) -> Result<Option<Money>, Problem> {
    let (Some(amount), Some(currency)) = (facts.amount.as_deref(), facts.currency.as_deref()) else {
        return Ok(None);
    };
    let wrong = |place: &'static str, detail| Problem::new(Code::InvalidAmount, detail).at(place);
    let currency = Currency::parse(currency).map_err(|_| {
        wrong("currency", "Use an ISO 4217 code in capitals that pangate handles, such as \"USD\"")
    })?;
    let money = Money::parse(amount, currency).map_err(|_| {
        wrong("amount", "Send a decimal string with at most the currency's decimals, such as \"125.40\"")
    })?;
    if money.is_zero() {
        return Err(wrong("amount", "The amount must be above zero"));
    }
    Ok(Some(money))
}

async fn settle(
    gateway: &Gateway,
    context: &Context,
    permit: &Permit<Pass>,
    route: &PassRoute,
    draft: vault::MessageDraft,
    amount: Option<Money>,
    claim: Option<Claim>,
) -> Result<Step, Problem> {
    let (recorder, origin, opener) =
        (gateway.recorder.clone(), context.origin.clone(), opener(context, claim.as_ref()));
    let (tenant, resource) = (permit.tenant().clone(), Resource::Route(route.name.clone()));
    gateway
        .store
        .commit(move |work| {
            Box::pin(async move {
                if let Some(claim) = &claim
                    && let Claimed::Replay(answer) = claim.take(work).await?
                {
                    return Ok(Step::Replayed(answer));
                }
                let now = now_us();
                let mut message = draft.settle(work, now).await?;
                for card in message.cards() {
                    let token = &card.token;
                    if let Some(amount) = amount {
                        purpose::open_payment(work, &tenant, token, amount, &opener, now).await?;
                    }
                    let _receipt = recorder.append(work, &origin, card_event(card)).await?;
                }
                let _receipt =
                    recorder.append(work, &origin, Event::success(Action::MessageForward, resource)).await?;
                Ok(Step::Settled(Box::new(message)))
            })
        })
        .await
        .map_err(Stopped::problem)
}

fn card_event(card: &Settled) -> Event {
    let action = if card.reused { Action::TokenReuse } else { Action::TokenCreate };
    Event::success(action, Resource::Token(card.token.clone()))
}

/// No answer to give on.
struct Unanswered {
    problem: Problem,
    /// Whether the companion may have got the message.
    sent: bool,
}

/// Sends what was scrubbed and sweeps what comes back.
async fn exchange(gateway: &Gateway, scrubbed: Scrubbed) -> Result<SweptAnswer, Unanswered> {
    let response = gateway.companion.send(scrubbed).await.map_err(|error| {
        tracing::warn!(error = %error, "companion");
        let sent = !matches!(
            error,
            CompanionError::NotSent | CompanionError::NoEgress(_) | CompanionError::Message(_)
        );
        let problem = match error {
            CompanionError::NoEgress(refused) => no_egress(refused),
            CompanionError::NotSent => Problem::new(
                Code::CompanionUnavailable,
                "Nothing was charged; retry with the same Idempotency-Key and body",
            ),
            _ => Problem::new(
                Code::CompanionUnavailable,
                "Whether the payment went through is not known; retry with the same Idempotency-Key and body to find out",
            ),
        };
        Unanswered { problem, sent }
    })?;
    let (parts, body) = response.into_parts();
    let swept = gateway.vault.sweep_answer(parts, body).await;
    swept.map_err(|error| Unanswered { problem: vault_problem(&error), sent: true })
}

/// The policy does not let anything go to the companion.
fn no_egress(refused: NoEgress) -> Problem {
    let code = match refused {
        NoEgress::Unlisted => Code::VendorUnlisted,
        NoEgress::Expired => Code::VendorExpired,
        NoEgress::Address => Code::VendorAddress,
    };
    Problem::new(code, "Nothing was sent; tell the operator, who finds the record in policy/vendors")
}

/// Whether the companion's answer ends the matter. A failure of its own does not, nor does "not now" (a twin still
/// runs there, it read too slowly, it has too much to do): stored, that word would be all a retry ever gets.
fn is_final(status: StatusCode) -> bool {
    !(status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT
                | StatusCode::CONFLICT
                | StatusCode::TOO_EARLY
                | StatusCode::TOO_MANY_REQUESTS
        ))
}

/// Records what came back and stores the answer for whoever repeats the request, if it is an end; otherwise the key
/// is let go. A final refusal closes the payments that the message opened: a charge for what the companion refused
/// would be one that nobody asked for.
async fn conclude(
    gateway: &Gateway,
    context: &Context,
    route: &PassRoute,
    claim: Option<Claim>,
    opened: Opened,
    swept: SweptAnswer,
) -> Result<Answer, Problem> {
    let (recorder, origin) = (gateway.recorder.clone(), context.origin.clone());
    let resource = Resource::Route(route.name.clone());
    gateway
        .store
        .commit(move |work| {
            Box::pin(async move {
                let (failed, last) = (swept.status().is_server_error(), is_final(swept.status()));
                let event = if failed {
                    Event::failed(Action::MessageAnswer, resource, "companion_failed")
                } else {
                    Event::success(Action::MessageAnswer, resource)
                };
                let receipt: Receipt = recorder.append(work, &origin, event).await?;
                if last && swept.status().is_client_error() {
                    opened.close(work).await?;
                }
                let answer = Answer::relayed(&receipt, swept);
                match &claim {
                    Some(claim) if last => claim.finish(work, &answer).await?,
                    Some(claim) => claim.release(work).await?,
                    None => {}
                }
                Ok::<Answer, Stopped>(answer)
            })
        })
        .await
        .map_err(Stopped::problem)
}

/// Lets the key go after a failure, so that the retry can run, and closes what was opened for nothing. Should this
/// fail too, the next run takes over.
async fn release(gateway: &Gateway, claim: Option<Claim>, opened: Option<Opened>) {
    if claim.is_none() && opened.is_none() {
        return;
    }
    let released: Result<(), Stopped> = gateway
        .store
        .commit(move |work| {
            Box::pin(async move {
                if let Some(opened) = &opened {
                    opened.close(work).await?;
                }
                if let Some(claim) = &claim {
                    claim.release(work).await?;
                }
                Ok(())
            })
        })
        .await;
    if released.is_err() {
        tracing::warn!("an idempotency key could not be released; a retry takes it over");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_asks_to_come_again_is_no_end() {
        for status in [200, 201, 400, 402, 404, 422] {
            assert!(is_final(StatusCode::from_u16(status).unwrap()), "{status}");
        }
        for status in [408, 409, 425, 429, 500, 502, 503, 504] {
            assert!(!is_final(StatusCode::from_u16(status).unwrap()), "{status}");
        }
    }
}
