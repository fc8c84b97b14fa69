//! The device: a table of keys behind the verbs of [`hsm::Hsm`], the accounts that may reach it, and the log of what
//! they did. It runs inside the daemon; keys come in from the sealed state and go nowhere. Kept out: sockets, files,
//! the encoding of the state.

mod account;
mod act;
mod clock;
mod command;
mod export;
mod founding;
mod journal;
mod keyring;
pub mod keys;
mod ledger;
mod life;
mod login;
mod pin;
pub mod primitives;
mod seats;
mod secret;
mod selftest;
mod tickets;
pub mod uses;
mod verbs;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Instant;

use hsm::{HsmError, Realm};

use crate::log::{Actor, Event, LogPolicy, Ring};
use crate::state::{DeviceSecrets, Home, Periods, RootKey, SpentTickets, State, StateError};
pub use account::{Account, AccountName, Role};
pub use act::Act;
pub use clock::Clock;
pub use command::{Command, Logged, RULES, Rule};
pub use export::judge_export;
pub use founding::{AccountFault, Founding, fresh_state};
use keyring::Keyring;
use ledger::Ledger;
pub use life::{may_be_destroyed, may_become};
pub use login::{AccountInfo, PinState};
pub use pin::{MAX_PIN, MAX_TRIES, MIN_PIN, PinVerifier};
pub use seats::Place;
pub use secret::Secret;
use selftest::Vectors;
pub(crate) use tickets::MAX_TICKET;
pub use tickets::MAX_VALID;

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
    realm: Realm,
    serial: [u8; 16],
    started: Instant,
    clock: Clock,
    keys: RwLock<Keyring>,
    ledger: Mutex<Ledger>,
    /// Held by the one login that is being judged.
    door: Mutex<()>,
    comparisons: AtomicU64,
    operators: AtomicUsize,
    log_full: AtomicBool,
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
            return Ok(Self::shut(HsmError::SelfTestFailed)?);
        }
        let root = home.root_key()?;
        let mut state = home.load(&root)?;
        let first = home.adopt_program(&mut state);
        let device = Self::running(state, Some((home, root)));
        if let Some(program) = first {
            device.record(Actor::Device, Event::Firmware, &format!("noted {program}"))?;
        }
        device.record(Actor::Device, Event::Boot, env!("CARGO_PKG_VERSION"))?;
        Ok(device)
    }

    /// A device with the four keys and no state file, for tests inside one process. Its keys end with it. Its
    /// officers `first` and `second` and its `auditor` have PINs that nobody knows.
    ///
    /// # Errors
    /// [`HsmError::SelfTestFailed`], or [`HsmError::Internal`] without random bytes.
    pub fn in_memory(realm: Realm) -> Result<Self, HsmError> {
        selftest::run(&Vectors::PUBLISHED).map_err(|_| HsmError::SelfTestFailed)?;
        Ok(Self::running(fresh_state(Founding::in_memory(realm)?)?, None))
    }

    fn running(state: State, store: Option<(Home, RootKey)>) -> Self {
        let State { serial, generation, realm, periods, accounts, secrets, spent, log, .. } = state;
        Self {
            realm,
            serial,
            started: Instant::now(),
            clock: Clock::default(),
            keys: RwLock::new(Keyring::new(state.objects, state.destroyed, state.latched)),
            log_full: AtomicBool::new(log.is_full()),
            door: Mutex::new(()),
            comparisons: AtomicU64::new(0),
            operators: AtomicUsize::new(0),
            ledger: Mutex::new(Ledger {
                generation,
                periods,
                accounts,
                secrets,
                spent,
                log,
                repeated: Vec::new(),
                last_word: state.last_word,
                firmware: state.firmware,
                store,
            }),
        }
    }

    /// A device that came up without keys, and says why to everybody.
    ///
    /// # Errors
    /// [`HsmError::Internal`] without random bytes.
    pub fn shut(reason: HsmError) -> Result<Self, HsmError> {
        Ok(Self::running(
            State {
                serial: [0; 16],
                generation: 0,
                realm: Realm::Test,
                periods: Periods::default(),
                accounts: Vec::new(),
                secrets: DeviceSecrets::generate()?,
                spent: SpentTickets::default(),
                log: Ring::new(&[0; 16], LogPolicy::default()),
                objects: Vec::new(),
                destroyed: Vec::new(),
                latched: Some(reason),
                last_word: None,
                firmware: None,
            },
            None,
        ))
    }

    /// Ends every key, in memory at once and on disk, for good: from now on the device answers nothing but status and
    /// log, and says [`HsmError::Tampered`] to the rest, after every restart too. `cause` goes to the log.
    ///
    /// # Errors
    /// When a file could not be destroyed. The keys in memory are gone all the same.
    pub fn zeroise(&self, cause: &str) -> Result<(), StateError> {
        let mut ledger = self.ledger();
        {
            let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
            keys.wipe(HsmError::Tampered, self.clock.now());
        }
        let mut draft = self.full_draft(&ledger);
        draft.spent = SpentTickets::default();
        self.write_down(&mut draft, Actor::Device, Event::Latched, cause);
        if ledger.last_word.is_none() {
            ledger.last_word = Some(self.sign_head(&ledger.secrets, &draft.log));
        }
        // The old ones are wiped as they are dropped; these were never used for anything.
        ledger.secrets = DeviceSecrets::generate()?;
        ledger.generation = ledger.generation.saturating_add(1);
        let outcome = match ledger.store.take() {
            None => Ok(()),
            Some((mut home, root)) => {
                drop(root);
                let outcome = home.zeroise(Some(&self.state(&ledger, &draft, ledger.generation)));
                // What is left, the log above all, goes on being written if a root key could be made for it.
                ledger.store = home.root_key().ok().map(|root| (home, root));
                outcome
            }
        };
        self.settle(&mut ledger, draft);
        outcome
    }

    /// Is the state on disk still the one this device wrote last?
    ///
    /// # Errors
    /// [`StateError`] when somebody else changed it.
    pub fn undisturbed(&self) -> Result<(), StateError> {
        self.ledger().store.as_ref().map_or(Ok(()), |(home, _)| home.undisturbed())
    }

    /// Why the device has shut itself, if it has.
    #[must_use]
    pub fn latched(&self) -> Option<HsmError> {
        self.keyring().latched
    }

    /// Which money it serves.
    #[must_use]
    pub fn realm(&self) -> Realm {
        self.realm
    }

    /// Which device it is.
    #[must_use]
    pub fn serial(&self) -> &[u8; 16] {
        &self.serial
    }

    /// The device's clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// How many PINs were compared since the start: each a run of Argon2id.
    #[must_use]
    pub fn comparisons(&self) -> u64 {
        self.comparisons.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod laws;
