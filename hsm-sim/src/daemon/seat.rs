//! What the daemon serves: a device, or, until enough custodians came, a sealed one. And what is done to it when its
//! case is opened.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use hsm::{HsmError, Realm};

use crate::ceremony::{Custody, EntryError, Gathering, Progress, Share};
use crate::device::Device;
use crate::log::{Actor, Event};
use crate::state::{Home, StateError};

/// A device, or the gathering that opens it.
pub struct Seat {
    device: OnceLock<Arc<Device>>,
    waiting: Mutex<Option<Waiting>>,
    /// Keeps the directory of a device that was zeroised, so that nothing else is started in it meanwhile.
    ruin: Mutex<Option<Home>>,
    realm: Realm,
}

struct Waiting {
    home: Home,
    gathering: Gathering,
}

/// Why a share did not open the device.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The share was not taken.
    #[error("{0}")]
    Entry(#[from] EntryError),
    /// The key is right, and the state is not. All shares are wiped.
    #[error("the shares are right, and the device does not open: {0}")]
    State(#[from] StateError),
    /// The opening could not be written down.
    #[error("the device opened and could not write that down: {0}")]
    Device(#[from] HsmError),
    /// No shares are wanted.
    #[error("this device is open already")]
    Open,
}

/// How far a sealed device is from being open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Shares entered and needed.
    pub progress: Progress,
    /// What the record says.
    pub custody: Custody,
}

impl Seat {
    /// Serves what lies in `home`: a device, one that waits for its custodians, or one that shut itself because its
    /// state was set back or its keys were destroyed; then why, in words for people, comes with it.
    ///
    /// # Errors
    /// [`StateError`] when there is no device, or its files do not hold together.
    pub fn take(home: Home) -> Result<(Self, Option<StateError>), StateError> {
        if home.is_sealed() {
            let custody = home.custody()?;
            let realm = custody.set.realm;
            let waiting = Waiting { home, gathering: Gathering::new(custody) };
            return Ok((Self::with(None, Some(waiting), realm), None));
        }
        match Device::open(home) {
            Ok(device) => Ok((Self::of(device), None)),
            Err(why @ (StateError::RolledBack { .. } | StateError::NvRolledBack { .. })) => {
                Ok((Self::of(Device::shut(HsmError::RollbackDetected)?), Some(why)))
            }
            Err(why @ StateError::Zeroised) => Ok((Self::of(Device::shut(HsmError::Tampered)?), Some(why))),
            Err(error) => Err(error),
        }
    }

    /// Serves a device.
    #[must_use]
    pub fn of(device: Device) -> Self {
        let realm = device.realm();
        Self::with(Some(device), None, realm)
    }

    fn with(device: Option<Device>, waiting: Option<Waiting>, realm: Realm) -> Self {
        let slot = OnceLock::new();
        if let Some(device) = device {
            let _ = slot.set(Arc::new(device));
        }
        Self { device: slot, waiting: Mutex::new(waiting), ruin: Mutex::new(None), realm }
    }

    /// The device, once it is open.
    #[must_use]
    pub fn device(&self) -> Option<&Arc<Device>> {
        self.device.get()
    }

    /// Which money it serves.
    #[must_use]
    pub fn realm(&self) -> Realm {
        self.realm
    }

    /// How far a sealed device is; `None` of an open one.
    #[must_use]
    pub fn sealed(&self) -> Option<Sealed> {
        let waiting = lock(&self.waiting);
        waiting.as_ref().map(|waiting| Sealed {
            progress: waiting.gathering.progress(),
            custody: waiting.gathering.custody().clone(),
        })
    }

    /// Takes one custodian's share; the last one needed opens the device.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn enter(&self, share: Share) -> Result<Progress, OpenError> {
        let mut slot = lock(&self.waiting);
        let waiting = slot.as_mut().ok_or(OpenError::Open)?;
        let mut ids = waiting.gathering.ids();
        ids.push(share.id());
        let Some(root) = waiting.gathering.enter(share)? else { return Ok(waiting.gathering.progress()) };
        waiting.home.entrust(root)?;
        let needed = waiting.gathering.progress().needed;
        let Some(Waiting { home, .. }) = slot.take() else { return Err(OpenError::Open) };
        let opened = Device::open(home);
        if opened.is_err() {
            // The files are let go; a new start of the daemon, and of the gathering, is what is left.
            if let Ok(device) = Device::shut(HsmError::NeedsReinit) {
                let _ = self.device.set(Arc::new(device));
            }
        }
        let device = opened?;
        let ids: Vec<String> = ids.iter().map(u8::to_string).collect();
        device.record(Actor::Device, Event::Ceremony, &format!("opened by shares {}", ids.join(" ")))?;
        let _ = self.device.set(Arc::new(device));
        Ok(Progress { entered: needed, needed })
    }

    /// Wipes the shares entered so far.
    pub fn call_off(&self) {
        if let Some(waiting) = lock(&self.waiting).as_mut() {
            waiting.gathering.call_off();
        }
    }

    /// Looks whether anybody else wrote the state of the running device, and if so destroys the keys; and wipes shares
    /// that have waited too long.
    pub fn patrol(&self) {
        if let Some(waiting) = lock(&self.waiting).as_mut() {
            waiting.gathering.expire(Instant::now());
        }
        let disturbed = self.device().is_some_and(|device| {
            matches!(device.undisturbed(), Err(StateError::Disturbed | StateError::Tampered))
        });
        if disturbed {
            self.tamper("state file changed");
        }
    }

    /// Destroys every key, in memory first and then on disk, and latches the device for good.
    pub fn tamper(&self, cause: &str) {
        if let Some(device) = self.device() {
            // What fails on disk is left to the next start, which finds the mark or no state.
            let _ = device.zeroise(cause);
            return;
        }
        let Some(Waiting { mut home, mut gathering }) = lock(&self.waiting).take() else { return };
        gathering.call_off();
        let _ = home.zeroise(None);
        *lock(&self.ruin) = Some(home);
        if let Ok(device) = Device::shut(HsmError::Tampered) {
            let _ = self.device.set(Arc::new(device));
        }
    }
}

impl crate::fault::Control for Seat {
    fn skew(&self, seconds: i64) {
        if let Some(device) = self.device() {
            device.clock().skew(seconds);
        }
    }

    fn tamper(&self) {
        Self::tamper(self, "case opened by the control handle");
    }

    fn note(&self, what: &str) {
        if let Some(device) = self.device() {
            // The log is evidence of the test, and a full or broken one must not stop a fault.
            let _ = device.record(Actor::Device, Event::Fault, what);
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
