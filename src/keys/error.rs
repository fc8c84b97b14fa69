//! What can go wrong with work on keys, by kind; every sentence says what to do.

use crate::people::PeopleError;
use hsm::HsmError;
use store::StoreError;
use tokens::JobId;
use vault::VaultError;

/// Why an act on keys did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// No such key or version.
    #[error("the device holds no such key; `GET /v1/keys` lists them")]
    UnknownKey,
    /// No such tenant.
    #[error("there is nothing of this tenant")]
    UnknownTenant,
    /// No such person, or none with a second factor, or one of another tenant.
    #[error("there is no such account, or it has no second factor to reset; `GET /v1/people` lists them")]
    UnknownPerson,
    /// No such approval, or one that concerns another tenant.
    #[error("there is no such approval")]
    UnknownApproval,
    /// No such job, or one that concerns another tenant.
    #[error("there is no such job")]
    UnknownJob,
    /// The second person is the first.
    #[error(
        "whoever asked for this, or whom it is done to, cannot agree to it; another auditor or administrator has to"
    )]
    SamePerson,
    /// One of the two has no credential any more by which acts on keys can be asked for.
    #[error(
        "whoever asked for this, or who agrees, has no credential for acts on keys any more; reject it, and have \
         somebody who has one ask"
    )]
    CredentialGone,
    /// The approval was used, rejected, or has expired.
    #[error("the approval is {0}; ask for the act again")]
    ApprovalState(&'static str),
    /// What was agreed to is another act.
    #[error("the approval is for another act than the one you named; read it again")]
    OtherAct,
    /// The device asks two of its officers, and a ticket is missing.
    #[error(
        "the device asks two of its officers: each person sends the ticket that the device gave for exactly this act \
         (`pangate keys … --officer NAME`)"
    )]
    TicketRequired,
    /// The key is at another stage of its life.
    #[error("{0}")]
    KeyState(&'static str),
    /// Rows still depend on the key.
    #[error(
        "{rows} rows still need this key; rotate it and wait for the job, or wait until they are forgotten"
    )]
    StillNeeded {
        /// How many.
        rows: u64,
    },
    /// The same work goes on already.
    #[error("this is being worked on already by {0}; wait for it")]
    Running(JobId),
    /// Work that excludes this one goes on.
    #[error("keys are moving to another device, or are being rotated; wait for that job")]
    Excluded,
    /// The job is in a state that does not allow this.
    #[error("the job is {0}")]
    JobState(&'static str),
    /// The settings name no target, or one that cannot be used.
    #[error("[hsm.target] of the settings names no device that can be used; the log says why")]
    NoTarget,
    /// Keys moved to another device than the settings name, and the settings were not swapped since.
    #[error(
        "keys moved to another device than [hsm.target] names; put that one under [hsm], restart, and ask again"
    )]
    Attached,
    /// The transcript of a ceremony proves nothing here.
    #[error("{0}")]
    Transcript(String),
    /// The device refused.
    #[error("the device refused: {0}")]
    Refused(HsmError),
    /// The device is away.
    #[error("the HSM does not answer; retry, and look at /readyz if it lasts")]
    HsmAway,
    /// The card room.
    #[error("{0}")]
    Vault(VaultError),
    /// The database.
    #[error("{0}")]
    Store(StoreError),
    /// A stored row is not what was stored.
    #[error("a stored row about keys is not what was written; the incident team must look at it")]
    Integrity,
    /// No random bytes.
    #[error("no random bytes; the host must be looked at")]
    Random,
    /// Another gateway has taken the job over.
    #[error("another gateway works on this job now")]
    LostLease,
}

impl KeysError {
    /// The stable code for the job's `reason` and the log. Letters and underscores only.
    pub fn code(&self) -> &'static str {
        match self {
            KeysError::UnknownKey => "unknown_key",
            KeysError::UnknownTenant => "unknown_tenant",
            KeysError::UnknownPerson => "unknown_person",
            KeysError::UnknownApproval => "unknown_approval",
            KeysError::UnknownJob => "unknown_job",
            KeysError::SamePerson => "second_person_required",
            KeysError::CredentialGone | KeysError::ApprovalState(_) => "approval_state",
            KeysError::OtherAct => "approval_act_mismatch",
            KeysError::TicketRequired => "device_ticket_required",
            KeysError::KeyState(_) => "key_state",
            KeysError::StillNeeded { .. } => "key_still_needed",
            KeysError::Running(_) => "job_running",
            KeysError::Excluded => "job_excluded",
            KeysError::JobState(_) => "job_state",
            KeysError::NoTarget | KeysError::Attached => "no_target_device",
            KeysError::Transcript(_) => "transcript_refused",
            KeysError::Refused(error) => error.code(),
            KeysError::HsmAway => "hsm_unavailable",
            KeysError::Vault(error) => error.code(),
            KeysError::Store(_) => "store_unavailable",
            KeysError::Integrity => "integrity",
            KeysError::Random => "random_unavailable",
            KeysError::LostLease => "lease_lost",
        }
    }

    /// Whether the same step may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            KeysError::HsmAway | KeysError::Store(_) | KeysError::Random => true,
            KeysError::Vault(error) => error.is_transient(),
            _ => false,
        }
    }
}

impl From<HsmError> for KeysError {
    fn from(error: HsmError) -> Self {
        match error {
            HsmError::KeyNotFound => KeysError::UnknownKey,
            error if error.is_transient() => KeysError::HsmAway,
            error => KeysError::Refused(error),
        }
    }
}

impl From<PeopleError> for KeysError {
    fn from(error: PeopleError) -> Self {
        match error {
            PeopleError::Store(error) => KeysError::from(error),
            PeopleError::Vault(error) => KeysError::Vault(error),
            _ => KeysError::UnknownPerson,
        }
    }
}

impl From<StoreError> for KeysError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Corrupt { .. } => KeysError::Integrity,
            error => KeysError::Store(error),
        }
    }
}

impl From<VaultError> for KeysError {
    fn from(error: VaultError) -> Self {
        KeysError::Vault(error)
    }
}

impl From<tokens::RandomUnavailable> for KeysError {
    fn from(_: tokens::RandomUnavailable) -> Self {
        KeysError::Random
    }
}
