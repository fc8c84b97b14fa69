//! Accounts of people, as administrators look after them. Of another tenant's there is nothing to be seen.

use super::approvals::{self, key_problem};
use super::charge::field_problem;
use super::{Acted, Context, Refusal, Stopped};
use crate::answer::{Answer, Code, Problem, store_problem};
use crate::caller::Role;
use crate::gateway::Gateway;
use crate::keys::act::{Act, Owner};
use crate::payments::fields::Fields;
use crate::people::{Change, NewPerson, PeopleError, office};
use crate::permit::{Installation, ListPeople, ManagePeople, Permit};
use crate::record::Event;
use audit::{Action, Resource};
use http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::Value;
use tokens::{Principal, Tenant};

#[derive(Serialize)]
struct Page<T> {
    data: Vec<T>,
    has_more: bool,
}

/// A first password, shown this once.
#[derive(Serialize)]
struct First<'a> {
    object: &'static str,
    principal: &'a Principal,
    first_password: &'a str,
}

#[derive(Serialize)]
struct Changed<'a> {
    object: &'static str,
    principal: &'a Principal,
    sessions_ended: u64,
}

/// The accounts, of the caller's tenant or all.
pub async fn list(gateway: &Gateway, context: &Context, permit: Permit<ListPeople>) -> Acted {
    let refuse = |problem| Refusal::new(Action::AccountRead, problem);
    let mut reader = gateway.store.read().await.map_err(|error| refuse(store_problem(&error)))?;
    let listed = office::list(&mut reader, permit.scope().tenant()).await;
    let data = listed.map_err(|error| refuse(store_problem(&error)))?;
    drop(reader);
    let (recorder, origin) = (gateway.recorder.clone(), context.origin.clone());
    let recorded = gateway
        .store
        .commit(move |work| {
            Box::pin(async move {
                let event = Event::success(Action::AccountRead, Resource::None);
                Ok::<_, Stopped>(recorder.append(work, &origin, event).await?)
            })
        })
        .await;
    let receipt = recorded.map_err(|stopped| refuse(stopped.problem()))?;
    Ok(Answer::done(&receipt, StatusCode::OK, &Page { data, has_more: false }))
}

/// A new account, with a first password.
pub async fn create(
    gateway: &Gateway,
    context: &Context,
    permit: Permit<ManagePeople>,
    body: &Value,
) -> Acted {
    let refuse = |problem| Refusal::new(Action::CredentialCreate, problem);
    let person = new_person(body, permit.scope()).map_err(refuse)?;
    let principal = person.principal.clone();
    let resource = Resource::Credential(principal.clone());
    let made = gateway.people.create(&context.origin, person).await;
    let (first, receipt) = made.map_err(|error| refuse(error.problem()).on(resource))?;
    Ok(first_answer(&receipt, StatusCode::CREATED, &principal, &first))
}

fn new_person(body: &Value, scope: &Installation) -> Result<NewPerson, Problem> {
    let fields = Fields::of(body, &["principal", "role", "tenant"]).map_err(field_problem)?;
    let wrong = |detail: String, at: &'static str| Problem::new(Code::InvalidField, detail).at(at);
    let principal = Principal::parse(fields.text("principal").map_err(field_problem)?);
    let principal = principal.map_err(|error| wrong(error.to_string(), "principal"))?;
    let role = Role::from_name(fields.text("role").map_err(field_problem)?);
    let role = role.ok_or_else(|| wrong("Send staff, auditor or admin".to_owned(), "role"))?;
    let named = fields.optional_text("tenant").map_err(field_problem)?.map(Tenant::parse);
    let named = named.transpose().map_err(|error| wrong(error.to_string(), "tenant"))?;
    let tenant = match (named, scope.tenant()) {
        (Some(named), Some(own)) if named != *own => {
            return Err(wrong("Your account reaches its own tenant alone".to_owned(), "tenant"));
        }
        (named, own) => named.or_else(|| own.cloned()),
    };
    let person = NewPerson { principal, role, tenant };
    person.judge().map_err(|detail| wrong(detail.to_owned(), "role"))?;
    Ok(person)
}

/// Disables or enables an account, or ends its sessions.
pub async fn change(
    gateway: &Gateway,
    context: &Context,
    permit: Permit<ManagePeople>,
    name: &str,
    what: Change,
) -> Acted {
    let (principal, within) = named(&permit, name)?;
    let resource = Resource::Credential(principal.clone());
    let changed = gateway.people.change(&context.origin, principal.clone(), within, what).await;
    let (sessions_ended, receipt) =
        changed.map_err(|error| Refusal::new(Action::CredentialChange, error.problem()).on(resource))?;
    gateway.credentials.forget();
    let body = Changed { object: "person", principal: &principal, sessions_ended };
    Ok(Answer::done(&receipt, StatusCode::OK, &body))
}

/// A new first password.
pub async fn reset_password(
    gateway: &Gateway,
    context: &Context,
    permit: Permit<ManagePeople>,
    name: &str,
) -> Acted {
    let (principal, within) = named(&permit, name)?;
    let resource = Resource::Credential(principal.clone());
    let reset = gateway.people.reset_password(&context.origin, principal.clone(), within).await;
    let (first, receipt) =
        reset.map_err(|error| Refusal::new(Action::CredentialChange, error.problem()).on(resource))?;
    gateway.credentials.forget();
    Ok(first_answer(&receipt, StatusCode::OK, &principal, &first))
}

/// Asks for a second factor to be taken away; another person has to agree.
pub async fn reset_factor(
    gateway: &Gateway,
    context: &Context,
    permit: Permit<ManagePeople>,
    name: &str,
    body: &Value,
) -> Acted {
    let refuse = |problem| Refusal::new(Action::KeyApprovalOpen, problem);
    let (principal, within) = named(&permit, name)?;
    let mut reader = gateway.store.read().await.map_err(|error| refuse(store_problem(&error)))?;
    let found = office::reached(&mut reader, &principal, within.as_ref()).await;
    drop(reader);
    let account = found.map_err(|error| refuse(error.problem()))?;
    let act = Act::ResetFactor(Owner { principal, tenant: account.tenant });
    let person = crate::keys::dual::Person { name: permit.caller().principal().clone(), tenant: within };
    let wish = approvals::Wish::read(body, &act).map_err(refuse)?;
    let asked = gateway.keys.request(context.origin.clone(), &person, act, wish.reason, wish.tickets).await;
    let (approval, receipt) = asked.map_err(|error| refuse(key_problem(&error)))?;
    Ok(Answer::done(&receipt, StatusCode::ACCEPTED, &approvals::Body::of(&approval, false)))
}

/// The account that is meant, and the tenant that limits the caller.
fn named(permit: &Permit<ManagePeople>, name: &str) -> Result<(Principal, Option<Tenant>), Refusal> {
    let unknown = |_| Refusal::new(Action::CredentialChange, PeopleError::Unknown.problem());
    Ok((Principal::parse(name).map_err(unknown)?, permit.scope().tenant().cloned()))
}

fn first_answer(
    receipt: &crate::record::Receipt,
    status: StatusCode,
    principal: &Principal,
    first: &SecretString,
) -> Answer {
    let body = First { object: "person", principal, first_password: first.expose_secret() };
    Answer::done(receipt, status, &body)
}
