//! How the contract's types travel: key references, contexts, seals, key facts, device facts. Contexts travel as
//! their typed parts and are encoded again inside the device, so no raw associated data can be sent.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hsm::{
    Capabilities, Context, DeviceInfo, Health, IvSource, Kcv, KeyFilter, KeyInfo, KeyKind, KeyLabel, KeyRef,
    KeyStatus, KeyVersion, Realm, SealedDataKey, WrapSuite,
};

use super::codec::{Malformed, Reader, Writer};
use super::reply;

type Put = Result<(), Malformed>;
/// Stands for a time that is not known.
const NO_TIME: u64 = u64::MAX;
/// Stands for a count that nobody keeps.
const NO_COUNT: u64 = u64::MAX;

fn moment(from: &mut Reader<'_>) -> Result<Option<SystemTime>, Malformed> {
    match from.u64()? {
        NO_TIME => Ok(None),
        seconds => UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).map(Some).ok_or(Malformed),
    }
}

pub(crate) fn put_key(out: &mut Writer, key: &KeyRef) -> Put {
    out.bytes(key.label.as_str().as_bytes())?;
    out.u32(key.version.get());
    Ok(())
}

pub(crate) fn key(from: &mut Reader<'_>) -> Result<KeyRef, Malformed> {
    let label = label(from)?;
    let version = KeyVersion::new(from.u32()?).ok_or(Malformed)?;
    Ok(label.at(version))
}

fn label(from: &mut Reader<'_>) -> Result<KeyLabel, Malformed> {
    KeyLabel::new(from.text()?).map_err(|_| Malformed)
}

pub(crate) fn put_context(out: &mut Writer, context: &Context) -> Put {
    out.u8(context.realm().code());
    out.u8(context.suite().code());
    put_key(out, context.kek())?;
    out.raw(context.data_key_id());
    out.bytes(context.tenant().as_bytes())?;
    out.bytes(context.class().as_bytes())?;
    out.u32(context.epoch());
    Ok(())
}

pub(crate) fn context(from: &mut Reader<'_>) -> Result<Context, Malformed> {
    let realm = Realm::from_code(from.u8()?).ok_or(Malformed)?;
    let suite = WrapSuite::from_code(from.u8()?).ok_or(Malformed)?;
    let kek = key(from)?;
    let id = from.array()?;
    let tenant = from.text()?;
    let class = from.text()?;
    let epoch = from.u32()?;
    Context::data_key(realm, &kek, suite, id, tenant, class, epoch).map_err(|_| Malformed)
}

pub(crate) fn put_sealed(out: &mut Writer, sealed: &SealedDataKey) -> Put {
    out.bytes(&sealed.to_bytes())
}

pub(crate) fn sealed(from: &mut Reader<'_>) -> Result<SealedDataKey, Malformed> {
    SealedDataKey::from_bytes(from.bytes()?).map_err(|_| Malformed)
}

pub(crate) fn put_filter(out: &mut Writer, filter: &KeyFilter) -> Put {
    out.bytes(filter.label.as_ref().map_or("", KeyLabel::as_str).as_bytes())?;
    out.u8(filter.kind.map_or(0, KeyKind::code));
    Ok(())
}

pub(crate) fn filter(from: &mut Reader<'_>) -> Result<KeyFilter, Malformed> {
    let label = match from.text()? {
        "" => None,
        text => Some(KeyLabel::new(text).map_err(|_| Malformed)?),
    };
    let kind = match from.u8()? {
        0 => None,
        code => Some(KeyKind::from_code(code).ok_or(Malformed)?),
    };
    Ok(KeyFilter { label, kind })
}

pub(crate) fn put_key_info(out: &mut Writer, info: &KeyInfo) -> Put {
    put_key(out, &info.key)?;
    out.u8(info.kind.code());
    out.u8(info.status.code());
    out.u8(info.realm.code());
    out.raw(&info.kcv.0);
    out.u64(info.created.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs());
    out.u8(u8::from(info.local) | u8::from(info.extractable) << 1);
    for moment in [info.deactivated, info.expires] {
        let seconds = moment.and_then(|moment| moment.duration_since(UNIX_EPOCH).ok());
        out.u64(seconds.map_or(NO_TIME, |since| since.as_secs()));
    }
    out.u64(info.uses.unwrap_or(NO_COUNT));
    out.bytes(info.public.as_deref().unwrap_or_default())
}

pub(crate) fn key_info(from: &mut Reader<'_>) -> Result<KeyInfo, Malformed> {
    let key = key(from)?;
    let kind = KeyKind::from_code(from.u8()?).ok_or(Malformed)?;
    let status = KeyStatus::from_code(from.u8()?).ok_or(Malformed)?;
    let realm = Realm::from_code(from.u8()?).ok_or(Malformed)?;
    let kcv = Kcv(from.array()?);
    let created = UNIX_EPOCH.checked_add(Duration::from_secs(from.u64()?)).ok_or(Malformed)?;
    let flags = from.u8()?;
    if flags > 3 {
        return Err(Malformed);
    }
    let (deactivated, expires) = (moment(from)?, moment(from)?);
    let uses = from.u64()?;
    let public = from.bytes()?;
    Ok(KeyInfo {
        key,
        kind,
        status,
        realm,
        kcv,
        created,
        deactivated,
        expires,
        local: flags & 1 != 0,
        extractable: flags & 2 != 0,
        uses: (uses != NO_COUNT).then_some(uses),
        public: (!public.is_empty()).then(|| public.to_vec()),
    })
}

pub(crate) fn put_device(out: &mut Writer, info: &DeviceInfo) -> Put {
    for text in [&info.vendor, &info.model, &info.serial, &info.firmware] {
        out.bytes(text.as_bytes())?;
    }
    out.u8(info.realm.code());
    out.u32(info.capabilities.bits());
    out.u8(match info.iv_source {
        IvSource::Device => 1,
        IvSource::Provider => 2,
    });
    out.u8(u8::from(info.certified));
    Ok(())
}

pub(crate) fn device(from: &mut Reader<'_>) -> Result<DeviceInfo, Malformed> {
    let vendor = from.text()?.to_owned();
    let model = from.text()?.to_owned();
    let serial = from.text()?.to_owned();
    let firmware = from.text()?.to_owned();
    let realm = Realm::from_code(from.u8()?).ok_or(Malformed)?;
    let capabilities = Capabilities::from_bits(from.u32()?).ok_or(Malformed)?;
    let iv_source = match from.u8()? {
        1 => IvSource::Device,
        2 => IvSource::Provider,
        _ => return Err(Malformed),
    };
    let certified = flag(from)?;
    Ok(DeviceInfo { vendor, model, serial, firmware, realm, capabilities, iv_source, certified })
}

pub(crate) fn put_health(out: &mut Writer, health: &Health) {
    out.u8(u8::from(health.operational));
    match &health.latched {
        None => out.raw(&[0; reply::ERROR_LEN]),
        Some(error) => out.raw(&reply::error_bytes(*error)),
    }
    out.u8(health.pin_tries_left.unwrap_or(u8::MAX));
    out.u64(health.generation);
    out.u64(u64::try_from(health.uptime.as_millis()).unwrap_or(u64::MAX));
}

pub(crate) fn health(from: &mut Reader<'_>) -> Result<Health, Malformed> {
    let operational = flag(from)?;
    let latched = match from.array::<{ reply::ERROR_LEN }>()? {
        [0, ..] => None,
        bytes => Some(reply::error(bytes).ok_or(Malformed)?),
    };
    let tries = from.u8()?;
    let generation = from.u64()?;
    let uptime = Duration::from_millis(from.u64()?);
    let pin_tries_left = (tries != u8::MAX).then_some(tries);
    Ok(Health { operational, latched, pin_tries_left, generation, uptime })
}

fn flag(from: &mut Reader<'_>) -> Result<bool, Malformed> {
    match from.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed),
    }
}
