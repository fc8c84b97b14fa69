//! Tickets: an officer's word for exactly one act, given by the device, good for a time and once. The device keeps
//! no open tickets; it knows its own by their MAC, and remembers used ones until they expire.
//!
//! A ticket: form (1), officer (length and name), expiry (u64), nonce (16), HMAC-SHA-256 over a domain, the serial
//! number, the act and all of that.

use hsm::{Approval, HsmError};
use subtle::ConstantTimeEq;

use super::account::{Account, AccountName, Role};
use super::act::Act;
use super::primitives;
use super::secret::Secret;
use crate::protocol::codec::{Malformed, Reader, Writer};
use crate::state::{SpentTicket, SpentTickets};

/// The longest a ticket is good for, in seconds: one day.
pub const MAX_VALID: u32 = 24 * 60 * 60;
/// The longest ticket, in bytes.
pub(crate) const MAX_TICKET: usize = 128;
const FORM: u8 = 1;

/// What tickets are made with and judged by.
pub(super) struct Desk<'a> {
    pub(super) serial: &'a [u8; 16],
    pub(super) key: &'a Secret,
    pub(super) accounts: &'a [Account],
    pub(super) spent: &'a SpentTickets,
    pub(super) now: u64,
}

/// Whose ticket it says it is.
pub(super) fn officer_of(bytes: &[u8]) -> Option<String> {
    Ticket::decode(bytes).ok().map(|ticket| ticket.officer.as_str().to_owned())
}

struct Ticket {
    officer: AccountName,
    expires: u64,
    nonce: [u8; 16],
    mac: [u8; 32],
}

impl Desk<'_> {
    /// A ticket of `officer` for `act`, good for `seconds` from now.
    pub(super) fn issue(&self, officer: &AccountName, act: &Act, seconds: u32) -> Result<Vec<u8>, HsmError> {
        let expires = self.now.saturating_add(u64::from(seconds));
        let mut nonce = [0; 16];
        primitives::random(&mut nonce)?;
        let mut ticket = Ticket { officer: officer.clone(), expires, nonce, mac: [0; 32] };
        ticket.mac = self.mac(&ticket, act)?;
        ticket.encode().map(|out| out.as_slice().to_vec()).map_err(|_| HsmError::Denied)
    }

    /// Do these two tickets carry `act`? Two officers of this device, two tickets for exactly this act, neither
    /// expired nor used. Gives what is to be remembered as used. Why not is not said: whoever forges learns nothing.
    pub(super) fn judge(&self, approval: &Approval, act: &Act) -> Result<[SpentTicket; 2], HsmError> {
        let Approval::Tickets { first, second } = approval else { return Err(HsmError::Denied) };
        let (first, second) = (self.read(first, act)?, self.read(second, act)?);
        if first.officer == second.officer || first.nonce == second.nonce {
            return Err(HsmError::Denied);
        }
        Ok([first, second].map(|ticket| ticket.spent()))
    }

    fn read(&self, bytes: &[u8], act: &Act) -> Result<Ticket, HsmError> {
        let ticket = Ticket::decode(bytes).map_err(|_| HsmError::Denied)?;
        let genuine = bool::from(self.mac(&ticket, act)?.ct_eq(&ticket.mac));
        let fresh = ticket.expires > self.now && !self.spent.has(ticket.spent());
        let officer = self
            .accounts
            .iter()
            .any(|account| account.name == ticket.officer && account.role == Role::Officer);
        if genuine && fresh && officer { Ok(ticket) } else { Err(HsmError::Denied) }
    }

    fn mac(&self, ticket: &Ticket, act: &Act) -> Result<[u8; 32], HsmError> {
        let mut out = Writer::with_capacity(256);
        out.raw(b"pangate/hsm-sim/ticket/v1");
        out.raw(self.serial);
        let parts = [act.to_string(), ticket.officer.as_str().to_owned()];
        for part in &parts {
            out.bytes(part.as_bytes()).map_err(|_| HsmError::Denied)?;
        }
        out.u64(ticket.expires);
        out.raw(&ticket.nonce);
        primitives::hmac_sha256(self.key.expose(), out.as_slice())
    }
}

impl Ticket {
    fn spent(&self) -> SpentTicket {
        SpentTicket { nonce: self.nonce, expires: self.expires }
    }

    fn encode(&self) -> Result<Writer, Malformed> {
        let mut out = Writer::with_capacity(MAX_TICKET);
        out.u8(FORM);
        out.bytes(self.officer.as_str().as_bytes())?;
        out.u64(self.expires);
        out.raw(&self.nonce);
        out.raw(&self.mac);
        Ok(out)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(bytes);
        if from.u8()? != FORM {
            return Err(Malformed);
        }
        let officer = AccountName::new(from.text()?).map_err(|_| Malformed)?;
        let (expires, nonce, mac) = (from.u64()?, from.array()?, from.array()?);
        from.finish()?;
        Ok(Self { officer, expires, nonce, mac })
    }
}
