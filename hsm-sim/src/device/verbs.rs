//! The device's answers to the verbs of the contract. Every check that refuses comes before any key is touched.

use hsm::{
    Capabilities, Capability, Context, DataKey, DeviceInfo, Health, Hsm, HsmError, InputFault, IvSource,
    KeyFilter, KeyInfo, KeyKind, KeyRef, KeyStatus, MAX_BATCH, MAX_MESSAGE, MAX_RANDOM, SEALED_IV_LEN,
    SEALED_KEY_LEN, SealedDataKey, WrapSuite,
};

use super::keys::KeyObject;
use super::{Device, primitives};

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
            ]),
            iv_source: IvSource::Device,
            certified: false,
        })
    }

    fn health(&self) -> Result<Health, HsmError> {
        let (tries, generation) = {
            let ledger = self.ledger();
            (ledger.tries_left, ledger.generation)
        };
        Ok(Health {
            operational: self.latched.is_none() && self.canary(),
            latched: self.latched,
            pin_tries_left: Some(tries),
            generation,
            uptime: self.started.elapsed(),
        })
    }

    fn random(&self, out: &mut [u8]) -> Result<(), HsmError> {
        self.awake()?;
        if out.len() > MAX_RANDOM {
            return Err(HsmError::InvalidInput(InputFault::TooLong));
        }
        primitives::random(out)
    }

    fn keys(&self, filter: &KeyFilter) -> Result<Vec<KeyInfo>, HsmError> {
        self.awake()?;
        let all = self.keys.values().map(|object| object.info(self.realm));
        all.filter(|info| info.as_ref().map_or(true, |info| filter.admits(info))).collect()
    }

    fn new_data_key(&self, kek: &KeyRef, context: &Context) -> Result<(DataKey, SealedDataKey), HsmError> {
        let object = self.sealing_key(kek, context)?;
        let key = DataKey::fill_with(|bytes| primitives::random(bytes))?;
        let sealed = seal(object, context, &key)?;
        Ok((key, sealed))
    }

    fn open_data_key(&self, sealed: &SealedDataKey, context: &Context) -> Result<DataKey, HsmError> {
        self.awake()?;
        if sealed.kek != *context.kek() || sealed.suite != context.suite() {
            return Err(HsmError::Integrity);
        }
        self.own_realm(context)?;
        let object = self.find(&sealed.kek, KeyKind::Kek256)?;
        if !object.status.may_process() {
            return Err(HsmError::KeyStatus { have: object.status, need: KeyStatus::Active });
        }
        let (body, tag) = sealed.ct.split_first_chunk::<32>().ok_or(HsmError::Integrity)?;
        let tag = tag.first_chunk::<16>().ok_or(HsmError::Integrity)?;
        DataKey::fill_with(|bytes| {
            bytes.copy_from_slice(body);
            primitives::open(object.secret(), &sealed.iv, &context.encode(), bytes, tag)
        })
    }

    fn reseal_data_key(
        &self,
        sealed: &SealedDataKey,
        from: &Context,
        to_kek: &KeyRef,
        to: &Context,
    ) -> Result<SealedDataKey, HsmError> {
        let object = self.sealing_key(to_kek, to)?;
        let key = self.open_data_key(sealed, from)?;
        seal(object, to, &key)
    }

    fn mac(&self, key: &KeyRef, message: &[u8]) -> Result<[u8; 32], HsmError> {
        let object = self.protecting(key, KeyKind::Mac256)?;
        message_fits(message)?;
        primitives::hmac_sha256(object.secret(), message)
    }

    fn mac_many(&self, key: &KeyRef, messages: &[&[u8]]) -> Result<Vec<[u8; 32]>, HsmError> {
        let object = self.protecting(key, KeyKind::Mac256)?;
        if messages.len() > MAX_BATCH {
            return Err(HsmError::InvalidInput(InputFault::TooLong));
        }
        messages.iter().try_for_each(|message| message_fits(message))?;
        messages.iter().map(|message| primitives::hmac_sha256(object.secret(), message)).collect()
    }

    fn sign(&self, key: &KeyRef, message: &[u8]) -> Result<[u8; 64], HsmError> {
        let object = self.protecting(key, KeyKind::SignEd25519)?;
        message_fits(message)?;
        Ok(primitives::sign(object.secret(), message))
    }
}

impl Device {
    fn awake(&self) -> Result<(), HsmError> {
        self.latched.map_or(Ok(()), Err)
    }

    fn own_realm(&self, context: &Context) -> Result<(), HsmError> {
        if context.realm() == self.realm { Ok(()) } else { Err(HsmError::Denied) }
    }

    fn find(&self, key: &KeyRef, kind: KeyKind) -> Result<&KeyObject, HsmError> {
        let object = self.keys.get(key).ok_or(HsmError::KeyNotFound)?;
        if object.kind == kind { Ok(object) } else { Err(HsmError::Denied) }
    }

    fn protecting(&self, key: &KeyRef, kind: KeyKind) -> Result<&KeyObject, HsmError> {
        self.awake()?;
        let object = self.find(key, kind)?;
        if object.status.may_protect() {
            Ok(object)
        } else {
            Err(HsmError::KeyStatus { have: object.status, need: KeyStatus::Active })
        }
    }

    fn sealing_key(&self, kek: &KeyRef, context: &Context) -> Result<&KeyObject, HsmError> {
        self.awake()?;
        if context.kek() != kek {
            return Err(HsmError::InvalidInput(InputFault::ForeignContext));
        }
        self.own_realm(context)?;
        self.protecting(kek, KeyKind::Kek256)
    }

    /// Does every key still have the check value it was loaded with, and does a seal of the first KEK open?
    fn canary(&self) -> bool {
        let intact = self.keys.values().all(KeyObject::is_intact);
        let kek = self.keys.values().find(|object| object.kind == KeyKind::Kek256);
        intact
            && kek.is_some_and(|object| {
                let mut body = [0x5A; 32];
                let mut iv = [0; SEALED_IV_LEN];
                primitives::random(&mut iv).is_ok()
                    && primitives::seal(object.secret(), &iv, b"pangate/canary", &mut body)
                        .and_then(|tag| {
                            primitives::open(object.secret(), &iv, b"pangate/canary", &mut body, &tag)
                        })
                        .is_ok()
                    && body == [0x5A; 32]
            })
    }
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
    Ok(SealedDataKey { suite: WrapSuite::Aes256GcmData, kek: object.key.clone(), iv, ct })
}

fn message_fits(message: &[u8]) -> Result<(), HsmError> {
    match message.len() {
        0 => Err(HsmError::InvalidInput(InputFault::Empty)),
        1..=MAX_MESSAGE => Ok(()),
        _ => Err(HsmError::InvalidInput(InputFault::TooLong)),
    }
}
