//! The verbs of [`hsm::Hsm`] as requests to the daemon.

use hsm::{
    Approval, Context, DataKey, DestructionRecord, DeviceInfo, DeviceLogHead, DeviceLogPage, Health, Hsm,
    HsmError, InputFault, KeyFilter, KeyInfo, KeyRef, KeySpec, KeyStatus, MAX_BATCH, MAX_MESSAGE, MAX_RANDOM,
    SealedDataKey,
};
use zeroize::Zeroizing;

use super::SimClient;
use crate::protocol::codec::{Malformed, Reader};
use crate::protocol::request::Request;
use crate::protocol::{control, parts};

/// The most message bytes in one frame of a batch.
const BATCH_BYTES: usize = 48 * 1024;

impl Hsm for SimClient {
    fn describe(&self) -> Result<DeviceInfo, HsmError> {
        self.ask(&Request::Describe, parts::device)
    }

    fn health(&self) -> Result<Health, HsmError> {
        self.ask(&Request::Health, parts::health)
    }

    fn random(&self, out: &mut [u8]) -> Result<(), HsmError> {
        let len = u16::try_from(out.len()).ok().filter(|_| out.len() <= MAX_RANDOM);
        let len = len.ok_or(HsmError::InvalidInput(InputFault::TooLong))?;
        let out = std::cell::RefCell::new(out);
        self.ask(&Request::Random { len }, |from| {
            let bytes = from.bytes()?;
            let mut out = out.borrow_mut();
            if bytes.len() != out.len() {
                return Err(Malformed);
            }
            out.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn keys(&self, filter: &KeyFilter) -> Result<Vec<KeyInfo>, HsmError> {
        self.ask(&Request::Keys { filter: filter.clone() }, |from| {
            (0..from.u16()?).map(|_| parts::key_info(from)).collect()
        })
    }

    fn new_data_key(&self, kek: &KeyRef, context: &Context) -> Result<(DataKey, SealedDataKey), HsmError> {
        let request = Request::NewDataKey { kek: kek.clone(), context: context.clone() };
        self.ask(&request, |from| Ok((data_key(from)?, parts::sealed(from)?)))
    }

    fn open_data_key(&self, sealed: &SealedDataKey, context: &Context) -> Result<DataKey, HsmError> {
        self.ask(&Request::OpenDataKey { sealed: sealed.clone(), context: context.clone() }, data_key)
    }

    fn reseal_data_key(
        &self,
        sealed: &SealedDataKey,
        from: &Context,
        to_kek: &KeyRef,
        to: &Context,
    ) -> Result<SealedDataKey, HsmError> {
        let request = Request::Reseal {
            sealed: sealed.clone(),
            from: from.clone(),
            to_kek: to_kek.clone(),
            to: to.clone(),
        };
        self.ask(&request, parts::sealed)
    }

    fn mac(&self, key: &KeyRef, message: &[u8]) -> Result<[u8; 32], HsmError> {
        fits(message)?;
        self.ask(&Request::Mac { key: key.clone(), message }, |from| from.array())
    }

    fn mac_many(&self, key: &KeyRef, messages: &[&[u8]]) -> Result<Vec<[u8; 32]>, HsmError> {
        if messages.len() > MAX_BATCH {
            return Err(HsmError::InvalidInput(InputFault::TooLong));
        }
        messages.iter().try_for_each(|message| fits(message))?;
        let mut macs = Vec::with_capacity(messages.len());
        let mut rest = messages;
        loop {
            let (batch, left) = rest.split_at_checked(frame_share(rest)).unwrap_or((rest, &[]));
            let request = Request::MacMany { key: key.clone(), messages: batch.to_vec() };
            macs.extend(self.ask(&request, |from| {
                if usize::from(from.u16()?) != batch.len() {
                    return Err(Malformed);
                }
                batch.iter().map(|_| from.array()).collect::<Result<Vec<[u8; 32]>, _>>()
            })?);
            rest = left;
            if rest.is_empty() {
                return Ok(macs);
            }
        }
    }

    fn sign(&self, key: &KeyRef, message: &[u8]) -> Result<[u8; 64], HsmError> {
        fits(message)?;
        self.ask(&Request::Sign { key: key.clone(), message }, |from| from.array())
    }

    fn create_key(&self, spec: &KeySpec, approval: &Approval) -> Result<KeyInfo, HsmError> {
        let request = Request::CreateKey { spec: spec.clone(), approval: again(approval) };
        self.ask(&request, parts::key_info)
    }

    fn rotate_key(&self, spec: &KeySpec, approval: &Approval) -> Result<KeyInfo, HsmError> {
        let request = Request::RotateKey { spec: spec.clone(), approval: again(approval) };
        self.ask(&request, parts::key_info)
    }

    fn set_status(&self, key: &KeyRef, status: KeyStatus, approval: &Approval) -> Result<(), HsmError> {
        self.ask(&Request::SetStatus { key: key.clone(), status, approval: again(approval) }, |_| Ok(()))
    }

    fn destroy_key(&self, key: &KeyRef, approval: &Approval) -> Result<DestructionRecord, HsmError> {
        let request = Request::DestroyKey { key: key.clone(), approval: again(approval) };
        self.ask(&request, control::destruction)
    }

    fn drain_log(&self, after: u64, max: u16) -> Result<DeviceLogPage, HsmError> {
        self.ask(&Request::DrainLog { after, max }, control::page)
    }

    fn signed_log_head(&self) -> Result<DeviceLogHead, HsmError> {
        self.log_head().map(|head| DeviceLogHead { signed: head.encode() })
    }
}

/// The same approval, to be sent.
fn again(approval: &Approval) -> Approval {
    match approval {
        Approval::Caller => Approval::Caller,
        Approval::Tickets { first, second } => Approval::Tickets {
            first: Zeroizing::new(first.to_vec()),
            second: Zeroizing::new(second.to_vec()),
        },
    }
}

/// How many of these messages go into one frame.
fn frame_share(messages: &[&[u8]]) -> usize {
    let mut bytes = 0_usize;
    let fitting = messages.iter().take_while(|message| {
        bytes = bytes.saturating_add(message.len() + 2);
        bytes <= BATCH_BYTES
    });
    fitting.count()
}

fn data_key(from: &mut Reader<'_>) -> Result<DataKey, Malformed> {
    let bytes = from.slice::<32>()?;
    DataKey::fill_with(|out| {
        out.copy_from_slice(bytes);
        Ok(())
    })
}

fn fits(message: &[u8]) -> Result<(), HsmError> {
    match message.len() {
        0 => Err(HsmError::InvalidInput(InputFault::Empty)),
        1..=MAX_MESSAGE => Ok(()),
        _ => Err(HsmError::InvalidInput(InputFault::TooLong)),
    }
}
