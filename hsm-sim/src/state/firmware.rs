//! The program that may open a state: noted when it first does, and another one only when an officer accepted it.
//! Refused rather than zeroised, because a new release is no tampering.

use super::home::Home;
use super::{State, StateError};
use crate::device::AccountName;
use crate::firmware::Firmware;
use crate::log::Event;

impl Home {
    /// Opens states for that program only.
    #[must_use]
    pub fn opened_by(mut self, program: Firmware) -> Self {
        self.program = Some(program);
        self
    }

    /// Is this the program that the state knows? A device that shut itself for good still tells every program so.
    pub(super) fn judge_program(&self, state: &State) -> Result<(), StateError> {
        match (self.program, state.firmware) {
            (Some(running), Some(noted)) if running != noted && state.latched.is_none() => {
                Err(StateError::Firmware { running, noted })
            }
            _ => Ok(()),
        }
    }

    /// Makes the program known to a state that knows none; gives it then.
    pub(crate) fn adopt_program(&self, state: &mut State) -> Option<Firmware> {
        let first = self.program.filter(|_| state.firmware.is_none())?;
        state.firmware = Some(first);
        Some(first)
    }

    /// Makes the program known in place of the one before, on the word of an officer, whose name goes to the log.
    /// Gives the one before.
    ///
    /// # Errors
    /// [`StateError::Officer`] unless an officer's PIN was given, [`StateError::SameFirmware`] when it is known
    /// already, and those of [`Self::load`] and [`Self::save`].
    pub fn accept_program(
        &mut self,
        program: Firmware,
        officer: &(AccountName, &[u8]),
    ) -> Result<Option<Firmware>, StateError> {
        // The second place is judged as ever; only the program is not.
        self.program = None;
        let root = self.root_key()?;
        let mut state = self.load(&root)?;
        if state.latched.is_some() {
            return Err(StateError::Zeroised);
        }
        let before = state.firmware;
        if before == Some(program) {
            return Err(StateError::SameFirmware);
        }
        self.officer_agrees(&mut state, &root, officer)?;
        state.firmware = Some(program);
        Self::note(&mut state, Some(&officer.0), Event::Firmware, &format!("accepted {program}"));
        state.generation = state.generation.saturating_add(1);
        self.save(&state, &root)?;
        Ok(before)
    }
}
