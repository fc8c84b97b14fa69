//! The directory a device lives in. A write goes to a new file, is synced, and is renamed over the current one,
//! after the current one was linked as the previous: at every instant a whole state has the current name. So an
//! absent or broken current file is never the work of a crash, and is refused rather than papered over.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::nv::{self, Nv, Verdict};
use super::{RootKey, State, StateError, files, sealed};
use crate::device::{Founding, MAX_TRIES, fresh_state, primitives};
use crate::firmware::Firmware;

/// The sealed state.
pub const CURRENT_FILE: &str = "state.bin";
/// The state before it.
pub const PREVIOUS_FILE: &str = "state.prev";
/// A state being written; worthless until renamed.
pub const NEW_FILE: &str = "state.new";
/// Locked by the daemon that holds the directory; names its process.
pub const LOCK_FILE: &str = "lock";

/// A longer file is no state of ours, and is not read into memory.
const MAX_STATE: usize = 4 * 1024 * 1024;
/// How long a directory that is held is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// A state directory, held by this process until dropped.
pub struct Home {
    pub(super) dir: PathBuf,
    _lock: File,
    /// The second place for the generation.
    pub(super) nv: Option<Nv>,
    /// The program that opens the state, where that is judged.
    pub(super) program: Option<Firmware>,
    /// The root key, when custodians brought it and no file has it.
    pub(super) brought: Option<RootKey>,
    /// Hash of the state file as this process last wrote or read it.
    seen: Mutex<Option<[u8; 32]>>,
}

impl Home {
    /// Takes hold of a directory, making it (0700) when absent.
    ///
    /// # Errors
    /// [`StateError::Held`] when another process holds it, [`StateError::Exposed`] when others may enter it.
    pub fn open(dir: &Path) -> Result<Self, StateError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(files::io("create", "the state directory"))?;
        files::private(dir, "the state directory")?;
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let lock = options.open(dir.join(LOCK_FILE)).map_err(files::io("open", LOCK_FILE))?;
        let begun = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                // One that is on its way out, or has just forked, lets go in a moment.
                Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(TryLockError::WouldBlock) => return Err(StateError::Held),
                Err(TryLockError::Error(source)) => {
                    return Err(StateError::Io { act: "lock", file: LOCK_FILE, source });
                }
            }
        }
        // For `tamper`, which has to find the process; the lock, not the number, says who holds the directory.
        let named =
            lock.set_len(0).and_then(|()| io::Write::write_all(&mut &lock, process_line().as_bytes()));
        named.map_err(files::io("write", LOCK_FILE))?;
        Ok(Self {
            dir: dir.to_owned(),
            _lock: lock,
            nv: None,
            program: None,
            brought: None,
            seen: Mutex::new(None),
        })
    }

    /// Keeps the generation in a second file as well, so that a state set back is noticed. Best on another mount.
    #[must_use]
    pub fn guarded_by(mut self, path: &Path) -> Self {
        self.nv = Some(Nv::at(path));
        self
    }

    /// Is the generation kept in a second place?
    #[must_use]
    pub fn is_guarded(&self) -> bool {
        self.nv.is_some()
    }

    /// Is there a device here?
    #[must_use]
    pub fn is_initialised(&self) -> bool {
        self.path(CURRENT_FILE).exists()
    }

    /// Makes the root key and a device with the four keys. An `init` that was killed can be run again.
    ///
    /// # Errors
    /// [`StateError::AlreadyInitialised`] when a state is here, [`StateError::Pin`] for a PIN of a bad length.
    pub fn initialise(&self, founding: Founding) -> Result<(), StateError> {
        if self.is_initialised() || self.path(PREVIOUS_FILE).exists() || self.was_zeroised() {
            return Err(StateError::AlreadyInitialised);
        }
        if !self.path(super::ROOT_KEY_FILE).exists() {
            self.write_root_key(&RootKey::fill_with(|bytes| primitives::random(bytes))?)?;
        }
        let root = self.root_key()?;
        self.save(&fresh_state(founding)?, &root)
    }

    /// Gives every locked account its PIN tries back. Whoever may write this directory may do it, and holds the
    /// root key anyway.
    ///
    /// # Errors
    /// Those of [`Self::load`] and [`Self::save`].
    pub fn unlock(&self) -> Result<(), StateError> {
        let root = self.root_key()?;
        let mut state = self.load(&root)?;
        state.accounts.iter_mut().for_each(|account| account.tries_left = MAX_TRIES);
        state.generation = state.generation.saturating_add(1);
        self.save(&state, &root)
    }

    /// Reads the state, and compares its generation with the second place where one is kept.
    ///
    /// # Errors
    /// [`StateError::Missing`], [`StateError::OnlyPrevious`], those of [`super::open`], and
    /// [`StateError::RolledBack`] with its neighbours when the two places do not fit.
    pub fn load(&self, root: &RootKey) -> Result<State, StateError> {
        let (state, guarded) = self.load_unjudged(root)?;
        match (&self.nv, guarded) {
            (None, false) => {}
            (None, true) => return Err(StateError::NvNeeded),
            (Some(nv), guarded) => match nv.read(&state)? {
                None if guarded => return Err(StateError::NvMissing),
                None => {}
                Some(noted) => match nv::judge(state.generation, noted) {
                    // After a crash between the two writes the second is made up for at once.
                    Verdict::Current if noted != state.generation => nv.write(&state)?,
                    Verdict::Current => {}
                    Verdict::StateIsOld => {
                        return Err(StateError::RolledBack { state: state.generation, noted });
                    }
                    Verdict::NvIsOld => {
                        return Err(StateError::NvRolledBack { state: state.generation, noted });
                    }
                },
            },
        }
        self.judge_program(&state)?;
        Ok(state)
    }

    /// Reads the state whatever the second place says, and whether it was written with one.
    pub(super) fn load_unjudged(&self, root: &RootKey) -> Result<(State, bool), StateError> {
        let Some(bytes) = files::read(&self.path(CURRENT_FILE), CURRENT_FILE, MAX_STATE)? else {
            return Err(match (self.was_zeroised(), self.path(PREVIOUS_FILE).exists()) {
                (true, _) => StateError::Zeroised,
                (false, true) => StateError::OnlyPrevious,
                (false, false) => StateError::Missing(CURRENT_FILE),
            });
        };
        match sealed::open_marked(&bytes, root) {
            Err(_) if self.was_zeroised() => Err(StateError::Zeroised),
            Err(error) => Err(error),
            Ok(opened) => {
                self.note_seen(&bytes);
                Ok(opened)
            }
        }
    }

    /// Writes the state. When this returns, the new state is on disk, in both places where two are kept; killed
    /// before, the old one is, or the new one is and the second place is one behind, which [`Self::load`] allows.
    ///
    /// # Errors
    /// [`StateError::Io`]; the old state is then still the current one. [`StateError::Disturbed`] when somebody else
    /// wrote the current one.
    pub fn save(&self, state: &State, root: &RootKey) -> Result<(), StateError> {
        self.undisturbed()?;
        let bytes = sealed::seal_marked(state, root, self.is_guarded())?;
        files::write_new(&self.path(NEW_FILE), NEW_FILE, &bytes)?;
        if self.is_initialised() {
            // The previous name is replaced by unlink and link; the current name is never without a file.
            let previous = self.path(PREVIOUS_FILE);
            match fs::remove_file(&previous) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(files::io("replace", PREVIOUS_FILE)(error));
                }
                _ => {}
            }
            let linked = fs::hard_link(self.path(CURRENT_FILE), &previous);
            linked.map_err(files::io("link", PREVIOUS_FILE))?;
        }
        let renamed = fs::rename(self.path(NEW_FILE), self.path(CURRENT_FILE));
        renamed.map_err(files::io("rename", CURRENT_FILE))?;
        self.note_seen(&bytes);
        files::sync_dir(&self.dir)?;
        self.nv.as_ref().map_or(Ok(()), |nv| nv.write(state))
    }

    /// Is the state on disk the one that this process wrote or read last? Anybody else's hand in it is tampering.
    ///
    /// # Errors
    /// [`StateError::Disturbed`] when it is not, [`StateError::Io`] when that cannot be told.
    pub fn undisturbed(&self) -> Result<(), StateError> {
        let Some(seen) = *self.seen.lock().unwrap_or_else(PoisonError::into_inner) else { return Ok(()) };
        match files::read(&self.path(CURRENT_FILE), CURRENT_FILE, MAX_STATE) {
            Ok(Some(bytes)) if primitives::sha256(&bytes) == seen => Ok(()),
            Ok(_) | Err(StateError::TooLong(_)) => Err(StateError::Disturbed),
            Err(error) => Err(error),
        }
    }

    /// Reads the bytes of the state as they are on disk, for what must go on when they are no state any more.
    pub(super) fn forget_seen(&self) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn note_seen(&self, bytes: &[u8]) {
        let hash = primitives::sha256(bytes);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(hash);
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

fn process_line() -> String {
    format!("{}\n", std::process::id())
}
