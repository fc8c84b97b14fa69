//! The device: a table of keys behind the verbs of [`hsm::Hsm`], and the PIN that guards it. It runs inside the
//! daemon; keys come in from the sealed state and go nowhere. Kept out: sockets, files, the encoding of the state.

pub mod keys;
mod pin;
pub mod primitives;
mod selftest;
mod verbs;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hsm::{HsmError, KeyKind, KeyLabel, KeyRef, KeyVersion, Realm};

use crate::state::{Home, RootKey, State, StateError};
use keys::KeyObject;
pub use pin::{MAX_PIN, MAX_TRIES, MIN_PIN, PinVerifier};
use selftest::Vectors;

/// What went wrong inside the device, as numbers of [`HsmError::Internal`].
pub(crate) mod fault {
    /// The operating system gave no random bytes.
    pub(crate) const RANDOM: u16 = 10;
    /// The state could not be written.
    pub(crate) const STATE: u16 = 11;
    /// A primitive refused a key of the right size.
    pub(crate) const PRIMITIVE: u16 = 12;
}

/// The software device.
pub struct Device {
    keys: BTreeMap<KeyRef, KeyObject>,
    realm: Realm,
    serial: [u8; 16],
    latched: Option<HsmError>,
    started: Instant,
    ledger: Mutex<Ledger>,
}

/// What changes while the device runs.
struct Ledger {
    pin: PinVerifier,
    tries_left: u8,
    generation: u64,
    store: Option<(Home, RootKey)>,
}

impl Device {
    /// Runs the self-test, and only if it passes loads the keys from the state in `home`.
    ///
    /// # Errors
    /// [`StateError`] when the state is absent, altered or of another version. A failed self-test is no error
    /// here: the device starts without keys and says [`HsmError::SelfTestFailed`] to everything.
    pub fn open(home: Home) -> Result<Self, StateError> {
        Self::open_with(home, &Vectors::PUBLISHED)
    }

    fn open_with(home: Home, vectors: &Vectors) -> Result<Self, StateError> {
        if selftest::run(vectors).is_err() {
            return Ok(Self::shut(HsmError::SelfTestFailed));
        }
        let root = home.root_key()?;
        let state = home.load(&root)?;
        Ok(Self::running(state, Some((home, root))))
    }

    /// A device with the four keys and no state file, for tests inside one process. Its keys end with it.
    ///
    /// # Errors
    /// [`HsmError::SelfTestFailed`], or [`HsmError::Internal`] without random bytes.
    pub fn in_memory(realm: Realm) -> Result<Self, HsmError> {
        selftest::run(&Vectors::PUBLISHED).map_err(|_| HsmError::SelfTestFailed)?;
        let pin = PinVerifier::unusable()?;
        Ok(Self::running(fresh_state(realm, pin)?, None))
    }

    fn running(state: State, store: Option<(Home, RootKey)>) -> Self {
        let State { serial, generation, realm, pin, tries_left, objects } = state;
        Self {
            keys: objects.into_iter().map(|object| (object.key.clone(), object)).collect(),
            realm,
            serial,
            latched: None,
            started: Instant::now(),
            ledger: Mutex::new(Ledger { pin, tries_left, generation, store }),
        }
    }

    fn shut(reason: HsmError) -> Self {
        let pin = PinVerifier::never();
        Self {
            keys: BTreeMap::new(),
            realm: Realm::Test,
            serial: [0; 16],
            latched: Some(reason),
            started: Instant::now(),
            ledger: Mutex::new(Ledger { pin, tries_left: 0, generation: 0, store: None }),
        }
    }

    /// Why the device has shut itself, if it has.
    #[must_use]
    pub fn latched(&self) -> Option<HsmError> {
        self.latched
    }

    /// Which money it serves.
    #[must_use]
    pub fn realm(&self) -> Realm {
        self.realm
    }

    /// Judges a PIN. A try is taken and written to disk before the comparison, so that whoever pulls the plug in
    /// between has still spent it; the right PIN gives all tries back.
    ///
    /// # Errors
    /// [`HsmError::AuthFailed`], [`HsmError::AuthLocked`], the latched error of a device that shut itself, or
    /// [`HsmError::Internal`] when the state cannot be written: then nothing is compared.
    pub fn login(&self, pin: &[u8]) -> Result<(), HsmError> {
        if let Some(error) = self.latched {
            return Err(error);
        }
        let mut ledger = self.ledger();
        let Some(left) = ledger.tries_left.checked_sub(1) else { return Err(HsmError::AuthLocked) };
        self.write_tries(&mut ledger, left)?;
        if ledger.pin.admits(pin) {
            self.write_tries(&mut ledger, MAX_TRIES)
        } else if left == 0 {
            Err(HsmError::AuthLocked)
        } else {
            Err(HsmError::AuthFailed { left: Some(left) })
        }
    }

    fn write_tries(&self, ledger: &mut Ledger, tries: u8) -> Result<(), HsmError> {
        if let Some((home, root)) = &ledger.store {
            let next = ledger.generation.checked_add(1).ok_or(HsmError::Internal { code: fault::STATE })?;
            let state = State {
                serial: self.serial,
                generation: next,
                realm: self.realm,
                pin: ledger.pin.clone(),
                tries_left: tries,
                objects: self.keys.values().map(KeyObject::twin).collect(),
            };
            home.save(&state, root).map_err(|_| HsmError::Internal { code: fault::STATE })?;
            ledger.generation = next;
        }
        ledger.tries_left = tries;
        Ok(())
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state of a new device: a random serial number and version 1 of the four keys.
///
/// # Errors
/// [`HsmError::Internal`] without random bytes.
pub fn fresh_state(realm: Realm, pin: PinVerifier) -> Result<State, HsmError> {
    let four = [
        (KeyLabel::KEK_CARD, KeyKind::Kek256),
        (KeyLabel::MAC_PAN, KeyKind::Mac256),
        (KeyLabel::MAC_REQUEST, KeyKind::Mac256),
        (KeyLabel::SIGN_AUDIT, KeyKind::SignEd25519),
    ];
    let mut objects = Vec::with_capacity(four.len());
    for (label, kind) in four {
        objects.push(KeyObject::generate(label.at(KeyVersion::FIRST), kind)?);
    }
    let mut serial = [0; 16];
    primitives::random(&mut serial)?;
    Ok(State { serial, generation: 1, realm, pin, tries_left: MAX_TRIES, objects })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hsm::{Hsm, KeyFilter};

    fn home(dir: &std::path::Path) -> Home {
        let home = reopened(dir);
        home.initialise(Realm::Test, b"135790").unwrap();
        home
    }

    fn reopened(dir: &std::path::Path) -> Home {
        Home::open(&dir.join("state")).unwrap()
    }

    #[test]
    fn a_failed_self_test_loads_no_key_and_latches() {
        let dir = tempfile::tempdir().unwrap();
        drop(home(dir.path()));
        for spoiled in selftest::spoiled_vectors() {
            let device = Device::open_with(reopened(dir.path()), &spoiled).unwrap();
            assert!(device.keys.is_empty());
            let key = KeyLabel::MAC_PAN.at(KeyVersion::FIRST);
            assert_eq!(device.mac(&key, b"m"), Err(HsmError::SelfTestFailed));
            assert_eq!(device.keys(&KeyFilter::default()), Err(HsmError::SelfTestFailed));
            assert_eq!(device.login(b"135790"), Err(HsmError::SelfTestFailed));
            assert_eq!(device.health().unwrap().latched, Some(HsmError::SelfTestFailed));
        }
    }

    #[test]
    fn wrong_pins_lock_the_device_and_the_count_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut device = Device::open(home(dir.path())).unwrap();
        for left in (1..MAX_TRIES).rev() {
            assert_eq!(device.login(b"000000"), Err(HsmError::AuthFailed { left: Some(left) }));
            drop(device);
            device = Device::open(reopened(dir.path())).unwrap();
        }
        assert_eq!(device.login(b"000000"), Err(HsmError::AuthLocked));
        assert_eq!(device.login(b"135790"), Err(HsmError::AuthLocked));
    }

    #[test]
    fn the_right_pin_gives_all_tries_back() {
        let dir = tempfile::tempdir().unwrap();
        let device = Device::open(home(dir.path())).unwrap();
        assert!(device.login(b"000000").is_err());
        assert_eq!(device.login(b"135790"), Ok(()));
        assert_eq!(device.login(b"1"), Err(HsmError::AuthFailed { left: Some(MAX_TRIES - 1) }));
    }

    #[test]
    fn the_in_memory_device_conforms() {
        let device = std::sync::Arc::new(Device::in_memory(Realm::Live).unwrap());
        let connect = || -> Result<Box<dyn Hsm>, HsmError> { Ok(Box::new(std::sync::Arc::clone(&device))) };
        let first = |label: KeyLabel| label.at(KeyVersion::FIRST);
        let keys = hsm::conformance::TestKeys {
            realm: Realm::Live,
            kek: first(KeyLabel::KEK_CARD),
            mac: first(KeyLabel::MAC_PAN),
            other_mac: first(KeyLabel::MAC_REQUEST),
            sign: first(KeyLabel::SIGN_AUDIT),
        };
        let report = hsm::conformance::run(&connect, &keys);
        assert!(report.holds() && report.skipped.is_empty(), "{report:?}");
    }
}
