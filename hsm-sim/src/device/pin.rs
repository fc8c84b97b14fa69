//! The PIN: only a slow hash of it is kept (Argon2id, RFC 9106), and it is compared in constant time.
//! Kept out: the count of tries, which the device keeps and writes before it compares.

use argon2::{Algorithm, Argon2, Params, Version};
use hsm::HsmError;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{fault, primitives};

/// Wrong PINs in a row before the device locks.
pub const MAX_TRIES: u8 = 10;
/// The shortest PIN, in bytes.
pub const MIN_PIN: usize = 6;
/// The longest PIN, in bytes.
pub const MAX_PIN: usize = crate::protocol::request::MAX_PIN;

/// Cost of one comparison: 19 MiB and two passes, the OWASP minimum for Argon2id.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// What is kept of a PIN.
#[derive(Clone, PartialEq, Eq)]
pub struct PinVerifier {
    pub(crate) memory_kib: u32,
    pub(crate) passes: u32,
    pub(crate) salt: [u8; 16],
    pub(crate) hash: [u8; 32],
}

impl PinVerifier {
    /// Makes the verifier of a PIN of [`MIN_PIN`] to [`MAX_PIN`] bytes.
    ///
    /// # Errors
    /// [`HsmError::InvalidInput`] for a PIN of another length, [`HsmError::Internal`] without random bytes.
    pub fn of(pin: &[u8]) -> Result<Self, HsmError> {
        if pin.len() < MIN_PIN {
            return Err(HsmError::InvalidInput(hsm::InputFault::Empty));
        }
        if pin.len() > MAX_PIN {
            return Err(HsmError::InvalidInput(hsm::InputFault::TooLong));
        }
        let mut verifier = Self::never();
        primitives::random(&mut verifier.salt)?;
        let hash = verifier.derive(pin).ok_or(HsmError::Internal { code: fault::PRIMITIVE })?;
        verifier.hash.copy_from_slice(hash.as_slice());
        Ok(verifier)
    }

    /// The verifier of a PIN nobody knows.
    pub(crate) fn unusable() -> Result<Self, HsmError> {
        let mut verifier = Self::never();
        primitives::random(&mut verifier.salt)?;
        primitives::random(&mut verifier.hash)?;
        Ok(verifier)
    }

    pub(crate) fn never() -> Self {
        Self { memory_kib: MEMORY_KIB, passes: PASSES, salt: [0; 16], hash: [0; 32] }
    }

    /// Is this the PIN?
    #[must_use]
    pub fn admits(&self, pin: &[u8]) -> bool {
        self.derive(pin).is_some_and(|hash| bool::from(hash.as_slice().ct_eq(&self.hash)))
    }

    fn derive(&self, pin: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
        let params = Params::new(self.memory_kib, self.passes, LANES, Some(32)).ok()?;
        let mut out = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(pin, &self.salt, out.as_mut_slice())
            .ok()?;
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pin_itself_is_admitted() {
        let verifier = PinVerifier::of(b"135790").unwrap();
        assert!(verifier.admits(b"135790"));
        for wrong in [&b"135791"[..], b"13579", b"1357900", b"", b"135790\0"] {
            assert!(!verifier.admits(wrong));
        }
        assert!(PinVerifier::of(b"12345").is_err());
    }

    #[test]
    fn two_verifiers_of_one_pin_share_nothing() {
        let (a, b) = (PinVerifier::of(b"135790").unwrap(), PinVerifier::of(b"135790").unwrap());
        assert!(a.salt != b.salt && a.hash != b.hash);
    }
}
