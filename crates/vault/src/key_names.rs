//! Which version of each HSM key is the current one. Names only: no key is ever here.

use crate::clock::Clock;
use crate::error::VaultError;
use hsm::{HsmError, HsmQueue, KeyFilter, KeyLabel, KeyRef};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

const FRESH_FOR: Duration = Duration::from_secs(30);
const STALE_FOR: Duration = Duration::from_secs(1);

/// Label to newest active version, asked of the HSM and remembered for half a minute.
pub(crate) struct KeyNames {
    hsm: HsmQueue,
    clock: Arc<dyn Clock>,
    known: Mutex<Option<(Duration, HashMap<String, KeyRef>)>>,
}

impl KeyNames {
    pub(crate) fn new(hsm: HsmQueue, clock: Arc<dyn Clock>) -> Self {
        KeyNames { hsm, clock, known: Mutex::new(None) }
    }

    /// The newest version of that key that may protect something new.
    pub(crate) async fn current(&self, label: &KeyLabel) -> Result<KeyRef, VaultError> {
        let now = self.clock.elapsed();
        let mut known = self.known.lock().await;
        let remembered = known.as_ref().filter(|(until, _)| now < *until);
        if let Some(key) = remembered.and_then(|(_, keys)| keys.get(label.as_str())) {
            return Ok(key.clone());
        }
        match self.newest().await {
            Ok(keys) => {
                let key = keys.get(label.as_str()).cloned().ok_or(VaultError::HsmRefused);
                *known = Some((now.saturating_add(FRESH_FOR), keys));
                key
            }
            // The HSM cannot say; what it said last serves for another second, so that callers do not queue up
            // behind this question. If the name is out of date the HSM will refuse it by itself.
            Err(error) => {
                let (until, keys) = known.as_mut().ok_or(error.clone())?;
                *until = now.saturating_add(STALE_FOR);
                keys.get(label.as_str()).cloned().ok_or(error)
            }
        }
    }

    async fn newest(&self) -> Result<HashMap<String, KeyRef>, VaultError> {
        let mut keys: HashMap<String, KeyRef> = HashMap::new();
        for info in self.hsm.keys(KeyFilter::default()).await? {
            let newest = keys.get(info.key.label.as_str()).is_none_or(|seen| seen.version < info.key.version);
            if info.status.may_protect() && newest {
                keys.insert(info.key.label.as_str().to_owned(), info.key);
            }
        }
        Ok(keys)
    }

    /// Forgets what is remembered, so that the next call asks the HSM.
    pub(crate) async fn forget(&self) {
        *self.known.lock().await = None;
    }

    /// HMAC-SHA-256 inside the HSM under the newest version of that key; also says which version that was. A
    /// version that was retired since we asked is looked up anew, once.
    pub(crate) async fn mac(
        &self,
        label: &KeyLabel,
        messages: Vec<Zeroizing<Vec<u8>>>,
    ) -> Result<(Vec<[u8; 32]>, u32), VaultError> {
        let key = self.current(label).await?;
        let version = key.version.get();
        match self.hsm.mac_many(key, messages.clone()).await {
            Ok(macs) => Ok((macs, version)),
            Err(HsmError::KeyStatus { .. } | HsmError::KeyNotFound) => {
                self.forget().await;
                let key = self.current(label).await?;
                let version = key.version.get();
                Ok((self.hsm.mac_many(key, messages).await?, version))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// As [`KeyNames::mac`] for one message; the queue sends what waits together to the HSM as one call.
    pub(crate) async fn mac_one(
        &self,
        label: &KeyLabel,
        message: Zeroizing<Vec<u8>>,
    ) -> Result<([u8; 32], u32), VaultError> {
        let key = self.current(label).await?;
        let version = key.version.get();
        match self.hsm.mac(key, message.clone()).await {
            Ok(mac) => Ok((mac, version)),
            Err(HsmError::KeyStatus { .. } | HsmError::KeyNotFound) => {
                self.forget().await;
                let key = self.current(label).await?;
                let version = key.version.get();
                Ok((self.hsm.mac(key, message).await?, version))
            }
            Err(error) => Err(error.into()),
        }
    }
}
