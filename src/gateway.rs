//! The running parts, put together once and shared by every request.

use crate::credential::Credentials;
use crate::governance::Governance;
use crate::keys::Keys;
use crate::metrics::Metrics;
use crate::payments::Payments;
use crate::people::People;
use crate::rate::Rates;
use crate::record::Recorder;
use crate::routes::Routes;
use crate::upstream::companion::Companion;
use std::sync::Arc;
use store::Store;
use tokens::Realm;
use vault::Vault;

/// Everything an act may use. Data flows one way: the edge holds a gateway, acts borrow it, nothing calls back.
pub struct Gateway {
    /// Live or test.
    pub realm: Realm,
    /// This process, for claims on idempotency keys: another value after every start.
    pub owner: crate::idempotency::Owner,
    /// The claims that this process works on.
    pub running: crate::idempotency::Running,
    /// The database.
    pub store: Store,
    /// The card room.
    pub vault: Vault,
    /// The HSM's front.
    pub hsm: hsm::HsmQueue,
    /// The life of keys.
    pub keys: Keys,
    /// The audit log.
    pub recorder: Recorder,
    /// Who may call.
    pub credentials: Credentials,
    /// The policy folder: who may do what.
    pub governance: Arc<Governance>,
    /// Accounts of people.
    pub people: People,
    /// How much anybody may ask.
    pub rates: Rates,
    /// What is served.
    pub routes: Routes,
    /// Charges and refunds.
    pub payments: Payments,
    /// The claims-and-statements service.
    pub companion: Companion,
    /// Counters.
    pub metrics: Metrics,
}
