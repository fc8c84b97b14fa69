//! The PKCS#11 provider: any device with a PKCS#11 2.40 library, proven on SoftHSM2. The only part that names the
//! binding to the vendor's library.
//!
//! A vendor's library runs inside this process. With a hardware device or a network client that is all that does; a
//! software token such as SoftHSM2 keeps its keys in this process's memory too, so it is for tests and for moving
//! house, not for promise P6. Two gateways may share a token; two that change its keys at the same moment may not:
//! PKCS#11 has no unique names, and the version that both made is then refused as ambiguous.
//!
//! SoftHSM2 2.6 rewrites its files in place. Killed in the middle of a change of a key it may lose the key: a copy stands
//! by for that, see `making`. Killed in the very moment of a login it may leave the token's own file empty, and nothing
//! here can mend that: keep a copy of the token directory.

mod fault;
mod life;
mod making;
mod module;
mod objects;
mod primitives;
mod record;
mod session;
mod settings;
mod token;
mod verbs;

use std::sync::Arc;

use crate::error::HsmError;
use crate::names::{KeyFilter, KeyInfo, KeyKind, KeyLabel, KeyStatus, KeyVersion};
use crate::verbs::{Approval, Hsm, KeySpec};
use session::Seat;
pub use settings::{Pkcs11Fault, Pkcs11Settings};
use token::{Entry, Token};

/// A token of a PKCS#11 device. Clones share the login and the memory of a refused PIN.
#[derive(Clone)]
pub struct Pkcs11(Arc<Token>);

impl Pkcs11 {
    /// Loads the device's library. Nothing is asked of the device yet; it may be away.
    ///
    /// # Errors
    /// [`Pkcs11Fault`] when the settings name no module or no label.
    pub fn new(settings: Pkcs11Settings) -> Result<Self, Pkcs11Fault> {
        Token::new(settings).map(Self)
    }

    /// Makes sessions for [`crate::HsmQueue::start`]: one a worker, one login and one memory of a refused PIN for all.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn factory(
        settings: Pkcs11Settings,
    ) -> Result<impl Fn() -> Result<Box<dyn Hsm>, HsmError> + Send + Sync + 'static, Pkcs11Fault> {
        Self::new(settings).map(|device| device.sessions())
    }

    /// As [`Self::factory`], of this token.
    pub fn sessions(self) -> impl Fn() -> Result<Box<dyn Hsm>, HsmError> + Send + Sync + 'static {
        move || Ok(Box::new(self.session()))
    }

    /// A session of its own. It is opened when it is first used.
    #[must_use]
    pub fn session(&self) -> Pkcs11Session {
        Pkcs11Session { token: Arc::clone(&self.0), seat: Seat::new(&self.0.module) }
    }

    /// How often a PIN was presented to the device.
    #[must_use]
    pub fn login_attempts(&self) -> u64 {
        self.0.logins()
    }

    /// Reads back what the token says about its keys, and refuses those that are not fit for use.
    ///
    /// # Errors
    /// [`Pkcs11Fault::Key`] names the first unfit key and its attribute; [`Pkcs11Fault::Device`] otherwise, also while
    /// the device is away.
    pub fn inspect(&self) -> Result<Vec<KeyInfo>, Pkcs11Fault> {
        let looked = self.session().entering(Entry::Serve, |work| life::infos(work));
        looked.map_err(|error| self.named(error))
    }

    /// Sets the token up for the realm of the settings, if it names none, and makes every key of the list that it does
    /// not have. Safe to repeat.
    ///
    /// # Errors
    /// As [`Self::inspect`], and those of [`Hsm::rotate_key`].
    pub fn prepare(&self, wanted: &[(KeyLabel, KeyKind)]) -> Result<Vec<KeyInfo>, Pkcs11Fault> {
        let session = self.session();
        let there = session.entering(Entry::Prepare, |work| life::infos(work));
        let there = there.map_err(|error| self.named(error))?;
        for (label, kind) in wanted {
            let active = |info: &KeyInfo| info.key.label == *label && info.status == KeyStatus::Active;
            if !there.iter().any(active) {
                let spec = KeySpec { label: label.clone(), kind: *kind, at_least: KeyVersion::FIRST };
                session.rotate_key(&spec, &Approval::Caller)?;
            }
        }
        Ok(session.keys(&KeyFilter::default())?)
    }

    /// The error with the key that it is about, where a look without the login's refusal can tell.
    fn named(&self, error: HsmError) -> Pkcs11Fault {
        let blamed = match error {
            HsmError::Misconfigured(_) | HsmError::KeyAmbiguous { .. } => self.0.blame(),
            _ => None,
        };
        match blamed {
            Some((key, error)) => Pkcs11Fault::Key { key, error },
            None => Pkcs11Fault::Device(error),
        }
    }
}

/// One session with the token, as an [`Hsm`].
///
/// A call that finds its session, its login or the whole library lost is made once more after each was renewed.
pub struct Pkcs11Session {
    token: Arc<Token>,
    seat: Arc<Seat>,
}
