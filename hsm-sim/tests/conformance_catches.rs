//! The suite is worth as much as it catches: a device with one fault at a time, each of which must be found, and a
//! device that declares less, of which exactly that is skipped and counted.
#![expect(clippy::unwrap_used, reason = "test code; a failure must stop the test")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use hsm::conformance::{Report, TestKeys};
use hsm::{
    Approval, Capabilities, Capability, Context, DataKey, DestructionRecord, DeviceInfo, DeviceLogHead,
    DeviceLogPage, Health, Hsm, HsmError, KeyFilter, KeyInfo, KeyLabel, KeyRef, KeySpec, KeyStatus,
    KeyVersion, Realm, SealedDataKey,
};
use hsm_sim::device::{AccountName, Device, primitives};

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
    // In the life of keys.
    AnyApproval,
    CreatedActive,
    NoFence,
    FenceStopsOpening,
    StatusGoesBack,
    SuspendedSeals,
    DestroysInUse,
    DestroyedStillOpens,
    VersionsRepeat,
    IgnoresAtLeast,
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
        Fault::AnyApproval,
        Fault::CreatedActive,
        Fault::NoFence,
        Fault::FenceStopsOpening,
        Fault::StatusGoesBack,
        Fault::SuspendedSeals,
        Fault::DestroysInUse,
        Fault::DestroyedStillOpens,
        Fault::VersionsRepeat,
        Fault::IgnoresAtLeast,
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
    assert_eq!(report.skipped.len(), 7);
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
    let approve = |act: &str| agreed(&inner, act);
    hsm::conformance::run_all(&connect, &keys, &approve)
}

/// Two officers of the device agree.
fn agreed(device: &Device, act: &str) -> Approval {
    let [first, second] = ["first", "second"]
        .map(|name| device.approve(&AccountName::new(name).unwrap(), act, 900).unwrap().into());
    Approval::Tickets { first, second }
}

impl Faulty {
    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn move_to(&self, key: &KeyRef, status: KeyStatus) -> Result<(), HsmError> {
        let act = format!("status {key} {}", status.as_str());
        self.inner.set_status(key, status, &agreed(&self.inner, &act))
    }

    fn status(&self, key: &KeyRef) -> Option<KeyStatus> {
        let list = self.inner.keys(&KeyFilter::default()).unwrap();
        list.into_iter().find(|info| info.key == *key).map(|info| info.status)
    }
}

impl Hsm for Faulty {
    fn describe(&self) -> Result<DeviceInfo, HsmError> {
        let mut info = self.inner.describe()?;
        if self.has(Fault::NoSigning) {
            let others = Capability::ALL.into_iter().filter(|one| *one != Capability::SignEd25519);
            info.capabilities = Capabilities::of(&others.collect::<Vec<_>>());
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
        if self.has(Fault::FenceStopsOpening) && self.status(&sealed.kek) == Some(KeyStatus::Deactivated) {
            return Err(HsmError::KeyStatus { have: KeyStatus::Deactivated, need: KeyStatus::Active });
        }
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

    fn create_key(&self, spec: &KeySpec, approval: &Approval) -> Result<KeyInfo, HsmError> {
        let mut info = match self.inner.create_key(spec, approval) {
            Err(HsmError::Denied) if self.has(Fault::AnyApproval) => {
                self.inner.create_key(spec, &agreed(&self.inner, &format!("create {}", spec.label)))?
            }
            other => other?,
        };
        if self.has(Fault::CreatedActive) {
            self.move_to(&info.key, KeyStatus::Active)?;
            info.status = KeyStatus::Active;
        }
        if self.has(Fault::VersionsRepeat) {
            info.key.version = KeyVersion::FIRST;
        }
        Ok(info)
    }

    fn rotate_key(&self, spec: &KeySpec, approval: &Approval) -> Result<KeyInfo, HsmError> {
        let mut spec = spec.clone();
        if self.has(Fault::IgnoresAtLeast) {
            spec.at_least = KeyVersion::FIRST;
        }
        if self.has(Fault::NoFence) {
            let mut info =
                self.inner.create_key(&spec, &agreed(&self.inner, &format!("create {}", spec.label)))?;
            self.move_to(&info.key, KeyStatus::Active)?;
            info.status = KeyStatus::Active;
            return Ok(info);
        }
        self.inner.rotate_key(&spec, approval)
    }

    fn set_status(&self, key: &KeyRef, status: KeyStatus, approval: &Approval) -> Result<(), HsmError> {
        if self.has(Fault::SuspendedSeals) && status == KeyStatus::Suspended {
            return Ok(());
        }
        match self.inner.set_status(key, status, approval) {
            Err(HsmError::KeyStatus { .. }) if self.has(Fault::StatusGoesBack) => Ok(()),
            other => other,
        }
    }

    fn destroy_key(&self, key: &KeyRef, approval: &Approval) -> Result<DestructionRecord, HsmError> {
        if self.has(Fault::DestroyedStillOpens) && self.status(key) == Some(KeyStatus::Deactivated) {
            return Ok(DestructionRecord {
                key: key.clone(),
                at: std::time::SystemTime::now(),
                signature: vec![0; 64],
            });
        }
        if self.has(Fault::DestroysInUse) && self.status(key) == Some(KeyStatus::Active) {
            self.move_to(key, KeyStatus::Deactivated)?;
        }
        self.inner.destroy_key(key, approval)
    }

    fn drain_log(&self, after: u64, max: u16) -> Result<DeviceLogPage, HsmError> {
        self.inner.drain_log(after, max)
    }

    fn signed_log_head(&self) -> Result<DeviceLogHead, HsmError> {
        self.inner.signed_log_head()
    }
}
