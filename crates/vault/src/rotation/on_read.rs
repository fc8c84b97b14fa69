//! A card that is read under an old data key moves to the active one behind the reader's back: what is used is the
//! first to be safe, and the rotation has less to do.

use super::reencrypt::{SealedCard, settle_one};
use crate::clear;
use crate::error::VaultError;
use crate::vault::Parts;
use std::sync::Arc;

/// Moves that card unless it is under the active key already or enough others are on the move. Nobody waits for it
/// and nobody hears of its failure: the rotation comes to every card.
pub(crate) fn upgrade(vault: &Arc<Parts>, card: SealedCard, data_key_id: [u8; 16]) {
    if vault.keys.is_active(&card.tenant, data_key_id) {
        return;
    }
    let Ok(permit) = Arc::clone(&vault.upgrades).try_acquire_owned() else { return };
    let vault = Arc::clone(vault);
    tokio::spawn(async move {
        let _permit = permit;
        let _ = moved(&vault, card, data_key_id).await;
    });
}

async fn moved(vault: &Parts, card: SealedCard, data_key_id: [u8; 16]) -> Result<(), VaultError> {
    if vault.keys.active(&card.tenant).await? == Some(data_key_id) {
        return Ok(());
    }
    let resealed = clear::reseal(vault, card).await?;
    vault
        .store
        .commit::<_, VaultError, _>(move |work| Box::pin(async move { settle_one(work, resealed).await }))
        .await?;
    Ok(())
}
