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

/// HMAC-SHA-256 of tenant and number for each card, and the version of the key. The tenant is inside, so that the
/// rows of two tenants never show that they know the same card.
pub(in crate::clear) async fn fingerprints(
    names: &KeyNames,
    tenant: &Tenant,
    cards: &[&Pan],
) -> Result<Vec<([u8; 32], u32)>, VaultError> {
    match cards {
        [] => Ok(vec![]),
        [one] => Ok(vec![names.mac_one(&KeyLabel::MAC_PAN, message(tenant, one)).await?]),
        many => {
            let messages = many.iter().map(|pan| message(tenant, pan)).collect();
            let (macs, version) = names.mac(&KeyLabel::MAC_PAN, messages).await?;
            Ok(macs.into_iter().map(|mac| (mac, version)).collect())
        }
    }
}

fn message(tenant: &Tenant, pan: &Pan) -> Zeroizing<Vec<u8>> {
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
