//! Bodies that have no business with cards: given back to the gateway once nothing in them reads like one.

use super::intake::Intake;
use super::stray;
use crate::binding::append;
use crate::error::VaultError;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use sweep::Limits;
use zeroize::{Zeroize, Zeroizing};

/// The body's bytes, if neither they nor the trailers hold anything that reads like a card.
pub(crate) fn plain(mut intake: Intake, limits: &Limits) -> Result<Bytes, VaultError> {
    stray::no_card_in_headers("/", &intake.trailers)?;
    if !intake.body.is_empty() {
        stray::no_card_in_body(intake.content_type.as_deref(), &intake.body, &[], limits)?;
    }
    Ok(Bytes::from(std::mem::take(&mut *intake.body)))
}

/// What is hashed under the request key in the HSM: a digest of endpoint, content type and body, each behind its
/// length. The digest is wiped with the message; by itself it could be searched for the card inside.
pub(crate) fn request_message(endpoint: &str, intake: &Intake) -> Zeroizing<Vec<u8>> {
    let content_type = intake.content_type.as_deref().unwrap_or_default();
    let mut hash = Sha256::new();
    for field in [endpoint.as_bytes(), content_type.as_bytes(), &intake.body] {
        hash.update(u64::try_from(field.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(field);
    }
    let mut digest = <[u8; 32]>::from(hash.finalize());
    let mut message = Zeroizing::new(Vec::with_capacity(64));
    append(&mut message, b"pangate/v1/request");
    append(&mut message, &digest);
    digest.zeroize();
    message
}
