//! Which module, which token, whose PIN, which money: what an operator states about a PKCS#11 device, and what is
//! wrong with it. Kept out: reading files.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::error::HsmError;
use crate::names::{KeyRef, Realm};

/// The longest token label, in bytes (PKCS#11 2.40, `CK_TOKEN_INFO`).
const MAX_TOKEN_LABEL: usize = 32;

/// Where a PKCS#11 device is and how to enter it.
#[derive(Clone)]
pub struct Pkcs11Settings {
    /// The vendor's library. An absolute path: a bare name would be looked up by the loader, wherever that looks.
    pub module: PathBuf,
    /// The token's label, 1 to 32 bytes. Never a slot number, which changes from boot to boot.
    pub token_label: String,
    /// The user's PIN.
    pub pin: SecretString,
    /// Which money the token must be set up for.
    pub realm: Realm,
}

/// What is wrong with the settings of a PKCS#11 device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Pkcs11Fault {
    /// A path that the loader would search for.
    #[error(
        "the module {0} is not an absolute path; name the file, for instance /usr/lib/softhsm/libsofthsm2.so"
    )]
    RelativeModule(PathBuf),
    /// No such file.
    #[error("there is no module at {0}; install the device's PKCS#11 library or correct the path")]
    NoModule(PathBuf),
    /// Not a PKCS#11 library.
    #[error("{0} is not a PKCS#11 module")]
    NotAModule(PathBuf),
    /// A label that no token can bear.
    #[error("the token label is empty or longer than 32 bytes")]
    TokenLabel,
    /// One key is not as it must be.
    #[error("key {key}: {error}")]
    Key {
        /// Which.
        key: KeyRef,
        /// Why it is refused.
        error: HsmError,
    },
    /// The device itself.
    #[error("{0}")]
    Device(#[from] HsmError),
}

impl Pkcs11Settings {
    /// The module's one true path: absolute, existing, without links.
    pub(super) fn module_path(&self) -> Result<PathBuf, Pkcs11Fault> {
        if !self.module.is_absolute() {
            return Err(Pkcs11Fault::RelativeModule(self.module.clone()));
        }
        let path = Path::canonicalize(&self.module);
        path.ok().filter(|path| path.is_file()).ok_or_else(|| Pkcs11Fault::NoModule(self.module.clone()))
    }

    pub(super) fn judge_label(&self) -> Result<(), Pkcs11Fault> {
        let fits = (1..=MAX_TOKEN_LABEL).contains(&self.token_label.len());
        if fits { Ok(()) } else { Err(Pkcs11Fault::TokenLabel) }
    }
}
