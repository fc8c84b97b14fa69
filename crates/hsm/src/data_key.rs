//! Data keys: in clear, boxed, wiped and unprintable; and sealed, with one strict stored form.
//! Kept out: sealing and opening, which only a device does, and any way to choose an IV.

use secrecy::{ExposeSecret, SecretBox};

use crate::error::{HsmError, InputFault};
use crate::names::{KeyLabel, KeyRef, KeyVersion};

/// Length of a sealed key's IV, in bytes.
pub const SEALED_IV_LEN: usize = 12;
/// Length of a sealed key's ciphertext and tag, in bytes.
pub const SEALED_KEY_LEN: usize = 48;

/// How a data key is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WrapSuite {
    /// The key as data under AES-256-GCM (NIST SP 800-38D) with the context as associated data, 128-bit tag.
    Aes256GcmData,
}

impl WrapSuite {
    /// The byte that stands for it in stored and sent forms.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Aes256GcmData => 1,
        }
    }

    /// The suite a byte stands for.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        (code == Self::Aes256GcmData.code()).then_some(Self::Aes256GcmData)
    }
}

/// A data key in clear: 32 bytes on the heap, wiped on drop. No `Debug`, `Clone`, `Display` or `Serialize`.
pub struct DataKey(SecretBox<[u8; 32]>);

impl DataKey {
    /// Makes a key by filling it where it will stay, so that no copy is left on the stack.
    ///
    /// # Errors
    /// Whatever `fill` answers; the half-filled key is wiped.
    pub fn fill_with<E>(fill: impl FnOnce(&mut [u8; 32]) -> Result<(), E>) -> Result<Self, E> {
        let mut outcome = Ok(());
        let key = SecretBox::init_with_mut(|bytes: &mut [u8; 32]| outcome = fill(bytes));
        outcome.map(|()| Self(key))
    }

    /// The bytes of the key. Every use of this is a place to review.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }
}

/// A data key under a KEK, fit to be stored. The IV was chosen by the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedDataKey {
    /// How it is sealed.
    pub suite: WrapSuite,
    /// Under which key.
    pub kek: KeyRef,
    /// The device's IV.
    pub iv: [u8; SEALED_IV_LEN],
    /// Ciphertext and tag.
    pub ct: [u8; SEALED_KEY_LEN],
}

/// First byte of the stored form.
const STORED_FORM: u8 = 1;

impl SealedDataKey {
    /// The stored form: form byte 1, suite, label length, label, version (big-endian `u32`), IV, ciphertext.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let label = self.kek.label.as_str().as_bytes();
        let mut out = Vec::with_capacity(67 + label.len());
        out.push(STORED_FORM);
        out.push(self.suite.code());
        // A label is at most 48 bytes, so the conversion cannot fail.
        out.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(label);
        out.extend_from_slice(&self.kek.version.get().to_be_bytes());
        out.extend_from_slice(&self.iv);
        out.extend_from_slice(&self.ct);
        out
    }

    /// Reads the stored form: exact length, known codes, nothing after it.
    ///
    /// # Errors
    /// [`HsmError::InvalidInput`] with [`InputFault::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HsmError> {
        Self::parse(bytes).ok_or(HsmError::InvalidInput(InputFault::Malformed))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (&[form, suite, label_len], rest) = bytes.split_first_chunk::<3>()?;
        if form != STORED_FORM {
            return None;
        }
        let suite = WrapSuite::from_code(suite)?;
        let (label, rest) = rest.split_at_checked(usize::from(label_len))?;
        let label = KeyLabel::new(std::str::from_utf8(label).ok()?).ok()?;
        let (version, rest) = rest.split_first_chunk::<4>()?;
        let version = KeyVersion::new(u32::from_be_bytes(*version))?;
        let (iv, rest) = rest.split_first_chunk::<SEALED_IV_LEN>()?;
        let ct = <[u8; SEALED_KEY_LEN]>::try_from(rest).ok()?;
        Some(Self { suite, kek: label.at(version), iv: *iv, ct })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    static_assertions::assert_not_impl_any!(
        DataKey: Clone, Copy, std::fmt::Debug, std::fmt::Display, PartialEq, AsRef<[u8]>
    );
    static_assertions::assert_impl_all!(DataKey: Send);

    fn sealed() -> SealedDataKey {
        SealedDataKey {
            suite: WrapSuite::Aes256GcmData,
            kek: KeyLabel::KEK_CARD.at(KeyVersion::FIRST),
            iv: [7; 12],
            ct: [9; 48],
        }
    }

    #[test]
    fn a_failed_fill_gives_no_key() {
        let outcome = DataKey::fill_with(|bytes| {
            bytes.fill(1);
            Err(HsmError::Timeout)
        });
        assert!(matches!(outcome, Err(HsmError::Timeout)));
    }

    #[test]
    fn the_stored_form_has_no_second_spelling() {
        let bytes = sealed().to_bytes();
        assert_eq!(SealedDataKey::from_bytes(&bytes).unwrap(), sealed());
        for len in 0..bytes.len() {
            assert!(SealedDataKey::from_bytes(&bytes[..len]).is_err(), "cut to {len}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(SealedDataKey::from_bytes(&longer).is_err());
    }

    proptest! {
        #[test]
        fn whatever_decodes_encodes_back_to_the_same_bytes(
            flips in proptest::collection::vec((0usize..76, any::<u8>()), 0..4)
        ) {
            let mut bytes = sealed().to_bytes();
            for (at, value) in flips {
                if let Some(byte) = bytes.get_mut(at) { *byte = value; }
            }
            if let Ok(read) = SealedDataKey::from_bytes(&bytes) {
                prop_assert_eq!(read.to_bytes(), bytes);
            }
        }

        #[test]
        fn no_bytes_at_all_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = SealedDataKey::from_bytes(&bytes);
        }
    }
}
