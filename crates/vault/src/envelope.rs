//! The stored bytes of one sealed card, format 1: parse strictly, write exactly. Nothing here can open one.
//!
//! ```text
//! off len field
//!   0   1 magic 0xC4          48  32 key commitment
//!   1   1 format version 1    80  24 ciphertext (one padded block)
//!   2   1 suite 0x01         104  16 tag
//!   3   1 flags 0            120     end
//!   4  16 data key id
//!  20  16 salt
//!  36  12 nonce
//! ```

use crate::error::VaultError;

/// Suite 1: HKDF-SHA-256 (RFC 5869), AES-256-GCM (SP 800-38D), 32-byte key commitment.
pub(crate) const SUITE: u8 = 1;
const MAGIC: u8 = 0xC4;
const VERSION: u8 = 1;

/// Bytes of the key derivation's context: magic to data key id.
pub(crate) const CONTEXT: usize = 20;
/// Bytes before the ciphertext, all bound into the AAD.
pub(crate) const HEADER: usize = 80;
/// Every card fills one block of this size, so a ciphertext says nothing about a number's length.
pub(crate) const BLOCK: usize = 24;
/// Bytes of the AES-GCM tag.
pub(crate) const TAG: usize = 16;
/// Bytes of a whole envelope.
pub(crate) const LENGTH: usize = HEADER + BLOCK + TAG;

/// What is drawn at random for each seal and stored in the clear.
pub(crate) struct Draw {
    pub(crate) salt: [u8; 16],
    pub(crate) nonce: [u8; 12],
}

impl Draw {
    /// Fresh from the operating system: 128 bits of salt give each record its own key, 96 more its nonce.
    pub(crate) fn fresh() -> Result<Self, VaultError> {
        let mut draw = Draw { salt: [0; 16], nonce: [0; 12] };
        getrandom::fill(&mut draw.salt)?;
        getrandom::fill(&mut draw.nonce)?;
        Ok(draw)
    }
}

/// The first 20 bytes of an envelope under that data key: what the record key is derived from besides the salt.
pub(crate) fn context(data_key_id: &[u8; 16]) -> [u8; CONTEXT] {
    let mut context = [0; CONTEXT];
    let (head, id) = context.split_at_mut(4);
    head.copy_from_slice(&[MAGIC, VERSION, SUITE, 0]);
    id.copy_from_slice(data_key_id);
    context
}

/// The 80 bytes before the ciphertext.
pub(crate) fn header(context: &[u8; CONTEXT], draw: &Draw, commitment: &[u8; 32]) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let parts: [&[u8]; 4] = [context, &draw.salt, &draw.nonce, commitment];
    for (place, byte) in header.iter_mut().zip(parts.into_iter().flatten()) {
        *place = *byte;
    }
    header
}

/// An envelope that has this format, version, suite, flags and length; whether it is genuine only the key says.
pub(crate) struct Envelope<'a> {
    pub(crate) header: &'a [u8; HEADER],
    pub(crate) context: &'a [u8; CONTEXT],
    pub(crate) salt: &'a [u8; 16],
    pub(crate) nonce: &'a [u8; 12],
    pub(crate) commitment: &'a [u8; 32],
    pub(crate) ciphertext: &'a [u8; BLOCK],
    pub(crate) tag: &'a [u8; TAG],
}

impl<'a> Envelope<'a> {
    /// Parses stored bytes. Anything not written by [`header`] is [`VaultError::Integrity`].
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, VaultError> {
        Self::split(bytes).ok_or(VaultError::Integrity)
    }

    fn split(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
        let (ciphertext, rest) = rest.split_first_chunk::<BLOCK>()?;
        let (tag, rest) = rest.split_first_chunk::<TAG>()?;
        let (context, fields) = header.split_first_chunk::<CONTEXT>()?;
        let (salt, fields) = fields.split_first_chunk::<16>()?;
        let (nonce, fields) = fields.split_first_chunk::<12>()?;
        let (commitment, fields) = fields.split_first_chunk::<32>()?;
        let exact = rest.is_empty() && fields.is_empty() && context.starts_with(&[MAGIC, VERSION, SUITE, 0]);
        exact.then_some(Envelope { header, context, salt, nonce, commitment, ciphertext, tag })
    }

    /// The data key that sealed it.
    pub(crate) fn data_key_id(&self) -> [u8; 16] {
        self.context.last_chunk::<16>().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written() -> Vec<u8> {
        let context = context(&[7; 16]);
        let mut bytes = header(&context, &Draw { salt: [1; 16], nonce: [2; 12] }, &[3; 32]).to_vec();
        bytes.extend([4; BLOCK]);
        bytes.extend([5; TAG]);
        bytes
    }

    #[test]
    fn what_was_written_parses_into_the_same_fields() {
        let bytes = written();
        let envelope = Envelope::parse(&bytes).unwrap();

        assert_eq!(bytes.len(), LENGTH);
        assert_eq!(envelope.data_key_id(), [7; 16]);
        assert_eq!(
            (envelope.salt, envelope.nonce, envelope.commitment, envelope.ciphertext, envelope.tag),
            (&[1; 16], &[2; 12], &[3; 32], &[4; BLOCK], &[5; TAG])
        );
    }

    #[test]
    fn another_magic_version_suite_flag_or_length_is_refused() {
        for place in 0..4 {
            for bit in 0..8 {
                let mut bytes = written();
                bytes[place] ^= 1 << bit;
                assert!(Envelope::parse(&bytes).is_err(), "byte {place} bit {bit}");
            }
        }
        let bytes = written();
        for length in 0..bytes.len() {
            assert!(Envelope::parse(&bytes[..length]).is_err(), "{length}");
        }
        assert!(Envelope::parse(&[bytes, vec![0]].concat()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Envelope::parse(&bytes);
        }
    }
}
