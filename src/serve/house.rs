//! What runs beside the requests: parts are watched, outcomes in doubt are asked for, old answers are forgotten.

use crate::gateway::Gateway;
use crate::idempotency;
use crate::metrics::StoreActivity;
use crate::ops::PartState;
use crate::record::{Event, Origin, now_us};
use audit::{Action, Actor, ActorRole, Resource, Source};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

/// How often the parts are looked at.
const WATCH_EVERY: Duration = Duration::from_secs(2);
/// How often outcomes that are in doubt are asked for again.
const RESOLVE_EVERY: Duration = Duration::from_secs(5);
/// How often old idempotency answers are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(3600);
/// Keys are honoured for a day.
const KEY_LIFETIME_US: i64 = 24 * 3600 * 1_000_000;

/// How every part is, now.
pub(super) async fn parts(gateway: &Gateway) -> Vec<PartState> {
    let (hsm, store, companion) =
        tokio::join!(gateway.hsm.health(), gateway.store.ready(), gateway.companion.reachable());
    let part = |part, ok, code, detail| PartState { part, ok, code, detail };
    let parts = vec![
        part("hsm", hsm.is_ok(), "hsm_unavailable", "start hsm-sim, or check the socket and the PIN file"),
        part("store", store.is_ok(), "store_unavailable", "check the database's disk and locks"),
        part("companion", companion, "companion_unavailable", "start the companion, or check companion.url"),
    ];
    for state in &parts {
        gateway.metrics.part(state.part, state.ok);
    }
    parts
}

/// The store's counters as the metrics show them.
pub(super) fn store_activity(store: Store) -> impl Fn() -> StoreActivity + Send + Sync + 'static {
    move || {
        let counters = store.counters();
        StoreActivity {
            commits: counters.commits,
            acts: counters.acts,
            busy: counters.busy,
            failed: counters.failed,
        }
    }
}

/// Records something that pangate itself did or saw.
pub(super) async fn note(gateway: &Gateway, event: Event) -> Result<(), StoreError> {
    let recorder = gateway.recorder.clone();
    let origin = Origin {
        actor: Actor { role: ActorRole::System, principal: None },
        tenant: None,
        request: None,
        source: Source::Internal,
    };
    gateway
        .store
        .commit(move |work| {
            Box::pin(async move {
                let _receipt = recorder.append(work, &origin, event).await?;
                Ok::<(), StoreError>(())
            })
        })
        .await
}

/// Until `stop`: watch, resolve, forget.
pub(super) async fn keep(gateway: Arc<Gateway>, stop: CancellationToken) {
    let mut watch = tokio::time::interval(WATCH_EVERY);
    let mut resolve = tokio::time::interval(RESOLVE_EVERY);
    let mut forget = tokio::time::interval(FORGET_EVERY);
    let mut seen = BTreeMap::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = watch.tick() => look(&gateway, &mut seen).await,
            _ = resolve.tick() => {
                if let Err(error) = gateway.payments.resolve_in_doubt().await {
                    tracing::warn!(error = %error, "outcomes in doubt could not be resolved yet");
                }
            }
            _ = forget.tick() => forget_old_answers(&gateway).await,
        }
    }
}

/// Tells the logs when a part went away or came back. The store's own absence can be recorded only afterwards.
async fn look(gateway: &Gateway, seen: &mut BTreeMap<&'static str, bool>) {
    for state in parts(gateway).await {
        let before = seen.insert(state.part, state.ok).unwrap_or(true);
        if before == state.ok {
            continue;
        }
        tracing::warn!(part = state.part, up = state.ok, "a part that pangate depends on changed");
        let event = if state.ok {
            Event {
                reason: audit::Reason::parse(state.part).ok(),
                ..Event::success(Action::DependencyUp, Resource::None)
            }
        } else {
            Event::failed(Action::DependencyDown, Resource::None, state.code)
        };
        if note(gateway, event).await.is_err() {
            tracing::warn!(part = state.part, "the change could not be recorded");
        }
    }
}

async fn forget_old_answers(gateway: &Gateway) {
    let before = now_us().saturating_sub(KEY_LIFETIME_US);
    let forgotten: Result<u64, StoreError> = gateway
        .store
        .commit(move |work| Box::pin(async move { idempotency::forget(work, before).await }))
        .await;
    if forgotten.is_err() {
        tracing::warn!("old idempotency answers could not be forgotten yet");
    }
}
