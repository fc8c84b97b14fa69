//! Settings become running parts: the one place that chooses simulator or device, and which processor.

use crate::credential::Credentials;
use crate::gateway::Gateway;
use crate::governance::{Faults, Governance};
use crate::idempotency::{Owner, Running};
use crate::keys::act::Target;
use crate::keys::ceremony::{AskIdentity, Identity};
use crate::keys::{self, KeyPolicy, Keys, OpenTarget, PolicyError};
use crate::metrics::Metrics;
use crate::payments::Payments;
use crate::payments::sandbox::Sandbox;
use crate::people::People;
use crate::rate::Rates;
use crate::record::Recorder;
use crate::routes::{Routes, RoutesError};
use crate::settings::{self, DatabaseError, HsmAccess, HsmDevice, ProcessorKind, Settings, SettingsError};
use crate::upstream::companion::{Companion, CompanionError};
use audit::LogName;
use hsm::pkcs11::{Pkcs11, Pkcs11Fault, Pkcs11Settings};
use hsm::{ErrorClass, Hsm, HsmError, HsmQueue, QueueSettings};
use hsm_sim::client::SimClient;
use std::sync::Arc;
use std::time::Duration;
use store::StoreError;
use vault::Vault;

/// How long a CVC may wait in memory for its charge (PCI DSS 3.3.1: never after authorization, never on disk).
const CVC_LIFETIME: Duration = Duration::from_secs(15 * 60);
const CVC_CAPACITY: usize = 100_000;

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings.
    #[error("settings: {0}")]
    Settings(#[from] SettingsError),
    /// The routes.
    #[error("policy: {0}")]
    Routes(#[from] RoutesError),
    /// The policy folder.
    #[error("policy: {0}")]
    Governance(#[from] Faults),
    /// Work on keys that an earlier run left.
    #[error("keys: {0}")]
    Keys(String),
    /// `[hsm.target]`.
    #[error("[hsm.target]: {0}")]
    Target(&'static str),
    /// The keys' policy.
    #[error("policy: {0}")]
    KeyPolicy(#[from] PolicyError),
    /// The database.
    #[error("database: {0}")]
    Store(#[from] StoreError),
    /// The database's settings.
    #[error("{0}")]
    Database(#[from] DatabaseError),
    /// The HSM's front.
    #[error("HSM: {0}")]
    Hsm(#[from] HsmError),
    /// The PKCS#11 device, or one of its keys.
    #[error("HSM: {0}")]
    Pkcs11(#[from] Pkcs11Fault),
    /// The companion's address or certificate authority.
    #[error("companion: {0}")]
    Companion(#[from] CompanionError),
    /// TLS certificate or key.
    #[error("TLS: {0}")]
    Tls(#[from] crate::edge::TlsError),
    /// The log's name.
    #[error("audit.log: {0}")]
    LogName(#[from] audit::NameError),
    /// The companion's address.
    #[error("companion.url is no https://host:port")]
    CompanionUrl,
    /// No random bytes.
    #[error("{0}")]
    Random(#[from] tokens::RandomUnavailable),
    /// A listener or a signal.
    #[error("{what}: {source}")]
    System {
        /// What was attempted.
        what: String,
        /// The system's word.
        source: std::io::Error,
    },
}

/// Builds every part. Nothing listens yet; the HSM and the companion may still be away.
///
/// # Errors
/// [`StartError`], which names the setting to change.
pub async fn assemble(settings: &Settings, target: Box<OpenTarget>) -> Result<Gateway, StartError> {
    let officers = settings.hsm.has_officers();
    let governance = Arc::new(Governance::read(&settings.policy.dir)?);
    let policy = KeyPolicy::read(&settings.policy.dir, officers)?;
    let hsm = hsm(settings).await?;
    let log = LogName::parse(&settings.audit.log)?;
    let store = settings.store.open_for(&log).await?;
    let vault = Vault::new(
        hsm.clone(),
        store.clone(),
        vault::Settings {
            realm: settings.server.realm,
            body_limit: settings.server.body_bytes,
            body_deadline: Duration::from_secs(settings.server.body_seconds),
            cvc_lifetime: CVC_LIFETIME,
            cvc_capacity: CVC_CAPACITY,
            data_keys: data_key_limits(&policy),
        },
    );
    let owner = Owner::new(&log)?;
    let recorder = Recorder::new(log);
    let processor = match settings.processor.kind {
        ProcessorKind::Sandbox => Arc::new(Sandbox::new(store.clone())),
    };
    let payments = Payments::new(store.clone(), vault.clone(), recorder.clone(), processor);
    let companion_url: http::Uri = settings.companion.url.parse().map_err(|_| StartError::CompanionUrl)?;
    let companion = Companion::new(
        companion_url,
        &settings.companion.ca,
        settings::secret(&settings.companion.token_file)?,
        governance.clone(),
    )?;
    let keys = Keys::new(keys::Given {
        store: store.clone(),
        vault: vault.clone(),
        hsm: hsm.clone(),
        recorder: recorder.clone(),
        policy,
        officers,
        owner: owner.text(),
        target,
        identity: identity(settings)?,
        governance: governance.clone(),
    });
    Ok(Gateway {
        realm: settings.server.realm,
        owner,
        running: Running::default(),
        credentials: Credentials::new(store.clone()),
        governance,
        rates: Rates::new(settings.limits),
        people: People::new(store.clone(), vault.clone(), recorder.clone(), settings.server.realm),
        routes: Routes::read(&settings.policy.dir)?,
        metrics: Metrics::new(),
        store,
        vault,
        hsm,
        keys,
        recorder,
        payments,
        companion,
    })
}

/// The device of `[hsm.target]`.
///
/// # Errors
/// [`StartError`] when the settings name none, or one that cannot be used.
pub fn target(settings: &Settings) -> Result<keys::TargetDevice, StartError> {
    let access = settings.hsm.target.as_deref();
    let access = access.ok_or(StartError::Target("the settings have no such section"))?;
    let (target, hsm) = match pkcs11(settings, access)? {
        Some(device) => {
            // A new token names no realm yet; one that names the other is refused here.
            device.prepare(&[])?;
            (Target::Pkcs11, HsmQueue::start(queue(access), device.sessions())?)
        }
        None => (Target::Simulator, simulator(access)?),
    };
    Ok(keys::TargetDevice { target, officers: access.has_officers(), hsm })
}

/// Asks the device of `[hsm]` for the key that signs its transcripts, when somebody brings one.
fn identity(settings: &Settings) -> Result<Box<AskIdentity>, StartError> {
    let access = &settings.hsm;
    let HsmDevice::Simulator { socket } = &access.device else { return Ok(Box::new(|| Ok(None))) };
    let (socket, pin) = (socket.clone(), settings::secret(&access.pin_file)?);
    Ok(Box::new(move || {
        let device = SimClient::connect(&socket, pin.clone());
        let head = device.log_head()?;
        let realm = device.describe()?.realm;
        Ok(Some(Identity { serial: head.serial, public: head.public, realm }))
    }))
}

/// The policy's bound on uses is where the card room makes a new epoch by itself.
fn data_key_limits(policy: &KeyPolicy) -> vault::DataKeyLimits {
    let limits = vault::DataKeyLimits::default();
    let soft = policy.data_key().most_uses.unwrap_or(limits.soft).min(limits.hard);
    vault::DataKeyLimits { soft, ..limits }
}

async fn hsm(settings: &Settings) -> Result<HsmQueue, StartError> {
    let access = &settings.hsm;
    let Some(device) = pkcs11(settings, access)? else { return simulator(access) };
    let looking = device.clone();
    let found = tokio::task::spawn_blocking(move || looking.inspect()).await;
    match found.map_err(|_| HsmError::NeedsReinit)? {
        // A device that is away comes back by itself, and one that refused the PIN is not asked again by restarting:
        // both are for /readyz. A key that could leave the device is for nobody.
        Err(fault @ Pkcs11Fault::Key { .. }) => return Err(fault.into()),
        Err(fault @ Pkcs11Fault::Device(HsmError::Misconfigured(_))) => return Err(fault.into()),
        Err(Pkcs11Fault::Device(error)) if error.class() == ErrorClass::Permanent => return Err(error.into()),
        Ok(_) | Err(_) => {}
    }
    Ok(HsmQueue::start(queue(access), device.sessions())?)
}

fn simulator(access: &HsmAccess) -> Result<HsmQueue, StartError> {
    let HsmDevice::Simulator { socket } = &access.device else {
        return Err(StartError::Target("the device is no simulator"));
    };
    let factory = SimClient::factory(socket, settings::secret(&access.pin_file)?);
    Ok(HsmQueue::start(queue(access), factory)?)
}

/// The token of a PKCS#11 device, if that is what is meant.
///
/// # Errors
/// [`StartError`] when its library cannot be loaded.
pub fn pkcs11(settings: &Settings, access: &HsmAccess) -> Result<Option<Pkcs11>, StartError> {
    let HsmDevice::Pkcs11 { module, token_label } = &access.device else { return Ok(None) };
    let realm = match settings.server.realm {
        tokens::Realm::Live => hsm::Realm::Live,
        tokens::Realm::Test => hsm::Realm::Test,
    };
    let (module, token_label) = (module.clone(), token_label.clone());
    let pin = settings::secret(&access.pin_file)?;
    Ok(Some(Pkcs11::new(Pkcs11Settings { module, token_label, pin, realm })?))
}

fn queue(access: &HsmAccess) -> QueueSettings {
    QueueSettings { workers: access.workers, ..QueueSettings::default() }
}
