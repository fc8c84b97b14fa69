//! The front desk: one request in, one answer out. Hygiene, sweep of the head, identity, permit, act, record.

mod limits;
mod people;

use crate::actions::{self, Acted, Context, Refusal, store_problem};
use crate::answer::{Answer, Code, Problem, denied_problem};
use crate::caller::Caller;
use crate::edge::{Inbound, Peer};
use crate::gateway::Gateway;
use crate::governance::Bundle;
use crate::idempotency::Key;
use crate::permit::{self, Act, Permit};
use crate::record::{Event, Origin, now_us};
use crate::routes::{Matched, NoRoute};
use audit::{Action, Actor, ActorRole, Resource, RouteName, Source};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::Body as _;
use http_body_util::Full;
use limits::{address, limited, stranger_refused};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;
use sweep::{Kind, Verdict};
use tokens::RequestId;
use vault::CardsShape;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Answers one request. Never panics on input, never repeats input.
pub async fn answer(gateway: &Gateway, request: Request<Inbound>, peer: Peer) -> Response<Full<Bytes>> {
    let started = Instant::now();
    let id = peer.request.clone();
    let (parts, body) = request.into_parts();
    let mut origin = stranger(peer.addr.ip(), id.clone());
    let (route, acted) = handle(gateway, &parts, body, &mut origin).await;
    let (answer, code) = match acted {
        Ok(answer) => (answer, "ok"),
        Err(refusal) => {
            let (code, stray) = (refusal.problem.code_text(), is_stray(refusal.problem.code()));
            let answer = refuse(gateway, &origin, refusal, &id).await;
            // A parser keeps what it read of a head for as long as its connection (in HTTP/2, a table of headers).
            let close = HeaderValue::from_static("close");
            (if stray { answer.with_header(CONNECTION, close) } else { answer }, code)
        }
    };
    let status = answer.status();
    gateway.metrics.request(route, status, started.elapsed());
    // The target is never logged: it is the caller's text. The route's name is ours.
    tracing::info!(
        request_id = id.as_str(),
        route,
        status = status.as_u16(),
        code,
        principal = origin.actor.principal.as_ref().map(tokens::Principal::as_str),
        micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
        "answered"
    );
    answer.into_response(&id)
}

/// Records what the door turned away; who it was is not known there.
pub async fn turned_away(gateway: &Gateway, code: Code, address: IpAddr, request: RequestId) {
    let origin = stranger(address, request);
    let event = if code.status().is_server_error() {
        Event::failed(Action::MessageRefuse, Resource::None, code.as_str())
    } else {
        Event::refused(Action::MessageRefuse, Resource::None, code.as_str())
    };
    let recorded = gateway.recorder.add(&gateway.store, store::Rows::new(), &origin, vec![event]).await;
    if let Err(error) = recorded {
        tracing::warn!(error = %error, "a refusal at the door could not be recorded");
    }
}

fn stranger(address: IpAddr, request: RequestId) -> Origin {
    Origin {
        actor: Actor { role: ActorRole::Anonymous, principal: None },
        tenant: None,
        request: Some(request),
        source: Source::Ip(address),
    }
}

/// Whether something of a card stood where none belongs.
fn is_stray(code: Code) -> bool {
    matches!(code, Code::StrayPan | Code::StraySensitiveData | Code::StrayPanInAnswer)
}

/// A refusal is recorded before it is told. When that fails too, nothing happened and the answer is a 503.
async fn refuse(gateway: &Gateway, origin: &Origin, refusal: Refusal, id: &RequestId) -> Answer {
    let problem = refusal.problem;
    // What is beyond a limit is recorded once, where it is found.
    if problem.code().is_of_the_store() || problem.code() == Code::RateLimited {
        return Answer::at_the_door(&problem, id);
    }
    if is_stray(problem.code()) {
        gateway.metrics.stray_refused();
    }
    let event = if problem.status().is_server_error() {
        Event::failed(refusal.action, refusal.resource, problem.code_text())
    } else {
        Event::refused(refusal.action, refusal.resource, problem.code_text())
    };
    match gateway.recorder.add(&gateway.store, store::Rows::new(), origin, vec![event]).await {
        Ok(receipt) => Answer::refused(&receipt, &problem, id),
        Err(error) if problem.status().is_server_error() => {
            tracing::warn!(error = %error, "a failure could not be recorded");
            Answer::at_the_door(&problem, id)
        }
        Err(error) => Answer::at_the_door(&store_problem(&error), id),
    }
}

async fn handle(
    gateway: &Gateway,
    parts: &Parts,
    body: Inbound,
    origin: &mut Origin,
) -> (&'static str, Acted) {
    let door = |problem| Refusal::new(Action::AccessRefuse, problem);
    if let Err(problem) = sweep_head(parts) {
        return ("none", Err(Refusal::new(Action::MessageRefuse, problem)));
    }
    let matched = match gateway.routes.find(&parts.method, parts.uri.path()) {
        Ok(matched) => matched,
        Err(missing) => {
            // Who asks is told first: a stranger learns nothing of the routes.
            let known = gateway.credentials.identify(parts.headers.get(AUTHORIZATION)).await;
            let known = match known {
                Ok(known) => known.admit(address(origin), "none"),
                Err(problem) => return ("none", Err(stranger_refused(gateway, origin, door(problem)).await)),
            };
            return (
                "none",
                Err(door(known.err().unwrap_or_else(|| no_route(gateway, missing, parts.uri.path())))),
            );
        }
    };
    let route = matched.label();
    if let Matched::OpenSession = matched {
        if let Err(exceeded) = gateway.rates.stranger(address(origin), now_us()) {
            return (route, Err(limited(gateway, origin, exceeded).await));
        }
        return (route, people::sign_in(gateway, parts, body, origin).await);
    }
    let known = match gateway.credentials.identify(parts.headers.get(AUTHORIZATION)).await {
        Ok(known) => known,
        Err(problem) => {
            let refusal = Refusal::new(Action::CredentialRefuse, problem);
            return (route, Err(stranger_refused(gateway, origin, refusal).await));
        }
    };
    let from = address(origin);
    let admitted = known.admit(from, route);
    let caller = match from {
        Some(address) => known.caller.with_source(address),
        None => known.caller,
    };
    origin.actor = Actor { role: caller.role().actor(), principal: Some(caller.principal().clone()) };
    origin.tenant = caller.tenant().cloned();
    if let Err(exceeded) = gateway.rates.known(&caller, now_us()) {
        return (route, Err(limited(gateway, origin, exceeded).await));
    }
    if let Err(problem) = admitted {
        return (route, Err(Refusal::new(Action::CredentialRefuse, problem)));
    }
    if let Some(duty) = caller.session().and_then(|session| session.duty)
        && !matched.is_of_ones_own_account()
    {
        return (route, Err(door(people::first_of_all(duty))));
    }
    let idempotency_key =
        match parts.headers.get(IDEMPOTENCY_KEY).map(|v| Key::parse(v.as_bytes())).transpose() {
            Ok(key) => key,
            Err(problem) => return (route, Err(door(problem))),
        };
    let Some(request) = origin.request.clone() else {
        return (route, Err(door(Problem::new(Code::Internal, "The request has no id; report this"))));
    };
    let context = Context { request, origin: origin.clone(), idempotency_key };
    let asker = Asker { bundle: gateway.governance.now(), caller };
    (route, act(gateway, &context, &asker, matched, parts, body).await)
}

/// Request line and headers are searched before anything else is done with them; what is found is not repeated.
fn sweep_head(parts: &Parts) -> Result<(), Problem> {
    let target = parts.uri.path_and_query().map_or("/", |p| p.as_str());
    // In HTTP/2 the host stands in the target (RFC 9113 §8.3.1).
    let authority = parts.uri.authority().map(|authority| ("host", authority.as_str().as_bytes()));
    let headers = parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    match sweep::sweep_head(target, authority.into_iter().chain(headers)) {
        Verdict::Clean => Ok(()),
        Verdict::Hit(hit) => {
            let code = match hit.kind {
                Kind::Pan | Kind::Unmasked => Code::StrayPan,
                Kind::VerificationCode => Code::StraySensitiveData,
            };
            let detail =
                "Send card data only in the declared fields of the body, never in the target or a header";
            Err(Problem::new(code, detail).at(hit.place.to_string()))
        }
    }
}

fn no_route(gateway: &Gateway, missing: NoRoute, path: &str) -> Problem {
    match missing {
        NoRoute::Path => Problem::new(Code::UnknownRoute, "Check the path; the README lists what is served"),
        NoRoute::Method => Problem::new(Code::MethodNotAllowed, "Use one of the methods in the Allow header")
            .allowing(gateway.routes.methods(path)),
    }
}

/// Who asks for permits in one request, under the policy that was in force when it began.
struct Asker {
    bundle: Arc<Bundle>,
    caller: Caller,
}

impl Asker {
    fn permit<A: Act>(&self) -> Result<Permit<A>, Refusal> {
        permit::ask(&self.bundle, &self.caller, now_us()).map_err(|denied| {
            let rule = denied.rule().and_then(|rule| RouteName::parse(rule).ok());
            Refusal::new(Action::AccessRefuse, denied_problem(&denied))
                .on(rule.map_or(Resource::None, Resource::Rule))
        })
    }
}

/// From route to act. Every arm asks for its permit.
async fn act(
    gateway: &Gateway,
    context: &Context,
    asker: &Asker,
    matched: Matched<'_>,
    parts: &Parts,
    body: Inbound,
) -> Acted {
    let headers = &parts.headers;
    let query = parts.uri.query().unwrap_or("");
    match matched {
        Matched::Tokens => {
            actions::tokenize::create(gateway, context, asker.permit()?, CardsShape::One, headers, body).await
        }
        Matched::TokensBatch => {
            actions::tokenize::create(gateway, context, asker.permit()?, CardsShape::Batch, headers, body)
                .await
        }
        Matched::Token(id) => actions::token_reading::show(gateway, context, asker.permit()?, id).await,
        Matched::ShredToken(id) => actions::shred::shred(gateway, context, asker.permit()?, id).await,
        Matched::CreateCharge => {
            let permit = asker.permit()?;
            let body = plain_json(gateway, headers, body, Action::ChargeCreate).await?;
            actions::charge::create(gateway, context, permit, body).await
        }
        Matched::Charge(id) => actions::charge::show(gateway, context, asker.permit()?, id).await,
        Matched::Charges => actions::charge::list(gateway, context, asker.permit()?, query).await,
        Matched::CreateRefund => {
            let permit = asker.permit()?;
            let body = plain_json(gateway, headers, body, Action::RefundCreate).await?;
            actions::refund::create(gateway, context, permit, body).await
        }
        Matched::ApproveRefund(id) => actions::refund::approve(gateway, context, asker.permit()?, id).await,
        Matched::Refund(id) => actions::refund::show(gateway, context, asker.permit()?, id).await,
        Matched::Refunds => actions::refund::list(gateway, context, asker.permit()?, query).await,
        Matched::Keys => actions::keys::list(gateway, context, asker.permit()?).await,
        Matched::RotateKey(_)
        | Matched::RetireKey(..)
        | Matched::DestroyKey(..)
        | Matched::MigrateKeys
        | Matched::RecordCeremony
        | Matched::RotateDataKey(_)
        | Matched::ShredTenant(_)
        | Matched::Approvals
        | Matched::Approval(_)
        | Matched::Approve(_)
        | Matched::Reject(_)
        | Matched::Jobs
        | Matched::Job(_)
        | Matched::PauseJob(_)
        | Matched::ResumeJob(_) => act_on_keys(gateway, context, asker, matched, parts, body).await,
        Matched::OpenSession
        | Matched::CurrentSession
        | Matched::EndSession
        | Matched::ChangePassword
        | Matched::BeginFactor
        | Matched::ConfirmFactor => {
            people::act_on_own_account(gateway, context, asker, matched, parts, body).await
        }
        Matched::People
        | Matched::CreatePerson
        | Matched::DisablePerson(_)
        | Matched::EnablePerson(_)
        | Matched::RevokeSessions(_)
        | Matched::ResetPassword(_)
        | Matched::ResetFactor(_) => {
            people::act_on_people(gateway, context, asker, matched, parts, body).await
        }
        Matched::AuditEntries => actions::log_reading::list(gateway, context, asker.permit()?, query).await,
        Matched::DeviceLog => actions::device_log::list(gateway, context, asker.permit()?, query).await,
        Matched::Pass(route) => {
            actions::pass::forward(gateway, context, asker.permit()?, route, parts, body).await
        }
    }
}

/// The acts on keys, approvals and jobs.
async fn act_on_keys(
    gateway: &Gateway,
    context: &Context,
    asker: &Asker,
    matched: Matched<'_>,
    parts: &Parts,
    body: Inbound,
) -> Acted {
    use actions::{approvals, jobs, keys};
    let query = parts.uri.query().unwrap_or("");
    match matched {
        Matched::Approvals => return approvals::list(gateway, context, asker.permit()?).await,
        Matched::Approval(id) => return approvals::show(gateway, context, asker.permit()?, id).await,
        Matched::Jobs => return jobs::list(gateway, context, asker.permit()?, query).await,
        Matched::Job(id) => return jobs::show(gateway, context, asker.permit()?, id).await,
        _ => {}
    }
    let permit = asker.permit()?;
    let body = json_or_nothing(gateway, &parts.headers, body, Action::KeyApprovalOpen).await?;
    match matched {
        Matched::RotateKey(name) => keys::rotate(gateway, context, permit, &name, &body).await,
        Matched::RetireKey(name, version) => {
            keys::retire(gateway, context, permit, (&name, version), &body).await
        }
        Matched::DestroyKey(name, version) => {
            keys::destroy(gateway, context, permit, (&name, version), &body).await
        }
        Matched::MigrateKeys => keys::migrate(gateway, context, permit, &body).await,
        Matched::RecordCeremony => keys::ceremony(gateway, context, permit, &body).await,
        Matched::RotateDataKey(tenant) => keys::rotate_data_key(gateway, context, permit, tenant).await,
        Matched::ShredTenant(tenant) => keys::shred_tenant(gateway, context, permit, tenant, &body).await,
        Matched::Approve(id) => approvals::approve(gateway, context, permit, id, &body).await,
        Matched::Reject(id) => approvals::reject(gateway, context, permit, id).await,
        Matched::PauseJob(id) => jobs::pause(gateway, context, permit, id).await,
        Matched::ResumeJob(id) => jobs::resume(gateway, context, permit, id).await,
        _ => Err(Refusal::new(Action::AccessRefuse, Problem::new(Code::UnknownRoute, "Check the path"))),
    }
}

/// As [`plain_json`], where a body may be left out.
async fn json_or_nothing(
    gateway: &Gateway,
    headers: &http::HeaderMap,
    body: Inbound,
    action: Action,
) -> Result<serde_json::Value, Refusal> {
    if body.is_end_stream() {
        return Ok(serde_json::json!({}));
    }
    plain_json(gateway, headers, body, action).await
}

/// A body in which no card belongs: gathered, swept and parsed by the card room, which alone reads bodies.
async fn plain_json(
    gateway: &Gateway,
    headers: &http::HeaderMap,
    body: Inbound,
    action: Action,
) -> Result<serde_json::Value, Refusal> {
    let refuse = |error| Refusal::new(action, actions::vault_problem(&error));
    let intake = gateway.vault.intake(headers, body).await.map_err(refuse)?;
    let bytes = gateway.vault.plain(intake).map_err(refuse)?;
    serde_json::from_slice(&bytes)
        .map_err(|_| refuse(vault::VaultError::Malformed { code: "malformed_json" }))
}
