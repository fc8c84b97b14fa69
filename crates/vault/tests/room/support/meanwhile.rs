//! Something that happens at an exact instant of another call: between the reading of a row and what is done with it.

use hsm::{Context, DataKey, DeviceInfo, Health, Hsm, HsmError, KeyFilter, KeyInfo, KeyRef, SealedDataKey};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use vault::Clock;

type Act = Box<dyn FnOnce() + Send>;

/// Runs once, when it is armed and the instant comes.
#[derive(Clone, Default)]
pub(crate) struct Meanwhile(Arc<Mutex<Option<Act>>>);

impl Meanwhile {
    pub(crate) fn arm(&self, act: impl FnOnce() + Send + 'static) {
        *self.0.lock().unwrap() = Some(Box::new(act));
    }

    pub(crate) fn is_armed(&self) -> bool {
        self.0.lock().unwrap().is_some()
    }

    fn now(&self) {
        let act = self.0.lock().unwrap().take();
        if let Some(act) = act {
            // On a thread of its own: the one that we are on may belong to a runtime.
            std::thread::spawn(act).join().unwrap();
        }
    }
}

/// A clock whose next question for the time passed is the instant.
pub(crate) struct At<C>(pub(crate) Arc<C>, pub(crate) Meanwhile);

impl<C: Clock> Clock for At<C> {
    fn now_us(&self) -> i64 {
        self.0.now_us()
    }
    fn elapsed(&self) -> Duration {
        self.1.now();
        self.0.elapsed()
    }
}

/// A device whose next opening of a data key is the instant.
pub(super) struct Opening<H>(pub(super) H, pub(super) Meanwhile);

impl<H: Hsm> Hsm for Opening<H> {
    fn open_data_key(&self, sealed: &SealedDataKey, context: &Context) -> Result<DataKey, HsmError> {
        self.1.now();
        self.0.open_data_key(sealed, context)
    }
    fn describe(&self) -> Result<DeviceInfo, HsmError> {
        self.0.describe()
    }
    fn health(&self) -> Result<Health, HsmError> {
        self.0.health()
    }
    fn random(&self, out: &mut [u8]) -> Result<(), HsmError> {
        self.0.random(out)
    }
    fn keys(&self, filter: &KeyFilter) -> Result<Vec<KeyInfo>, HsmError> {
        self.0.keys(filter)
    }
    fn new_data_key(&self, kek: &KeyRef, context: &Context) -> Result<(DataKey, SealedDataKey), HsmError> {
        self.0.new_data_key(kek, context)
    }
    fn reseal_data_key(
        &self,
        sealed: &SealedDataKey,
        from: &Context,
        to_kek: &KeyRef,
        to: &Context,
    ) -> Result<SealedDataKey, HsmError> {
        self.0.reseal_data_key(sealed, from, to_kek, to)
    }
    fn mac(&self, key: &KeyRef, message: &[u8]) -> Result<[u8; 32], HsmError> {
        self.0.mac(key, message)
    }
    fn sign(&self, key: &KeyRef, message: &[u8]) -> Result<[u8; 64], HsmError> {
        self.0.sign(key, message)
    }
}
