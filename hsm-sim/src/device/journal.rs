//! How the device writes its log, and how the log is taken away. What is done is written in the same step as its
//! effect. A refusal is written at once; the same refusal again within a minute is counted, and the count is written
//! when the minute is over or the log is taken away, so that a loop of refusals cannot fill the log. A crash loses the
//! counts of that minute, never a first refusal.

use std::sync::atomic::Ordering;

use hsm::{DeviceLogPage, HsmError};

use super::account::Role;
use super::ledger::{Draft, Ledger, Repeated};
use super::login::done;
use super::{Device, primitives};
use crate::log::{Actor, Event, LogCounts, Note, Ring, SignedHead};
use crate::state::DeviceSecrets;

/// How many different refusals are remembered at a time, so that repeats are only counted.
const REMEMBERED: usize = 16;
/// The most bytes of entries in one page, so that it fits a frame.
const PAGE_BYTES: usize = 48 * 1024;

impl Device {
    /// Is the log full, so that nothing but status and log is answered?
    #[must_use]
    pub fn log_full(&self) -> bool {
        self.log_full.load(Ordering::SeqCst)
    }

    /// Is there room for one more entry?
    pub(super) fn room(&self, ledger: &Ledger) -> Result<(), HsmError> {
        if ledger.log.is_full() { Err(HsmError::LogFull) } else { Ok(()) }
    }

    /// Puts what is about to be done into a draft's log.
    pub(super) fn write_down(&self, draft: &mut Draft, actor: Actor, event: Event, subject: &str) {
        draft.log.append(&self.serial, self.clock.now(), done(actor, event, subject));
    }

    /// Writes something that happened and has no other effect on the device.
    ///
    /// # Errors
    /// [`HsmError::Internal`] when the state cannot be written.
    pub fn record(&self, actor: Actor, event: Event, subject: &str) -> Result<(), HsmError> {
        let mut ledger = self.ledger();
        let mut draft = self.draft(&ledger);
        self.write_down(&mut draft, actor, event, subject);
        self.commit(&mut ledger, draft)
    }

    /// Writes a refusal, or counts it when it is the last one again.
    pub fn refuse(&self, actor: Actor, event: Event, subject: &str, why: HsmError) {
        let note = Note { actor, event, subject: subject.to_owned(), refused: Some(why), count: 1 };
        let now = self.clock.now();
        let mut ledger = self.ledger();
        let known = ledger.repeated.iter_mut().find(|again| again.note == note && !again.is_over(now));
        if let Some(again) = known {
            again.times = again.times.saturating_add(1);
            return;
        }
        let crowded = ledger.repeated.len() >= REMEMBERED;
        let mut draft = if crowded { self.full_draft(&ledger) } else { self.draft(&ledger) };
        draft.log.append(&self.serial, now, note.clone());
        // The caller is refused either way; a disk that fails is found by the next command that must write.
        if self.commit(&mut ledger, draft).is_ok() {
            ledger.repeated.push(Repeated { note, since: now, times: 0 });
        }
    }

    /// Forgets the entries up to number `after`, which the caller has safely, and gives up to `max` that follow.
    ///
    /// # Errors
    /// [`HsmError::InvalidInput`] for a number beyond the last entry, [`HsmError::Denied`] for an operator where the
    /// device was not set up so.
    pub fn drain(&self, role: Role, after: u64, max: u16) -> Result<DeviceLogPage, HsmError> {
        let mut ledger = self.ledger();
        if role == Role::Operator && !ledger.log.policy.operator_drains {
            return Err(HsmError::Denied);
        }
        let repeats = ledger.repeated.iter().any(|again| again.times > 0);
        if after > ledger.log.base || repeats {
            let mut draft = self.full_draft(&ledger);
            draft.log.acknowledge(&self.serial, after)?;
            self.commit(&mut ledger, draft)?;
        }
        let (entries, last) = ledger.log.page(after, usize::from(max), PAGE_BYTES);
        Ok(DeviceLogPage { entries, last, head: ledger.log.head })
    }

    /// The head of the log under the device's signature; of a device that was zeroised, its last word.
    ///
    /// # Errors
    /// Why the device shut itself, for one that came up without any state.
    pub fn log_head(&self) -> Result<SignedHead, HsmError> {
        let ledger = self.ledger();
        match &ledger.last_word {
            Some(word) => return Ok(word.clone()),
            None if ledger.accounts.is_empty() => self.keyring().awake()?,
            None => {}
        }
        Ok(self.sign_head(&ledger.secrets, &ledger.log))
    }

    pub(super) fn sign_head(&self, secrets: &DeviceSecrets, log: &Ring) -> SignedHead {
        let counts = LogCounts {
            last: log.last(),
            acknowledged: log.base,
            unlogged_boots: log.unlogged_boots,
            unlogged_events: log.unlogged_events,
        };
        let seed = secrets.identity.expose();
        let signature = primitives::sign(seed, &SignedHead::message(&self.serial, &counts, &log.head));
        SignedHead {
            serial: self.serial,
            counts,
            head: log.head,
            public: primitives::public_key(seed),
            signature,
        }
    }
}
