//! Keys: the inventory, and the acts that change them. What changes the device or destroys something waits for a
//! second person (202 with an approval); a new data key for a tenant is begun by one.

use super::{Acted, Context, Refusal, Stopped};
use crate::actions::approvals::{self, key_problem};
use crate::actions::jobs;
use crate::answer::{Answer, Code, Problem};
use crate::gateway::Gateway;
use crate::keys::KeysError;
use crate::keys::act::{Act, Target};
use crate::keys::dual::Person;
use crate::payments::fields::Fields;
use crate::permit::{Installation, ListKeys, ManageKeys, Permit};
use crate::record::Event;
use audit::{Action, Resource};
use hsm::{KeyLabel, KeyVersion};
use http::StatusCode;
use serde_json::Value;
use tokens::Tenant;

/// Asks the HSM for its keys, and the database for what depends on them.
pub async fn list(gateway: &Gateway, context: &Context, permit: Permit<ListKeys>) -> Acted {
    let refuse = |problem| Refusal::new(Action::KeyList, problem);
    let inventory =
        gateway.keys.inventory(permit.scope().tenant()).await.map_err(|error| refuse(key_problem(&error)))?;
    let (recorder, origin) = (gateway.recorder.clone(), context.origin.clone());
    gateway
        .store
        .commit(move |work| {
            Box::pin(async move {
                let receipt =
                    recorder.append(work, &origin, Event::success(Action::KeyList, Resource::None)).await?;
                Ok::<_, Stopped>(Answer::done(&receipt, StatusCode::OK, &inventory))
            })
        })
        .await
        .map_err(|stopped| refuse(stopped.problem()))
}

/// Asks for a new version of a key.
pub async fn rotate(
    gateway: &Gateway,
    context: &Context,
    permit: Permit<ManageKeys>,
    name: &str,
    body: &Value,
) -> Acted {
    let act = KeyLabel::new(name).map(Act::Rotate).map_err(|_| unknown_key())?;
    ask(gateway, context, &permit, act, body).await
}

/// Asks for an old version to protect nothing new any more.
pub async fn retire(
    gateway: &Gateway,
    context: &Context,
    permit: Permit<ManageKeys>,
    (name, version): (&str, &str),
    body: &Value,
) -> Acted {
    let act = key(name, version).map(Act::Retire)?;
    ask(gateway, context, &permit, act, body).await
}

/// Asks for a retired version to be destroyed.
pub async fn destroy(
    gateway: &Gateway,
    context: &Context,
    permit: Permit<ManageKeys>,
    (name, version): (&str, &str),
    body: &Value,
) -> Acted {
    let act = key(name, version).map(Act::Destroy)?;
    ask(gateway, context, &permit, act, body).await
}

/// Asks for every key to move to the device of `[hsm.target]`.
pub async fn migrate(
    gateway: &Gateway,
    context: &Context,
    permit: Permit<ManageKeys>,
    body: &Value,
) -> Acted {
    let refuse = |problem| Refusal::new(Action::KeyApprovalOpen, problem);
    let fields = Fields::of(body, &["to", "reason", "device_ticket", "device_tickets"])
        .map_err(|error| refuse(super::charge::field_problem(error)))?;
    let to = fields.text("to").map_err(|error| refuse(super::charge::field_problem(error)))?;
    let target = Target::from_name(to).ok_or_else(|| {
        refuse(
            Problem::new(Code::InvalidField, "Send `pkcs11` or `simulator`, as under [hsm.target]").at("to"),
        )
    })?;
    ask(gateway, context, &permit, Act::Migrate(target), body).await
}

/// Asks for the transcript of a key ceremony to be put into the log.
pub async fn ceremony(
    gateway: &Gateway,
    context: &Context,
    permit: Permit<ManageKeys>,
    body: &Value,
) -> Acted {
    let refuse = |problem| Refusal::new(Action::KeyApprovalOpen, problem);
    let fields = Fields::of(body, &["transcript", "reason"])
        .map_err(|error| refuse(super::charge::field_problem(error)))?;
    let text = fields.text("transcript").map_err(|error| refuse(super::charge::field_problem(error)))?;
    let ceremony = approvals::transcript(gateway, text).await.map_err(refuse)?;
    ask(gateway, context, &permit, ceremony.act(), body).await
}

/// Asks for every card and data key of a tenant to be destroyed.
pub async fn shred_tenant(
    gateway: &Gateway,
    context: &Context,
    permit: Permit<ManageKeys>,
    name: &str,
    body: &Value,
) -> Acted {
    let act = tenant(name).map(Act::Shred)?;
    ask(gateway, context, &permit, act, body).await
}

/// Begins a new data key for a tenant.
pub async fn rotate_data_key(
    gateway: &Gateway,
    context: &Context,
    permit: Permit<ManageKeys>,
    name: &str,
) -> Acted {
    let tenant = tenant(name)?;
    let started = gateway.keys.rotate_data_key(context.origin.clone(), &person(&permit), tenant).await;
    let (job, receipt) = started.map_err(|error| Refusal::new(Action::DataKeyRotate, key_problem(&error)))?;
    Ok(Answer::done(&receipt, StatusCode::ACCEPTED, &jobs::Body::of(&job)))
}

async fn ask(
    gateway: &Gateway,
    context: &Context,
    permit: &Permit<ManageKeys>,
    act: Act,
    body: &Value,
) -> Acted {
    let resource = crate::keys::approval::resource(&act);
    let refuse = |problem| Refusal::new(Action::KeyApprovalOpen, problem).on(resource.clone());
    let wish = approvals::Wish::read(body, &act).map_err(refuse)?;
    let person = person(permit);
    let asked =
        gateway.keys.request(context.origin.clone(), &person, act.clone(), wish.reason, wish.tickets).await;
    match asked {
        Ok((approval, receipt)) => {
            let body = approvals::Body::of(&approval, gateway.keys.wants_tickets(&act).await);
            Ok(Answer::done(&receipt, StatusCode::ACCEPTED, &body))
        }
        // The same work goes on already: this answer names it.
        Err(KeysError::Running(id)) => jobs::told(gateway, context, &person, &id).await,
        Err(error) => Err(refuse(key_problem(&error))),
    }
}

/// Who acts, as the keys judge it.
pub(super) fn person<A: crate::permit::Act<Scope = Installation>>(permit: &Permit<A>) -> Person {
    let caller = permit.caller();
    Person { name: caller.principal().clone(), tenant: caller.tenant().cloned() }
}

fn key(name: &str, version: &str) -> Result<hsm::KeyRef, Refusal> {
    let label = KeyLabel::new(name).map_err(|_| unknown_key())?;
    let version = version.parse().ok().and_then(KeyVersion::new).ok_or_else(unknown_key)?;
    Ok(label.at(version))
}

fn tenant(name: &str) -> Result<Tenant, Refusal> {
    Tenant::parse(name)
        .map_err(|_| Refusal::new(Action::KeyApprovalOpen, key_problem(&KeysError::UnknownTenant)))
}

fn unknown_key() -> Refusal {
    Refusal::new(Action::KeyApprovalOpen, key_problem(&KeysError::UnknownKey))
}
