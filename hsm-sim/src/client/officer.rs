//! What people ask of the device beyond [`hsm::Hsm`]: officers agree to acts and unlock accounts, everybody changes
//! the own PIN, auditors get the signed head of the log.

use std::time::Duration;

use hsm::{HsmError, InputFault};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::{AccountInfo, AccountName, SignedHead, SimClient};
use crate::log::read_head;
use crate::protocol::control;
use crate::protocol::request::Request;

impl SimClient {
    /// As an officer: a ticket for exactly this act ([`super::Act`] in its one spelling), good once and for
    /// `valid_for` (whole seconds, at most a day). Two officers' tickets make a [`hsm::Approval::Tickets`].
    ///
    /// # Errors
    /// [`HsmError::Denied`] for an account that is no officer's, [`HsmError::InvalidInput`] for a text that is no
    /// act or a time out of range.
    pub fn approve(&self, act: &str, valid_for: Duration) -> Result<Zeroizing<Vec<u8>>, HsmError> {
        let seconds = u32::try_from(valid_for.as_secs());
        let seconds = seconds.map_err(|_| HsmError::InvalidInput(InputFault::TooLong))?;
        self.ask(&Request::Approve { act, seconds }, control::ticket)
    }

    /// As an officer: gives an operator or auditor that locked after ten wrong PINs its tries back.
    ///
    /// # Errors
    /// [`HsmError::Denied`] for an officer's account, which only a ceremony unlocks, and for a caller who is no
    /// officer; [`HsmError::InvalidInput`] for a name that nobody has.
    pub fn unlock(&self, account: &AccountName) -> Result<(), HsmError> {
        self.ask(&Request::Unlock { account: account.clone() }, |_| Ok(()))
    }

    /// Changes the PIN of this client's account. This client goes on with its session; make a new one with the new
    /// PIN for the next.
    ///
    /// # Errors
    /// [`HsmError::AuthFailed`] for a wrong old PIN, [`HsmError::InvalidInput`] for a new one of a bad length.
    pub fn change_pin(&self, old: &SecretString, new: &SecretString) -> Result<(), HsmError> {
        let (old, new) = (old.expose_secret().as_bytes(), new.expose_secret().as_bytes());
        self.ask(&Request::ChangePin { old, new }, |_| Ok(()))
    }

    /// As an officer or auditor: every account, its role, and how near it is to being locked.
    ///
    /// # Errors
    /// [`HsmError::Denied`] for an operator.
    pub fn accounts(&self) -> Result<Vec<AccountInfo>, HsmError> {
        self.ask(&Request::Accounts, control::accounts)
    }

    /// The head of the device's log under the device's signature: with it [`super::verify_head`] proves that a log
    /// that was taken away is whole.
    ///
    /// # Errors
    /// Those of an absent device, or of one that came up without any state.
    pub fn log_head(&self) -> Result<SignedHead, HsmError> {
        self.ask(&Request::LogHead, read_head)
    }
}
