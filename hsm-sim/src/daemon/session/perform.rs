//! What a permitted request does: the device's verb, and its result in the reply.

use hsm::{DataKey, Hsm, HsmError, SealedDataKey};
use zeroize::Zeroizing;

use super::Refusal;
use crate::device::{AccountName, Device, Role};
use crate::log::{Actor, head_bytes};
use crate::protocol::codec::{Malformed, Writer};
use crate::protocol::request::Request;
use crate::protocol::{control, parts};

/// What may be told without a login when the device has shut itself.
pub(super) fn device_facts(device: &Device, request: &Request<'_>, out: &mut Writer) -> Result<(), Refusal> {
    match request {
        Request::Describe => parts::put_device(out, &device.describe()?)?,
        Request::Health => parts::put_health(out, &device.health()?),
        _ => return Err(Refusal::Hsm(HsmError::SessionLost)),
    }
    Ok(())
}

pub(super) fn perform(
    device: &Device,
    actor: &Actor,
    name: &AccountName,
    role: Role,
    request: &Request<'_>,
    out: &mut Writer,
) -> Result<(), Refusal> {
    match request {
        Request::Hello | Request::Login { .. } => {}
        Request::Describe | Request::Health => device_facts(device, request, out)?,
        Request::Random { len } => {
            let mut bytes = Zeroizing::new(vec![0; usize::from(*len)]);
            device.random(&mut bytes)?;
            out.bytes(&bytes)?;
        }
        Request::Keys { filter } => {
            let keys = device.keys(filter)?;
            out.u16(u16::try_from(keys.len()).map_err(|_| Malformed)?);
            keys.iter().try_for_each(|info| parts::put_key_info(out, info))?;
        }
        Request::NewDataKey { kek, context } => {
            let (key, sealed) = device.new_data_key(kek, context)?;
            put_made(out, &key, &sealed)?;
        }
        Request::OpenDataKey { sealed, context } => {
            out.raw(device.open_data_key(sealed, context)?.expose());
        }
        Request::Reseal { sealed, from, to_kek, to } => {
            parts::put_sealed(out, &device.reseal_data_key(sealed, from, to_kek, to)?)?;
        }
        Request::Mac { key, message } => out.raw(&device.mac(key, message)?),
        Request::MacMany { key, messages } => {
            let macs = device.mac_many(key, messages)?;
            out.u16(u16::try_from(macs.len()).map_err(|_| Malformed)?);
            macs.iter().for_each(|mac| out.raw(mac));
        }
        Request::Sign { key, message } => out.raw(&device.sign(key, message)?),
        Request::CreateKey { spec, approval } => {
            parts::put_key_info(out, &device.create_key_for(actor, spec, approval)?)?;
        }
        Request::RotateKey { spec, approval } => {
            parts::put_key_info(out, &device.rotate_key_for(actor, spec, approval)?)?;
        }
        Request::SetStatus { key, status, approval } => {
            device.set_status_for(actor, key, *status, approval)?;
        }
        Request::DestroyKey { key, approval } => {
            control::put_destruction(out, &device.destroy_key_for(actor, key, approval)?)?;
        }
        Request::Approve { act, seconds } => out.bytes(&device.approve(name, act, *seconds)?)?,
        Request::DrainLog { after, max } => control::put_page(out, &device.drain(role, *after, *max)?)?,
        Request::LogHead => head_bytes(out, &device.log_head()?),
        Request::Unlock { account } => device.unlock(actor, account)?,
        Request::ChangePin { old, new } => device.change_pin(name, old, new)?,
        Request::Accounts => control::put_accounts(out, &device.accounts())?,
    }
    Ok(())
}

fn put_made(out: &mut Writer, key: &DataKey, sealed: &SealedDataKey) -> Result<(), Malformed> {
    out.raw(key.expose());
    parts::put_sealed(out, sealed)
}
