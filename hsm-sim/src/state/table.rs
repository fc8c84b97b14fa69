//! The table inside the seal: every part of the state in order, each field exact, nothing left over.

use std::collections::VecDeque;

use hsm::{Kcv, KeyKind, KeyLabel, KeyStatus, KeyVersion, Realm};

use super::{DeviceSecrets, Periods, SpentTicket, SpentTickets, State, StateError};
use crate::device::keys::{KeyFacts, KeyObject};
use crate::device::uses::Uses;
use crate::device::{Account, AccountName, PinVerifier, Role, Secret};
use crate::firmware::Firmware;
use crate::log::{LogPolicy, Ring, head_bytes, read_head};
use crate::protocol::codec::{Malformed, Reader, Writer};
use crate::protocol::reply;

/// More keys than this, gone ones included, are no state of ours: so many fit one list in one frame.
pub(crate) const MAX_KEYS: u16 = 480;
/// More accounts than this are no state of ours.
const MAX_ACCOUNTS: u16 = 64;
/// More unexpired tickets than this are not spent.
pub(crate) const MAX_SPENT: u16 = 4096;

type Put = Result<(), Malformed>;

pub(super) fn encode(state: &State) -> Result<Writer, Malformed> {
    let keys = state.objects.len() + state.destroyed.len();
    let log: usize = state.log.entries.iter().map(|entry| entry.len() + 2).sum();
    // Room for all of it, so that no secret moves while the table grows.
    let mut out = Writer::with_capacity(1024 + keys * 256 + log + state.spent.tickets.len() * 24);
    out.u8(state.realm.code());
    for period in [state.periods.kek, state.periods.mac, state.periods.sign] {
        put_time(&mut out, period);
    }
    put_all(&mut out, &state.accounts, put_account)?;
    out.raw(state.secrets.tickets.expose());
    out.raw(state.secrets.identity.expose());
    out.u64(state.spent.forgotten);
    put_all(&mut out, &state.spent.tickets, |out, spent| {
        out.raw(&spent.nonce);
        out.u64(spent.expires);
        Ok(())
    })?;
    put_log(&mut out, &state.log)?;
    put_all(&mut out, &state.objects, |out, object| {
        put_facts(out, &object.facts)?;
        out.u64(object.uses.reserved());
        out.raw(object.secret());
        Ok(())
    })?;
    put_all(&mut out, &state.destroyed, put_facts)?;
    out.raw(&state.latched.map_or([0; reply::ERROR_LEN], reply::error_bytes));
    out.u8(u8::from(state.last_word.is_some()));
    if let Some(head) = &state.last_word {
        head_bytes(&mut out, head);
    }
    if let Some(firmware) = &state.firmware {
        out.raw(&firmware.0);
    }
    Ok(out)
}

pub(super) fn decode(table: &[u8], serial: [u8; 16], generation: u64) -> Result<State, StateError> {
    let mut from = Reader::new(table);
    let from = &mut from;
    let realm = Realm::from_code(from.u8()?).ok_or(Malformed)?;
    let periods = Periods { kek: time(from)?, mac: time(from)?, sign: time(from)? };
    let accounts = all(from, MAX_ACCOUNTS, account)?;
    let secrets = DeviceSecrets { tickets: secret(from)?, identity: secret(from)? };
    let forgotten = from.u64()?;
    let tickets =
        all(from, MAX_SPENT, |from| Ok(SpentTicket { nonce: from.array()?, expires: from.u64()? }))?;
    let spent = SpentTickets { tickets, forgotten };
    let log = log(from)?;
    let objects = all(from, MAX_KEYS, object)?;
    let destroyed = all(from, MAX_KEYS, facts)?;
    let latched = match from.array::<{ reply::ERROR_LEN }>()? {
        [0, 0, 0] => None,
        bytes => Some(reply::error(bytes).ok_or(Malformed)?),
    };
    let last_word = match from.u8()? {
        0 => None,
        1 => Some(read_head(from)?),
        _ => return Err(Malformed.into()),
    };
    // A state from before its first start ends here.
    let firmware = if from.end().is_ok() { None } else { Some(Firmware(from.array()?)) };
    from.end()?;
    Ok(State {
        serial,
        generation,
        realm,
        periods,
        accounts,
        secrets,
        spent,
        log,
        objects,
        destroyed,
        latched,
        last_word,
        firmware,
    })
}

fn put_all<T>(out: &mut Writer, list: &[T], put: impl Fn(&mut Writer, &T) -> Put) -> Put {
    out.u16(u16::try_from(list.len()).map_err(|_| Malformed)?);
    list.iter().try_for_each(|item| put(out, item))
}

fn all<'a, T>(
    from: &mut Reader<'a>,
    most: u16,
    read: impl Fn(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let count = from.u16()?;
    if count > most {
        return Err(Malformed);
    }
    (0..count).map(|_| read(from)).collect()
}

/// A time or a period; zero stands for none.
fn put_time(out: &mut Writer, time: Option<u64>) {
    out.u64(time.unwrap_or(0));
}

fn time(from: &mut Reader<'_>) -> Result<Option<u64>, Malformed> {
    from.u64().map(|time| (time != 0).then_some(time))
}

fn secret(from: &mut Reader<'_>) -> Result<Secret, Malformed> {
    let bytes = from.slice::<32>()?;
    Secret::fill_with(|out| {
        out.copy_from_slice(bytes);
        Ok(())
    })
}

fn put_account(out: &mut Writer, account: &Account) -> Put {
    out.bytes(account.name.as_str().as_bytes())?;
    out.u8(account.role.code());
    out.u8(account.tries_left);
    out.u32(account.pin.memory_kib);
    out.u32(account.pin.passes);
    out.raw(&account.pin.salt);
    out.raw(&account.pin.hash);
    Ok(())
}

fn account(from: &mut Reader<'_>) -> Result<Account, Malformed> {
    let name = AccountName::new(from.text()?).map_err(|_| Malformed)?;
    let role = Role::from_code(from.u8()?).ok_or(Malformed)?;
    let tries_left = from.u8()?;
    let pin = PinVerifier {
        memory_kib: from.u32()?,
        passes: from.u32()?,
        salt: from.array()?,
        hash: from.array()?,
    };
    Ok(Account { name, role, pin, tries_left })
}

fn put_log(out: &mut Writer, log: &Ring) -> Put {
    out.u16(log.policy.capacity);
    out.u8(u8::from(log.policy.blocks) | u8::from(log.policy.operator_drains) << 1);
    out.u64(log.base);
    out.raw(&log.base_hash);
    out.raw(&log.head);
    out.u64(log.last_at);
    out.u32(log.unlogged_boots);
    out.u32(log.unlogged_events);
    out.u16(u16::try_from(log.entries.len()).map_err(|_| Malformed)?);
    log.entries.iter().try_for_each(|entry| out.bytes(entry))
}

fn log(from: &mut Reader<'_>) -> Result<Ring, Malformed> {
    let capacity = from.u16()?;
    let flags = from.u8()?;
    if flags > 3 || !(LogPolicy::MIN_CAPACITY..=LogPolicy::MAX_CAPACITY).contains(&capacity) {
        return Err(Malformed);
    }
    let policy = LogPolicy { capacity, blocks: flags & 1 != 0, operator_drains: flags & 2 != 0 };
    let (base, base_hash, head, last_at) = (from.u64()?, from.array()?, from.array()?, from.u64()?);
    let (unlogged_boots, unlogged_events) = (from.u32()?, from.u32()?);
    let count = from.u16()?;
    if count > capacity {
        return Err(Malformed);
    }
    let entries = (0..count).map(|_| from.bytes().map(Into::into)).collect::<Result<VecDeque<_>, _>>()?;
    Ok(Ring { policy, base, base_hash, entries, unlogged_boots, unlogged_events, head, last_at })
}

fn put_facts(out: &mut Writer, facts: &KeyFacts) -> Put {
    out.bytes(facts.key.label.as_str().as_bytes())?;
    out.u32(facts.key.version.get());
    out.u8(facts.kind.code());
    out.u8(facts.status.code());
    out.u64(facts.created);
    for moment in [facts.activated, facts.deactivated, facts.expires, facts.destroyed] {
        put_time(out, moment);
    }
    out.raw(&facts.kcv.0);
    out.bytes(facts.public.as_ref().map_or(&[][..], |public| &public[..]))
}

fn facts(from: &mut Reader<'_>) -> Result<KeyFacts, Malformed> {
    let label = KeyLabel::new(from.text()?).map_err(|_| Malformed)?;
    let version = KeyVersion::new(from.u32()?).ok_or(Malformed)?;
    Ok(KeyFacts {
        key: label.at(version),
        kind: KeyKind::from_code(from.u8()?).ok_or(Malformed)?,
        status: KeyStatus::from_code(from.u8()?).ok_or(Malformed)?,
        created: from.u64()?,
        activated: time(from)?,
        deactivated: time(from)?,
        expires: time(from)?,
        destroyed: time(from)?,
        kcv: Kcv(from.array()?),
        public: match from.bytes()? {
            [] => None,
            bytes => Some(bytes.try_into().map_err(|_| Malformed)?),
        },
    })
}

fn object(from: &mut Reader<'_>) -> Result<KeyObject, Malformed> {
    let facts = facts(from)?;
    let uses = Uses::restored(facts.kind, from.u64()?);
    // The seal already vouches for the bytes; the check value vouches for the code that wrote them.
    KeyObject::restored(facts, uses, secret(from)?).ok_or(Malformed)
}
