//! Where the root key is: in a file beside the state, or in the hands of custodians, whose record lies there instead.

use std::path::Path;

use zeroize::Zeroizing;

use super::home::Home;
use super::{RootKey, State, StateError, files};
use crate::ceremony::{Custodian, Custody, Share, split};
use crate::device::primitives;

/// The root key.
pub const ROOT_KEY_FILE: &str = "root.key";
/// The record of who holds shares of it.
pub const CUSTODY_FILE: &str = "custody.json";

const NEW_ROOT_KEY: &str = "root.new";
const NEW_CUSTODY: &str = "custody.new";
const MAX_CUSTODY: usize = 64 * 1024;

impl Home {
    /// The root key: what custodians brought, or what the file says.
    ///
    /// # Errors
    /// [`StateError::Sealed`] when only custodians have it, [`StateError::Zeroised`], [`StateError::Missing`], [`StateError::Exposed`],
    /// [`StateError::RootKey`].
    pub fn root_key(&self) -> Result<RootKey, StateError> {
        if let Some(root) = &self.brought {
            return Ok(root.twin());
        }
        let path = self.path(ROOT_KEY_FILE);
        let text = match files::read(&path, ROOT_KEY_FILE, 80) {
            Ok(None) if self.path(CUSTODY_FILE).exists() => return Err(StateError::Sealed),
            Ok(None) if self.was_zeroised() => return Err(StateError::Zeroised),
            Ok(None) => return Err(StateError::Missing(ROOT_KEY_FILE)),
            Err(StateError::TooLong(_)) => return Err(StateError::RootKey),
            other => other?.unwrap_or_default(),
        };
        files::private(&path, ROOT_KEY_FILE)?;
        let digits = text.trim_ascii();
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

    /// Must custodians come before this device opens? Yes when their record is here and no file opens the state: a
    /// split that was killed before its last step leaves a file that opens nothing any more.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        let record = self.path(CUSTODY_FILE).exists();
        record && !self.root_key().is_ok_and(|root| self.load_unjudged(&root).is_ok())
    }

    /// The record of who holds shares.
    ///
    /// # Errors
    /// [`StateError::Missing`], [`StateError::Custody`].
    pub fn custody(&self) -> Result<Custody, StateError> {
        let bytes = files::read(&self.path(CUSTODY_FILE), CUSTODY_FILE, MAX_CUSTODY)?;
        Ok(Custody::read(&bytes.ok_or(StateError::Missing(CUSTODY_FILE))?)?)
    }

    /// Takes the root key that custodians brought; it is in memory alone. A file that a killed split left goes.
    ///
    /// # Errors
    /// Those of [`Self::load`] when this key does not open this state: nothing is changed then.
    pub fn entrust(&mut self, root: RootKey) -> Result<(), StateError> {
        self.load(&root)?;
        files::erase(&self.path(ROOT_KEY_FILE), ROOT_KEY_FILE)?;
        self.brought = Some(root);
        Ok(())
    }

    /// As [`Self::entrust`], for a state whose generation officers are about to answer for.
    ///
    /// # Errors
    /// Those of [`super::open`].
    pub fn entrust_unjudged(&mut self, root: RootKey) -> Result<(), StateError> {
        self.load_unjudged(&root)?;
        self.brought = Some(root);
        Ok(())
    }

    /// Gives the state a new root key that nobody but the custodians has: shares are made and handed to `hand_out`,
    /// which must put them where they are safe; then the state is sealed anew, and the old key's file is erased. A
    /// copy of the old key opens nothing that is written from then on. Killed anywhere, either the old key opens the
    /// device or the new shares do.
    ///
    /// # Errors
    /// Those of the split, of `hand_out`, and of [`Self::save`].
    pub fn split_root<E: From<StateError>>(
        &mut self,
        state: &mut State,
        threshold: u8,
        custodians: &[Custodian],
        hand_out: impl FnOnce(&Custody, Vec<Share>) -> Result<(), E>,
    ) -> Result<Custody, E> {
        let root = RootKey::fill_with(|bytes| primitives::random(bytes)).map_err(StateError::from)?;
        let shares =
            split(&root, state.serial, state.realm, threshold, custodians).map_err(StateError::from)?;
        let made = now();
        let custody = Custody::of(&shares, &root, made).map_err(StateError::from)?;
        hand_out(&custody, shares)?;
        files::replace(&self.dir, NEW_CUSTODY, CUSTODY_FILE, custody.write().as_bytes())?;
        // Twice, so that the previous state is not left under the old key either.
        for _ in 0..2 {
            state.generation = state.generation.saturating_add(1);
            self.save(state, &root)?;
        }
        files::erase(&self.path(ROOT_KEY_FILE), ROOT_KEY_FILE)?;
        files::sync_dir(&self.dir)?;
        self.brought = Some(root);
        Ok(custody)
    }

    pub(super) fn write_root_key(&self, root: &RootKey) -> Result<(), StateError> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = Zeroizing::new(Vec::with_capacity(65));
        for byte in root.expose() {
            for half in [byte >> 4, byte & 15] {
                text.push(DIGITS.get(usize::from(half)).copied().unwrap_or(b'0'));
            }
        }
        text.push(b'\n');
        files::replace(&self.dir, NEW_ROOT_KEY, ROOT_KEY_FILE, &text)
    }

    /// Erases every trace of a root key and of who held one.
    pub(super) fn erase_root(&self) -> Result<(), StateError> {
        for name in [ROOT_KEY_FILE, NEW_ROOT_KEY, CUSTODY_FILE, NEW_CUSTODY] {
            files::erase(&self.path(name), name)?;
        }
        Ok(())
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

fn nibble(digit: u8) -> Result<u8, StateError> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok()).ok_or(StateError::RootKey)
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}
