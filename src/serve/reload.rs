//! The policy folder is read again when somebody asks for it with SIGHUP: `kill -HUP`, or `systemctl reload`.

use super::house;
use crate::assemble::StartError;
use crate::gateway::Gateway;
use crate::record::Event;
use audit::{Action, Resource};
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// From here on a hangup ends nobody.
///
/// # Errors
/// [`StartError::System`] when the system does not hand the signal over.
pub(super) fn listen() -> Result<Signal, StartError> {
    let system = |source| StartError::System { what: "signals".to_owned(), source };
    signal(SignalKind::hangup()).map_err(system)
}

/// Until `stop`: every hangup is a wish to read the folder again.
pub(super) async fn keep(gateway: Arc<Gateway>, mut hangups: Signal, stop: CancellationToken) {
    while let Some(Some(())) = stop.run_until_cancelled(hangups.recv()).await {
        reload(&gateway).await;
    }
}

/// A folder without a fault is in force once the log holds its hash; any other changes nothing.
async fn reload(gateway: &Arc<Gateway>) {
    let reading = gateway.governance.clone();
    let Ok(read) = tokio::task::spawn_blocking(move || reading.reread()).await else { return };
    match read {
        Ok(bundle) => {
            let event = Event::success(Action::PolicyChange, Resource::Policy(bundle.hash()));
            match house::note(gateway, event).await {
                Ok(()) => {
                    let hash = bundle.hash_text();
                    gateway.governance.enforce(bundle);
                    tracing::info!(sha256 = hash, "the policy folder was read again and is in force");
                }
                Err(error) => {
                    tracing::warn!(error = %error, "the policy could not be recorded and is not in force; ask again");
                }
            }
        }
        Err(faults) => {
            for fault in &faults.0 {
                tracing::warn!(fault = %fault, "the policy folder was refused; what was in force stays");
            }
            let event = Event::refused(Action::PolicyChange, Resource::None, "policy_refused");
            if house::note(gateway, event).await.is_err() {
                tracing::warn!("the refusal of a policy could not be recorded");
            }
        }
    }
}
