//! The head of the log, signed by the device under a domain of its own with its serial number.

use super::Hash;
use crate::protocol::codec::{Malformed, Reader, Writer};

/// Counts that go with the head of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogCounts {
    /// The number of the last entry.
    pub last: u64,
    /// The number of the last entry that was taken away and forgotten.
    pub acknowledged: u64,
    /// Starts of the device that found the log full.
    pub unlogged_boots: u32,
    /// Other events that found the log full.
    pub unlogged_events: u32,
}

/// The head of a device's log under the device's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHead {
    /// Which device.
    pub serial: [u8; 16],
    /// How many.
    pub counts: LogCounts,
    /// The hash of the last entry.
    pub head: Hash,
    /// The device's public key (Ed25519). Compare it with the one noted when the device was made.
    pub public: [u8; 32],
    /// The signature over all of it.
    pub signature: [u8; 64],
}

impl SignedHead {
    pub(crate) fn message(serial: &[u8; 16], counts: &LogCounts, head: &Hash) -> Vec<u8> {
        let mut out = b"pangate/hsm-sim/log/head/v1".to_vec();
        out.extend_from_slice(serial);
        out.extend_from_slice(&counts.last.to_be_bytes());
        out.extend_from_slice(&counts.acknowledged.to_be_bytes());
        out.extend_from_slice(&counts.unlogged_boots.to_be_bytes());
        out.extend_from_slice(&counts.unlogged_events.to_be_bytes());
        out.extend_from_slice(head);
        out
    }

    /// The one encoding, signature included.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(200);
        head_bytes(&mut out, self);
        out.as_slice().to_vec()
    }

    /// Reads a head; exact. Whether the signature fits is not asked: [`super::verify_head`] does.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::new(bytes);
        let head = read_head(&mut from).ok()?;
        from.finish().is_ok().then_some(head)
    }
}

pub(crate) fn head_bytes(out: &mut Writer, head: &SignedHead) {
    out.raw(&head.serial);
    out.u64(head.counts.last);
    out.u64(head.counts.acknowledged);
    out.u32(head.counts.unlogged_boots);
    out.u32(head.counts.unlogged_events);
    out.raw(&head.head);
    out.raw(&head.public);
    out.raw(&head.signature);
}

pub(crate) fn read_head(from: &mut Reader<'_>) -> Result<SignedHead, Malformed> {
    let serial = from.array()?;
    let counts = LogCounts {
        last: from.u64()?,
        acknowledged: from.u64()?,
        unlogged_boots: from.u32()?,
        unlogged_events: from.u32()?,
    };
    Ok(SignedHead { serial, counts, head: from.array()?, public: from.array()?, signature: from.array()? })
}
