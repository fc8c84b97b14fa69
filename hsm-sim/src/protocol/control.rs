//! How the control plane travels: specifications, approvals, accounts, destruction records, pages of the log.

use std::time::{Duration, UNIX_EPOCH};

use hsm::{Approval, DestructionRecord, DeviceLogPage, KeyKind, KeyLabel, KeySpec, KeyVersion};
use zeroize::Zeroizing;

use super::codec::{Malformed, Reader, Writer};
use super::parts;
use crate::device::{AccountInfo, AccountName, MAX_TICKET, Role};

type Put = Result<(), Malformed>;

/// The longest act, in bytes: a status change of the longest label.
const MAX_ACT: usize = 96;
const CALLER: u8 = 0;
const TICKETS: u8 = 2;

pub(crate) fn put_account(out: &mut Writer, name: &AccountName) -> Put {
    out.bytes(name.as_str().as_bytes())
}

pub(crate) fn account(from: &mut Reader<'_>) -> Result<AccountName, Malformed> {
    AccountName::new(from.text()?).map_err(|_| Malformed)
}

pub(crate) fn act<'a>(from: &mut Reader<'a>) -> Result<&'a str, Malformed> {
    let text = from.text()?;
    if text.len() <= MAX_ACT { Ok(text) } else { Err(Malformed) }
}

pub(crate) fn put_spec(out: &mut Writer, spec: &KeySpec) -> Put {
    out.bytes(spec.label.as_str().as_bytes())?;
    out.u8(spec.kind.code());
    out.u32(spec.at_least.get());
    Ok(())
}

pub(crate) fn spec(from: &mut Reader<'_>) -> Result<KeySpec, Malformed> {
    Ok(KeySpec {
        label: KeyLabel::new(from.text()?).map_err(|_| Malformed)?,
        kind: KeyKind::from_code(from.u8()?).ok_or(Malformed)?,
        at_least: KeyVersion::new(from.u32()?).ok_or(Malformed)?,
    })
}

pub(crate) fn put_approval(out: &mut Writer, approval: &Approval) -> Put {
    match approval {
        Approval::Caller => out.u8(CALLER),
        Approval::Tickets { first, second } => {
            out.u8(TICKETS);
            out.bytes(first)?;
            out.bytes(second)?;
        }
    }
    Ok(())
}

pub(crate) fn approval(from: &mut Reader<'_>) -> Result<Approval, Malformed> {
    match from.u8()? {
        CALLER => Ok(Approval::Caller),
        TICKETS => Ok(Approval::Tickets { first: ticket(from)?, second: ticket(from)? }),
        _ => Err(Malformed),
    }
}

pub(crate) fn ticket(from: &mut Reader<'_>) -> Result<Zeroizing<Vec<u8>>, Malformed> {
    let bytes = from.bytes()?;
    if bytes.len() <= MAX_TICKET { Ok(Zeroizing::new(bytes.to_vec())) } else { Err(Malformed) }
}

pub(crate) fn put_accounts(out: &mut Writer, accounts: &[AccountInfo]) -> Put {
    out.u16(u16::try_from(accounts.len()).map_err(|_| Malformed)?);
    accounts.iter().try_for_each(|info| {
        put_account(out, &info.name)?;
        out.u8(info.role.code());
        out.u8(info.tries_left);
        Ok(())
    })
}

pub(crate) fn accounts(from: &mut Reader<'_>) -> Result<Vec<AccountInfo>, Malformed> {
    (0..from.u16()?)
        .map(|_| {
            Ok(AccountInfo {
                name: account(from)?,
                role: Role::from_code(from.u8()?).ok_or(Malformed)?,
                tries_left: from.u8()?,
            })
        })
        .collect()
}

pub(crate) fn put_destruction(out: &mut Writer, record: &DestructionRecord) -> Put {
    parts::put_key(out, &record.key)?;
    out.u64(record.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs());
    out.bytes(&record.signature)
}

pub(crate) fn destruction(from: &mut Reader<'_>) -> Result<DestructionRecord, Malformed> {
    Ok(DestructionRecord {
        key: parts::key(from)?,
        at: UNIX_EPOCH.checked_add(Duration::from_secs(from.u64()?)).ok_or(Malformed)?,
        signature: from.bytes()?.to_vec(),
    })
}

pub(crate) fn put_page(out: &mut Writer, page: &DeviceLogPage) -> Put {
    out.u16(u16::try_from(page.entries.len()).map_err(|_| Malformed)?);
    page.entries.iter().try_for_each(|entry| out.bytes(entry))?;
    out.u64(page.last);
    out.raw(&page.head);
    Ok(())
}

pub(crate) fn page(from: &mut Reader<'_>) -> Result<DeviceLogPage, Malformed> {
    let count = from.u16()?;
    let entries = (0..count).map(|_| from.bytes().map(<[u8]>::to_vec)).collect::<Result<_, _>>()?;
    Ok(DeviceLogPage { entries, last: from.u64()?, head: from.array()? })
}
