//! Work on keys that goes on in the background: what it is and how far it is.

pub mod rows;

use super::act::{self, Act, Owner, Target};
use super::{KeysError, letters};
use hsm::{KeyLabel, KeyRef};
use tokens::{ApprovalId, JobId, Principal, Tenant};

/// What a job does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A new version of an HSM key; what the old one protects moves to it.
    Rotate(KeyLabel),
    /// A new data key for a tenant; its cards are sealed anew.
    Reencrypt(Tenant),
    /// A version is retired.
    Retire(KeyRef),
    /// A version is destroyed.
    Destroy(KeyRef),
    /// Every card and data key of a tenant is destroyed.
    Shred(Tenant),
    /// Every key moves to another device.
    Migrate(Target),
    /// The transcript of a ceremony was put into the log.
    Ceremony([u8; 32]),
    /// A person's second factor was taken away.
    ResetFactor(Owner),
}

impl Kind {
    /// The kind of work that an act asks for.
    pub fn of(act: &Act) -> Kind {
        match act {
            Act::Rotate(label) => Kind::Rotate(label.clone()),
            Act::Retire(key) => Kind::Retire(key.clone()),
            Act::Destroy(key) => Kind::Destroy(key.clone()),
            Act::Shred(tenant) => Kind::Shred(tenant.clone()),
            Act::Migrate(target) => Kind::Migrate(*target),
            Act::Ceremony(transcript) => Kind::Ceremony(*transcript),
            Act::ResetFactor(owner) => Kind::ResetFactor(owner.clone()),
        }
    }

    /// The stable name.
    pub fn as_str(&self) -> &'static str {
        match self {
            Kind::Rotate(_) => "rotate",
            Kind::Reencrypt(_) => "reencrypt",
            Kind::Retire(_) => "retire",
            Kind::Destroy(_) => "destroy",
            Kind::Shred(_) => "shred",
            Kind::Migrate(_) => "migrate",
            Kind::Ceremony(_) => "ceremony",
            Kind::ResetFactor(_) => "reset_factor",
        }
    }

    /// What it works on, as text.
    pub fn subject(&self) -> String {
        match self {
            Kind::Rotate(label) => label.to_string(),
            Kind::Reencrypt(tenant) | Kind::Shred(tenant) => tenant.to_string(),
            Kind::Retire(key) | Kind::Destroy(key) => key.to_string(),
            Kind::Migrate(target) => target.as_str().to_owned(),
            Kind::Ceremony(transcript) => letters::spelt(transcript),
            Kind::ResetFactor(owner) => owner.text(),
        }
    }

    /// Whose data it touches, when it is one tenant's.
    pub fn tenant(&self) -> Option<&Tenant> {
        match self {
            Kind::Reencrypt(tenant) | Kind::Shred(tenant) => Some(tenant),
            Kind::ResetFactor(owner) => owner.tenant.as_ref(),
            _ => None,
        }
    }

    fn read(kind: &str, subject: &str) -> Option<Kind> {
        Some(match kind {
            "rotate" => Kind::Rotate(KeyLabel::new(subject).ok()?),
            "reencrypt" => Kind::Reencrypt(Tenant::parse(subject).ok()?),
            "retire" => Kind::Retire(act::key(subject)?),
            "destroy" => Kind::Destroy(act::key(subject)?),
            "shred" => Kind::Shred(Tenant::parse(subject).ok()?),
            "migrate" => Kind::Migrate(Target::from_name(subject)?),
            "reset_factor" => Kind::ResetFactor(Owner::parse(subject)?),
            "ceremony" => Kind::Ceremony(letters::read(subject)?.try_into().ok()?),
            _ => return None,
        })
    }
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// The stable name.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            fn read(text: &str) -> Option<$name> {
                match text { $($text => Some($name::$variant),)* _ => None }
            }
        }
    };
}

named! {
    /// How a job is.
    State {
        /// It is worked on, or will be.
        Running = "running",
        /// Somebody halted it.
        Paused = "paused",
        /// It came to its end.
        Done = "done",
        /// It cannot go on by itself; `reason` says why.
        Failed = "failed",
    }
}

named! {
    /// What a job does next.
    Step {
        /// The device does its part: a new version, another status, a destruction.
        Device = "device",
        /// Data keys are sealed under the new KEK.
        Rewrap = "rewrap",
        /// Cards are fingerprinted under the new key.
        Refingerprint = "refingerprint",
        /// Tenants get new data keys.
        Epochs = "epochs",
        /// Cards are sealed under the new data keys.
        Reencrypt = "reencrypt",
        /// That nothing is left on the old keys is counted.
        Verify = "verify",
        /// The same, once more.
        VerifyAgain = "verify_again",
        /// Fingerprints under a retired key are forgotten.
        Forget = "forget",
        /// Nothing is left to do.
        End = "end",
    }
}

/// One job.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// What it does.
    pub kind: Kind,
    /// How it is.
    pub state: State,
    /// What is next.
    pub step: Step,
    /// The newest version of the key when the job began.
    pub from_version: Option<u32>,
    /// The version that it moves to.
    pub to_version: Option<u32>,
    /// Where the next batch begins.
    pub cursor: Option<String>,
    /// Rows done.
    pub done: u64,
    /// Rows that there were to do; an estimate that only grows.
    pub total: u64,
    /// Why it failed, or what it waits for.
    pub reason: Option<String>,
    /// Who asked.
    pub requested_by: Principal,
    /// Who agreed.
    pub approved_by: Option<Principal>,
    /// The agreement.
    pub approval: Option<ApprovalId>,
    /// What it came to, as JSON.
    pub outcome: Option<String>,
    /// Unix microseconds.
    pub created_at_us: i64,
    /// Unix microseconds.
    pub updated_at_us: i64,
    /// Unix microseconds.
    pub finished_at_us: Option<i64>,
}

impl Job {
    /// A job that is about to begin.
    ///
    /// # Errors
    /// [`KeysError::Random`].
    pub fn new(kind: Kind, step: Step, requested_by: Principal, now_us: i64) -> Result<Job, KeysError> {
        Ok(Job {
            id: JobId::mint()?,
            kind,
            state: State::Running,
            step,
            from_version: None,
            to_version: None,
            cursor: None,
            done: 0,
            total: 0,
            reason: None,
            requested_by,
            approved_by: None,
            approval: None,
            outcome: None,
            created_at_us: now_us,
            updated_at_us: now_us,
            finished_at_us: None,
        })
    }
}
