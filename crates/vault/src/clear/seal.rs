//! A card number into an envelope that opens only for its tenant and token.

use super::pan::Pan;
use crate::binding::Binding;
use crate::envelope::{self, Draw, HEADER, LENGTH};
use crate::error::VaultError;
use crate::record_key::RecordKey;
use zeroize::Zeroizing;

/// Seals under the tenant's data key, with salt and nonce drawn afresh.
pub(in crate::clear) fn seal(
    data_key: &[u8; 32],
    data_key_id: &[u8; 16],
    binding: &Binding<'_>,
    pan: &Pan,
) -> Result<Vec<u8>, VaultError> {
    seal_with(data_key, data_key_id, binding, pan, &Draw::fresh()?)
}

/// Private to this file and its tests: a caller who could choose the draw could repeat one.
fn seal_with(
    data_key: &[u8; 32],
    data_key_id: &[u8; 16],
    binding: &Binding<'_>,
    pan: &Pan,
    draw: &Draw,
) -> Result<Vec<u8>, VaultError> {
    let context = envelope::context(data_key_id);
    let (key, commitment) = RecordKey::fresh(data_key, &draw.salt, &context)?;
    let header = envelope::header(&context, draw, &commitment);
    let aad = binding.aad(&header);
    // Encrypted where it lies; if that fails the clear block is wiped with the vector.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LENGTH));
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(pan.block());
    let block = bytes.get_mut(HEADER..).ok_or(VaultError::Integrity)?;
    let tag = key.seal(&draw.nonce, &aad, block)?;
    bytes.extend_from_slice(&tag);
    Ok(std::mem::take(&mut *bytes))
}

#[cfg(test)]
mod golden;
