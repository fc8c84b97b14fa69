//! What runs beside the requests: parts are watched, outcomes in doubt are asked for, old answers are forgotten.

use crate::answer::{self, Code};
use crate::credential::session;
use crate::gateway::Gateway;
use crate::idempotency;
use crate::keys::{DeviceLogTrouble, Overdue};
use crate::metrics::StoreActivity;
use crate::ops::{PartState, Warning};
use crate::record::{Event, Origin, now_us};
use audit::{Action, Actor, ActorRole, Resource, Source};
use hsm::KeyLabel;
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
/// How often it is looked whether keys are overdue, approvals are over, or something was left on an old key.
const KEYS_EVERY: Duration = Duration::from_secs(15);
/// Keys are honoured for a day.
const KEY_LIFETIME_US: i64 = 24 * 3600 * 1_000_000;

/// How every part is, now.
pub(super) async fn parts(gateway: &Gateway) -> Vec<PartState> {
    let (hsm, store, companion) =
        tokio::join!(gateway.hsm.health(), gateway.store.ready(), gateway.companion.reachable());
    let part = |part, ok, code, detail| PartState { part, ok, code, detail };
    let (store_code, store_detail) = match store {
        Ok(()) => (Code::StoreUnavailable.as_str(), ""),
        Err(error) => (answer::store_code(error).as_str(), error.remedy()),
    };
    let (companion_code, companion_detail) = match gateway.companion.permitted() {
        Ok(()) => (Code::CompanionUnavailable.as_str(), "start the companion, or check companion.url"),
        Err(refused) => (refused.code(), "add or renew the companion's record in policy/vendors"),
    };
    let parts = vec![
        part("hsm", hsm.is_ok(), "hsm_unavailable", "start hsm-sim, or check the socket and the PIN file"),
        part("store", store.is_ok(), store_code, store_detail),
        part("companion", companion, companion_code, companion_detail),
    ];
    for state in &parts {
        gateway.metrics.part(state.part, state.ok);
    }
    parts
}

/// What somebody should look at: overdue keys, and data keys in memory that stand in for an HSM that is away.
pub(super) fn warnings(gateway: &Gateway) -> Vec<Warning> {
    let overdue = gateway.keys.overdue().into_iter().map(|key| match key {
        Overdue::Hsm { name, .. } => {
            Warning { code: "key_overdue", subject: name, detail: "rotate it: pangate keys rotate" }
        }
        Overdue::Data { tenant } => Warning {
            code: "data_key_overdue",
            subject: tenant.as_str().to_owned(),
            detail: "rotate the tenant's data key, or let the policy do it: policy/keys.toml",
        },
    });
    let logs = gateway.keys.device_log_troubles().into_iter().map(|(device, trouble)| Warning {
        code: trouble.code(),
        subject: device,
        detail: match trouble {
            DeviceLogTrouble::FullForAuditor => {
                "the HSM stands still until its auditor takes its log: hsm-sim log"
            }
            DeviceLogTrouble::Broken => {
                "the HSM's log does not fit what was taken before; treat it as tampering: pangate keys device-log"
            }
            DeviceLogTrouble::SetBack => {
                "the HSM's state was set back: look for rotations and destructions that were undone, in \
                 pangate keys device-log"
            }
        },
    });
    let grace = gateway.vault.cache_state().grace_since_us.map(|_| Warning {
        code: "hsm_grace",
        subject: "data_keys".to_owned(),
        detail: "the HSM is away: cards of keys in memory still open, until their time is over; nothing new is sealed",
    });
    let refused = gateway.governance.refused();
    let policy = refused.iter().map(|fault| Warning {
        code: "policy_refused",
        subject: match fault.line {
            Some(line) => format!("{}, line {line}", fault.file),
            None => fault.file.clone(),
        },
        detail: "the policy folder was read again and has a fault, so the one before stays: pangate policy check",
    });
    let bundle = gateway.governance.now();
    let people = bundle.notices(now_us().div_euclid(1_000_000)).into_iter().map(|notice| Warning {
        code: notice.code,
        subject: notice.subject,
        detail: "a record in the policy folder is due: pangate policy check",
    });
    overdue.chain(logs).chain(grace).chain(policy).chain(people).collect()
}

/// Looks after the keys, and shows in the metrics how they are.
async fn look_after_keys(gateway: &Gateway) {
    let notices = gateway.governance.now().notices(now_us().div_euclid(1_000_000));
    gateway.metrics.records_due(notices.iter().map(|notice| notice.code));
    match gateway.keys.look_after().await {
        Ok(inventory) => {
            for key in [KeyLabel::KEK_CARD, KeyLabel::MAC_PAN, KeyLabel::MAC_REQUEST, KeyLabel::SIGN_AUDIT] {
                let name = gateway_word(&key);
                let lines = || inventory.data.iter().filter(|line| line.name == key.as_str());
                let used = lines().filter(|line| line.status == "active" && line.due != Some("superseded"));
                let age = used.map(|line| line.age_days).max().unwrap_or(0);
                gateway.metrics.key(name, age, count(lines().filter(|line| line.overdue).count()));
            }
            let active = || inventory.data_keys.iter().filter(|line| line.status == "active");
            let age = active().map(|line| line.age_days).max().unwrap_or(0);
            gateway.metrics.key("data_key", age, count(active().filter(|line| line.overdue).count()));
        }
        Err(error) => tracing::warn!(error = %error, "the keys could not be looked after"),
    }
}

/// A label of ours as the metrics take it.
fn gateway_word(label: &KeyLabel) -> &'static str {
    match label.as_str() {
        "kek/card" => "kek/card",
        "mac/pan" => "mac/pan",
        "mac/request" => "mac/request",
        _ => "sign/audit",
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn show_cache(gateway: &Gateway) {
    let state = gateway.vault.cache_state();
    let grace = state.grace_since_us.map(|since| now_us().saturating_sub(since)).unwrap_or(0);
    let grace = Duration::from_micros(u64::try_from(grace).unwrap_or(0));
    gateway.metrics.data_key_cache(count(state.entries), state.hits, state.misses, state.purges, grace);
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
    let mut keys = tokio::time::interval(KEYS_EVERY);
    let mut seen = BTreeMap::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = watch.tick() => {
                look(&gateway, &mut seen).await;
                show_cache(&gateway);
                gateway.metrics.strangers(gateway.rates.addresses());
            }
            _ = keys.tick() => look_after_keys(&gateway).await,
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
        .commit(move |work| {
            Box::pin(async move {
                session::forget(work).await?;
                idempotency::forget(work, before).await
            })
        })
        .await;
    if forgotten.is_err() {
        tracing::warn!("old idempotency answers could not be forgotten yet");
    }
}
