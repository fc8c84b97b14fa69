//! A token back into the card, for one processor and one charge. The most dangerous door of the house: it gives
//! out a number and a code in the clear, as bytes that are wiped when they are dropped.

use super::cvc::Cvc;
use super::open::open;
use super::pan::Pan;
use crate::binding::Binding;
use crate::envelope::Envelope;
use crate::error::VaultError;
use crate::rotation::{self, SealedCard};
use crate::shelf::{self, CardState, Stored};
use crate::vault::Parts;
use std::sync::Arc;
use tokens::{MaskedCard, Tenant, Token};
use zeroize::Zeroizing;

/// A card in the clear, form-encoded for one processor. Only the card room makes one; the companion's sender does
/// not take it. It cannot be printed, cloned or serialised.
pub struct Revealed {
    wire: Zeroizing<Vec<u8>>,
    has_cvc: bool,
}

impl Revealed {
    /// DANGER: the card in the clear, `card%5Bnumber%5D=…&card%5Bexp_month%5D=…&card%5Bexp_year%5D=…` and, while it
    /// is held, `&card%5Bcvc%5D=…`. Write it into the processor's TLS connection and nowhere else.
    pub fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// Whether the verification code is with it.
    pub fn has_cvc(&self) -> bool {
        self.has_cvc
    }
}

/// Opens the envelope behind a tenant's token and lends its code to this charge.
pub(crate) async fn reveal(
    vault: &Arc<Parts>,
    tenant: &Tenant,
    token: &Token,
    charge_key: &str,
) -> Result<Revealed, VaultError> {
    let mut stored = usable(vault, tenant, token).await?;
    let (pan, data_key_id) = match opened(vault, tenant, token, &stored).await {
        // A rotation may have moved the card since its row was read, and ended the key that it was under then. Only
        // a card that is still where it was is gone.
        Err(VaultError::TokenGone) => {
            let again = usable(vault, tenant, token).await?;
            if again.envelope == stored.envelope {
                return Err(VaultError::TokenGone);
            }
            stored = again;
            opened(vault, tenant, token, &stored).await?
        }
        opened => opened?,
    };
    if let Some(envelope) = stored.envelope {
        let card = SealedCard { tenant: tenant.clone(), token: token.clone(), envelope };
        rotation::upgrade(vault, card, data_key_id);
    }
    Ok(vault.cvc.lend(tenant, token, charge_key, |cvc| fill(&pan, &stored.record.card, cvc)))
}

async fn usable(vault: &Parts, tenant: &Tenant, token: &Token) -> Result<Stored, VaultError> {
    let mut reader = vault.store.read().await?;
    let stored = shelf::take_down(&mut reader, tenant, token, vault.clock.now_us()).await?;
    let stored = stored.ok_or(VaultError::UnknownToken)?;
    match stored.record.state {
        CardState::Usable => Ok(stored),
        CardState::Expired => Err(VaultError::TokenExpired),
        CardState::Shredded => Err(VaultError::TokenGone),
    }
}

async fn opened(
    vault: &Parts,
    tenant: &Tenant,
    token: &Token,
    stored: &Stored,
) -> Result<(Pan, [u8; 16]), VaultError> {
    let envelope = Envelope::parse(stored.envelope.as_deref().ok_or(VaultError::Integrity)?)?;
    let id = envelope.data_key_id();
    // The column serves rotation; the envelope is what was authenticated. Two answers mean that one was changed.
    if stored.data_key_id.as_deref() != Some(id.as_slice()) {
        return Err(VaultError::Integrity);
    }
    let data_key = vault.keys.open(tenant, id).await?;
    Ok((open(data_key.expose(), &Binding { tenant, token }, &envelope)?, id))
}

fn fill(pan: &Pan, card: &MaskedCard, cvc: Option<&Cvc>) -> Revealed {
    // 3 field names, 19 + 2 + 4 + 4 digits: wide enough that the vector never moves.
    let mut wire = Zeroizing::new(Vec::with_capacity(160));
    wire.extend_from_slice(b"card%5Bnumber%5D=");
    wire.extend_from_slice(pan.digits());
    wire.extend_from_slice(
        format!("&card%5Bexp_month%5D={}&card%5Bexp_year%5D={}", card.exp_month, card.exp_year).as_bytes(),
    );
    if let Some(cvc) = cvc {
        wire.extend_from_slice(b"&card%5Bcvc%5D=");
        wire.extend_from_slice(cvc.digits());
    }
    Revealed { wire, has_cvc: cvc.is_some() }
}

static_assertions::assert_not_impl_any!(
    Revealed: std::fmt::Debug, std::fmt::Display, Clone, Default, PartialEq, AsRef<[u8]>, Into<Vec<u8>>, serde::Serialize
);
