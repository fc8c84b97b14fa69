//! Takes the logs of the HSMs, in a task of its own: nothing else that is looked after may delay it, because a full log
//! stops the HSM. It goes on while the last requests are answered, and ends with one more round.

use crate::gateway::Gateway;
use crate::keys::DeviceLogTrouble;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How often.
const EVERY: Duration = Duration::from_secs(1);
/// How long the last round may take: what it leaves waits in the device.
const LAST: Duration = Duration::from_secs(2);

/// Until `stop`, which comes when the last request was answered.
pub(super) async fn take(gateway: Arc<Gateway>, stop: CancellationToken) {
    let mut rounds = tokio::time::interval(EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(rounds.tick()).await.is_some() {
        if stop.run_until_cancelled(round(&gateway)).await.is_none() {
            break;
        }
    }
    // A round that was interrupted left nothing undone: what was stored is told to the device with the next question.
    let _ = tokio::time::timeout(LAST, round(&gateway)).await;
}

async fn round(gateway: &Gateway) {
    let taken = gateway.keys.take_device_logs().await;
    gateway.metrics.device_log_taken(taken);
    let troubles = gateway.keys.device_log_troubles();
    for kind in DeviceLogTrouble::ALL {
        let devices = troubles.iter().filter(|(_, trouble)| *trouble == kind).count();
        gateway.metrics.device_log_trouble(kind.code(), devices);
    }
}
