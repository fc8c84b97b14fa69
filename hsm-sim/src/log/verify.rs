//! The offline check of a log that was taken away, page by page or all at once: needs no device and no key of it.

use hsm::DestructionRecord;

use super::{Entry, Hash, SignedHead, genesis, link};
use crate::device::primitives;

/// Where a check begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The number of the last entry that was checked before; 0 at the beginning.
    pub seq: u64,
    /// That entry's hash.
    pub hash: Hash,
    /// That entry's time.
    pub at: u64,
}

impl Start {
    /// The beginning of a device's log.
    #[must_use]
    pub fn of_device(serial: &[u8; 16]) -> Self {
        Self { seq: 0, hash: genesis(serial), at: 0 }
    }

    /// Where a check goes on behind an entry that was checked before; `None` for bytes that are no entry.
    #[must_use]
    pub fn after(serial: &[u8; 16], entry: &[u8]) -> Option<Self> {
        let Entry { seq, at, .. } = Entry::decode(entry)?;
        Some(Self { seq, hash: link(serial, entry), at })
    }
}

/// What a check found good: where the next one begins, and what was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Where the next check begins.
    pub end: Start,
    /// The entries, read.
    pub entries: Vec<Entry>,
}

/// How a log is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Bytes that are no entry.
    #[error("what stands where entry {0} should be is no entry: it was altered")]
    NoEntry(u64),
    /// A number is missing, doubled or out of order.
    #[error("entry {expected} is missing: entry {found} stands in its place")]
    OutOfOrder {
        /// The number that should be here.
        expected: u64,
        /// The number that is.
        found: u64,
    },
    /// An entry does not follow the one before it.
    #[error("entry {0} does not follow the one before it: one of the two was altered or is another device's")]
    Unlinked(u64),
    /// Time ran backwards.
    #[error("entry {0} is older than the one before it")]
    Backwards(u64),
    /// The signed head says otherwise.
    #[error(
        "the log ends at entry {end} and does not match the head that the device signed for entry {signed}"
    )]
    NotTheHead {
        /// Where the log ends.
        end: u64,
        /// What the device signed.
        signed: u64,
    },
    /// The head is not the device's.
    #[error("the signature does not fit: this is not the word of that device")]
    Signature,
}

/// Checks entries that follow `start` on the device `serial`: none missing, none added, none swapped, none altered.
///
/// # Errors
/// [`Broken`], with the number of the first entry that does not fit.
pub fn verify<T: AsRef<[u8]>>(serial: &[u8; 16], start: Start, entries: &[T]) -> Result<Checked, Broken> {
    let mut end = start;
    let mut read = Vec::with_capacity(entries.len());
    for bytes in entries {
        let expected = end.seq.saturating_add(1);
        let entry = Entry::decode(bytes.as_ref()).ok_or(Broken::NoEntry(expected))?;
        if entry.seq != expected {
            return Err(Broken::OutOfOrder { expected, found: entry.seq });
        }
        if entry.prev != end.hash {
            return Err(Broken::Unlinked(expected));
        }
        if entry.at < end.at {
            return Err(Broken::Backwards(expected));
        }
        end = Start { seq: expected, hash: link(serial, bytes.as_ref()), at: entry.at };
        read.push(entry);
    }
    Ok(Checked { end, entries: read })
}

/// Checks that a log, read to its end, is the one whose head the device with this public key signed: so nothing was
/// cut off at the end.
///
/// # Errors
/// [`Broken::Signature`], [`Broken::NotTheHead`].
pub fn verify_head(end: Start, head: &SignedHead, public: &[u8; 32]) -> Result<(), Broken> {
    let message = SignedHead::message(&head.serial, &head.counts, &head.head);
    if head.public != *public || !primitives::verify(public, &message, &head.signature) {
        return Err(Broken::Signature);
    }
    if (end.seq, end.hash) != (head.counts.last, head.head) {
        return Err(Broken::NotTheHead { end: end.seq, signed: head.counts.last });
    }
    Ok(())
}

/// Is this the word of the device whose audit key has this public half that it destroyed that key? No session can
/// have the device sign such a statement; only destroying a key does.
#[must_use]
pub fn verify_destruction(public: &[u8; 32], record: &DestructionRecord) -> bool {
    let statement = DestructionRecord::statement(&record.key, record.at);
    <[u8; 64]>::try_from(record.signature.as_slice())
        .is_ok_and(|signature| primitives::verify(public, &statement, &signature))
}
