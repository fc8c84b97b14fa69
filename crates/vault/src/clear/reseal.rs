//! Cards of rows that rotate: opened, used for one thing, wiped. No number leaves this file.

use super::fingerprint::message;
use super::open::open;
use super::pan::Pan;
use super::seal::seal;
use crate::binding::Binding;
use crate::envelope::Envelope;
use crate::error::VaultError;
use crate::rotation::{Reencrypted, SealedCard};
use crate::vault::Parts;
use hsm::KeyRef;
use std::collections::BTreeMap;
use tokens::Tenant;
use zeroize::Zeroizing;

/// Opens a card and seals it under its tenant's active key.
///
/// # Errors
/// [`VaultError::TokenGone`] when its key was destroyed, [`VaultError::Integrity`] when it does not open, or any
/// failure of store or HSM.
pub(crate) async fn reseal(vault: &Parts, card: SealedCard) -> Result<Reencrypted, VaultError> {
    let (id, key) = vault.keys.for_sealing(&card.tenant, 1).await?;
    let pan = opened(vault, &card).await?;
    let binding = Binding { tenant: &card.tenant, token: &card.token };
    let envelope = seal(key.expose(), &id, &binding, &pan)?;
    Ok(Reencrypted { tenant: card.tenant, token: card.token, was: card.envelope, envelope, data_key_id: id })
}

/// Opens cards and hashes their numbers under exactly that version of the fingerprint key, in one call to the HSM.
/// The answers are in the cards' order; one card that does not open leaves the others their answer.
///
/// # Errors
/// Any failure of store or HSM.
pub(crate) async fn refingerprint(
    vault: &Parts,
    to: &KeyRef,
    cards: Vec<SealedCard>,
) -> Result<Vec<Result<[u8; 32], VaultError>>, VaultError> {
    let (mut messages, mut problems, total) = (vec![], BTreeMap::new(), cards.len());
    for (index, card) in cards.into_iter().enumerate() {
        match hashed(vault, &card.tenant, &card).await {
            Ok(message) => messages.push(message),
            Err(problem @ (VaultError::Integrity | VaultError::TokenGone)) => {
                problems.insert(index, problem);
            }
            Err(error) => return Err(error),
        }
    }
    let mut macs = vault.names.under(to.clone(), &messages).await?.macs.into_iter();
    let answers = (0..total).map(|index| match problems.remove(&index) {
        Some(problem) => Err(problem),
        None => macs.next().ok_or(VaultError::HsmRefused),
    });
    Ok(answers.collect())
}

async fn hashed(vault: &Parts, tenant: &Tenant, card: &SealedCard) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    Ok(message(tenant, &opened(vault, card).await?))
}

async fn opened(vault: &Parts, card: &SealedCard) -> Result<Pan, VaultError> {
    let envelope = Envelope::parse(&card.envelope)?;
    let key = match vault.keys.open(&card.tenant, envelope.data_key_id()).await {
        // Its KEK's version was destroyed before its time; one such card must not hold up the others.
        Err(VaultError::HsmRefused) => return Err(VaultError::Integrity),
        key => key?,
    };
    open(key.expose(), &Binding { tenant: &card.tenant, token: &card.token }, &envelope)
}
