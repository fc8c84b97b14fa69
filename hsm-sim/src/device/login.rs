//! Login. A try is taken and on disk before the PIN is compared, so that whoever pulls the plug in between has spent
//! it; the right PIN gives all tries back. One comparison at a time: each needs 19 MiB.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use hsm::{HsmError, InputFault};

use super::Device;
use super::account::{AccountName, Role};
use super::command::Command;
use super::pin::{MAX_TRIES, PinVerifier};
use crate::log::{Actor, Event, Note};

/// Tries left at which an account's PIN counts as low (PKCS#11 `CKF_USER_PIN_COUNT_LOW`).
const LOW: u8 = 3;

/// How near an account is to being locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinState {
    /// Far.
    Good,
    /// Three tries or fewer are left.
    CountLow,
    /// One try is left.
    FinalTry,
    /// No try is left.
    Locked,
}

impl PinState {
    /// The state that goes with so many tries.
    #[must_use]
    pub fn of(tries_left: u8) -> Self {
        match tries_left {
            0 => Self::Locked,
            1 => Self::FinalTry,
            2..=LOW => Self::CountLow,
            _ => Self::Good,
        }
    }

    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::CountLow => "count_low",
            Self::FinalTry => "final_try",
            Self::Locked => "locked",
        }
    }
}

/// One account, as the list of accounts tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountInfo {
    /// Its name.
    pub name: AccountName,
    /// What it is for.
    pub role: Role,
    /// Wrong PINs left.
    pub tries_left: u8,
}

impl AccountInfo {
    /// How near it is to being locked.
    #[must_use]
    pub fn pin_state(&self) -> PinState {
        PinState::of(self.tries_left)
    }
}

impl Device {
    /// Judges an account's PIN, and says what the account is for.
    ///
    /// # Errors
    /// [`HsmError::AuthFailed`], [`HsmError::AuthLocked`]; the latched error of a device that has no accounts; or
    /// [`HsmError::Internal`] when the state cannot be written: then nothing is compared.
    pub fn login(&self, name: &AccountName, pin: &[u8]) -> Result<Role, HsmError> {
        // Held to the end, so that no second comparison runs beside this one.
        let _alone = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((role, verifier, left)) = self.spend_try(name)? else {
            // As slow as a known name, so that time does not tell which names exist.
            let _ = PinVerifier::never().admits(pin);
            self.refuse(
                Actor::Stranger,
                Event::Command(Command::Login),
                "",
                HsmError::AuthFailed { left: None },
            );
            return Err(HsmError::AuthFailed { left: None });
        };
        let admitted = verifier.admits(pin);
        self.comparisons.fetch_add(1, Ordering::SeqCst);
        let actor = Actor::Account(name.clone(), role);
        if admitted {
            let mut ledger = self.ledger();
            let mut draft = self.draft(&ledger);
            if let Some(account) = draft.account(name) {
                account.tries_left = MAX_TRIES;
            }
            self.write_down(&mut draft, actor, Event::Command(Command::Login), "");
            return self.commit(&mut ledger, draft).map(|()| role);
        }
        let error = if left == 0 { HsmError::AuthLocked } else { HsmError::AuthFailed { left: Some(left) } };
        self.refuse(actor, Event::Command(Command::Login), "", error);
        Err(error)
    }

    /// Takes a try and writes that down. `None` when nobody has that name.
    fn spend_try(&self, name: &AccountName) -> Result<Option<(Role, PinVerifier, u8)>, HsmError> {
        let mut ledger = self.ledger();
        if ledger.accounts.is_empty() {
            self.keyring().awake()?;
        }
        let mut draft = self.draft(&ledger);
        let Some(account) = draft.account(name) else { return Ok(None) };
        let Some(left) = account.tries_left.checked_sub(1) else {
            let actor = Actor::Account(name.clone(), account.role);
            drop(ledger);
            self.refuse(actor, Event::Command(Command::Login), "", HsmError::AuthLocked);
            return Err(HsmError::AuthLocked);
        };
        account.tries_left = left;
        let found = (account.role, account.pin.clone(), left);
        self.commit(&mut ledger, draft)?;
        Ok(Some(found))
    }

    /// Every account and its tries.
    #[must_use]
    pub fn accounts(&self) -> Vec<AccountInfo> {
        let ledger = self.ledger();
        let accounts = ledger.accounts.iter();
        accounts
            .map(|account| AccountInfo {
                name: account.name.clone(),
                role: account.role,
                tries_left: account.tries_left,
            })
            .collect()
    }

    /// An officer gives an operator or auditor its tries back. An officer's own come back by a ceremony only, else
    /// two officers could guess each other's PINs for ever.
    ///
    /// # Errors
    /// [`HsmError::Denied`] for an officer's account, [`HsmError::InvalidInput`] for a name nobody has.
    pub fn unlock(&self, who: &Actor, name: &AccountName) -> Result<(), HsmError> {
        let mut ledger = self.ledger();
        self.room(&ledger)?;
        let mut draft = self.draft(&ledger);
        let account = draft.account(name).ok_or(HsmError::InvalidInput(InputFault::Malformed))?;
        if account.role == Role::Officer {
            return Err(HsmError::Denied);
        }
        account.tries_left = MAX_TRIES;
        self.write_down(&mut draft, who.clone(), Event::Command(Command::Unlock), name.as_str());
        self.commit(&mut ledger, draft)
    }

    /// Somebody with a session changes the PIN of that account; the old one is judged like any login.
    ///
    /// # Errors
    /// Those of [`Self::login`], and [`HsmError::InvalidInput`] for a new PIN of a bad length.
    pub fn change_pin(&self, name: &AccountName, old: &[u8], new: &[u8]) -> Result<(), HsmError> {
        self.room(&self.ledger())?;
        let verifier = PinVerifier::of(new)?;
        let role = self.login(name, old)?;
        let mut ledger = self.ledger();
        let mut draft = self.draft(&ledger);
        let account = draft.account(name).ok_or(HsmError::Denied)?;
        account.pin = verifier;
        let actor = Actor::Account(name.clone(), role);
        self.write_down(&mut draft, actor, Event::Command(Command::ChangePin), name.as_str());
        self.commit(&mut ledger, draft)
    }
}

/// A note of something that was done once.
pub(super) fn done(actor: Actor, event: Event, subject: &str) -> Note {
    Note { actor, event, subject: subject.to_owned(), refused: None, count: 1 }
}
