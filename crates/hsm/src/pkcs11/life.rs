//! A key's life on a device that knows no such thing: made, rotated, moved along, destroyed, in steps of which each
//! leaves a state that is safe and from which the next call goes on. First the token is made to enforce, then the
//! record is written: whoever is interrupted has a key that may do less than its record says, never more.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cryptoki::object::{ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::fault::{code, plain};
use super::making;
use super::objects::{self, Facts};
use super::primitives;
use super::record::{self, Kept, Record};
use super::session::{Work, status};
use crate::error::HsmError;
use crate::names::{KeyInfo, KeyKind, KeyLabel, KeyRef, KeyStatus, KeyVersion, Realm};
use crate::verbs::{DestructionRecord, KeySpec};

type Survey = [(KeyRef, ObjectHandle, Facts)];

/// What a new version becomes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Making {
    /// Waits to be activated.
    Create,
    /// Takes over from the versions before.
    Rotate,
}

impl Making {
    fn work(self) -> record::Work {
        match self {
            Self::Create => record::Work::Creating,
            Self::Rotate => record::Work::Rotating,
        }
    }
}

/// Makes the next version of a key, or goes on with one whose making was interrupted.
pub(super) fn make(work: &mut Work<'_>, spec: &KeySpec, making: Making) -> Result<KeyInfo, HsmError> {
    let session = work.session();
    let keys = objects::survey(session)?;
    let records = record::all(session)?;
    let realm = work.token.realm;
    let begun = unfinished(&records, spec, making);
    let (key, mut made) = match begun {
        Some(begun) => begun,
        None => {
            let key = spec.label.clone().at(next_version(&keys, &records, spec)?);
            let plan = Record {
                kind: spec.kind,
                status: KeyStatus::PreActive,
                work: making.work(),
                created: now(),
                deactivated: 0,
                check: Vec::new(),
            };
            // The plan comes before the key: half a key that nobody planned would be taken for one that was planted.
            record::write(session, &key, &plan)?;
            (key, plan)
        }
    };
    if made.check.is_empty() {
        // What an interrupted making left has protected nothing.
        making::destroy(session, &key)?;
        making::generate(session, &key, spec.kind)?;
    }
    let handle = sole(session, &key, spec.kind)?;
    if made.check.is_empty() {
        making::enforce(session, handle, spec.kind, KeyStatus::Active)?;
        let public = objects::public_half(session, &key)?;
        made.check = primitives::check_value(session, handle, &key, spec.kind, realm, public.as_ref())?;
    }
    match making {
        Making::Create => {
            making::enforce(session, handle, spec.kind, KeyStatus::PreActive)?;
            made.work = record::Work::None;
            record::write(session, &key, &made)?;
        }
        Making::Rotate => {
            making::enforce(session, handle, spec.kind, KeyStatus::Active)?;
            made.status = KeyStatus::Active;
            // Active before the older ones are fenced, so that at no moment nothing protects.
            record::write(session, &key, &made)?;
            fence_older(session, &key, &keys, &records)?;
            made.work = record::Work::None;
            record::write(session, &key, &made)?;
        }
    }
    work.forget();
    info(work, &key)
}

/// The newest version, if its making was interrupted.
fn unfinished(records: &BTreeMap<KeyRef, Kept>, spec: &KeySpec, making: Making) -> Option<(KeyRef, Record)> {
    let (key, kept) = records.iter().rfind(|(key, _)| key.label == spec.label)?;
    let begun = kept.record.work == making.work() && kept.record.kind == spec.kind;
    (begun && key.version >= spec.at_least).then(|| (key.clone(), kept.record.clone()))
}

/// One more than every version that is, or ever was, on this token.
fn next_version(
    keys: &Survey,
    records: &BTreeMap<KeyRef, Kept>,
    spec: &KeySpec,
) -> Result<KeyVersion, HsmError> {
    let known = keys.iter().map(|(key, ..)| key).chain(records.keys());
    let last = known.filter(|key| key.label == spec.label).map(|key| key.version).max();
    let next = match last {
        Some(last) => last.next().ok_or(HsmError::Internal { code: code::VERSIONS })?,
        None => KeyVersion::FIRST,
    };
    Ok(next.max(spec.at_least))
}

/// The one object of a key just made, read back: what the token made must be what it was asked for. PKCS#11 has no
/// unique names, so another process may have made the same version at the same moment; then neither counts.
fn sole(session: &Session, key: &KeyRef, kind: KeyKind) -> Result<ObjectHandle, HsmError> {
    let handle = objects::find(session, key)?;
    let facts = Facts::read(session, handle)?;
    let finding = facts.finding();
    if let Some(finding) = finding {
        making::destroy(session, key)?;
        return Err(HsmError::Misconfigured(finding));
    }
    if facts.kind() == Some(kind) { Ok(handle) } else { Err(HsmError::Denied) }
}

/// Switches off every older active version of a KEK or signing key. Older MAC keys go on: what they fingerprinted is
/// looked up under them.
fn fence_older(
    session: &Session,
    newest: &KeyRef,
    keys: &Survey,
    records: &BTreeMap<KeyRef, Kept>,
) -> Result<(), HsmError> {
    for (key, handle, facts) in keys.iter().filter(|(key, ..)| key.label == newest.label && key < newest) {
        let (Some(kind), Some(kept)) = (facts.kind(), records.get(key)) else { continue };
        if kind != KeyKind::Mac256 && kept.record.status == KeyStatus::Active {
            making::enforce_safely(session, key, *handle, kind, KeyStatus::Deactivated)?;
            let stopped =
                Record { status: KeyStatus::Deactivated, deactivated: now(), ..kept.record.clone() };
            record::write(session, key, &stopped)?;
        }
    }
    Ok(())
}

/// Moves a key along its life.
pub(super) fn set_status(work: &mut Work<'_>, key: &KeyRef, to: KeyStatus) -> Result<(), HsmError> {
    let session = work.session();
    let handle = match objects::find(session, key) {
        Err(HsmError::KeyNotFound) => return Err(absent(work, key)),
        other => other?,
    };
    let facts = Facts::read(session, handle)?;
    let (kind, kept) = (facts.kind().ok_or(HsmError::Denied)?, record::of(session, key)?);
    let have = status(&facts, kind, kept.as_ref().map(|kept| &kept.record));
    let Some(Kept { record, .. }) = kept else { return Err(HsmError::KeyStatus { have, need: to }) };
    if !leads(have, to) {
        return Err(HsmError::KeyStatus { have, need: to });
    }
    making::enforce_safely(session, key, handle, kind, to)?;
    let stops = have == KeyStatus::Active && to != KeyStatus::Active && to != KeyStatus::Suspended;
    let deactivated = if stops { now() } else { record.deactivated };
    record::write(session, key, &Record { status: to, deactivated, ..record })?;
    work.forget();
    Ok(())
}

/// Does a way lead from one stage to another (NIST SP 800-57 part 1, section 7)? Staying is a way, so that a call
/// whose answer was lost can be made again.
fn leads(have: KeyStatus, to: KeyStatus) -> bool {
    use KeyStatus::{Active, Compromised, Deactivated, Destroyed, PreActive, Suspended};
    match (have, to) {
        (_, Destroyed | PreActive) => have == to && to == PreActive,
        (PreActive, Active | Compromised) => true,
        (Active, Suspended | Deactivated | Compromised) => true,
        (Suspended, Active | Deactivated | Compromised) => true,
        (Deactivated, Compromised) => true,
        _ => have == to,
    }
}

/// Destroys a key; its record stays, so that its version is never given again.
pub(super) fn destroy(work: &mut Work<'_>, key: &KeyRef) -> Result<DestructionRecord, HsmError> {
    let session = work.session();
    let handle = match objects::find(session, key) {
        Err(HsmError::KeyNotFound) => return Err(absent(work, key)),
        other => other?,
    };
    let facts = Facts::read(session, handle)?;
    let (kind, kept) = (facts.kind().ok_or(HsmError::Denied)?, record::of(session, key)?);
    let have = status(&facts, kind, kept.as_ref().map(|kept| &kept.record));
    if matches!(have, KeyStatus::Active | KeyStatus::Suspended) {
        return Err(HsmError::KeyStatus { have, need: KeyStatus::Deactivated });
    }
    let before = kept.map(|kept| kept.record);
    let created = before.as_ref().map_or_else(now, |record| record.created);
    let stone = Record {
        kind,
        status: KeyStatus::Destroyed,
        work: record::Work::None,
        created,
        deactivated: before.as_ref().map_or(0, |record| record.deactivated),
        check: before.map(|record| record.check).unwrap_or_default(),
    };
    record::write(session, key, &stone)?;
    making::destroy(session, key)?;
    let gone = matches!(objects::find(session, key), Err(HsmError::KeyNotFound));
    work.is_there()?;
    if !gone {
        return Err(HsmError::Internal { code: code::NOT_TAKEN });
    }
    work.forget();
    let at = UNIX_EPOCH.checked_add(Duration::from_secs(now())).unwrap_or_else(SystemTime::now);
    let signature = sign_destruction(work, key, at)?;
    Ok(DestructionRecord { key: key.clone(), at, signature })
}

/// Signed by the newest audit key, where the token has one.
fn sign_destruction(work: &Work<'_>, key: &KeyRef, at: SystemTime) -> Result<Vec<u8>, HsmError> {
    let session = work.session();
    let signer = infos(work)?.into_iter().rfind(|info| {
        info.key.label == KeyLabel::SIGN_AUDIT
            && info.status == KeyStatus::Active
            && info.kind == KeyKind::SignEd25519
    });
    let Some(signer) = signer else { return Ok(Vec::new()) };
    let handle = objects::find(session, &signer.key)?;
    primitives::sign(session, handle, &DestructionRecord::statement(key, at))
        .map(|signature| signature.to_vec())
}

/// Why a key is not there.
fn absent(work: &Work<'_>, key: &KeyRef) -> HsmError {
    let gone = |session| {
        Ok(record::of(session, key)?.is_some_and(|kept| kept.record.status == KeyStatus::Destroyed))
    };
    match work.is_there().and_then(|_| gone(work.session())) {
        Ok(true) => HsmError::KeyStatus { have: KeyStatus::Destroyed, need: KeyStatus::Active },
        Ok(false) => HsmError::KeyNotFound,
        Err(error) => error,
    }
}

/// Before keys are judged: finishes what was interrupted, and switches off again what somebody switched on.
pub(super) fn settle(session: &Session, realm: Realm) -> Result<(), HsmError> {
    let records = record::all(session)?;
    for (key, kept) in &records {
        match kept.record.status {
            KeyStatus::Destroyed => making::destroy(session, key)?,
            _ if kept.record.check.is_empty() => making::clear_torn(session, key)?,
            _ => {
                making::restore(session, key)?;
                drop_twins(session, key, &kept.record, realm)?;
            }
        }
    }
    let keys = &objects::survey(session)?;
    for (key, handle, facts) in keys {
        let (Some(kind), Some(kept)) = (facts.kind(), records.get(key)) else { continue };
        let record = &kept.record;
        if record.work == record::Work::Rotating && record.status == KeyStatus::Active {
            fence_older(session, key, keys, &records)?;
            record::write(session, key, &Record { work: record::Work::None, ..record.clone() })?;
        } else if record.work == record::Work::None && !record.status.may_protect() && facts.protects(kind) {
            making::enforce_safely(session, key, *handle, kind, record.status)?;
        }
    }
    Ok(())
}

/// A spare whose making was interrupted bears the key's own name. Objects that all answer as the key does are the key;
/// one is enough. One that does not answer is somebody else's work, and stays for the judgement.
fn drop_twins(session: &Session, key: &KeyRef, record: &Record, realm: Realm) -> Result<(), HsmError> {
    let mut twins = Vec::new();
    for class in [ObjectClass::SECRET_KEY, ObjectClass::PRIVATE_KEY] {
        twins.extend(objects::find_class(session, key, class)?);
    }
    let Some((_, others)) = twins.split_first().filter(|(_, others)| !others.is_empty()) else {
        return Ok(());
    };
    let public = objects::public_half(session, key)?;
    let answers = |&twin: &ObjectHandle| {
        let answer =
            primitives::answers(session, twin, key, record.kind, realm, &record.check, public.as_ref());
        matches!(answer, Ok(true)) && Facts::read(session, twin).is_ok_and(|facts| facts.finding().is_none())
    };
    if twins.iter().all(answers) {
        for &twin in others {
            session.destroy_object(twin).map_err(plain)?;
        }
    }
    Ok(())
}

/// Does any key answer as it should? Then this process is logged in, whoever did it.
pub(super) fn any_key_answers(session: &Session, keys: &Survey, realm: Realm) -> Result<bool, HsmError> {
    let records = record::all(session)?;
    Ok(keys.iter().any(|(key, handle, facts)| {
        let (Some(kind), Some(kept)) = (facts.kind(), records.get(key)) else { return false };
        let Ok(public) = objects::public_half(session, key) else { return false };
        let check = &kept.record.check;
        matches!(primitives::answers(session, *handle, key, kind, realm, check, public.as_ref()), Ok(true))
    }))
}

/// The facts about every key, in order.
pub(super) fn infos(work: &Work<'_>) -> Result<Vec<KeyInfo>, HsmError> {
    let session = work.session();
    let keys = objects::survey(session)?;
    if let Some((_, error)) = super::token::first_unfit(&keys) {
        return Err(error);
    }
    let records = record::all(session)?;
    // A device that is gone lists nothing, and says so without an error.
    work.is_there()?;
    let mut infos = Vec::with_capacity(keys.len());
    for (key, _, facts) in &keys {
        let Some(kind) = facts.kind() else { continue };
        let kept = records.get(key).map(|kept| &kept.record);
        let mut info = describe(work, key, kind, facts, kept)?;
        // Whoever rotated may have been interrupted: until every older version is fenced, the new one is not shown as
        // the one that took over.
        let taking_over = kept.is_some_and(|record| record.work == record::Work::Rotating);
        let unfenced = |older: &KeyInfo| older.key.label == key.label && older.status == KeyStatus::Active;
        if taking_over && kind != KeyKind::Mac256 && infos.iter().any(unfenced) {
            info.status = KeyStatus::PreActive;
        }
        infos.push(info);
    }
    Ok(infos)
}

fn info(work: &Work<'_>, key: &KeyRef) -> Result<KeyInfo, HsmError> {
    infos(work)?.into_iter().find(|info| info.key == *key).ok_or(HsmError::Internal { code: code::NOT_TAKEN })
}

fn describe(
    work: &Work<'_>,
    key: &KeyRef,
    kind: KeyKind,
    facts: &Facts,
    kept: Option<&Record>,
) -> Result<KeyInfo, HsmError> {
    let public = match kind {
        KeyKind::SignEd25519 => objects::public_half(work.session(), key)?.map(|half| half.to_vec()),
        KeyKind::Kek256 | KeyKind::Mac256 => None,
    };
    let at = |seconds: u64| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH);
    Ok(KeyInfo {
        key: key.clone(),
        kind,
        status: status(facts, kind, kept),
        realm: work.token.realm,
        kcv: primitives::shown(kind, kept.map_or(&[], |record| record.check.as_slice())),
        created: at(kept.map_or(0, |record| record.created)),
        deactivated: kept.filter(|record| record.deactivated > 0).map(|record| at(record.deactivated)),
        expires: None,
        local: facts.local(),
        extractable: facts.extractable(),
        uses: None,
        public,
    })
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
