//! Opening a sealed device: custodians come one after the other, each share is judged alone against the public
//! record, and the key is made when the threshold is reached. Until then nothing of it exists; when it fails, or is
//! called off, every share is wiped.

use std::time::{Duration, Instant};

use super::{CombineError, Custodian, Custody, CustodyError, Share, combine};
use crate::state::RootKey;

/// Shares of one set, on their way to the threshold.
pub struct Gathering {
    custody: Custody,
    entered: Vec<Share>,
    /// When the last share came.
    since: Instant,
}

/// How long shares wait for the next custodian before they are wiped.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// How far a gathering is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Shares entered.
    pub entered: u8,
    /// Shares needed.
    pub needed: u8,
}

/// Why a share was not taken, or the key not made.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// Another device's, another realm's, or another ceremony's.
    #[error("this share is of {0}; take the shares of this device's last ceremony")]
    Foreign(&'static str),
    /// Not the share that the record names.
    #[error("this is not the share that {0} was given: its check value is not the recorded one")]
    NotTheirs(Custodian),
    /// The share, or its custodian, was here before.
    #[error("{0} has entered a share already; each must come from another custodian")]
    Again(Custodian),
    /// The shares make no key. All are wiped; begin again.
    #[error("{0}. All shares were wiped: every custodian enters again")]
    Combine(#[from] CombineError),
    /// The record is not the one that was made with this key.
    #[error("{0}")]
    Custody(#[from] CustodyError),
}

impl Gathering {
    /// Waits for the shares of this record.
    #[must_use]
    pub fn new(custody: Custody) -> Self {
        Self { custody, entered: Vec::new(), since: Instant::now() }
    }

    /// The record it goes by.
    #[must_use]
    pub fn custody(&self) -> &Custody {
        &self.custody
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let entered = u8::try_from(self.entered.len()).unwrap_or(u8::MAX);
        Progress { entered, needed: self.custody.set.threshold }
    }

    /// Takes one share; gives the key when it was the last one needed.
    ///
    /// # Errors
    /// [`EntryError`]. A refused share leaves the others in place; a key that does not come out wipes all.
    pub fn enter(&mut self, share: Share) -> Result<Option<RootKey>, EntryError> {
        self.judge(&share)?;
        self.entered.push(share);
        self.since = Instant::now();
        if self.entered.len() < usize::from(self.custody.set.threshold) {
            return Ok(None);
        }
        // Wiped as they are dropped, whatever comes out.
        let shares = std::mem::take(&mut self.entered);
        let root = combine(&shares)?;
        self.custody.confirm(&root)?;
        Ok(Some(root))
    }

    /// The numbers of the shares that were entered.
    #[must_use]
    pub fn ids(&self) -> Vec<u8> {
        self.entered.iter().map(Share::id).collect()
    }

    /// Wipes what was entered when the next custodian has not come for half an hour.
    pub fn expire(&mut self, now: Instant) {
        if now.saturating_duration_since(self.since) >= PATIENCE {
            self.call_off();
        }
    }

    /// Wipes what was entered.
    pub fn call_off(&mut self) {
        self.entered.clear();
    }

    fn judge(&self, share: &Share) -> Result<(), EntryError> {
        let (ours, theirs) = (&self.custody.set, share.set());
        if theirs.realm != ours.realm {
            return Err(EntryError::Foreign("the other realm"));
        }
        if theirs.serial != ours.serial {
            return Err(EntryError::Foreign("another device"));
        }
        if theirs != ours {
            return Err(EntryError::Foreign("another ceremony"));
        }
        let held = usize::from(share.id()).checked_sub(1).and_then(|at| self.custody.holders.get(at));
        let check = share.check_value().map_err(CombineError::from)?;
        if held.is_none_or(|(custodian, recorded)| custodian != share.custodian() || *recorded != check) {
            return Err(EntryError::NotTheirs(share.custodian().clone()));
        }
        let again = |other: &Share| other.id() == share.id() || other.custodian() == share.custodian();
        if self.entered.iter().any(again) {
            return Err(EntryError::Again(share.custodian().clone()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod laws;
