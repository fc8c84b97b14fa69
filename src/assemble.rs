//! Settings become running parts: the one place that chooses simulator or device, and which processor.

use crate::credential::Credentials;
use crate::gateway::Gateway;
use crate::idempotency::{Owner, Running};
use crate::metrics::Metrics;
use crate::payments::Payments;
use crate::payments::sandbox::Sandbox;
use crate::record::Recorder;
use crate::routes::{Routes, RoutesError};
use crate::settings::{self, HsmProvider, ProcessorKind, Settings, SettingsError};
use crate::upstream::companion::{Companion, CompanionError};
use audit::LogName;
use hsm::{HsmError, HsmQueue, QueueSettings};
use hsm_sim::client::SimClient;
use std::sync::Arc;
use std::time::Duration;
use store::{Store, StoreError};
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
    /// The database.
    #[error("database: {0}")]
    Store(#[from] StoreError),
    /// The HSM's front.
    #[error("HSM: {0}")]
    Hsm(#[from] HsmError),
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
pub async fn assemble(settings: &Settings) -> Result<Gateway, StartError> {
    let hsm = hsm(settings)?;
    let store = Store::open(&settings.store.url, store::Settings::default()).await?;
    let vault = Vault::new(
        hsm.clone(),
        store.clone(),
        vault::Settings {
            realm: settings.server.realm,
            body_limit: settings.server.body_bytes,
            body_deadline: Duration::from_secs(settings.server.body_seconds),
            cvc_lifetime: CVC_LIFETIME,
            cvc_capacity: CVC_CAPACITY,
        },
    );
    let log = LogName::parse(&settings.audit.log)?;
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
    )?;
    Ok(Gateway {
        realm: settings.server.realm,
        owner,
        running: Running::default(),
        credentials: Credentials::new(store.clone()),
        routes: Routes::read(&settings.policy.dir)?,
        metrics: Metrics::new(),
        store,
        vault,
        hsm,
        recorder,
        payments,
        companion,
    })
}

fn hsm(settings: &Settings) -> Result<HsmQueue, StartError> {
    let pin = settings::secret(&settings.hsm.pin_file)?;
    let socket = &settings.hsm.socket;
    let queue = QueueSettings { workers: settings.hsm.workers, ..QueueSettings::default() };
    match settings.hsm.provider {
        HsmProvider::Simulator => Ok(HsmQueue::start(queue, SimClient::factory(socket, pin))?),
    }
}
