//! Work on keys as it goes on: `GET /v1/jobs`, `GET /v1/jobs/{id}`, and halting it or taking it up again.

use super::approvals::{key_problem, read};
use super::charge::page;
use super::keys::person;
use super::{Acted, Context, Refusal};
use crate::answer::Answer;
use crate::gateway::Gateway;
use crate::keys::KeysError;
use crate::keys::dual::Person;
use crate::keys::job::{Job, State};
use crate::permit::{ListKeys, ManageKeys, Permit};
use crate::record::rfc3339;
use audit::Action;
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use tokens::{ApprovalId, JobId, Principal};

/// A job as the contract shows it.
#[derive(Serialize)]
pub struct Body<'a> {
    id: &'a JobId,
    object: &'static str,
    /// The same as `id`: who approved an act looks for its job here.
    job: &'a JobId,
    kind: &'static str,
    subject: String,
    state: &'static str,
    step: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_version: Option<u32>,
    done: u64,
    total: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    requested_by: &'a Principal,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_by: Option<&'a Principal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<&'a ApprovalId>,
    /// What it came to.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Value>,
    created_at: String,
    updated_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<String>,
}

impl<'a> Body<'a> {
    /// The job as it stands.
    pub(super) fn of(job: &'a Job) -> Body<'a> {
        Body {
            id: &job.id,
            object: "job",
            job: &job.id,
            kind: job.kind.as_str(),
            subject: job.kind.subject(),
            state: job.state.as_str(),
            step: job.step.as_str(),
            from_version: job.from_version,
            to_version: job.to_version,
            done: job.done,
            total: job.total,
            reason: job.reason.as_deref(),
            requested_by: &job.requested_by,
            approved_by: job.approved_by.as_ref(),
            approval: job.approval.as_ref(),
            outcome: job.outcome.as_deref().and_then(|text| serde_json::from_str(text).ok()),
            created_at: rfc3339(job.created_at_us),
            updated_at: rfc3339(job.updated_at_us),
            finished_at: job.finished_at_us.map(rfc3339),
        }
    }
}

#[derive(Serialize)]
struct Page<'a> {
    data: Vec<Body<'a>>,
    has_more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// One job.
pub async fn show(gateway: &Gateway, context: &Context, permit: Permit<ListKeys>, id: &str) -> Acted {
    match JobId::parse(id) {
        Ok(id) => told(gateway, context, &person(&permit), &id).await,
        Err(_) => Err(Refusal::new(Action::JobRead, key_problem(&KeysError::UnknownJob))),
    }
}

/// A job, named by whoever asks or by the work that is the same.
pub(super) async fn told(gateway: &Gateway, context: &Context, person: &Person, id: &JobId) -> Acted {
    let found = gateway.keys.job(person, id).await;
    let job = found.map_err(|error| Refusal::new(Action::JobRead, key_problem(&error)))?;
    read(gateway, context, Action::JobRead, &Body::of(&job)).await
}

/// Jobs, newest first.
pub async fn list(gateway: &Gateway, context: &Context, permit: Permit<ListKeys>, query: &str) -> Acted {
    let refuse = |problem| Refusal::new(Action::JobRead, problem);
    let wanted = page(query).map_err(refuse)?;
    let jobs = gateway.keys.jobs(&person(&permit), wanted.limit, wanted.after.as_deref()).await;
    let jobs = jobs.map_err(|error| refuse(key_problem(&error)))?;
    let limit = usize::try_from(wanted.limit).unwrap_or(usize::MAX);
    let has_more = jobs.len() > limit;
    let data: Vec<Body<'_>> = jobs.iter().take(limit).map(Body::of).collect();
    let next = data.last().filter(|_| has_more).map(|body| body.id.as_str().to_owned());
    read(gateway, context, Action::JobRead, &Page { data, has_more, next }).await
}

/// Halts a job.
pub async fn pause(gateway: &Gateway, context: &Context, permit: Permit<ManageKeys>, id: &str) -> Acted {
    change(gateway, context, &permit, id, State::Paused).await
}

/// Takes up a job that was halted or failed.
pub async fn resume(gateway: &Gateway, context: &Context, permit: Permit<ManageKeys>, id: &str) -> Acted {
    change(gateway, context, &permit, id, State::Running).await
}

async fn change(
    gateway: &Gateway,
    context: &Context,
    permit: &Permit<ManageKeys>,
    id: &str,
    to: State,
) -> Acted {
    let refuse = |error: &KeysError| Refusal::new(Action::JobChange, key_problem(error));
    let id = JobId::parse(id).map_err(|_| refuse(&KeysError::UnknownJob))?;
    let changed = gateway.keys.change_job(context.origin.clone(), &person(permit), &id, to).await;
    let (job, receipt) = changed.map_err(|error| refuse(&error))?;
    Ok(Answer::done(&receipt, StatusCode::OK, &Body::of(&job)))
}
