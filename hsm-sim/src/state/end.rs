//! What happens to a state when nobody may trust it any more: it is zeroised after tampering, or, when it was only
//! set back, officers may answer for that.

use std::path::Path;

use super::home::{CURRENT_FILE, Home, NEW_FILE, PREVIOUS_FILE};
use super::{RootKey, State, StateError, files};
use crate::device::{AccountName, Role, primitives};

/// Says that the device here was zeroised, in case the rest of it was interrupted.
pub const ZEROISED_FILE: &str = "zeroised";
const BEGUN: &[u8] = b"begun\n";
const COMPLETE: &[u8] = b"complete\n";

impl Home {
    /// Was this device zeroised?
    #[must_use]
    pub fn was_zeroised(&self) -> bool {
        self.path(ZEROISED_FILE).exists()
    }

    /// Ends every key on disk: all copies of the state and the root key are overwritten and unlinked, and what remains
    /// (accounts and log, no key) takes their place under a new root key, latched for good. Goes on past a step that
    /// fails, since every further one helps.
    ///
    /// # Errors
    /// The first step that failed.
    pub fn zeroise(&mut self, remains: Option<&State>) -> Result<(), StateError> {
        let mut outcome = files::write_new(&self.path(ZEROISED_FILE), ZEROISED_FILE, BEGUN);
        let mut step = |done: Result<(), StateError>| {
            if outcome.is_ok() {
                outcome = done;
            }
        };
        self.brought = None;
        step(self.erase_root());
        for name in [CURRENT_FILE, PREVIOUS_FILE, NEW_FILE] {
            step(files::erase(&self.path(name), name));
        }
        step(files::sync_dir(&self.dir));
        self.forget_seen();
        if let Some(state) = remains {
            let root = RootKey::fill_with(|bytes| primitives::random(bytes)).map_err(StateError::from);
            step(root.and_then(|root| {
                self.write_root_key(&root)?;
                self.save(state, &root)
            }));
        }
        if outcome.is_ok() {
            outcome = files::write_new(&self.path(ZEROISED_FILE), ZEROISED_FILE, COMPLETE);
        }
        outcome
    }

    /// Was a zeroisation of the device in `dir` carried to its end? For whoever waits for another process to do it.
    #[must_use]
    pub fn zeroised_completely(dir: &Path) -> bool {
        std::fs::read(dir.join(ZEROISED_FILE)).is_ok_and(|text| text == COMPLETE)
    }

    /// Accepts a state that was set back, on the word of two officers whose PINs it knows: its generation jumps over
    /// every one that was ever noted, so that no other old copy fits again.
    ///
    /// # Errors
    /// [`StateError::Officers`] unless two distinct officers gave their PINs; [`StateError::NotRolledBack`] when there
    /// is nothing to accept.
    pub fn accept_rollback(&self, officers: &[(AccountName, &[u8]); 2]) -> Result<(u64, u64), StateError> {
        let root = self.root_key()?;
        let noted = match self.load(&root) {
            Err(StateError::RolledBack { noted, .. } | StateError::NvRolledBack { noted, .. }) => noted,
            // What the second place said is lost or worthless.
            Err(StateError::NvMissing | StateError::NvAltered) => 0,
            Err(other) => return Err(other),
            Ok(_) => return Err(StateError::NotRolledBack),
        };
        let (mut state, _) = self.load_unjudged(&root)?;
        two_officers(&state, officers)?;
        let from = state.generation;
        // A thousand writes beyond what is known, since the number that was lost may have been higher.
        state.generation = from.max(noted).saturating_add(1000);
        for (name, _) in officers {
            Self::note_ceremony(&mut state, Some(name), &format!("accept-rollback {from} noted {noted}"));
        }
        self.save(&state, &root)?;
        Ok((from, state.generation))
    }
}

/// Are these the PINs of two distinct officers?
fn two_officers(state: &State, officers: &[(AccountName, &[u8]); 2]) -> Result<(), StateError> {
    let knows = |(name, pin): &(AccountName, &[u8])| {
        let account = state.accounts.iter().find(|account| account.name == *name);
        account.is_some_and(|account| {
            account.role == Role::Officer && account.tries_left > 0 && account.pin.admits(pin)
        })
    };
    let [one, two] = officers;
    if one.0 != two.0 && knows(one) && knows(two) { Ok(()) } else { Err(StateError::Officers) }
}
