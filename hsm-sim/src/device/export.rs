//! Judges tickets for `export-shares` from a state alone: the root key is split while the device does not run.

use hsm::{Approval, HsmError};

use super::act::Act;
use super::clock::Clock;
use super::tickets::{Desk, officer_of};
use crate::state::{SpentTicket, State};

/// Do these tickets carry `export-shares` on the device of this state? Gives what is to be remembered as used, and
/// the officers' names.
///
/// # Errors
/// [`HsmError::Denied`].
pub fn judge_export(state: &State, approval: &Approval) -> Result<([SpentTicket; 2], Vec<String>), HsmError> {
    let desk = Desk {
        serial: &state.serial,
        key: &state.secrets.tickets,
        accounts: &state.accounts,
        spent: &state.spent,
        now: Clock::default().now(),
    };
    let spent = desk.judge(approval, &Act::ExportShares)?;
    let Approval::Tickets { first, second } = approval else { return Err(HsmError::Denied) };
    let names = [first, second].into_iter().filter_map(|ticket| officer_of(ticket)).collect();
    Ok((spent, names))
}
