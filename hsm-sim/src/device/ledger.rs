//! What changes while the device runs, and the one way it changes: a draft is made, written to disk, and only when
//! the disk has it becomes what the device goes by.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError, RwLockReadGuard};

use hsm::HsmError;

use super::account::{Account, AccountName};
use super::keyring::{Change, Keyring};
use super::{Device, fault};
use crate::firmware::Firmware;
use crate::log::{Note, Ring, SignedHead};
use crate::state::{DeviceSecrets, Home, Periods, RootKey, SpentTickets, State};

/// What changes while the device runs, the keys apart.
pub(super) struct Ledger {
    pub(super) generation: u64,
    pub(super) periods: Periods,
    pub(super) accounts: Vec<Account>,
    pub(super) secrets: DeviceSecrets,
    pub(super) spent: SpentTickets,
    pub(super) log: Ring,
    /// Refusals that were written lately, and how often each has repeated since.
    pub(super) repeated: Vec<Repeated>,
    /// The head of the log as the device signed it before it wiped the key to sign with.
    pub(super) last_word: Option<SignedHead>,
    pub(super) firmware: Option<Firmware>,
    pub(super) store: Option<(Home, RootKey)>,
}

/// A refusal that repeats.
pub(super) struct Repeated {
    pub(super) note: Note,
    pub(super) since: u64,
    pub(super) times: u32,
}

impl Repeated {
    /// How long a refusal that repeats is only counted, in seconds.
    const WINDOW: u64 = 60;

    pub(super) fn is_over(&self, now: u64) -> bool {
        now.saturating_sub(self.since) >= Self::WINDOW
    }
}

/// What the ledger is to become.
pub(super) struct Draft {
    pub(super) accounts: Vec<Account>,
    pub(super) spent: SpentTickets,
    pub(super) log: Ring,
    pub(super) keys: Vec<Change>,
    /// Refusals whose minute was over at this time are written out.
    horizon: u64,
}

impl Draft {
    pub(super) fn account(&mut self, name: &AccountName) -> Option<&mut Account> {
        self.accounts.iter_mut().find(|account| account.name == *name)
    }
}

impl Device {
    /// The ledger as it is, to be changed; refusals that repeated are written out when their minute is over, tickets
    /// that expired are forgotten.
    pub(super) fn draft(&self, ledger: &Ledger) -> Draft {
        self.draft_up_to(ledger, self.clock.now())
    }

    /// As [`Self::draft`], with every count of repeats written out, whether its minute is over or not.
    pub(super) fn full_draft(&self, ledger: &Ledger) -> Draft {
        self.draft_up_to(ledger, u64::MAX)
    }

    fn draft_up_to(&self, ledger: &Ledger, horizon: u64) -> Draft {
        let now = self.clock.now();
        let mut log = ledger.log.clone();
        for again in ledger.repeated.iter().filter(|again| again.times > 0 && again.is_over(horizon)) {
            log.append(&self.serial, now, Note { count: again.times, ..again.note.clone() });
        }
        let spent = ledger.spent.at(now);
        Draft { accounts: ledger.accounts.clone(), spent, log, keys: Vec::new(), horizon }
    }

    /// Writes a draft. When this returns, disk and device agree on it; on an error nothing has changed.
    ///
    /// # Errors
    /// [`HsmError::Internal`] when the state cannot be written.
    pub(super) fn commit(&self, ledger: &mut Ledger, draft: Draft) -> Result<(), HsmError> {
        let broken = HsmError::Internal { code: fault::STATE };
        let generation = ledger.generation.checked_add(1).ok_or(broken)?;
        if let Some((home, root)) = &ledger.store {
            let state = self.state(ledger, &draft, generation);
            home.save(&state, root).map_err(|_| broken)?;
        }
        ledger.generation = generation;
        self.settle(ledger, draft);
        Ok(())
    }

    /// Goes by a draft that the disk has.
    pub(super) fn settle(&self, ledger: &mut Ledger, draft: Draft) {
        let Draft { accounts, spent, log, keys, horizon } = draft;
        self.log_full.store(log.is_full(), Ordering::SeqCst);
        ledger.accounts = accounts;
        ledger.spent = spent;
        ledger.log = log;
        ledger.repeated.retain(|again| !again.is_over(horizon));
        if !keys.is_empty() {
            self.keys.write().unwrap_or_else(PoisonError::into_inner).make(keys);
        }
    }

    /// The whole state as a draft would have it.
    pub(super) fn state(&self, ledger: &Ledger, draft: &Draft, generation: u64) -> State {
        let keys = self.keyring();
        let (objects, destroyed) = keys.after(&draft.keys);
        State {
            serial: self.serial,
            generation,
            realm: self.realm,
            periods: ledger.periods,
            accounts: draft.accounts.clone(),
            secrets: ledger.secrets.twin(),
            spent: draft.spent.clone(),
            log: draft.log.clone(),
            objects,
            destroyed,
            latched: keys.latched,
            last_word: ledger.last_word.clone(),
            firmware: ledger.firmware,
        }
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys, to look at. Never held while the ledger is being locked: the ledger comes first.
    pub(super) fn keyring(&self) -> RwLockReadGuard<'_, Keyring> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }
}
