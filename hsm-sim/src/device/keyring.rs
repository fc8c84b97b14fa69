//! The keys of a running device: those that are there, what is known of those that were destroyed, and whether the
//! device has shut itself. Changes are prepared apart, written to disk, and only then made here.

use std::collections::BTreeMap;

use hsm::{HsmError, KeyKind, KeyLabel, KeyRef, KeyStatus, KeyVersion};

use super::keys::{KeyFacts, KeyObject};

/// The keys of a running device.
pub(super) struct Keyring {
    pub(super) live: BTreeMap<KeyRef, KeyObject>,
    pub(super) gone: BTreeMap<KeyRef, KeyFacts>,
    pub(super) latched: Option<HsmError>,
}

/// One change to the keys.
pub(super) enum Change {
    /// A new key.
    Add(KeyObject),
    /// New facts about a key that is there.
    Facts(KeyFacts),
    /// A key's bytes go; these facts stay.
    Destroy(KeyFacts),
    /// So many uses of a key are now counted on disk.
    Reserve(KeyRef, u64),
}

impl Keyring {
    pub(super) fn new(objects: Vec<KeyObject>, gone: Vec<KeyFacts>, latched: Option<HsmError>) -> Self {
        Self {
            live: objects.into_iter().map(|object| (object.facts.key.clone(), object)).collect(),
            gone: gone.into_iter().map(|facts| (facts.key.clone(), facts)).collect(),
            latched,
        }
    }

    /// Wipes every key; what was known of them stays, as destroyed.
    pub(super) fn wipe(&mut self, why: HsmError, now: u64) {
        for (key, object) in std::mem::take(&mut self.live) {
            let facts =
                KeyFacts { status: KeyStatus::Destroyed, destroyed: Some(now), ..object.facts.clone() };
            self.gone.insert(key, facts);
        }
        self.latched = self.latched.or(Some(why));
    }

    pub(super) fn awake(&self) -> Result<(), HsmError> {
        self.latched.map_or(Ok(()), Err)
    }

    /// The key, if it is there and of this kind.
    pub(super) fn find(&self, key: &KeyRef, kind: KeyKind) -> Result<&KeyObject, HsmError> {
        let object = self.object(key, KeyStatus::Active)?;
        if object.facts.kind == kind { Ok(object) } else { Err(HsmError::Denied) }
    }

    /// The key, if it is there; a destroyed one is not, and says so.
    pub(super) fn object(&self, key: &KeyRef, need: KeyStatus) -> Result<&KeyObject, HsmError> {
        self.live.get(key).ok_or_else(|| {
            let gone = self.gone.contains_key(key);
            if gone {
                HsmError::KeyStatus { have: KeyStatus::Destroyed, need }
            } else {
                HsmError::KeyNotFound
            }
        })
    }

    /// Every version the label ever had, destroyed ones included.
    pub(super) fn versions<'a>(&'a self, label: &'a KeyLabel) -> impl Iterator<Item = &'a KeyFacts> {
        let live = self.live.values().map(|object| &object.facts);
        live.chain(self.gone.values()).filter(move |facts| facts.key.label == *label)
    }

    pub(super) fn last_version(&self, label: &KeyLabel) -> Option<KeyVersion> {
        self.versions(label).map(|facts| facts.key.version).max()
    }

    /// The newest version that may protect.
    pub(super) fn newest_active(&self, label: &KeyLabel, now: u64) -> Option<&KeyObject> {
        let named = self.live.values().filter(|object| object.facts.key.label == *label);
        named
            .filter(|object| object.status_at(now).may_protect())
            .max_by_key(|object| object.facts.key.version)
    }

    /// How many keys there are and were.
    pub(super) fn len(&self) -> usize {
        self.live.len() + self.gone.len()
    }

    /// The keys as they will be after these changes, for the state that is about to be written.
    pub(super) fn after(&self, changes: &[Change]) -> (Vec<KeyObject>, Vec<KeyFacts>) {
        let mut live: BTreeMap<KeyRef, KeyObject> =
            self.live.iter().map(|(key, object)| (key.clone(), object.twin())).collect();
        let mut gone = self.gone.clone();
        for change in changes {
            let change = match change {
                Change::Add(object) => Change::Add(object.twin()),
                Change::Facts(facts) => Change::Facts(facts.clone()),
                Change::Destroy(facts) => Change::Destroy(facts.clone()),
                Change::Reserve(key, count) => Change::Reserve(key.clone(), *count),
            };
            apply(&mut live, &mut gone, change);
        }
        (live.into_values().collect(), gone.into_values().collect())
    }

    pub(super) fn make(&mut self, changes: Vec<Change>) {
        for change in changes {
            apply(&mut self.live, &mut self.gone, change);
        }
    }
}

fn apply(live: &mut BTreeMap<KeyRef, KeyObject>, gone: &mut BTreeMap<KeyRef, KeyFacts>, change: Change) {
    match change {
        Change::Add(object) => {
            live.insert(object.facts.key.clone(), object);
        }
        Change::Facts(facts) => {
            if let Some(object) = live.get_mut(&facts.key) {
                object.facts = facts;
            }
        }
        Change::Destroy(facts) => {
            // The bytes are wiped as the object is dropped.
            live.remove(&facts.key);
            gone.insert(facts.key.clone(), facts);
        }
        Change::Reserve(key, count) => {
            if let Some(object) = live.get(&key) {
                object.uses.note_reserved(count);
            }
        }
    }
}
