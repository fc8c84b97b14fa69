//! One loaded PKCS#11 library. Its state is the process's, not ours: initialising, finalising, session handles and
//! logins belong to all who loaded it. So every path has one [`Module`], every call passes its gate, and starting the
//! library anew waits until nobody is inside and every session is closed: after it, an old session's number may name
//! somebody else's session.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, Weak};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11 as Library};
use cryptoki::error::{Error, RvError};
use cryptoki::session::Session;

use super::settings::Pkcs11Fault;
use crate::error::HsmError;

/// The least time between two attempts to start a library anew, so that a crowd does not take turns at it.
const RESTART_PAUSE: Duration = Duration::from_millis(200);

/// How long a library that is being ended is waited for before it is loaded again.
const ENDING: Duration = Duration::from_secs(2);

/// Every library from when it is loaded until it has ended: what one owner ends must not be what another just began.
static LOADED: Mutex<BTreeMap<PathBuf, Weak<Module>>> = Mutex::new(BTreeMap::new());
static ENDED: Condvar = Condvar::new();

/// Who holds sessions, and closes them before the library is started anew.
pub(super) trait Guest: Send + Sync {
    /// Closes every session held. Nobody is inside the library meanwhile.
    fn leave(&self);
}

/// One library.
pub(super) struct Module {
    path: PathBuf,
    library: Library,
    gate: RwLock<Gate>,
    guests: Mutex<Vec<Weak<dyn Guest>>>,
    attempted: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Gate {
    running: bool,
    /// How often the library was started. A session of another generation is void.
    generation: u64,
}

/// A stay inside the library; while one lasts it is not started anew.
pub(super) struct Stay<'a> {
    module: &'a Module,
    gate: RwLockReadGuard<'a, Gate>,
}

/// A session, and the generation of the library that it belongs to.
pub(super) struct Held {
    pub(super) session: Session,
    pub(super) generation: u64,
}

impl Module {
    /// The library at this path, loaded once in the process.
    pub(super) fn at(path: &Path) -> Result<Arc<Self>, Pkcs11Fault> {
        let mut there = None;
        let is_ending = |loaded: &mut BTreeMap<PathBuf, Weak<Self>>| {
            loaded.get(path).is_some_and(|module| {
                there = module.upgrade();
                there.is_none()
            })
        };
        let waited = ENDED.wait_timeout_while(locked(&LOADED), ENDING, is_ending);
        let (mut loaded, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = there {
            return Ok(module);
        }
        if waited.timed_out() {
            return Err(Pkcs11Fault::Device(HsmError::NeedsReinit));
        }
        let library = Library::new(path).map_err(|_| Pkcs11Fault::NotAModule(path.to_owned()))?;
        let module = Arc::new(Self {
            path: path.to_owned(),
            library,
            gate: RwLock::default(),
            guests: Mutex::default(),
            attempted: Mutex::default(),
        });
        loaded.insert(path.to_owned(), Arc::downgrade(&module));
        Ok(module)
    }

    /// Announces somebody who will hold sessions.
    pub(super) fn announce(&self, guest: Weak<dyn Guest>) {
        let mut guests = locked(&self.guests);
        guests.retain(|guest| guest.strong_count() > 0);
        guests.push(guest);
    }

    /// Enters, starting the library if it does not run.
    pub(super) fn enter(&self) -> Result<Stay<'_>, HsmError> {
        let stay = self.peek();
        if stay.gate.running {
            return Ok(stay);
        }
        let seen = stay.gate.generation;
        drop(stay);
        self.restart(seen)?;
        let stay = self.peek();
        if stay.gate.running { Ok(stay) } else { Err(HsmError::NeedsReinit) }
    }

    fn peek(&self) -> Stay<'_> {
        Stay { module: self, gate: self.gate.read().unwrap_or_else(PoisonError::into_inner) }
    }

    /// Starts the library anew, once for all who saw it fail in generation `seen`.
    pub(super) fn restart(&self, seen: u64) -> Result<(), HsmError> {
        // Outlives the gate: the last owner of a guest may be this list, and a guest's end passes the gate.
        let guests: Vec<Arc<dyn Guest>>;
        let mut gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        if gate.running && gate.generation != seen {
            return Ok(());
        }
        let mut attempted = locked(&self.attempted);
        if attempted.is_some_and(|at| at.elapsed() < RESTART_PAUSE) {
            return Err(HsmError::NeedsReinit);
        }
        *attempted = Some(Instant::now());
        drop(attempted);
        guests = locked(&self.guests).iter().filter_map(Weak::upgrade).collect::<Vec<_>>();
        guests.iter().for_each(|guest| guest.leave());
        if gate.running {
            // A library that has lost its device may fail to end, too; what counts is that it starts.
            let _ = self.library.clone().finalize();
            gate.running = false;
        }
        match self.library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {
                gate.running = true;
                gate.generation = gate.generation.saturating_add(1);
                Ok(())
            }
            Err(_) => Err(HsmError::NeedsReinit),
        }
    }

    /// Gives a session back. One of an earlier generation is forgotten, not closed: its number may be another's now.
    pub(super) fn give_back(&self, held: Held) {
        let stay = self.peek();
        if stay.gate.running && stay.gate.generation == held.generation {
            drop(held);
        } else {
            std::mem::forget(held.session);
        }
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // Before the process's own exit handlers: libraries in C++ take their state apart there.
        if self.gate.get_mut().unwrap_or_else(PoisonError::into_inner).running {
            let _ = self.library.clone().finalize();
        }
        locked(&LOADED).remove(&self.path);
        ENDED.notify_all();
    }
}

impl Stay<'_> {
    /// The library.
    pub(super) fn library(&self) -> &Library {
        &self.module.library
    }

    /// How often it was started.
    pub(super) fn generation(&self) -> u64 {
        self.gate.generation
    }
}

pub(super) fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
