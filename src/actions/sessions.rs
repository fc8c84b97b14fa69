//! Sessions and one's own account: sign in and out, change the password, enrol a second factor.

use super::charge::field_problem;
use super::{Acted, Context, Refusal};
use crate::answer::{Answer, Code, Problem};
use crate::caller::{Caller, Duty, Session};
use crate::credential::session::{IDLE_US, Opened};
use crate::gateway::Gateway;
use crate::payments::fields::Fields;
use crate::people::{PeopleError, Shown, SignedIn};
use crate::permit::{OwnAccount, Permit};
use crate::record::{Receipt, rfc3339};
use audit::{Action, Resource};
use http::StatusCode;
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::Value;
use tokens::{Principal, Tenant};
use zeroize::Zeroizing;

/// A session as the contract shows it; its token only when it was just opened.
#[derive(Serialize)]
struct Body<'a> {
    object: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    principal: &'a Principal,
    role: &'static str,
    tenant: Option<&'a Tenant>,
    /// What has to be done before it opens anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    second_factor_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_seconds: Option<i64>,
}

#[derive(Serialize)]
struct Ended {
    object: &'static str,
    ended: bool,
}

#[derive(Serialize)]
struct Secret<'a> {
    object: &'static str,
    secret: &'a str,
    otpauth: &'a str,
}

/// Signs in. Whoever is refused learns nothing of why.
pub async fn open(gateway: &Gateway, context: &Context, body: &Value) -> Acted {
    let refuse = |problem| Refusal::new(Action::CredentialRefuse, problem);
    let fields =
        Fields::of(body, &["principal", "password", "code"]).map_err(|e| refuse(field_problem(e)))?;
    let name = fields.text("principal").map_err(|e| refuse(field_problem(e)))?;
    let shown = shown(&fields).map_err(refuse)?;
    let signed_in = gateway.people.sign_in(&context.origin, Principal::parse(name).ok(), shown).await;
    answered(signed_in.map_err(|error| refused(Action::CredentialRefuse, &error))?)
}

/// Who calls, and by what.
pub async fn show(gateway: &Gateway, context: &Context, permit: Permit<OwnAccount>) -> Acted {
    let caller = permit.caller();
    let body = Body {
        object: if caller.session().is_some() { "session" } else { "api_key" },
        id: caller.session().map(|session| session.id.as_str()),
        token: None,
        principal: caller.principal(),
        role: caller.role().as_str(),
        tenant: caller.tenant(),
        next: caller.session().and_then(|session| session.duty).map(Duty::as_str),
        second_factor_at: caller.second_factor_at().map(rfc3339),
        expires_at: None,
        idle_seconds: caller.session().map(|_| IDLE_US / 1_000_000),
    };
    super::approvals::read(gateway, context, Action::AccountRead, &body).await
}

/// Signs out.
pub async fn end(gateway: &Gateway, context: &Context, permit: Permit<OwnAccount>) -> Acted {
    let (caller, session) = of_a_person(&permit, Action::SessionEnd)?;
    let ended = gateway.people.sign_out(&context.origin, caller, &session.id).await;
    let receipt = ended.map_err(|error| refused(Action::SessionEnd, &error))?;
    gateway.credentials.forget();
    Ok(Answer::done(&receipt, StatusCode::OK, &Ended { object: "session", ended: true }))
}

/// Another password; the sessions that there were are over.
pub async fn password(
    gateway: &Gateway,
    context: &Context,
    permit: Permit<OwnAccount>,
    body: &Value,
) -> Acted {
    let refuse = |problem| Refusal::new(Action::CredentialChange, problem);
    let (caller, _) = of_a_person(&permit, Action::CredentialChange)?;
    let fields =
        Fields::of(body, &["password", "new_password", "code"]).map_err(|e| refuse(field_problem(e)))?;
    let new = fields.text("new_password").map_err(|e| refuse(field_problem(e)))?;
    let shown = shown(&fields).map_err(refuse)?;
    let new = Zeroizing::new(new.to_owned());
    let changed = gateway.people.change_password(&context.origin, caller.principal(), shown, new).await;
    let signed_in = changed.map_err(|error| refused(Action::CredentialChange, &error))?;
    gateway.credentials.forget();
    answered(signed_in)
}

/// A secret for an authenticator app.
pub async fn factor(gateway: &Gateway, context: &Context, permit: Permit<OwnAccount>, body: &Value) -> Acted {
    let refuse = |problem| Refusal::new(Action::CredentialChange, problem);
    let (caller, _) = of_a_person(&permit, Action::CredentialChange)?;
    let fields = Fields::of(body, &["password", "code"]).map_err(|e| refuse(field_problem(e)))?;
    let shown = shown(&fields).map_err(refuse)?;
    let begun = gateway.people.begin_factor(&context.origin, caller.principal(), shown).await;
    let (enrolment, receipt) = begun.map_err(|error| refused(Action::CredentialChange, &error))?;
    let body = Secret { object: "factor", secret: &enrolment.secret, otpauth: &enrolment.address };
    Ok(Answer::done(&receipt, StatusCode::CREATED, &body))
}

/// Its first code.
pub async fn confirm(
    gateway: &Gateway,
    context: &Context,
    permit: Permit<OwnAccount>,
    body: &Value,
) -> Acted {
    let refuse = |problem| Refusal::new(Action::CredentialChange, problem);
    let (caller, _) = of_a_person(&permit, Action::CredentialChange)?;
    let fields = Fields::of(body, &["code"]).map_err(|e| refuse(field_problem(e)))?;
    let code = fields.text("code").map_err(|e| refuse(field_problem(e)))?;
    let confirmed = gateway.people.confirm_factor(&context.origin, caller.principal(), code).await;
    let signed_in = confirmed.map_err(|error| refused(Action::CredentialChange, &error))?;
    gateway.credentials.forget();
    answered(signed_in)
}

fn shown(fields: &Fields<'_>) -> Result<Shown, Problem> {
    let password = Zeroizing::new(fields.text("password").map_err(field_problem)?.to_owned());
    let code = fields.optional_text("code").map_err(field_problem)?.map(str::to_owned);
    Ok(Shown { password, code })
}

/// An API key is no person: it has no password and no second factor.
fn of_a_person(permit: &Permit<OwnAccount>, action: Action) -> Result<(&Caller, &Session), Refusal> {
    let caller = permit.caller();
    let detail = "Sign in with POST /v1/sessions; an API key has neither password nor second factor";
    let session = caller.session();
    let session = session.ok_or_else(|| Refusal::new(action, Problem::new(Code::SessionRequired, detail)))?;
    Ok((caller, session))
}

/// A refusal names in the log whose account it was, where there is one of that name.
fn refused(action: Action, error: &PeopleError) -> Refusal {
    let refusal = Refusal::new(action, error.problem());
    match error {
        PeopleError::Refused(Some(owner)) => refusal.on(Resource::Credential(owner.clone())),
        _ => refusal,
    }
}

fn answered((signed_in, receipt): (SignedIn, Receipt)) -> Acted {
    let SignedIn { opened: Opened { token, id, expires_at_us }, account, duty } = &signed_in;
    let body = Body {
        object: "session",
        id: Some(id.as_str()),
        token: Some(token.expose_secret()),
        principal: &account.principal,
        role: account.role.as_str(),
        tenant: account.tenant.as_ref(),
        next: duty.map(Duty::as_str),
        second_factor_at: None,
        expires_at: Some(rfc3339(*expires_at_us)),
        idle_seconds: Some(IDLE_US / 1_000_000),
    };
    Ok(Answer::done(&receipt, StatusCode::CREATED, &body))
}
