//! The verbs of the contract, on one session. Every check that refuses comes before any key is touched.

use cryptoki::mechanism::MechanismType;
use cryptoki::slot::TokenInfo;

use super::fault::{Meaning, code, plain};
use super::life::{self, Making};
use super::module::locked;
use super::session::{Known, Use, Work};
use super::{Pkcs11Session, primitives};
use crate::context::Context;
use crate::data_key::{DataKey, SEALED_KEY_LEN, SealedDataKey, WrapSuite};
use crate::error::{HsmError, InputFault};
use crate::names::{KeyFilter, KeyInfo, KeyKind, KeyRef, KeyStatus};
use crate::verbs::{
    Approval, Capabilities, Capability, DestructionRecord, DeviceInfo, Health, Hsm, IvSource, KeySpec,
    MAX_BATCH, MAX_MESSAGE, MAX_RANDOM,
};

impl Hsm for Pkcs11Session {
    fn describe(&self) -> Result<DeviceInfo, HsmError> {
        self.with(|work| {
            let info: TokenInfo = work.is_there()?;
            let mechanisms = work.stay().library().get_mechanism_list(work.slot()).map_err(plain)?;
            let version = info.firmware_version();
            Ok(DeviceInfo {
                vendor: info.manufacturer_id().to_owned(),
                model: info.model().to_owned(),
                serial: info.serial_number().to_owned(),
                firmware: format!("{}.{}", version.major(), version.minor()),
                realm: work.token.realm,
                capabilities: capabilities(&mechanisms),
                iv_source: IvSource::Provider,
                certified: false,
            })
        })
    }

    fn health(&self) -> Result<Health, HsmError> {
        self.with(|work| {
            let info = work.is_there()?;
            // Attributes may have drifted since the login; a finding is an error, not a state of health.
            let keys = life::infos(work)?;
            for key in keys.iter().filter(|key| key.kind == KeyKind::Kek256 && key.status.may_process()) {
                work.using(&key.key, key.kind, Use::Process, |_, _| Ok(()))?;
            }
            Ok(Health {
                operational: true,
                latched: None,
                pin_tries_left: info.user_pin_final_try().then_some(1),
                generation: work.stay().generation(),
                uptime: work.token.started.elapsed(),
            })
        })
    }

    fn random(&self, out: &mut [u8]) -> Result<(), HsmError> {
        if out.len() > MAX_RANDOM {
            return Err(HsmError::InvalidInput(InputFault::TooLong));
        }
        let out = std::cell::RefCell::new(out);
        self.with(|work| primitives::random(work.session(), &mut out.borrow_mut()))
    }

    fn keys(&self, filter: &KeyFilter) -> Result<Vec<KeyInfo>, HsmError> {
        self.with(|work| Ok(life::infos(work)?.into_iter().filter(|info| filter.admits(info)).collect()))
    }

    fn new_data_key(&self, kek: &KeyRef, context: &Context) -> Result<(DataKey, SealedDataKey), HsmError> {
        self.with(|work| {
            sealing(work, kek, context)?;
            work.using(kek, KeyKind::Kek256, Use::Protect, |session, known| {
                let key = DataKey::fill_with(|bytes| primitives::mixed_random(session, bytes))?;
                let (iv, ct) = primitives::seal(session, known.handle, &context.encode(), key.expose())?;
                Ok((key, sealed(kek, iv, &ct)?))
            })
        })
    }

    fn open_data_key(&self, sealed: &SealedDataKey, context: &Context) -> Result<DataKey, HsmError> {
        self.with(|work| open(work, sealed, context))
    }

    fn reseal_data_key(
        &self,
        old: &SealedDataKey,
        from: &Context,
        to_kek: &KeyRef,
        to: &Context,
    ) -> Result<SealedDataKey, HsmError> {
        self.with(|work| {
            sealing(work, to_kek, to)?;
            work.using(to_kek, KeyKind::Kek256, Use::Protect, |_, _| Ok(()))?;
            let key = open(work, old, from)?;
            work.using(to_kek, KeyKind::Kek256, Use::Protect, |session, known| {
                let (iv, ct) = primitives::seal(session, known.handle, &to.encode(), key.expose())?;
                sealed(to_kek, iv, &ct)
            })
        })
    }

    fn mac(&self, key: &KeyRef, message: &[u8]) -> Result<[u8; 32], HsmError> {
        self.with(|work| {
            work.using(key, KeyKind::Mac256, Use::Protect, |session, known| {
                fits(message)?;
                primitives::mac(session, known.handle, message)
            })
        })
    }

    fn mac_many(&self, key: &KeyRef, messages: &[&[u8]]) -> Result<Vec<[u8; 32]>, HsmError> {
        if messages.len() > MAX_BATCH {
            return Err(HsmError::InvalidInput(InputFault::TooLong));
        }
        self.with(|work| {
            work.using(key, KeyKind::Mac256, Use::Protect, |session, known| {
                messages.iter().try_for_each(|message| fits(message))?;
                messages.iter().map(|message| primitives::mac(session, known.handle, message)).collect()
            })
        })
    }

    fn sign(&self, key: &KeyRef, message: &[u8]) -> Result<[u8; 64], HsmError> {
        self.with(|work| {
            work.using(key, KeyKind::SignEd25519, Use::Protect, |session, known| {
                fits(message)?;
                primitives::sign(session, known.handle, message)
            })
        })
    }

    fn create_key(&self, spec: &KeySpec, approval: &Approval) -> Result<KeyInfo, HsmError> {
        self.change(approval, |work| life::make(work, spec, Making::Create))
    }

    fn rotate_key(&self, spec: &KeySpec, approval: &Approval) -> Result<KeyInfo, HsmError> {
        self.change(approval, |work| life::make(work, spec, Making::Rotate))
    }

    fn set_status(&self, key: &KeyRef, status: KeyStatus, approval: &Approval) -> Result<(), HsmError> {
        self.change(approval, |work| life::set_status(work, key, status))
    }

    fn destroy_key(&self, key: &KeyRef, approval: &Approval) -> Result<DestructionRecord, HsmError> {
        self.change(approval, |work| life::destroy(work, key))
    }
}

impl Pkcs11Session {
    /// A change of keys: one at a time, begun on a session that was just seen to work, and never repeated by itself.
    fn change<T>(
        &self,
        approval: &Approval,
        act: impl Fn(&mut Work<'_>) -> Result<T, HsmError>,
    ) -> Result<T, HsmError> {
        // A ticket is another device's; here two people agreed before the call.
        let Approval::Caller = approval else { return Err(HsmError::Denied) };
        let _alone = locked(&self.token.changing);
        self.with(|work| work.is_there().map(drop))?;
        self.at_once(act)
    }
}

fn capabilities(mechanisms: &[MechanismType]) -> Capabilities {
    let has = |mechanism: MechanismType| mechanisms.contains(&mechanism);
    let offered = [
        (has(MechanismType::AES_GCM), Capability::SealGcm),
        (has(MechanismType::SHA256_HMAC), Capability::MacHmacSha256),
        (has(MechanismType::EDDSA), Capability::SignEd25519),
        (true, Capability::Random),
        (has(MechanismType::AES_KEY_GEN), Capability::CreateKey),
        (true, Capability::SetStatus),
        (true, Capability::DestroyKey),
    ];
    let offered: Vec<_> =
        offered.into_iter().filter_map(|(is, capability)| is.then_some(capability)).collect();
    Capabilities::of(&offered)
}

/// May this KEK seal under this context?
fn sealing(work: &Work<'_>, kek: &KeyRef, context: &Context) -> Result<(), HsmError> {
    if context.kek() != kek {
        return Err(HsmError::InvalidInput(InputFault::ForeignContext));
    }
    if context.realm() == work.token.realm { Ok(()) } else { Err(HsmError::Denied) }
}

fn open(work: &mut Work<'_>, sealed: &SealedDataKey, context: &Context) -> Result<DataKey, HsmError> {
    if sealed.kek != *context.kek() || sealed.suite != context.suite() {
        return Err(HsmError::Integrity);
    }
    if context.realm() != work.token.realm {
        return Err(HsmError::Denied);
    }
    let unclear = std::cell::RefCell::new(None::<Known>);
    let outcome = work.using(&sealed.kek, KeyKind::Kek256, Use::Process, |session, known| {
        match primitives::open(session, known.handle, &sealed.iv, &context.encode(), &sealed.ct) {
            Ok(opened) => DataKey::fill_with(|bytes| {
                let exact = <&[u8; 32]>::try_from(opened.as_slice()).map_err(|_| HsmError::Integrity)?;
                bytes.copy_from_slice(exact);
                Ok(())
            }),
            Err(Meaning::Known(error)) => Err(error),
            Err(Meaning::Unclear) => {
                *unclear.borrow_mut() = Some(known.clone());
                Err(HsmError::NeedsReinit)
            }
        }
    });
    match unclear.into_inner() {
        // The device is well, so the seal was not made so.
        Some(known) if work.canary_opens(&sealed.kek, &known) => Err(HsmError::Integrity),
        _ => outcome,
    }
}

fn sealed(kek: &KeyRef, iv: [u8; 12], ct: &[u8]) -> Result<SealedDataKey, HsmError> {
    let ct = <[u8; SEALED_KEY_LEN]>::try_from(ct).map_err(|_| HsmError::Internal { code: code::LENGTH })?;
    Ok(SealedDataKey { suite: WrapSuite::Aes256GcmData, kek: kek.clone(), iv, ct })
}

fn fits(message: &[u8]) -> Result<(), HsmError> {
    match message.len() {
        0 => Err(HsmError::InvalidInput(InputFault::Empty)),
        1..=MAX_MESSAGE => Ok(()),
        _ => Err(HsmError::InvalidInput(InputFault::TooLong)),
    }
}
