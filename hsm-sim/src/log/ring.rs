//! The entries that nobody has taken away yet, in a ring of fixed size. When it is full it either blocks the device
//! or, where the device was so set up, drops the oldest.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Actor, Entry, Event, Hash, genesis, link};
use hsm::HsmError;

/// What happens when the log is full, and who may take it away; fixed when the device is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPolicy {
    /// Entries that fit, at least [`LogPolicy::MIN_CAPACITY`].
    pub capacity: u16,
    /// Full: refuse every command but status and log (force-audit), rather than drop the oldest entry.
    pub blocks: bool,
    /// May the operator take the log away, as the auditor may?
    pub operator_drains: bool,
}

impl LogPolicy {
    /// The smallest log, in entries (the ring of a YubiHSM 2).
    pub const MIN_CAPACITY: u16 = 62;
    /// The largest log, in entries.
    pub const MAX_CAPACITY: u16 = 4096;
}

impl Default for LogPolicy {
    fn default() -> Self {
        Self { capacity: 1024, blocks: true, operator_drains: true }
    }
}

/// What is to be written down, before it has a number and a place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Who.
    pub actor: Actor,
    /// What.
    pub event: Event,
    /// On what.
    pub subject: String,
    /// `None` when it was done, else why not.
    pub refused: Option<HsmError>,
    /// How often.
    pub count: u32,
}

/// The log inside the device. Cloning is cheap: entries are shared.
#[derive(Clone)]
pub struct Ring {
    /// How it behaves.
    pub policy: LogPolicy,
    /// The number of the last entry that is no longer here.
    pub base: u64,
    /// That entry's hash.
    pub base_hash: Hash,
    /// The encoded entries after it, in order.
    pub entries: VecDeque<Arc<[u8]>>,
    /// Starts of the device that found the log full.
    pub unlogged_boots: u32,
    /// Other events that found the log full.
    pub unlogged_events: u32,
    /// The hash of the last entry.
    pub head: Hash,
    /// The time of the last entry.
    pub last_at: u64,
}

impl Ring {
    /// The empty log of a new device.
    #[must_use]
    pub fn new(serial: &[u8; 16], policy: LogPolicy) -> Self {
        let start = genesis(serial);
        Self {
            policy,
            base: 0,
            base_hash: start,
            entries: VecDeque::new(),
            unlogged_boots: 0,
            unlogged_events: 0,
            head: start,
            last_at: 0,
        }
    }

    /// The number of the last entry.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.base.saturating_add(self.entries.len() as u64)
    }

    /// Does it block?
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.policy.blocks && self.entries.len() >= usize::from(self.policy.capacity)
    }

    /// Appends an entry at `at` seconds since 1970, or counts it as unlogged when the log is full.
    pub fn append(&mut self, serial: &[u8; 16], at: u64, note: Note) {
        let Note { actor, event, mut subject, refused, count } = note;
        if self.is_full() {
            let boot = event == Event::Boot;
            let missed = if boot { &mut self.unlogged_boots } else { &mut self.unlogged_events };
            *missed = missed.saturating_add(count);
            return;
        }
        if self.entries.len() >= usize::from(self.policy.capacity) {
            self.drop_oldest(serial);
        }
        let Some(seq) = self.last().checked_add(1) else { return };
        // Subjects are labels, acts and names, all of ASCII and short enough; the bound is for the encoding's sake.
        subject.truncate(subject.floor_char_boundary(Entry::MAX_SUBJECT));
        let at = at.max(self.last_at);
        let entry = Entry { seq, at, actor, event, subject, refused, count, prev: self.head }.encode();
        self.head = link(serial, &entry);
        self.last_at = at;
        self.entries.push_back(entry.into());
    }

    /// Forgets the entries up to number `upto`, which somebody has taken away.
    ///
    /// # Errors
    /// [`HsmError::InvalidInput`] when there is no such entry yet.
    pub fn acknowledge(&mut self, serial: &[u8; 16], upto: u64) -> Result<(), HsmError> {
        if upto > self.last() {
            return Err(HsmError::InvalidInput(hsm::InputFault::Malformed));
        }
        while self.base < upto {
            self.drop_oldest(serial);
        }
        Ok(())
    }

    /// Up to `max` entries after number `after`, of at most `bytes` bytes together, and the last one's number.
    #[must_use]
    pub fn page(&self, after: u64, max: usize, bytes: usize) -> (Vec<Vec<u8>>, u64) {
        let skipped = usize::try_from(after.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let mut room = bytes;
        let mut page = Vec::new();
        for entry in self.entries.iter().skip(skipped).take(max) {
            let Some(left) = room.checked_sub(entry.len() + 2) else { break };
            room = left;
            page.push(entry.to_vec());
        }
        let last = after.max(self.base).min(self.last()).saturating_add(page.len() as u64);
        (page, last)
    }

    fn drop_oldest(&mut self, serial: &[u8; 16]) {
        if let Some(oldest) = self.entries.pop_front() {
            self.base = self.base.saturating_add(1);
            self.base_hash = link(serial, &oldest);
        }
    }
}
