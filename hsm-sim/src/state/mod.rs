//! The device's memory at rest: one sealed file for the whole table of keys, a root key beside it, and a home
//! directory that one daemon at a time may hold. Kept out: what keys are used for.

mod end;
mod files;
mod firmware;
mod home;
mod nv;
mod officers;
mod root;
mod sealed;
mod table;

use hsm::{KeyKind, Realm};
use secrecy::{ExposeSecret, SecretBox};

use crate::device::keys::{KeyFacts, KeyObject};
use crate::device::{Account, Secret};
use crate::firmware::Firmware;
use crate::log::{Ring, SignedHead};
pub use end::ZEROISED_FILE;
pub use home::{CURRENT_FILE, Home, LOCK_FILE, NEW_FILE, PREVIOUS_FILE};
pub use officers::Officers;
pub use root::{CUSTODY_FILE, ROOT_KEY_FILE};
pub use sealed::{open, seal};
pub(crate) use table::{MAX_KEYS, MAX_SPENT};

/// Everything a device remembers.
pub struct State {
    /// Which device this is.
    pub serial: [u8; 16],
    /// How often the state was written, this time included.
    pub generation: u64,
    /// Which money it serves.
    pub realm: Realm,
    /// How long keys may protect.
    pub periods: Periods,
    /// Who may log in.
    pub accounts: Vec<Account>,
    /// The device's own secrets.
    pub secrets: DeviceSecrets,
    /// Tickets that were used and have not expired yet.
    pub spent: SpentTickets,
    /// The device's log.
    pub log: Ring,
    /// The keys that are there.
    pub objects: Vec<KeyObject>,
    /// What is known of the keys that were destroyed.
    pub destroyed: Vec<KeyFacts>,
    /// Why the device has shut itself for good, if it has: it starts that way again.
    pub latched: Option<hsm::HsmError>,
    /// The last signed head of the log, of a device that wiped the key to sign with.
    pub last_word: Option<SignedHead>,
    /// The program that may open the device; none until one has.
    pub firmware: Option<Firmware>,
}

/// Secrets of the device itself, made with it; no command uses them on anybody's behalf.
pub struct DeviceSecrets {
    /// Under which tickets are made (HMAC-SHA-256).
    pub tickets: Secret,
    /// With which the device signs its log's head and the end of keys (Ed25519).
    pub identity: Secret,
}

impl DeviceSecrets {
    /// New ones.
    ///
    /// # Errors
    /// [`hsm::HsmError::Internal`] without random bytes.
    pub fn generate() -> Result<Self, hsm::HsmError> {
        Ok(Self { tickets: Secret::generate()?, identity: Secret::generate()? })
    }

    /// The same secrets again, for a table that is about to be sealed and wiped.
    #[must_use]
    pub fn twin(&self) -> Self {
        Self { tickets: self.tickets.twin(), identity: self.identity.twin() }
    }
}

/// A ticket that was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpentTicket {
    /// Which one.
    pub nonce: [u8; 16],
    /// When it expires, in seconds since 1970; after that nobody needs to remember it.
    pub expires: u64,
}

/// The tickets that were used, for as long as they could be used again. Forgetting an expired one is safe even when
/// the clock is set back: whatever expires no later than the last one forgotten counts as used.
#[derive(Clone, Default)]
pub struct SpentTickets {
    /// Those that have not expired.
    pub(crate) tickets: Vec<SpentTicket>,
    /// The latest expiry of those that were forgotten.
    pub(crate) forgotten: u64,
}

impl SpentTickets {
    /// Was this ticket used, as far as can be known?
    #[must_use]
    pub fn has(&self, ticket: SpentTicket) -> bool {
        ticket.expires <= self.forgotten || self.tickets.iter().any(|spent| spent.nonce == ticket.nonce)
    }

    /// Without those that expired by `now`.
    #[must_use]
    pub fn at(&self, now: u64) -> Self {
        let (kept, expired): (Vec<SpentTicket>, Vec<SpentTicket>) =
            self.tickets.iter().partition(|spent| spent.expires > now);
        let forgotten = expired.iter().map(|spent| spent.expires).fold(self.forgotten, u64::max);
        Self { tickets: kept, forgotten }
    }

    /// Is there room for an act's two more?
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.tickets.len() + 2 <= usize::from(MAX_SPENT)
    }
}

impl Extend<SpentTicket> for SpentTickets {
    fn extend<T: IntoIterator<Item = SpentTicket>>(&mut self, more: T) {
        self.tickets.extend(more);
    }
}

/// How long a new key of each kind may protect, in seconds; `None` for no end (NIST SP 800-57 part 1, 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Periods {
    /// Keys that seal data keys.
    pub kek: Option<u64>,
    /// Keys that fingerprint.
    pub mac: Option<u64>,
    /// Keys that sign.
    pub sign: Option<u64>,
}

impl Periods {
    /// The period of a kind.
    #[must_use]
    pub fn of(&self, kind: KeyKind) -> Option<u64> {
        match kind {
            KeyKind::Kek256 => self.kek,
            KeyKind::Mac256 => self.mac,
            KeyKind::SignEd25519 => self.sign,
        }
    }
}

impl Default for Periods {
    /// Two years for KEKs, three for signing keys. Fingerprint keys end when two people retire them: a device that
    /// stopped one by itself would stop every lookup of what was fingerprinted under it.
    fn default() -> Self {
        const DAY: u64 = 24 * 60 * 60;
        Self { kek: Some(730 * DAY), mac: None, sign: Some(1095 * DAY) }
    }
}

/// The key that the state's own key is derived from: in a file beside the state, or split among custodians.
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

    pub(crate) fn expose(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }

    /// The same key again.
    pub(crate) fn twin(&self) -> Self {
        Self(SecretBox::init_with_mut(|bytes: &mut [u8; 32]| bytes.copy_from_slice(self.expose())))
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
    /// A file of the wrong length.
    #[error("{0} is too long to be what its name says; restore it from its backup")]
    TooLong(&'static str),
    /// The root key is in the hands of custodians.
    #[error(
        "this device is sealed: its root key is split among custodians. Start the daemon and let them enter their \
         shares (`hsm-sim unlock --socket …`), or give it share files (`hsm-sim serve --share-file …`)"
    )]
    Sealed,
    /// The keys here were destroyed.
    #[error(
        "this device was zeroised after tampering and holds no keys. Find out what happened, drain its log, and make \
         a new device in another directory"
    )]
    Zeroised,
    /// Somebody else wrote the state while this process held it.
    #[error("state.bin was changed by somebody else while the device was running")]
    Disturbed,
    /// The state is older than what was acknowledged.
    #[error(
        "the state was set back: it is generation {state}, and {noted} was acknowledged. Restore the newest backup. If \
         this older state is meant, two officers accept it with `hsm-sim ceremony accept-rollback`"
    )]
    RolledBack {
        /// The state's generation.
        state: u64,
        /// The generation that was acknowledged.
        noted: u64,
    },
    /// The second place is older than the state allows.
    #[error(
        "the generation file (--nv) was set back: it says {noted}, and the state is generation {state}. Find out who \
         replaced it; two officers accept the state with `hsm-sim ceremony accept-rollback`"
    )]
    NvRolledBack {
        /// The state's generation.
        state: u64,
        /// What the file says.
        noted: u64,
    },
    /// The state was written with a second place, and none was named.
    #[error("this device keeps its generation in a second place; name the file with --nv")]
    NvNeeded,
    /// The second place is empty.
    #[error(
        "the generation file (--nv) is missing. Mount what holds it; if it is lost, two officers accept the state \
         with `hsm-sim ceremony accept-rollback`"
    )]
    NvMissing,
    /// The second place holds something else.
    #[error(
        "the generation file (--nv) was altered, or belongs to another device. Name the right one; if it is lost, two \
         officers accept the state with `hsm-sim ceremony accept-rollback`"
    )]
    NvAltered,
    /// Another program than the one that the device knows.
    #[error(
        "this is another program than the one that the device knows: {running} runs, and {noted} is known. If it is the \
         new release, compare its SHA-256 with the published one, and let an officer accept it with `hsm-sim firmware \
         accept`; if not, find out who replaced it"
    )]
    Firmware {
        /// The program that runs.
        running: Firmware,
        /// The program that was noted.
        noted: Firmware,
    },
    /// There is no other program to accept.
    #[error("the device knows this very program; nothing was changed")]
    SameFirmware,
    /// Not an officer.
    #[error("this needs the name and PIN of an officer of this device")]
    Officer,
    /// There is nothing to accept.
    #[error("the state is not set back; nothing was changed")]
    NotRolledBack,
    /// Not two officers.
    #[error("this needs the names and PINs of two different officers of this device")]
    Officers,
    /// The record of the custodians cannot be used.
    #[error("{0}")]
    Custody(#[from] crate::ceremony::CustodyError),
    /// The root key could not be split.
    #[error("{0}")]
    Split(#[from] crate::ceremony::SplitError),
    /// A file may be read by others.
    #[error("{0} may be read or changed by other users; make it private (chmod go-rwx)")]
    Exposed(&'static str),
    /// Another daemon holds this directory.
    #[error("another hsm-sim holds this state directory; stop it first")]
    Held,
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
