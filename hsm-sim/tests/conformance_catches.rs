//! The suite is worth as much as it catches: a device with one fault at a time, each of which must be found, and a
//! device that declares less, of which exactly that is skipped and counted.
#![expect(clippy::unwrap_used, reason = "test code; a failure must stop the test")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use hsm::conformance::{Report, TestKeys};
use hsm::{
    Capabilities, Capability, Context, DataKey, DeviceInfo, Health, Hsm, HsmError, KeyFilter, KeyInfo,
    KeyLabel, KeyRef, KeyVersion, Realm, SealedDataKey,
};
use hsm_sim::device::{Device, primitives};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    NoSigning,
    RandomZero,
    MacIgnoresItsKey,
    MacIsAPlainHash,
    BatchReversed,
    SignsAnotherMessage,
    OpensUnderAnyContext,
    RepeatsItsDataKey,
    AnyRealm,
    KeysExtractable,
    UnknownKeyDenied,
    AcceptsEmpty,
    ResealKeepsTheSeal,
}

/// Every sealed key by its IV, with the context it was bound to.
type Made = HashMap<[u8; 12], (SealedDataKey, Context)>;

struct Faulty {
    inner: Arc<Device>,
    fault: Fault,
    made: Arc<Mutex<Made>>,
}

#[test]
fn every_planted_fault_is_found() {
    let faults = [
        Fault::RandomZero,
        Fault::MacIgnoresItsKey,
        Fault::MacIsAPlainHash,
        Fault::BatchReversed,
        Fault::SignsAnotherMessage,
        Fault::OpensUnderAnyContext,
        Fault::RepeatsItsDataKey,
        Fault::AnyRealm,
        Fault::KeysExtractable,
        Fault::UnknownKeyDenied,
        Fault::AcceptsEmpty,
        Fault::ResealKeepsTheSeal,
    ];
    for fault in faults {
        let report = run(fault);
        assert!(!report.holds(), "{fault:?} was not found");
        assert!(report.passed.len() > 10, "{fault:?}: the suite fails whatever it is given");
    }
    assert!(run(Fault::None).holds());
}

#[test]
fn what_a_device_does_not_declare_is_skipped_and_counted() {
    let report = run(Fault::NoSigning);
    assert!(report.holds(), "{:?}", report.failed);
    assert_eq!(report.skipped.len(), 6);
    assert!(report.skipped.iter().all(|(_, missing)| *missing == Capability::SignEd25519));
    assert_eq!(report.total(), run(Fault::None).total());
}

fn run(fault: Fault) -> Report {
    let inner = Arc::new(Device::in_memory(Realm::Test).unwrap());
    let made = Arc::new(Mutex::new(HashMap::new()));
    let connect = || -> Result<Box<dyn Hsm>, HsmError> {
        Ok(Box::new(Faulty { inner: Arc::clone(&inner), fault, made: Arc::clone(&made) }))
    };
    let first = |label: KeyLabel| label.at(KeyVersion::FIRST);
    let keys = TestKeys {
        realm: Realm::Test,
        kek: first(KeyLabel::KEK_CARD),
        mac: first(KeyLabel::MAC_PAN),
        other_mac: first(KeyLabel::MAC_REQUEST),
        sign: first(KeyLabel::SIGN_AUDIT),
    };
    hsm::conformance::run(&connect, &keys)
}

impl Faulty {
    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }
}

impl Hsm for Faulty {
    fn describe(&self) -> Result<DeviceInfo, HsmError> {
        let mut info = self.inner.describe()?;
        if self.has(Fault::NoSigning) {
            info.capabilities =
                Capabilities::of(&[Capability::SealGcm, Capability::MacHmacSha256, Capability::Random]);
        }
        Ok(info)
    }

    fn health(&self) -> Result<Health, HsmError> {
        self.inner.health()
    }

    fn random(&self, out: &mut [u8]) -> Result<(), HsmError> {
        self.inner.random(out)?;
        if self.has(Fault::RandomZero) {
            out.fill(0);
        }
        Ok(())
    }

    fn keys(&self, filter: &KeyFilter) -> Result<Vec<KeyInfo>, HsmError> {
        let mut keys = self.inner.keys(filter)?;
        keys.iter_mut().for_each(|info| info.extractable = self.has(Fault::KeysExtractable));
        Ok(keys)
    }

    fn new_data_key(&self, kek: &KeyRef, context: &Context) -> Result<(DataKey, SealedDataKey), HsmError> {
        let own = Context::data_key(
            Realm::Test,
            context.kek(),
            context.suite(),
            *context.data_key_id(),
            context.tenant(),
            context.class(),
            context.epoch(),
        )?;
        let context = if self.has(Fault::AnyRealm) { &own } else { context };
        if self.has(Fault::RepeatsItsDataKey) {
            let made = self.made.lock().unwrap();
            if let Some((sealed, _)) = made.values().find(|(_, bound)| bound == context) {
                return Ok((self.inner.open_data_key(sealed, context)?, sealed.clone()));
            }
        }
        let (key, sealed) = self.inner.new_data_key(kek, context)?;
        self.made.lock().unwrap().insert(sealed.iv, (sealed.clone(), context.clone()));
        Ok((key, sealed))
    }

    fn open_data_key(&self, sealed: &SealedDataKey, context: &Context) -> Result<DataKey, HsmError> {
        let made = self.made.lock().unwrap();
        match made.get(&sealed.iv) {
            Some((_, bound)) if self.has(Fault::OpensUnderAnyContext) => {
                self.inner.open_data_key(sealed, bound)
            }
            _ => self.inner.open_data_key(sealed, context),
        }
    }

    fn reseal_data_key(
        &self,
        sealed: &SealedDataKey,
        from: &Context,
        to_kek: &KeyRef,
        to: &Context,
    ) -> Result<SealedDataKey, HsmError> {
        let moved = self.inner.reseal_data_key(sealed, from, to_kek, to)?;
        Ok(if self.has(Fault::ResealKeepsTheSeal) { sealed.clone() } else { moved })
    }

    fn mac(&self, key: &KeyRef, message: &[u8]) -> Result<[u8; 32], HsmError> {
        let one = KeyLabel::MAC_PAN.at(KeyVersion::FIRST);
        match self.fault {
            Fault::AcceptsEmpty if message.is_empty() => Ok([0; 32]),
            Fault::MacIsAPlainHash => self.inner.mac(key, message).map(|_| primitives::sha256(message)),
            Fault::MacIgnoresItsKey => {
                self.inner.mac(key, message).and_then(|_| self.inner.mac(&one, message))
            }
            Fault::UnknownKeyDenied => self.inner.mac(key, message).map_err(|error| match error {
                HsmError::KeyNotFound => HsmError::Denied,
                other => other,
            }),
            _ => self.inner.mac(key, message),
        }
    }

    fn mac_many(&self, key: &KeyRef, messages: &[&[u8]]) -> Result<Vec<[u8; 32]>, HsmError> {
        let mut macs = self.inner.mac_many(key, messages)?;
        if self.has(Fault::BatchReversed) {
            macs.reverse();
        }
        Ok(macs)
    }

    fn sign(&self, key: &KeyRef, message: &[u8]) -> Result<[u8; 64], HsmError> {
        let signature = self.inner.sign(key, message)?;
        if self.has(Fault::SignsAnotherMessage) { self.inner.sign(key, b"another") } else { Ok(signature) }
    }
}
