//! A card in, a token out: `POST /v1/tokens` and `POST /v1/tokens/batch`.

use super::{Acted, Context, Refusal, Stopped, store_problem, vault_problem};
use crate::answer::{Answer, Code, DrawnUp, Problem};
use crate::gateway::Gateway;
use crate::idempotency::{Claim, Claimed};
use crate::permit::{Permit, Tokenize};
use crate::record::{Event, now_us, rfc3339};
use audit::{Action, Resource};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use tokens::{MaskedCard, Tenant, Token};
use vault::shelf::Metadata;
use vault::{CardProblem, CardsDraft, CardsShape, Declared, Intake, Settled};

mod adding;

use adding::Added;

/// A token as the contract shows it.
#[derive(Serialize)]
pub struct TokenBody {
    id: Token,
    object: &'static str,
    card: MaskedCard,
    created_at: String,
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Metadata::is_empty")]
    metadata: Metadata,
    #[serde(skip_serializing_if = "Option::is_none")]
    reused: Option<bool>,
}

impl TokenBody {
    pub(super) fn new(
        id: Token,
        card: MaskedCard,
        created_at_us: i64,
        expires_at_us: Option<i64>,
        metadata: Metadata,
        reused: Option<bool>,
    ) -> TokenBody {
        let created_at = rfc3339(created_at_us);
        TokenBody {
            id,
            object: "token",
            card,
            created_at,
            expires_at: expires_at_us.map(rfc3339),
            metadata,
            reused,
        }
    }

    fn of(settled: &Settled) -> TokenBody {
        TokenBody::new(
            settled.token.clone(),
            settled.card.clone(),
            settled.created_at_us,
            settled.expires_at_us,
            settled.metadata.clone(),
            Some(settled.reused),
        )
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum BatchLine {
    Token(TokenBody),
    Problem {
        code: &'static str,
        detail: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        place: Option<String>,
    },
}

#[derive(Serialize)]
struct Batch {
    data: Vec<BatchLine>,
}

/// Seals the body's card or cards and answers with tokens.
pub async fn create(
    gateway: &Gateway,
    context: &Context,
    permit: Permit<Tokenize>,
    shape: CardsShape,
    headers: &HeaderMap,
    body: crate::edge::Inbound,
) -> Acted {
    let refuse = |problem: Problem| Refusal::new(Action::TokenCreate, problem);
    let tenant = permit.tenant().clone();
    let endpoint = match shape {
        CardsShape::One => "tokens",
        CardsShape::Batch => "tokens_batch",
    };

    let intake = gateway.vault.intake(headers, body).await.map_err(|e| refuse(vault_problem(&e)))?;
    let claim = claim(gateway, context, &permit_parts(&permit), endpoint, &intake, Declared::Cards(shape))
        .await
        .map_err(refuse)?;
    let _working = claim.as_ref().map(|claim| gateway.running.enter(claim)).transpose().map_err(refuse)?;
    ensure_data_key(gateway, context, &tenant).await.map_err(refuse)?;
    let draft = gateway
        .vault
        .draft_cards(&tenant, intake, shape)
        .await
        .map_err(|e| refuse(vault_problem(&e)))?
        .with_consent(context.request.clone());

    let added = adding::add(gateway, context, shape, draft, claim.as_ref()).await.map_err(refuse)?;
    let (answer, mut settled) = match added {
        Added::Durable(answer, settled) => (answer, settled),
        Added::NotNew(draft) => settle(gateway, context, shape, draft, claim).await.map_err(refuse)?,
    };
    for card in &mut settled {
        gateway.vault.hold_cvc(card);
        gateway.metrics.token_created(card.reused);
    }
    Ok(answer)
}

/// One act, which may find the tokens there already.
async fn settle(
    gateway: &Gateway,
    context: &Context,
    shape: CardsShape,
    draft: CardsDraft,
    claim: Option<Claim>,
) -> Result<(Answer, Vec<Settled>), Problem> {
    let (recorder, origin) = (gateway.recorder.clone(), context.origin.clone());
    let committed: Result<(Answer, Vec<Settled>), Stopped> = gateway
        .store
        .commit(move |work| {
            Box::pin(async move {
                if let Some(claim) = &claim
                    && let Claimed::Replay(answer) = claim.take(work).await?
                {
                    return Ok((answer, Vec::new()));
                }
                let now = now_us();
                let mut told = Told::default();
                for outcome in draft.settle(work, now).await? {
                    told.tell(outcome);
                }
                let mut receipt = None;
                for event in std::mem::take(&mut told.events) {
                    receipt = Some(recorder.append(work, &origin, event).await?);
                }
                let receipt = receipt.ok_or_else(no_card)?;
                let answer = told.answer(shape)?.done(&receipt);
                if let Some(claim) = &claim {
                    claim.finish(work, &answer).await?;
                }
                Ok((answer, told.settled))
            })
        })
        .await;
    committed.map_err(Stopped::problem)
}

fn no_card() -> Problem {
    Problem::new(Code::MissingField, "Send at least one card").at("cards")
}

/// What became of the request's cards: the lines of the answer, the entries of the log.
#[derive(Default)]
struct Told {
    lines: Vec<BatchLine>,
    events: Vec<Event>,
    settled: Vec<Settled>,
}

impl Told {
    fn tell(&mut self, outcome: Result<Settled, CardProblem>) {
        match outcome {
            Ok(card) => {
                let action = if card.reused { Action::TokenReuse } else { Action::TokenCreate };
                self.events.push(Event::success(action, Resource::Token(card.token.clone())));
                self.lines.push(BatchLine::Token(TokenBody::of(&card)));
                self.settled.push(card);
            }
            Err(problem) => {
                let place = problem.place();
                let problem = vault_problem(&problem);
                let code = problem.code_text();
                self.events.push(Event::refused(Action::TokenCreate, Resource::None, code));
                self.lines.push(BatchLine::Problem { code, detail: problem.detail().to_owned(), place });
            }
        }
    }

    fn answer(&mut self, shape: CardsShape) -> Result<DrawnUp, Problem> {
        let mut lines = std::mem::take(&mut self.lines);
        match (shape, lines.pop()) {
            (CardsShape::One, Some(BatchLine::Token(body))) => {
                Ok(Answer::draw_up(StatusCode::CREATED, &body))
            }
            (CardsShape::One, _) => {
                Err(Problem::new(Code::Internal, "No card was settled; report the request_id"))
            }
            (CardsShape::Batch, last) => {
                lines.extend(last);
                Ok(Answer::draw_up(StatusCode::OK, &Batch { data: lines }))
            }
        }
    }
}

/// The parts of a permit that a claim needs.
pub(super) struct Claimant {
    pub(super) tenant: Tenant,
    pub(super) principal: tokens::Principal,
}

fn permit_parts(permit: &Permit<Tokenize>) -> Claimant {
    Claimant { tenant: permit.tenant().clone(), principal: permit.caller().principal().clone() }
}

/// The claim on the request's idempotency key, if it carries one. The MAC is made before any transaction is open.
pub(super) async fn claim(
    gateway: &Gateway,
    context: &Context,
    claimant: &Claimant,
    endpoint: &str,
    intake: &Intake,
    declared: Declared<'_>,
) -> Result<Option<Claim>, Problem> {
    let Some(key) = context.idempotency_key.clone() else { return Ok(None) };
    let request_macs =
        gateway.vault.request_macs(endpoint, intake, declared).await.map_err(|e| vault_problem(&e))?;
    Ok(Some(Claim {
        tenant: claimant.tenant.clone(),
        principal: claimant.principal.clone(),
        endpoint: endpoint.to_owned(),
        key,
        request_macs,
        owner: gateway.owner.clone(),
    }))
}

/// A tenant's first card needs a data key; its making is recorded like every act on keys.
pub(super) async fn ensure_data_key(
    gateway: &Gateway,
    context: &Context,
    tenant: &Tenant,
) -> Result<(), Problem> {
    let wanted = gateway.vault.data_key_wanted(tenant).await.map_err(|e| vault_problem(&e))?;
    let Some(draft) = wanted else { return Ok(()) };
    let (recorder, origin) = (gateway.recorder.clone(), context.origin.clone());
    gateway
        .store
        .commit(move |work| {
            Box::pin(async move {
                let resource = Resource::DataKey(*draft.id().as_bytes());
                if draft.settle(work, now_us()).await? {
                    let _receipt = recorder
                        .append(work, &origin, Event::success(Action::DataKeyCreate, resource))
                        .await?;
                }
                Ok::<(), Stopped>(())
            })
        })
        .await
        .map_err(Stopped::problem)
}

/// Used by acts that read: the store's error on the way to a reader.
pub(super) fn read_refusal(action: Action, error: &store::StoreError) -> Refusal {
    Refusal::new(action, store_problem(error))
}
