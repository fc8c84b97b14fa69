//! Bodies that have no business with cards: given back to the gateway once nothing in them reads like one.

use super::intake::Intake;
use super::stray;
use crate::error::VaultError;
use bytes::Bytes;
use sweep::Limits;

/// The body's bytes, if neither they nor the trailers hold anything that reads like a card.
pub(crate) fn plain(mut intake: Intake, limits: &Limits) -> Result<Bytes, VaultError> {
    stray::no_card_in_headers("/", &intake.trailers)?;
    if !intake.body.is_empty() {
        stray::no_card_in_body(intake.content_type.as_deref(), &intake.body, &[], limits)?;
    }
    Ok(Bytes::from(std::mem::take(&mut *intake.body)))
}
