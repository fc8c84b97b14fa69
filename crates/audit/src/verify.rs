//! Recomputing a log from its stored rows: every leaf canonical, every hash its own, no gap, one root.

use crate::tree::{Frontier, Hash, leaf_hash};
use crate::{Entry, LeafError, LogName, parse};

/// What a faultless log comes to. Compare size and root with a signed checkpoint: rows that were all rewritten
/// together are consistent with each other, and only the signature tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// How many entries.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
    /// How many entries are dated before their predecessor. Clocks step and requests overtake each other, so
    /// this is a hint and no fault.
    pub dated_back: u64,
}

/// The first fault of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("entry {position}: {kind}")]
pub struct Fault {
    /// Where: the stored position, or for a gap the one that is missing.
    pub position: u64,
    /// What.
    pub kind: FaultKind,
}

/// What is wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// This position is missing: an entry was dropped, or comes in another order.
    #[error("missing or out of order")]
    Gap,
    /// The stored leaf hash is not the hash of the stored leaf.
    #[error("the leaf was altered: its hash differs")]
    HashMismatch,
    /// The leaf is no canonical entry.
    #[error("{0}")]
    NotCanonical(LeafError),
    /// The entry names another log.
    #[error("the entry belongs to another log")]
    ForeignLog,
}

/// Checks a log row by row, in constant memory.
#[derive(Debug, Clone)]
pub struct Verifier {
    log: LogName,
    frontier: Frontier,
    latest_us: i64,
    dated_back: u64,
}

impl Verifier {
    /// A verifier for the log of that name, from its first entry on.
    pub fn new(log: LogName) -> Self {
        Verifier { log, frontier: Frontier::new(), latest_us: i64::MIN, dated_back: 0 }
    }

    /// Takes the next row, in order of position, and gives the entry that it holds: whatever else is stored beside
    /// the leaf is the caller's to compare.
    ///
    /// # Errors
    /// The [`Fault`] of this row; the verifier is then of no more use.
    pub fn row(&mut self, position: u64, leaf: &[u8], stored_hash: &[u8]) -> Result<Entry, Fault> {
        let expected = self.frontier.size();
        if position != expected {
            return Err(Fault { position: expected, kind: FaultKind::Gap });
        }
        let fault = |kind| Fault { position, kind };
        let hash = leaf_hash(leaf);
        if hash.as_slice() != stored_hash {
            return Err(fault(FaultKind::HashMismatch));
        }
        let entry = parse(leaf).map_err(|error| fault(FaultKind::NotCanonical(error)))?;
        if entry.log != self.log {
            return Err(fault(FaultKind::ForeignLog));
        }
        self.dated_back += u64::from(entry.time_us < self.latest_us);
        self.latest_us = entry.time_us;
        self.frontier.append(hash);
        Ok(entry)
    }

    /// What the rows so far come to.
    pub fn report(&self) -> Report {
        Report { size: self.frontier.size(), root: self.frontier.root(), dated_back: self.dated_back }
    }
}

/// Checks a whole log: rows of position, leaf and stored leaf hash, in order of position.
///
/// # Errors
/// The first [`Fault`].
pub fn verify<L: AsRef<[u8]>, H: AsRef<[u8]>>(
    log: &LogName,
    rows: impl IntoIterator<Item = (u64, L, H)>,
) -> Result<Report, Fault> {
    let mut verifier = Verifier::new(log.clone());
    for (position, leaf, hash) in rows {
        verifier.row(position, leaf.as_ref(), hash.as_ref())?;
    }
    Ok(verifier.report())
}
