//! The device's memory at rest: one sealed file for the whole table of keys, a root key beside it, and a home
//! directory that one daemon at a time may hold. Kept out: what keys are used for.

mod home;
mod sealed;

use hsm::Realm;
use secrecy::{ExposeSecret, SecretBox};

use crate::device::PinVerifier;
use crate::device::keys::KeyObject;
pub use home::{CURRENT_FILE, Home, LOCK_FILE, NEW_FILE, PREVIOUS_FILE, ROOT_KEY_FILE};
pub use sealed::{open, seal};

/// Everything a device remembers.
pub struct State {
    /// Which device this is.
    pub serial: [u8; 16],
    /// How often the state was written, this time included.
    pub generation: u64,
    /// Which money it serves.
    pub realm: Realm,
    /// What is kept of the PIN.
    pub pin: PinVerifier,
    /// PIN tries left.
    pub tries_left: u8,
    /// The keys.
    pub objects: Vec<KeyObject>,
}

/// The key that the state's own key is derived from. A later ceremony replaces its file.
pub struct RootKey(SecretBox<[u8; 32]>);

impl RootKey {
    /// Makes a root key by filling its bytes where they will stay.
    ///
    /// # Errors
    /// Those of `fill`.
    pub fn fill_with<E>(fill: impl FnOnce(&mut [u8; 32]) -> Result<(), E>) -> Result<Self, E> {
        let mut outcome = Ok(());
        let key = SecretBox::init_with_mut(|bytes: &mut [u8; 32]| outcome = fill(bytes));
        outcome.map(|()| Self(key))
    }

    fn expose(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }
}

/// Why a state cannot be used. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// There is no state here.
    #[error("{0} is missing: run `hsm-sim init`, or restore the directory from its backup")]
    Missing(&'static str),
    /// The newest state is gone though an older one is there, which no crash leaves behind.
    #[error(
        "state.bin is missing but state.prev is there; no crash leaves this. Find out who removed it. To go back \
         to the older state on purpose, rename state.prev to state.bin"
    )]
    OnlyPrevious,
    /// A state is already here.
    #[error("this directory already holds a device; choose another, since its keys cannot be made again")]
    AlreadyInitialised,
    /// The file is not the state of such a device.
    #[error("state.bin is not a state file of this program; restore the directory from its backup")]
    Foreign,
    /// Written by another version of the program.
    #[error("state.bin has format {found}, and this program reads format {known}; use the matching program")]
    Version {
        /// The file's format.
        found: u16,
        /// This program's format.
        known: u16,
    },
    /// Altered, cut, or of another root key.
    #[error(
        "state.bin does not open: it was altered or cut short, or root.key is another device's. Treat it as \
         tampering; restore both files from the same backup"
    )]
    Tampered,
    /// The root key's file is no root key.
    #[error("root.key is not 64 hexadecimal digits; restore it from its backup")]
    RootKey,
    /// A file may be read by others.
    #[error("{0} may be read or changed by other users; make it private (chmod go-rwx)")]
    Exposed(&'static str),
    /// Another daemon holds this directory.
    #[error("another hsm-sim holds this state directory; stop it first")]
    Held,
    /// The PIN cannot be used.
    #[error("the PIN must be 6 to 128 bytes long")]
    Pin,
    /// The operating system refused.
    #[error("cannot {act} {file}: {source}")]
    Io {
        /// What was tried.
        act: &'static str,
        /// On which file.
        file: &'static str,
        /// What it said.
        source: std::io::Error,
    },
    /// No random bytes, or a primitive failed.
    #[error("the device failed inside: {0}")]
    Device(#[from] hsm::HsmError),
}
