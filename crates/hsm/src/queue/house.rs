//! The devices behind one front: one, or two while a vault moves house. A key version is on one device alone, because
//! a key goes on counting where it moves to ([`crate::KeySpec::at_least`]); so a call finds its device by the key it
//! names, and no key ever has to travel.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError, RwLock};

use super::line::Line;
use crate::error::HsmError;
use crate::names::{KeyInfo, KeyRef};

pub(super) struct House {
    /// The oldest first; never empty.
    devices: RwLock<(Line, Vec<Line>)>,
    /// On which device a key was seen. A version never changes its device, so what is here stays true while the device
    /// is attached.
    places: Mutex<BTreeMap<KeyRef, Line>>,
}

impl House {
    pub(super) fn new(line: Line) -> Self {
        Self { devices: RwLock::new((line, Vec::new())), places: Mutex::default() }
    }

    /// Every device, the oldest first.
    pub(super) fn all(&self) -> Vec<Line> {
        let devices = self.devices.read().unwrap_or_else(PoisonError::into_inner);
        std::iter::once(&devices.0).chain(&devices.1).cloned().collect()
    }

    /// The device that was attached last: new keys are made there.
    pub(super) fn newest(&self) -> Line {
        let devices = self.devices.read().unwrap_or_else(PoisonError::into_inner);
        devices.1.last().unwrap_or(&devices.0).clone()
    }

    /// The device, when there is one.
    pub(super) fn only(&self) -> Option<Line> {
        let devices = self.devices.read().unwrap_or_else(PoisonError::into_inner);
        devices.1.is_empty().then(|| devices.0.clone())
    }

    pub(super) fn attach(&self, others: Vec<Line>) {
        let mut devices = self.devices.write().unwrap_or_else(PoisonError::into_inner);
        for line in others {
            let known = devices.0.is(&line) || devices.1.iter().any(|other| other.is(&line));
            if !known {
                devices.1.push(line);
            }
        }
    }

    pub(super) fn detach(&self) -> bool {
        let gone = self.devices.write().unwrap_or_else(PoisonError::into_inner).1.pop();
        let Some(gone) = gone else { return false };
        self.places().retain(|_, line| !line.is(&gone));
        true
    }

    /// The device that holds a key; of a key that none holds, the one that will say so.
    pub(super) async fn holding(&self, key: &KeyRef) -> Result<Line, HsmError> {
        if let Some(only) = self.only() {
            return Ok(only);
        }
        if let Some(line) = self.places().get(key) {
            return Ok(line.clone());
        }
        let (listed, away) = self.look().await;
        match listed.into_iter().find(|(_, info)| info.key == *key) {
            Some((line, _)) => Ok(line),
            // It may be on the device that cannot be asked.
            None => away.map_or_else(|| Ok(self.newest()), Err),
        }
    }

    /// Every key of every device with its device, and the error of a device that could not be asked. Of a version that
    /// two devices claim the older device's counts: what it protected was protected there.
    pub(super) async fn look(&self) -> (Vec<(Line, KeyInfo)>, Option<HsmError>) {
        let (mut listed, mut away) = (BTreeMap::new(), None);
        for line in self.all() {
            match line.keys().await {
                Ok(keys) => {
                    for info in keys {
                        // While an older device is away, what a younger one claims is not remembered.
                        if away.is_none() {
                            self.places().entry(info.key.clone()).or_insert_with(|| line.clone());
                        }
                        listed.entry(info.key.clone()).or_insert_with(|| (line.clone(), info));
                    }
                }
                Err(error) => away = Some(error),
            }
        }
        (listed.into_values().collect(), away)
    }

    fn places(&self) -> std::sync::MutexGuard<'_, BTreeMap<KeyRef, Line>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
