//! Thirty-two secret bytes: on the heap, wiped on drop, unprintable. Kept out: what they are for.

use hsm::HsmError;
use secrecy::{ExposeSecret, SecretBox};

use super::primitives;

/// A 256-bit secret. No `Debug`, no `Clone`.
pub struct Secret(SecretBox<[u8; 32]>);

impl Secret {
    /// A secret from the device's generator.
    ///
    /// # Errors
    /// [`HsmError::Internal`] without random bytes.
    pub fn generate() -> Result<Self, HsmError> {
        Self::fill_with(|bytes| primitives::random(bytes))
    }

    /// A secret whose bytes are filled where they will stay.
    ///
    /// # Errors
    /// Those of `fill`.
    pub fn fill_with<E>(fill: impl FnOnce(&mut [u8; 32]) -> Result<(), E>) -> Result<Self, E> {
        let mut outcome = Ok(());
        let secret = SecretBox::init_with_mut(|bytes: &mut [u8; 32]| outcome = fill(bytes));
        outcome.map(|()| Self(secret))
    }

    /// The bytes: for the primitives and for the sealed state, nothing else.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }

    /// The same secret again, for a table that is about to be sealed and wiped.
    #[must_use]
    pub fn twin(&self) -> Self {
        Self(SecretBox::init_with_mut(|bytes: &mut [u8; 32]| bytes.copy_from_slice(self.expose())))
    }
}
