//! What a permit can be spent on, one act a file. Each takes its permit by value and gives its receipt with the
//! answer; a refusal says what was refused so that it can be recorded.

pub mod approvals;
pub mod charge;
pub mod device_log;
pub mod jobs;
pub mod keys;
pub mod log_reading;
pub mod pass;
pub mod people;
pub mod refund;
pub mod sessions;
pub mod shred;
pub mod token_reading;
pub mod tokenize;

use crate::answer::{Answer, Problem};
use crate::idempotency;
use crate::record::Origin;
use audit::{Action, Resource};
use tokens::RequestId;

pub use crate::answer::{Stopped, store_problem, vault_problem};

/// One request, as every act needs it.
#[derive(Debug, Clone)]
pub struct Context {
    /// The request's id, in every answer, log line and audit entry.
    pub request: RequestId,
    /// Who caused it, from where.
    pub origin: Origin,
    /// The request's `Idempotency-Key`, checked.
    pub idempotency_key: Option<idempotency::Key>,
}

/// An act that did not happen: the problem for the caller, and the act for the log.
#[derive(Debug)]
pub struct Refusal {
    /// What the caller is told.
    pub problem: Problem,
    /// What was attempted.
    pub action: Action,
    /// On what.
    pub resource: Resource,
}

/// What an act comes to.
pub type Acted = Result<Answer, Refusal>;

impl Refusal {
    /// A refusal of `action` on nothing in particular.
    pub fn new(action: Action, problem: Problem) -> Refusal {
        Refusal { problem, action, resource: Resource::None }
    }

    /// Names what was acted upon.
    #[must_use]
    pub fn on(mut self, resource: Resource) -> Refusal {
        self.resource = resource;
        self
    }
}
