//! Two officers at a device that does not run: by tickets that it gave them while it ran, or by their PINs. A PIN try
//! is on disk before the comparison here too.

use hsm::Approval;

use super::home::Home;
use super::root::now;
use super::{RootKey, State, StateError};
use crate::device::{AccountName, MAX_TRIES, Role, judge_export};
use crate::log::{Actor, Event, Note};

/// How two officers say yes.
pub enum Officers<'a> {
    /// By the PINs of two officers.
    Pins([(AccountName, &'a [u8]); 2]),
    /// By two tickets for the act `export-shares`.
    Tickets(&'a Approval),
}

impl Home {
    /// Do two distinct officers agree that shares of the root key are made? Gives their names where they are known.
    /// A ticket is spent by it.
    ///
    /// # Errors
    /// [`StateError::Officers`], and those of [`Self::save`].
    pub fn officers_agree(
        &self,
        state: &mut State,
        root: &RootKey,
        officers: &Officers<'_>,
    ) -> Result<Vec<String>, StateError> {
        match officers {
            Officers::Tickets(approval) => {
                let (spent, names) = judge_export(state, approval).map_err(|_| StateError::Officers)?;
                state.spent.extend(spent);
                self.next(state, root)?;
                Ok(names)
            }
            Officers::Pins([one, two]) if one.0 != two.0 => {
                for officer in [one, two] {
                    self.try_pin(state, root, officer)?;
                }
                Ok(vec![one.0.to_string(), two.0.to_string()])
            }
            Officers::Pins(_) => Err(StateError::Officers),
        }
    }

    /// Writes into the log of a state that will be saved.
    pub fn note_ceremony(state: &mut State, officer: Option<&AccountName>, what: &str) {
        Self::note(state, officer, Event::Ceremony, what);
    }

    /// As [`Self::note_ceremony`], of any event.
    pub(super) fn note(state: &mut State, officer: Option<&AccountName>, event: Event, what: &str) {
        let actor = officer.map_or(Actor::Device, |name| Actor::Account(name.clone(), Role::Officer));
        let note = Note { actor, event, subject: what.to_owned(), refused: None, count: 1 };
        let serial = state.serial;
        state.log.append(&serial, now(), note);
    }

    /// As [`Self::officers_agree`], by one officer's PIN.
    pub(super) fn officer_agrees(
        &self,
        state: &mut State,
        root: &RootKey,
        officer: &(AccountName, &[u8]),
    ) -> Result<(), StateError> {
        self.try_pin(state, root, officer).map_err(|error| match error {
            StateError::Officers => StateError::Officer,
            other => other,
        })
    }

    fn try_pin(
        &self,
        state: &mut State,
        root: &RootKey,
        (name, pin): &(AccountName, &[u8]),
    ) -> Result<(), StateError> {
        let find =
            |account: &&mut crate::device::Account| account.name == *name && account.role == Role::Officer;
        let account = state.accounts.iter_mut().find(find).ok_or(StateError::Officers)?;
        account.tries_left = account.tries_left.checked_sub(1).ok_or(StateError::Officers)?;
        self.next(state, root)?;
        let account = state.accounts.iter_mut().find(find).ok_or(StateError::Officers)?;
        if !account.pin.admits(pin) {
            return Err(StateError::Officers);
        }
        account.tries_left = MAX_TRIES;
        self.next(state, root)
    }

    fn next(&self, state: &mut State, root: &RootKey) -> Result<(), StateError> {
        state.generation = state.generation.saturating_add(1);
        self.save(state, root)
    }
}
