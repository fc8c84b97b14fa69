//! What PKCS#11 has no attribute for: a key's exact stage of life, when it was made, what it was checked with, and
//! that a version existed and is gone. Kept beside the keys as private data objects of the token, one a key version.
//! The token's own usage attributes enforce; the record explains. Kept out: anything secret.

use std::collections::BTreeMap;

use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::fault::plain;
use super::objects::{id_of, ref_of};
use crate::error::HsmError;
use crate::names::{KeyKind, KeyRef, KeyStatus, Realm};

/// `CKA_APPLICATION` of every record.
const APPLICATION: &[u8] = b"pangate";
/// What a record's label begins with; the key's id follows.
const PREFIX: &str = "record ";
/// Label of the object that names the realm.
const REALM: &[u8] = b"realm";
/// First byte of a record.
const FORM: u8 = 1;
/// The longest check value: IV, ciphertext and tag of a canary.
pub(super) const MAX_CHECK: usize = 64;

/// What a key is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Nothing.
    None,
    /// Being made by `create_key`.
    Creating,
    /// Being made by `rotate_key`; its older versions may not be fenced yet.
    Rotating,
}

/// The record of one key version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) kind: KeyKind,
    pub(super) status: KeyStatus,
    pub(super) work: Work,
    /// Seconds since 1970.
    pub(super) created: u64,
    /// Seconds since 1970; zero while the key never stopped protecting.
    pub(super) deactivated: u64,
    /// What the key answered when it was made: a sealed canary, a MAC, a digest of the public half.
    pub(super) check: Vec<u8>,
}

/// A record where it stands in the token.
pub(super) struct Kept {
    pub(super) record: Record,
    place: ObjectHandle,
    revision: u32,
}

impl Record {
    fn encode(&self, revision: u32) -> Vec<u8> {
        let work = match self.work {
            Work::None => 0,
            Work::Creating => 1,
            Work::Rotating => 2,
        };
        let mut out = vec![FORM];
        out.extend_from_slice(&revision.to_be_bytes());
        out.extend_from_slice(&[self.kind.code(), self.status.code(), work]);
        out.extend_from_slice(&self.created.to_be_bytes());
        out.extend_from_slice(&self.deactivated.to_be_bytes());
        out.extend_from_slice(&self.check);
        out
    }

    fn decode(bytes: &[u8]) -> Option<(Self, u32)> {
        let (&[form], rest) = bytes.split_first_chunk::<1>()?;
        let (revision, rest) = rest.split_first_chunk::<4>()?;
        let (&[kind, status, work], rest) = rest.split_first_chunk::<3>()?;
        let (created, rest) = rest.split_first_chunk::<8>()?;
        let (deactivated, check) = rest.split_first_chunk::<8>()?;
        if form != FORM || check.len() > MAX_CHECK {
            return None;
        }
        let work = match work {
            0 => Work::None,
            1 => Work::Creating,
            2 => Work::Rotating,
            _ => return None,
        };
        let record = Self {
            kind: KeyKind::from_code(kind)?,
            status: KeyStatus::from_code(status)?,
            work,
            created: u64::from_be_bytes(*created),
            deactivated: u64::from_be_bytes(*deactivated),
            check: check.to_vec(),
        };
        Some((record, u32::from_be_bytes(*revision)))
    }
}

/// Every record in the token, by key. Of two of one key the later revision counts: the earlier is one whose removal
/// was interrupted.
pub(super) fn all(session: &Session) -> Result<BTreeMap<KeyRef, Kept>, HsmError> {
    let mut records: BTreeMap<KeyRef, Kept> = BTreeMap::new();
    for place in session.find_objects(&[class(), application()]).map_err(plain)? {
        let (label, value) = read(session, place)?;
        let id = label.strip_prefix(PREFIX.as_bytes());
        let Some(key) = id.and_then(ref_of) else { continue };
        let Some((record, revision)) = Record::decode(&value) else { continue };
        if records.get(&key).is_none_or(|other| other.revision < revision) {
            records.insert(key, Kept { record, place, revision });
        }
    }
    Ok(records)
}

/// The record of one key.
pub(super) fn of(session: &Session, key: &KeyRef) -> Result<Option<Kept>, HsmError> {
    let mut newest: Option<Kept> = None;
    for place in session.find_objects(&[class(), application(), label_of(key)]).map_err(plain)? {
        let (_, value) = read(session, place)?;
        let Some((record, revision)) = Record::decode(&value) else { continue };
        if newest.as_ref().is_none_or(|other| other.revision < revision) {
            newest = Some(Kept { record, place, revision });
        }
    }
    Ok(newest)
}

/// Writes a record and only then removes the one before: whoever is interrupted leaves at least one.
pub(super) fn write(session: &Session, key: &KeyRef, record: &Record) -> Result<(), HsmError> {
    let before = of(session, key)?;
    let revision = before.as_ref().map_or(0, |kept| kept.revision).saturating_add(1);
    session
        .create_object(&[
            class(),
            application(),
            label_of(key),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Value(record.encode(revision)),
        ])
        .map_err(plain)?;
    match before {
        Some(kept) => session.destroy_object(kept.place).map_err(plain),
        None => Ok(()),
    }
}

/// The realms the token was set up for: one, if it was set up properly.
pub(super) fn realms(session: &Session) -> Result<Vec<Realm>, HsmError> {
    let label = Attribute::Label(REALM.to_vec());
    let places = session.find_objects(&[class(), application(), label]).map_err(plain)?;
    let mut realms = Vec::new();
    for place in places {
        let (_, value) = read(session, place)?;
        let named = [Realm::Live, Realm::Test].into_iter().find(|realm| realm.as_str().as_bytes() == value);
        realms.extend(named);
    }
    Ok(realms)
}

/// Sets the token up for a realm.
pub(super) fn write_realm(session: &Session, realm: Realm) -> Result<(), HsmError> {
    session
        .create_object(&[
            class(),
            application(),
            Attribute::Label(REALM.to_vec()),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Value(realm.as_str().as_bytes().to_vec()),
        ])
        .map(drop)
        .map_err(plain)
}

fn read(session: &Session, place: ObjectHandle) -> Result<(Vec<u8>, Vec<u8>), HsmError> {
    let wanted = [AttributeType::Label, AttributeType::Value];
    let (mut label, mut value) = (Vec::new(), Vec::new());
    for attribute in session.get_attributes(place, &wanted).map_err(plain)? {
        match attribute {
            Attribute::Label(bytes) => label = bytes,
            Attribute::Value(bytes) => value = bytes,
            _ => {}
        }
    }
    Ok((label, value))
}

fn class() -> Attribute {
    Attribute::Class(ObjectClass::DATA)
}

fn application() -> Attribute {
    Attribute::Application(APPLICATION.to_vec())
}

fn label_of(key: &KeyRef) -> Attribute {
    let mut label = PREFIX.as_bytes().to_vec();
    label.extend_from_slice(&id_of(key));
    Attribute::Label(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_reads_back_as_it_was_written(
            kind in 1_u8..=3, status in 1_u8..=6, created: u64, deactivated: u64, revision: u32,
            check in proptest::collection::vec(any::<u8>(), 0..=MAX_CHECK),
        ) {
            let record = Record {
                kind: KeyKind::from_code(kind).unwrap(),
                status: KeyStatus::from_code(status).unwrap(),
                work: Work::Rotating,
                created,
                deactivated,
                check,
            };
            prop_assert_eq!(Record::decode(&record.encode(revision)), Some((record, revision)));
        }

        #[test]
        fn no_bytes_at_all_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = Record::decode(&bytes);
        }
    }
}
