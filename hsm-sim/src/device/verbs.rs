//! The device's answers to the verbs of the contract. Every check that refuses comes before any key is touched.

use std::sync::RwLockReadGuard;

use hsm::{
    Approval, Capabilities, Capability, Context, DataKey, DestructionRecord, DeviceInfo, DeviceLogHead,
    DeviceLogPage, Health, Hsm, HsmError, InputFault, IvSource, KeyFilter, KeyInfo, KeyKind, KeyRef, KeySpec,
    KeyStatus, MAX_BATCH, MAX_MESSAGE, MAX_RANDOM, SEALED_IV_LEN, SEALED_KEY_LEN, SealedDataKey, WrapSuite,
};
use zeroize::Zeroizing;

use super::account::{AccountName, Role};
use super::keyring::{Change, Keyring};
use super::keys::KeyObject;
use super::uses::{SEAL_ADVICE, Take};
use super::{Device, primitives};
use crate::log::{Actor, Event};

/// How the device's own statements about destroyed keys begin.
const DESTROYED: &[u8] = b"pangate/destroyed/";

impl Hsm for Device {
    fn describe(&self) -> Result<DeviceInfo, HsmError> {
        Ok(DeviceInfo {
            vendor: "pangate".to_owned(),
            model: "hsm-sim".to_owned(),
            serial: self.serial.iter().map(|byte| format!("{byte:02x}")).collect(),
            firmware: env!("CARGO_PKG_VERSION").to_owned(),
            realm: self.realm,
            capabilities: Capabilities::of(&[
                Capability::SealGcm,
                Capability::MacHmacSha256,
                Capability::SignEd25519,
                Capability::Random,
                Capability::CreateKey,
                Capability::SetStatus,
                Capability::DestroyKey,
                Capability::DeviceLog,
            ]),
            iv_source: IvSource::Device,
            certified: false,
        })
    }

    fn health(&self) -> Result<Health, HsmError> {
        let (tries, generation) = {
            let ledger = self.ledger();
            let operator =
                ledger.accounts.iter().find(|account| account.name.as_str() == AccountName::OPERATOR);
            (operator.map(|account| account.tries_left), ledger.generation)
        };
        let keys = self.keyring();
        Ok(Health {
            operational: keys.latched.is_none() && canary(&keys) && !self.log_full(),
            latched: keys.latched,
            pin_tries_left: tries,
            generation,
            uptime: self.started.elapsed(),
        })
    }

    fn random(&self, out: &mut [u8]) -> Result<(), HsmError> {
        self.keyring().awake()?;
        if out.len() > MAX_RANDOM {
            return Err(HsmError::InvalidInput(InputFault::TooLong));
        }
        primitives::random(out)
    }

    fn keys(&self, filter: &KeyFilter) -> Result<Vec<KeyInfo>, HsmError> {
        let keys = self.keyring();
        keys.awake()?;
        let now = self.clock().now();
        let live = keys.live.values().map(|object| object.info(self.realm, now));
        let gone = keys.gone.values().map(|facts| facts.info(self.realm, now, None));
        let mut list = live.chain(gone).collect::<Result<Vec<_>, _>>()?;
        list.retain(|info| filter.admits(info));
        list.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(list)
    }

    fn new_data_key(&self, kek: &KeyRef, context: &Context) -> Result<(DataKey, SealedDataKey), HsmError> {
        self.belongs(kek, context)?;
        self.using(kek, KeyKind::Kek256, 1, |object, _| {
            let key = DataKey::fill_with(|bytes| primitives::random(bytes))?;
            let sealed = seal(object, context, &key)?;
            Ok((key, sealed))
        })
    }

    fn open_data_key(&self, sealed: &SealedDataKey, context: &Context) -> Result<DataKey, HsmError> {
        self.open_with_keys(&self.keyring(), sealed, context)
    }

    fn reseal_data_key(
        &self,
        sealed: &SealedDataKey,
        from: &Context,
        to_kek: &KeyRef,
        to: &Context,
    ) -> Result<SealedDataKey, HsmError> {
        self.belongs(to_kek, to)?;
        self.using(to_kek, KeyKind::Kek256, 1, |object, keys| {
            let key = self.open_with_keys(keys, sealed, from)?;
            seal(object, to, &key)
        })
    }

    fn mac(&self, key: &KeyRef, message: &[u8]) -> Result<[u8; 32], HsmError> {
        self.using(key, KeyKind::Mac256, 1, |object, _| {
            message_fits(message)?;
            primitives::hmac_sha256(object.secret(), message)
        })
    }

    fn mac_many(&self, key: &KeyRef, messages: &[&[u8]]) -> Result<Vec<[u8; 32]>, HsmError> {
        if messages.len() > MAX_BATCH {
            return Err(HsmError::InvalidInput(InputFault::TooLong));
        }
        self.using(key, KeyKind::Mac256, messages.len() as u64, |object, _| {
            messages.iter().try_for_each(|message| message_fits(message))?;
            messages.iter().map(|message| primitives::hmac_sha256(object.secret(), message)).collect()
        })
    }

    fn sign(&self, key: &KeyRef, message: &[u8]) -> Result<[u8; 64], HsmError> {
        self.using(key, KeyKind::SignEd25519, 1, |object, _| {
            message_fits(message)?;
            // Else whoever has a session could make the proof that a key is gone.
            if message.starts_with(DESTROYED) {
                return Err(HsmError::Denied);
            }
            Ok(primitives::sign(object.secret(), message))
        })
    }

    fn create_key(&self, spec: &KeySpec, approval: &Approval) -> Result<KeyInfo, HsmError> {
        self.create_key_for(&Actor::Device, spec, approval)
    }

    fn rotate_key(&self, spec: &KeySpec, approval: &Approval) -> Result<KeyInfo, HsmError> {
        self.rotate_key_for(&Actor::Device, spec, approval)
    }

    fn set_status(&self, key: &KeyRef, status: KeyStatus, approval: &Approval) -> Result<(), HsmError> {
        self.set_status_for(&Actor::Device, key, status, approval)
    }

    fn destroy_key(&self, key: &KeyRef, approval: &Approval) -> Result<DestructionRecord, HsmError> {
        self.destroy_key_for(&Actor::Device, key, approval)
    }

    fn drain_log(&self, after: u64, max: u16) -> Result<DeviceLogPage, HsmError> {
        self.drain(Role::Auditor, after, max)
    }

    fn signed_log_head(&self) -> Result<DeviceLogHead, HsmError> {
        self.log_head().map(|head| DeviceLogHead { signed: head.encode() })
    }
}

impl Device {
    /// Is the context one of this KEK and of this device's realm?
    fn belongs(&self, kek: &KeyRef, context: &Context) -> Result<(), HsmError> {
        self.keyring().awake()?;
        if context.kek() != kek {
            return Err(HsmError::InvalidInput(InputFault::ForeignContext));
        }
        self.own_realm(context)
    }

    fn own_realm(&self, context: &Context) -> Result<(), HsmError> {
        if context.realm() == self.realm { Ok(()) } else { Err(HsmError::Denied) }
    }

    /// Lets a key protect something, `uses` times, if its kind, status, cryptoperiod and limit allow it and the disk
    /// counts the uses. The key cannot change its status while `act` runs: that is what makes a rotation a fence.
    fn using<T>(
        &self,
        key: &KeyRef,
        kind: KeyKind,
        uses: u64,
        act: impl FnOnce(&KeyObject, &Keyring) -> Result<T, HsmError>,
    ) -> Result<T, HsmError> {
        loop {
            let keys: RwLockReadGuard<'_, Keyring> = self.keyring();
            keys.awake()?;
            let object = keys.find(key, kind)?;
            let have = object.status_at(self.clock().now());
            if !have.may_protect() {
                return Err(HsmError::KeyStatus { have, need: KeyStatus::Active });
            }
            match object.uses.take(uses) {
                Take::Taken => return act(object, &keys),
                Take::Spent => {
                    return Err(HsmError::KeyStatus {
                        have: KeyStatus::Deactivated,
                        need: KeyStatus::Active,
                    });
                }
                Take::Reserve => {}
            }
            drop(keys);
            self.reserve(key, uses)?;
        }
    }

    /// Writes down that a block of uses of a key may happen.
    fn reserve(&self, key: &KeyRef, uses: u64) -> Result<(), HsmError> {
        let mut ledger = self.ledger();
        let (before, after) = {
            let keys = self.keyring();
            keys.awake()?;
            let object = keys.object(key, KeyStatus::Active)?;
            let before = object.uses.reserved();
            if object.uses.count().saturating_add(uses) <= before {
                // Another session did it meanwhile.
                return Ok(());
            }
            (before, object.uses.next_reservation(uses))
        };
        let mut draft = self.draft(&ledger);
        draft.keys.push(Change::Reserve(key.clone(), after));
        if before < SEAL_ADVICE && after >= SEAL_ADVICE && key.label.as_str().starts_with("kek/") {
            self.write_down(&mut draft, Actor::Device, Event::UsesHigh, &key.to_string());
        }
        self.commit(&mut ledger, draft)
    }

    fn open_with_keys(
        &self,
        keys: &Keyring,
        sealed: &SealedDataKey,
        context: &Context,
    ) -> Result<DataKey, HsmError> {
        keys.awake()?;
        if sealed.kek != *context.kek() || sealed.suite != context.suite() {
            return Err(HsmError::Integrity);
        }
        self.own_realm(context)?;
        let object = keys.find(&sealed.kek, KeyKind::Kek256)?;
        let have = object.status_at(self.clock().now());
        if !have.may_process() {
            return Err(HsmError::KeyStatus { have, need: KeyStatus::Active });
        }
        let (body, tag) = sealed.ct.split_first_chunk::<32>().ok_or(HsmError::Integrity)?;
        let tag = tag.first_chunk::<16>().ok_or(HsmError::Integrity)?;
        DataKey::fill_with(|bytes| {
            bytes.copy_from_slice(body);
            primitives::open(object.secret(), &sealed.iv, &context.encode(), bytes, tag)
        })
    }
}

/// Does every key still have the check value it was loaded with, and does a seal open? The seal is under a key made
/// for it: a KEK's seals are numbered, and looking at the device's health must not use them up.
fn canary(keys: &Keyring) -> bool {
    let (mut key, mut iv, mut body) = (Zeroizing::new([0; 32]), [0; SEALED_IV_LEN], [0x5A; 32]);
    keys.live.values().all(KeyObject::is_intact)
        && primitives::random(key.as_mut_slice()).is_ok()
        && primitives::random(&mut iv).is_ok()
        && primitives::seal(&key, &iv, b"pangate/canary", &mut body)
            .and_then(|tag| primitives::open(&key, &iv, b"pangate/canary", &mut body, &tag))
            .is_ok()
        && body == [0x5A; 32]
}

fn seal(object: &KeyObject, context: &Context, key: &DataKey) -> Result<SealedDataKey, HsmError> {
    // Fresh for every seal, from the device's generator, and never an argument.
    let mut iv = [0; SEALED_IV_LEN];
    primitives::random(&mut iv)?;
    let mut ct = [0; SEALED_KEY_LEN];
    let internal = HsmError::Internal { code: super::fault::PRIMITIVE };
    let (body, room) = ct.split_first_chunk_mut::<32>().ok_or(internal)?;
    body.copy_from_slice(key.expose());
    let tag = primitives::seal(object.secret(), &iv, &context.encode(), body)?;
    room.copy_from_slice(&tag);
    Ok(SealedDataKey { suite: WrapSuite::Aes256GcmData, kek: object.facts.key.clone(), iv, ct })
}

fn message_fits(message: &[u8]) -> Result<(), HsmError> {
    match message.len() {
        0 => Err(HsmError::InvalidInput(InputFault::Empty)),
        1..=MAX_MESSAGE => Ok(()),
        _ => Err(HsmError::InvalidInput(InputFault::TooLong)),
    }
}
