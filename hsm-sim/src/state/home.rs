//! The directory a device lives in. A write goes to a new file, is synced, and is renamed over the current one,
//! after the current one was linked as the previous: at every instant a whole state has the current name. So an
//! absent or broken current file is never the work of a crash, and is refused rather than papered over.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hsm::Realm;
use zeroize::Zeroizing;

use super::{RootKey, State, StateError, sealed};
use crate::device::{MAX_TRIES, PinVerifier, fresh_state, primitives};

/// The sealed state.
pub const CURRENT_FILE: &str = "state.bin";
/// The state before it.
pub const PREVIOUS_FILE: &str = "state.prev";
/// A state being written; worthless until renamed.
pub const NEW_FILE: &str = "state.new";
/// The root key.
pub const ROOT_KEY_FILE: &str = "root.key";
/// Locked by the daemon that holds the directory.
pub const LOCK_FILE: &str = "lock";

/// A longer file is no state of ours, and is not read into memory.
const MAX_STATE: u64 = 1024 * 1024;

/// A state directory, held by this process until dropped.
pub struct Home {
    dir: PathBuf,
    _lock: File,
}

impl Home {
    /// Takes hold of a directory, making it (0700) when absent.
    ///
    /// # Errors
    /// [`StateError::Held`] when another process holds it, [`StateError::Exposed`] when others may enter it.
    pub fn open(dir: &Path) -> Result<Self, StateError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(io("create", "the state directory"))?;
        private(dir, "the state directory")?;
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let lock = options.open(dir.join(LOCK_FILE)).map_err(io("open", LOCK_FILE))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateError::Held),
            Err(TryLockError::Error(source)) => {
                return Err(StateError::Io { act: "lock", file: LOCK_FILE, source });
            }
        }
        Ok(Self { dir: dir.to_owned(), _lock: lock })
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
    pub fn initialise(&self, realm: Realm, pin: &[u8]) -> Result<(), StateError> {
        if self.is_initialised() || self.path(PREVIOUS_FILE).exists() {
            return Err(StateError::AlreadyInitialised);
        }
        let pin = PinVerifier::of(pin).map_err(|_| StateError::Pin)?;
        if !self.path(ROOT_KEY_FILE).exists() {
            self.write_root_key()?;
        }
        let root = self.root_key()?;
        self.save(&fresh_state(realm, pin)?, &root)
    }

    /// Gives all PIN tries back to a locked device. Whoever may write this directory may do it, and holds the
    /// root key anyway.
    ///
    /// # Errors
    /// Those of [`Self::load`] and [`Self::save`].
    pub fn unlock(&self) -> Result<(), StateError> {
        let root = self.root_key()?;
        let mut state = self.load(&root)?;
        state.tries_left = MAX_TRIES;
        state.generation = state.generation.saturating_add(1);
        self.save(&state, &root)
    }

    /// Reads the root key.
    ///
    /// # Errors
    /// [`StateError::Missing`], [`StateError::Exposed`], [`StateError::RootKey`].
    pub fn root_key(&self) -> Result<RootKey, StateError> {
        let path = self.path(ROOT_KEY_FILE);
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StateError::Missing(ROOT_KEY_FILE));
            }
            other => other.map_err(io("open", ROOT_KEY_FILE))?,
        };
        private(&path, ROOT_KEY_FILE)?;
        let mut text = Zeroizing::new([0_u8; 80]);
        let mut filled = 0;
        while let Some(room) = text.get_mut(filled..).filter(|room| !room.is_empty()) {
            match file.read(room).map_err(io("read", ROOT_KEY_FILE))? {
                0 => break,
                count => filled += count,
            }
        }
        let digits = text.get(..filled).unwrap_or_default().trim_ascii();
        RootKey::fill_with(|out| {
            let (pairs, rest) = digits.as_chunks::<2>();
            if pairs.len() != out.len() || !rest.is_empty() {
                return Err(StateError::RootKey);
            }
            for (byte, &[high, low]) in out.iter_mut().zip(pairs) {
                *byte = (nibble(high)? << 4) | nibble(low)?;
            }
            Ok(())
        })
    }

    /// Reads the state.
    ///
    /// # Errors
    /// [`StateError::Missing`], [`StateError::OnlyPrevious`], and those of [`super::open`].
    pub fn load(&self, root: &RootKey) -> Result<State, StateError> {
        let path = self.path(CURRENT_FILE);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let previous = self.path(PREVIOUS_FILE).exists();
                return Err(if previous {
                    StateError::OnlyPrevious
                } else {
                    StateError::Missing(CURRENT_FILE)
                });
            }
            other => other.map_err(io("open", CURRENT_FILE))?,
        };
        let mut bytes = Vec::new();
        file.take(MAX_STATE + 1).read_to_end(&mut bytes).map_err(io("read", CURRENT_FILE))?;
        if bytes.len() as u64 > MAX_STATE {
            return Err(StateError::Foreign);
        }
        sealed::open(&bytes, root)
    }

    /// Writes the state. When this returns, the new state is on disk; killed before, the old one is.
    ///
    /// # Errors
    /// [`StateError::Io`]; the old state is then still the current one.
    pub fn save(&self, state: &State, root: &RootKey) -> Result<(), StateError> {
        let bytes = sealed::seal(state, root)?;
        self.write_new(NEW_FILE, &bytes)?;
        if self.is_initialised() {
            // The previous name is replaced by unlink and link; the current name is never without a file.
            let previous = self.path(PREVIOUS_FILE);
            match fs::remove_file(&previous) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io("replace", PREVIOUS_FILE)(error));
                }
                _ => {}
            }
            fs::hard_link(self.path(CURRENT_FILE), &previous).map_err(io("link", PREVIOUS_FILE))?;
        }
        fs::rename(self.path(NEW_FILE), self.path(CURRENT_FILE)).map_err(io("rename", CURRENT_FILE))?;
        self.sync_dir()
    }

    fn write_root_key(&self) -> Result<(), StateError> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut key = Zeroizing::new([0; 32]);
        primitives::random(key.as_mut_slice())?;
        let mut text = Zeroizing::new(Vec::with_capacity(65));
        for byte in key.iter() {
            for half in [byte >> 4, byte & 15] {
                text.push(DIGITS.get(usize::from(half)).copied().unwrap_or(b'0'));
            }
        }
        text.push(b'\n');
        self.write_new("root.new", &text)?;
        fs::rename(self.path("root.new"), self.path(ROOT_KEY_FILE)).map_err(io("rename", ROOT_KEY_FILE))?;
        self.sync_dir()
    }

    fn write_new(&self, name: &'static str, bytes: &[u8]) -> Result<(), StateError> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true).mode(0o600);
        let mut file = options.open(self.path(name)).map_err(io("create", name))?;
        file.write_all(bytes).map_err(io("write", name))?;
        file.sync_all().map_err(io("sync", name))
    }

    fn sync_dir(&self) -> Result<(), StateError> {
        let dir = File::open(&self.dir).and_then(|dir| dir.sync_all());
        dir.map_err(io("sync", "the state directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

fn nibble(digit: u8) -> Result<u8, StateError> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok()).ok_or(StateError::RootKey)
}

/// Nobody else may read or change it.
fn private(path: &Path, name: &'static str) -> Result<(), StateError> {
    let meta = fs::metadata(path).map_err(io("look at", name))?;
    let ours = meta.uid() == rustix::process::geteuid().as_raw();
    if ours && meta.mode() & 0o077 == 0 { Ok(()) } else { Err(StateError::Exposed(name)) }
}

fn io(act: &'static str, file: &'static str) -> impl Fn(io::Error) -> StateError {
    move |source| StateError::Io { act, file, source }
}
