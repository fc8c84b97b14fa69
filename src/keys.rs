//! The life of keys: who agreed to what, what is being worked on, how old each key is. The device holds the keys and
//! the card room moves the rows; here is what happens when, and that it is recorded.

pub mod act;
pub mod approval;
mod bucket;
pub mod ceremony;
mod device;
pub mod device_log;
pub mod dual;
mod error;
mod inventory;
pub mod job;
pub mod letters;
mod moving;
mod needs;
mod overdue;
pub mod policy;
mod runner;
mod signing;
mod steps;
mod upkeep;
mod watch;

pub use device_log::DeviceLogTrouble;
pub use error::KeysError;
pub use inventory::{DataKeyLine, HsmKeyLine, Inventory};
pub use overdue::Overdue;
pub use policy::{KeyPolicy, PolicyError};
pub use signing::SigningKeyLine;

use crate::governance::Governance;
use crate::record::{Origin, Recorder};
use act::Target;
use audit::{Actor, ActorRole, Source};
use ceremony::AskIdentity;
use hsm::HsmQueue;
use std::sync::{Arc, RwLock};
use store::Store;
use tokio::sync::Notify;
use vault::Vault;

/// The device of `[hsm.target]`, opened from the settings as they are now.
pub type OpenTarget = dyn Fn() -> Result<TargetDevice, String> + Send + Sync;

/// A device that keys can move to.
pub struct TargetDevice {
    /// Which kind it is.
    pub target: Target,
    /// Whether it asks two of its officers for a change.
    pub officers: bool,
    /// Its front.
    pub hsm: HsmQueue,
}

/// Work on keys. Clones share it.
#[derive(Clone)]
pub struct Keys(Arc<Parts>);

/// What the rooms inside use.
pub(in crate::keys) struct Parts {
    pub(in crate::keys) store: Store,
    pub(in crate::keys) vault: Vault,
    pub(in crate::keys) hsm: HsmQueue,
    pub(in crate::keys) recorder: Recorder,
    pub(in crate::keys) policy: KeyPolicy,
    /// Who may.
    pub(in crate::keys) governance: Arc<Governance>,
    /// Whether the device asks two of its officers for a change.
    pub(in crate::keys) officers: bool,
    /// `log/run` of this gateway.
    pub(in crate::keys) owner: String,
    pub(in crate::keys) target: Arc<OpenTarget>,
    pub(in crate::keys) identity: Arc<AskIdentity>,
    /// The device that is attached as the second one, once it is.
    pub(in crate::keys) second: tokio::sync::Mutex<Option<Second>>,
    /// Something new is to be done.
    pub(in crate::keys) wake: Notify,
    /// What was overdue when that was last looked at.
    pub(in crate::keys) overdue: RwLock<Vec<Overdue>>,
    /// How it stands with the logs of the devices.
    pub(in crate::keys) device_log: device_log::Told,
}

/// A device that keys are moving to.
pub(in crate::keys) struct Second {
    pub(in crate::keys) officers: bool,
    pub(in crate::keys) hsm: HsmQueue,
}

/// What [`Keys::new`] is given.
pub struct Given {
    /// The database.
    pub store: Store,
    /// The card room.
    pub vault: Vault,
    /// The HSM's front.
    pub hsm: HsmQueue,
    /// The audit log.
    pub recorder: Recorder,
    /// `policy/keys.toml`.
    pub policy: KeyPolicy,
    /// Whether the device asks two of its officers for a change.
    pub officers: bool,
    /// `log/run` of this gateway.
    pub owner: String,
    /// Opens the device of `[hsm.target]`.
    pub target: Box<OpenTarget>,
    /// Asks the device of `[hsm]` for the key that signs its transcripts.
    pub identity: Box<AskIdentity>,
    /// Who may agree to acts on keys.
    pub governance: Arc<Governance>,
}

impl Keys {
    /// Puts the parts together; nothing runs yet.
    pub fn new(given: Given) -> Keys {
        let Given { store, vault, hsm, recorder, policy, officers, owner, target, identity, governance } =
            given;
        Keys(Arc::new(Parts {
            store,
            vault,
            hsm,
            recorder,
            policy,
            governance,
            officers,
            owner,
            target: Arc::from(target),
            identity: Arc::from(identity),
            second: tokio::sync::Mutex::new(None),
            wake: Notify::new(),
            overdue: RwLock::default(),
            device_log: device_log::Told::default(),
        }))
    }

    /// `policy/keys.toml`.
    pub fn policy(&self) -> &KeyPolicy {
        &self.0.policy
    }
}

/// Pangate itself, as the log names it.
pub(in crate::keys) fn system() -> Origin {
    Origin {
        actor: Actor { role: ActorRole::System, principal: None },
        tenant: None,
        request: None,
        source: Source::Internal,
    }
}

/// Whole seconds or rows as rows and JSON take them.
pub(in crate::keys) fn whole(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
