//! Has this tenant seen this card? A keyed hash answers, computed inside the HSM: the numbers that exist are few
//! enough to try them all, so a hash whose key could be read would be as good as the card (PCI DSS 3.5.1.1).
//!
//! What is sent to the HSM is a digest, so that the number itself never leaves this process (P1).

use super::pan::Pan;
use crate::binding::append;
use crate::error::VaultError;
use crate::key_names::KeyNames;
use hsm::KeyLabel;
use sha2::{Digest, Sha256};
use tokens::Tenant;
use zeroize::{Zeroize, Zeroizing};

const DOMAIN: &[u8] = b"pangate/v1/fingerprint";

/// One card's keyed hashes, under the newest version of the key and beside it under every older one that is still
/// active: the card may have been met before the rotation.
pub(crate) struct Fingerprints {
    pub(crate) newest: Fingerprint,
    pub(crate) older: Vec<Fingerprint>,
}

/// A keyed hash and the version of its key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    pub(crate) mac: [u8; 32],
    pub(crate) version: u32,
}

/// HMAC-SHA-256 of tenant and number for each card. The tenant is inside, so that the rows of two tenants never show
/// that they know the same card.
pub(in crate::clear) async fn fingerprints(
    names: &KeyNames,
    tenant: &Tenant,
    cards: &[&Pan],
) -> Result<Vec<Fingerprints>, VaultError> {
    if cards.is_empty() {
        return Ok(vec![]);
    }
    let messages: Vec<_> = cards.iter().map(|pan| message(tenant, pan)).collect();
    let versions = names.macs(&KeyLabel::MAC_PAN, &messages).await?;
    let card = |index: usize| {
        let mut found = versions.iter().map(|under| {
            let mac = under.macs.get(index).copied().ok_or(VaultError::HsmRefused)?;
            Ok(Fingerprint { mac, version: under.version })
        });
        let newest = found.next().ok_or(VaultError::HsmRefused)??;
        Ok(Fingerprints { newest, older: found.collect::<Result<_, VaultError>>()? })
    };
    (0..cards.len()).map(card).collect()
}

/// What is hashed under the fingerprint key.
pub(in crate::clear) fn message(tenant: &Tenant, pan: &Pan) -> Zeroizing<Vec<u8>> {
    // Wide enough from the start: a vector that grows would leave digits behind.
    let mut fields = Zeroizing::new(Vec::with_capacity(128));
    for field in [DOMAIN, tenant.as_str().as_bytes(), pan.digits()] {
        append(&mut fields, field);
    }
    // By itself the digest could be searched through, so it is wiped like the number.
    let mut digest = <[u8; 32]>::from(Sha256::digest(&fields));
    let message = Zeroizing::new(digest.to_vec());
    digest.zeroize();
    message
}
