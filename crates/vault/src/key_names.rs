//! Which versions of each HSM key are in use. Names only: no key is ever here.

use crate::clock::Clock;
use crate::error::VaultError;
use crate::presence::Presence;
use hsm::{HsmError, HsmQueue, KeyFilter, KeyLabel, KeyRef, KeyStatus};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

const FRESH_FOR: Duration = Duration::from_secs(30);
const STALE_FOR: Duration = Duration::from_secs(1);

/// MACs of messages under one version of a key, in the messages' order.
pub(crate) struct Macs {
    pub(crate) version: u32,
    pub(crate) macs: Vec<[u8; 32]>,
}

/// Label to active versions, asked of the HSM and remembered for half a minute.
pub(crate) struct KeyNames {
    hsm: HsmQueue,
    clock: Arc<dyn Clock>,
    known: Mutex<Option<Known>>,
    refreshing: AtomicBool,
    changes: AtomicU64,
    presence: Presence,
}

struct Known {
    until: Duration,
    /// The newest version first.
    active: HashMap<String, Vec<KeyRef>>,
    listing: Vec<(KeyRef, KeyStatus)>,
}

impl KeyNames {
    pub(crate) fn new(hsm: HsmQueue, clock: Arc<dyn Clock>) -> Self {
        let presence = Presence::new(Arc::clone(&clock));
        KeyNames {
            hsm,
            clock,
            known: Mutex::new(None),
            refreshing: AtomicBool::new(false),
            changes: AtomicU64::new(0),
            presence,
        }
    }

    /// The newest version of that key that may protect something new.
    pub(crate) async fn current(&self, label: &KeyLabel) -> Result<KeyRef, VaultError> {
        self.active(label).await?.into_iter().next().ok_or(VaultError::HsmRefused)
    }

    /// Every version of that key that may protect something new, the newest first; at least one.
    pub(crate) async fn active(&self, label: &KeyLabel) -> Result<Vec<KeyRef>, VaultError> {
        let now = self.clock.elapsed();
        let mut known = self.known.lock().await;
        if known.as_ref().is_none_or(|known| known.until <= now || !known.active.contains_key(label.as_str()))
        {
            self.ask(&mut known, now).await?;
        }
        let versions = known.as_ref().and_then(|known| known.active.get(label.as_str()));
        versions.cloned().ok_or(VaultError::HsmRefused)
    }

    /// Asks the HSM. If it cannot say, what it said last serves for another second, so that callers do not queue up
    /// behind this question; if a name is out of date the HSM will refuse it by itself.
    async fn ask(&self, known: &mut Option<Known>, now: Duration) -> Result<(), VaultError> {
        let listed = self.hsm.keys(KeyFilter::default()).await;
        self.presence.note(listed.as_ref().err());
        match listed {
            Ok(infos) => {
                let listing: Vec<_> = infos.into_iter().map(|info| (info.key, info.status)).collect();
                if known.as_ref().is_some_and(|known| known.listing != listing) {
                    self.changes.fetch_add(1, Ordering::AcqRel);
                }
                let until = now.saturating_add(FRESH_FOR);
                *known = Some(Known { until, active: active(&listing), listing });
                Ok(())
            }
            Err(error) => {
                let remembered = known.as_mut().ok_or(error)?;
                remembered.until = now.saturating_add(STALE_FOR);
                Ok(())
            }
        }
    }

    /// Has the next call ask the HSM.
    pub(crate) async fn forget(&self) {
        if let Some(known) = self.known.lock().await.as_mut() {
            known.until = Duration::ZERO;
        }
    }

    /// Asks the HSM when what is remembered is out of date, without anybody waiting for it: a change of a key's
    /// status must reach those who only read, and an HSM that is away must not hold them up.
    pub(crate) fn refresh_in_background(self: &Arc<Self>) {
        let now = self.clock.elapsed();
        let due = self.known.try_lock().is_ok_and(|known| known.as_ref().is_none_or(|k| k.until <= now));
        if !due || self.refreshing.swap(true, Ordering::AcqRel) {
            return;
        }
        let names = Arc::clone(self);
        tokio::spawn(async move {
            let mut known = names.known.lock().await;
            // The outcome is in `presence`; there is nobody to tell it to.
            let _ = names.ask(&mut known, now).await;
            drop(known);
            names.refreshing.store(false, Ordering::Release);
        });
    }

    /// Grows whenever the HSM lists other keys or statuses than before, and when it was found shut.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire).wrapping_add(self.presence.shut())
    }

    /// Whether the HSM is there.
    pub(crate) fn presence(&self) -> &Presence {
        &self.presence
    }

    /// HMAC-SHA-256 inside the HSM under every active version of that key, the newest first. A version that was
    /// retired since we asked is looked up anew, once.
    pub(crate) async fn macs(
        &self,
        label: &KeyLabel,
        messages: &[Zeroizing<Vec<u8>>],
    ) -> Result<Vec<Macs>, VaultError> {
        let versions = self.active(label).await?;
        match self.under_all(versions, messages).await {
            Err(HsmError::KeyStatus { .. } | HsmError::KeyNotFound) => {
                self.forget().await;
                let versions = self.active(label).await?;
                Ok(self.under_all(versions, messages).await?)
            }
            outcome => Ok(outcome?),
        }
    }

    async fn under_all(
        &self,
        versions: Vec<KeyRef>,
        messages: &[Zeroizing<Vec<u8>>],
    ) -> Result<Vec<Macs>, HsmError> {
        let mut all = Vec::with_capacity(versions.len());
        for key in versions {
            all.push(self.under(key, messages).await?);
        }
        Ok(all)
    }

    /// HMAC-SHA-256 inside the HSM under exactly that version. One message goes with others that wait at the same
    /// time to the HSM in one call.
    pub(crate) async fn under(&self, key: KeyRef, messages: &[Zeroizing<Vec<u8>>]) -> Result<Macs, HsmError> {
        let version = key.version.get();
        let macs = match messages {
            [] => Ok(vec![]),
            [one] => self.hsm.mac(key, one.clone()).await.map(|mac| vec![mac]),
            many => self.hsm.mac_many(key, many.to_vec()).await,
        };
        self.presence.note(macs.as_ref().err());
        Ok(Macs { version, macs: macs? })
    }
}

fn active(listing: &[(KeyRef, KeyStatus)]) -> HashMap<String, Vec<KeyRef>> {
    let mut active: HashMap<String, Vec<KeyRef>> = HashMap::new();
    for (key, _) in listing.iter().filter(|(_, status)| status.may_protect()) {
        active.entry(key.label.as_str().to_owned()).or_default().push(key.clone());
    }
    for versions in active.values_mut() {
        versions.sort_by_key(|key| Reverse(key.version));
    }
    active
}
