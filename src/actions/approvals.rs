//! Acts on keys that wait for a second person: `GET /v1/approvals`, `GET /v1/approvals/{id}`, and the second person's
//! yes and no.

use super::charge::field_problem;
use super::keys::person;
use super::{Acted, Context, Refusal, Stopped, store_problem, vault_problem};
use crate::actions::jobs;
use crate::answer::{Answer, Code, Problem, REPLAYED};
use crate::gateway::Gateway;
use crate::keys::act::Act;
use crate::keys::approval::{Approval, State, Tickets};
use crate::keys::ceremony::Ceremony;
use crate::keys::dual::{Agreement, Proof};
use crate::keys::{KeysError, letters};
use crate::payments::fields::Fields;
use crate::permit::{ListKeys, ManageKeys, Permit};
use crate::record::{Event, rfc3339};
use audit::{Action, Resource};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::Value;
use tokens::{ApprovalId, Principal};
use zeroize::Zeroizing;

const REASON_LENGTH: usize = 200;
const TICKET_LENGTH: usize = 4096;
/// Sixteen custodians and as many officers are far below it.
const TRANSCRIPT_LENGTH: usize = 8192;
const USUAL: u32 = 20;

/// An approval as the contract shows it.
#[derive(Serialize)]
pub struct Body<'a> {
    id: &'a ApprovalId,
    object: &'static str,
    status: &'static str,
    act: String,
    kind: &'static str,
    subject: String,
    reason: &'a str,
    requested_by: &'a Principal,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_by: Option<&'a Principal>,
    /// Whether the first person's ticket of the device is with it.
    device_ticket: bool,
    device_ticket_required: bool,
    /// What tickets of the device are to be for, word by word.
    device_acts: Vec<String>,
    created_at: String,
    expires_at: String,
}

impl<'a> Body<'a> {
    /// The approval, and whether the device asks its officers.
    pub(super) fn of(approval: &'a Approval, officers: bool) -> Body<'a> {
        let status = match approval.state {
            State::Open => "pending_approval",
            state => state.as_str(),
        };
        Body {
            id: &approval.id,
            object: "approval",
            status,
            act: approval.act.text(),
            kind: approval.act.kind(),
            subject: approval.act.subject(),
            reason: &approval.reason,
            requested_by: &approval.requested_by,
            decided_by: approval.approved_by.as_ref(),
            device_ticket: approval.has_ticket,
            device_ticket_required: officers,
            device_acts: approval.act.device_acts(),
            created_at: rfc3339(approval.created_at_us),
            expires_at: rfc3339(approval.expires_at_us),
        }
    }
}

/// What a person sends with an act.
pub(super) struct Wish {
    /// Why.
    pub(super) reason: String,
    /// The device's tickets.
    pub(super) tickets: Tickets,
}

impl Wish {
    /// Reads the first person's body.
    pub(super) fn read(body: &Value, act: &Act) -> Result<Wish, Problem> {
        let mut known = vec!["reason", "device_ticket", "device_tickets"];
        match act {
            Act::Migrate(_) => known.push("to"),
            Act::Ceremony(_) => known.push("transcript"),
            _ => {}
        }
        let fields = Fields::of(body, &known).map_err(field_problem)?;
        let reason = fields.optional_text("reason").map_err(field_problem)?.unwrap_or_default();
        let printable = reason.chars().all(|c| !c.is_control());
        if reason.chars().count() > REASON_LENGTH || !printable {
            let detail = "Send a reason of at most 200 characters, without control characters";
            return Err(Problem::new(Code::InvalidField, detail).at("reason"));
        }
        Ok(Wish { reason: reason.to_owned(), tickets: tickets(body, &fields, act)? })
    }
}

/// `device_ticket` for the act's one act of the device, or `device_tickets` by act.
fn tickets(body: &Value, fields: &Fields<'_>, act: &Act) -> Result<Tickets, Problem> {
    let mut tickets = Tickets::new();
    if let Some(text) = fields.optional_text("device_ticket").map_err(field_problem)? {
        let acts = act.device_acts();
        let [only] = acts.as_slice() else {
            let detail =
                "This act takes no ticket, or several: send device_tickets with one for each of device_acts";
            return Err(Problem::new(Code::InvalidField, detail).at("device_ticket"));
        };
        tickets.insert(only.clone(), ticket(text, "device_ticket")?);
    }
    match body.get("device_tickets") {
        None | Some(Value::Null) => {}
        Some(Value::Object(given)) => {
            for (name, text) in given {
                let wanted = act.device_acts().into_iter().find(|wanted| wanted == name);
                let (wanted, text) = wanted.zip(text.as_str()).ok_or_else(|| {
                    let detail = "Name each ticket by one of device_acts, and send it as base64url";
                    Problem::new(Code::InvalidField, detail).at("device_tickets")
                })?;
                tickets.insert(wanted, ticket(text, "device_tickets")?);
            }
        }
        Some(_) => return Err(Problem::new(Code::WrongType, "Send an object").at("device_tickets")),
    }
    Ok(tickets)
}

fn ticket(text: &str, place: &'static str) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let wrong = || {
        Problem::new(Code::InvalidField, "Send the device's ticket as base64url without padding").at(place)
    };
    if text.len() > TICKET_LENGTH {
        return Err(wrong());
    }
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map(Zeroizing::new).map_err(|_| wrong())
}

/// A transcript, its bytes spelt in the letters a to p so that no scanner stumbles over its digits, judged.
pub(super) async fn transcript(gateway: &Gateway, text: &str) -> Result<Ceremony, Problem> {
    let wrong = || {
        let detail = "Send the bytes of the transcript in the letters a to p, four bits each";
        Problem::new(Code::InvalidField, detail).at("transcript")
    };
    let bytes = letters::read(text).filter(|bytes| bytes.len() <= TRANSCRIPT_LENGTH).ok_or_else(wrong)?;
    let text = String::from_utf8(bytes).map_err(|_| wrong())?;
    gateway.keys.ceremony(&text).await.map_err(|error| match &error {
        KeysError::Transcript(why) => Problem::new(Code::InvalidField, why.clone()).at("transcript"),
        other => key_problem(other),
    })
}

/// The second person's yes: the answer is the job that carries the act out.
pub async fn approve(
    gateway: &Gateway,
    context: &Context,
    permit: Permit<ManageKeys>,
    id: &str,
    body: &Value,
) -> Acted {
    let person = person(&permit);
    let refuse = |problem| Refusal::new(Action::KeyApprove, problem);
    let id = ApprovalId::parse(id).map_err(|_| refuse(key_problem(&KeysError::UnknownApproval)))?;
    let fields = Fields::of(body, &["act", "device_ticket", "device_tickets", "transcript"]);
    let fields = fields.map_err(|error| refuse(field_problem(error)))?;
    let named = fields.optional_text("act").map_err(|error| refuse(field_problem(error)))?;
    let approval = gateway.keys.approval(&person, &id).await;
    let approval = approval.map_err(|error| refuse(key_problem(&error)))?;
    let resource = crate::keys::approval::resource(&approval.act);
    let refuse = |problem| Refusal::new(Action::KeyApprove, problem).on(resource.clone());
    let tickets = tickets(body, &fields, &approval.act).map_err(refuse)?;
    let ceremony = match fields.optional_text("transcript").map_err(|error| refuse(field_problem(error)))? {
        Some(text) => Some(transcript(gateway, text).await.map_err(refuse)?),
        None if matches!(approval.act, Act::Ceremony(_)) => {
            let detail = "Send your own copy of the transcript: what you agree to is what it says";
            return Err(refuse(Problem::new(Code::MissingField, detail).at("transcript")));
        }
        None => None,
    };
    let proof = Proof { tickets, ceremony };
    match gateway.keys.approve(context.origin.clone(), &person, &id, named, proof).await {
        Ok(Agreement::Begun(job, receipt)) => {
            // A second factor that was taken away took the sessions with it.
            gateway.credentials.forget();
            Ok(Answer::done(&receipt, StatusCode::OK, &jobs::Body::of(&job)))
        }
        Ok(Agreement::Before(job)) => {
            let body = serde_json::to_vec(&jobs::Body::of(&job)).unwrap_or_default();
            let answer = Answer::replayed(StatusCode::OK, "application/json", body);
            Ok(answer.with_header(REPLAYED, HeaderValue::from_static("true")))
        }
        Err(KeysError::Running(id)) => jobs::told(gateway, context, &person, &id).await,
        Err(error) => Err(refuse(key_problem(&error))),
    }
}

/// The second person's no, or the first one's change of mind.
pub async fn reject(gateway: &Gateway, context: &Context, permit: Permit<ManageKeys>, id: &str) -> Acted {
    let person = person(&permit);
    let refuse = |error: &KeysError| Refusal::new(Action::KeyReject, key_problem(error));
    let id = ApprovalId::parse(id).map_err(|_| refuse(&KeysError::UnknownApproval))?;
    let rejected = gateway.keys.reject(context.origin.clone(), &person, &id).await;
    let (approval, receipt) = rejected.map_err(|error| refuse(&error))?;
    let officers = gateway.keys.wants_tickets(&approval.act).await;
    Ok(Answer::done(&receipt, StatusCode::OK, &Body::of(&approval, officers)))
}

/// One approval as it stands.
pub async fn show(gateway: &Gateway, context: &Context, permit: Permit<ListKeys>, id: &str) -> Acted {
    let refuse = |error: &KeysError| Refusal::new(Action::KeyApprovalRead, key_problem(error));
    let id = ApprovalId::parse(id).map_err(|_| refuse(&KeysError::UnknownApproval))?;
    let approval = gateway.keys.approval(&person(&permit), &id).await.map_err(|error| refuse(&error))?;
    let officers = gateway.keys.wants_tickets(&approval.act).await;
    read(gateway, context, Action::KeyApprovalRead, &Body::of(&approval, officers)).await
}

#[derive(Serialize)]
struct Page<T> {
    data: Vec<T>,
    has_more: bool,
}

/// The newest approvals, open ones first.
pub async fn list(gateway: &Gateway, context: &Context, permit: Permit<ListKeys>) -> Acted {
    let refuse = |error: &KeysError| Refusal::new(Action::KeyApprovalRead, key_problem(error));
    let found = gateway.keys.approvals(&person(&permit), USUAL).await.map_err(|error| refuse(&error))?;
    let limit = usize::try_from(USUAL).unwrap_or(usize::MAX);
    let mut data = Vec::with_capacity(found.len());
    for approval in found.iter().take(limit) {
        data.push(Body::of(approval, gateway.keys.wants_tickets(&approval.act).await));
    }
    let has_more = found.len() > limit;
    read(gateway, context, Action::KeyApprovalRead, &Page { data, has_more }).await
}

/// Records a look, and answers.
pub(super) async fn read(
    gateway: &Gateway,
    context: &Context,
    action: Action,
    body: &impl Serialize,
) -> Acted {
    let (recorder, origin) = (gateway.recorder.clone(), context.origin.clone());
    let recorded = gateway
        .store
        .commit(move |work| {
            Box::pin(async move {
                Ok::<_, Stopped>(
                    recorder.append(work, &origin, Event::success(action, Resource::None)).await?,
                )
            })
        })
        .await;
    let receipt = recorded.map_err(|stopped| Refusal::new(action, stopped.problem()))?;
    Ok(Answer::done(&receipt, StatusCode::OK, body))
}

/// An error of the keys as the caller is told it.
pub(super) fn key_problem(error: &KeysError) -> Problem {
    let code = match error {
        KeysError::UnknownKey => Code::UnknownKey,
        KeysError::UnknownTenant => Code::UnknownTenant,
        KeysError::UnknownPerson => Code::UnknownPerson,
        KeysError::UnknownApproval => Code::UnknownApproval,
        KeysError::UnknownJob => Code::UnknownJob,
        KeysError::SamePerson => Code::SecondPersonRequired,
        KeysError::CredentialGone | KeysError::ApprovalState(_) => Code::ApprovalState,
        KeysError::OtherAct => Code::ApprovalActMismatch,
        KeysError::TicketRequired => Code::DeviceTicketRequired,
        KeysError::KeyState(_) => Code::KeyState,
        KeysError::StillNeeded { .. } => Code::KeyStillNeeded,
        KeysError::Running(_) | KeysError::Excluded | KeysError::LostLease => Code::JobExcluded,
        KeysError::JobState(_) => Code::JobState,
        KeysError::NoTarget | KeysError::Attached => Code::NoTargetDevice,
        KeysError::Transcript(_) => Code::InvalidField,
        KeysError::Refused(_) => Code::DeviceRefused,
        KeysError::HsmAway => Code::HsmUnavailable,
        KeysError::Vault(error) => return vault_problem(error),
        KeysError::Store(error) => return store_problem(error),
        KeysError::Integrity => Code::Integrity,
        KeysError::Random => Code::Internal,
    };
    if code.status().is_server_error() {
        tracing::warn!(error = error.code(), "keys");
    }
    Problem::new(code, error.to_string())
}
