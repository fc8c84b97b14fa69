//! The device's own log: entries that name their predecessor's hash, a ring of fixed size that is emptied by whoever
//! takes the log away, a head signed by the device, and an offline check of all that. Pure: no clock, no file.
//! Kept out: what is worth an entry, which the device decides.
//!
//! An entry's hash is SHA-256 over a domain, the device's serial number and the entry; every entry carries the hash of
//! the one before it. So entries of another device, left out, swapped or altered do not fit together, and what was
//! taken away earlier is pinned by what was taken away later.

mod entry;
mod head;
mod ring;
mod verify;

pub use entry::{Actor, Entry, Event};
pub use head::{LogCounts, SignedHead};
pub use ring::{LogPolicy, Note, Ring};
pub use verify::{Broken, Checked, Start, verify, verify_destruction, verify_head};

pub(crate) use head::{head_bytes, read_head};

/// A hash in the chain.
pub type Hash = [u8; 32];

pub(crate) fn genesis(serial: &[u8; 16]) -> Hash {
    crate::device::primitives::sha256(&[b"pangate/hsm-sim/log/genesis/v1", &serial[..]].concat())
}

/// The hash of an entry, which the next one carries.
#[must_use]
pub fn entry_hash(serial: &[u8; 16], entry: &[u8]) -> Hash {
    link(serial, entry)
}

pub(crate) fn link(serial: &[u8; 16], entry: &[u8]) -> Hash {
    crate::device::primitives::sha256(&[b"pangate/hsm-sim/log/entry/v1", &serial[..], entry].concat())
}
