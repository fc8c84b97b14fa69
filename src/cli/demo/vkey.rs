//! The log's verifier key in signed-note form (C2SP signed-note): what outside tools need to check checkpoints.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// The signature type of Ed25519 in signed notes.
const ED25519: u8 = 1;

/// `<name>+<key hash>+<base64 of type and public key>`; the hash is the first four bytes of SHA-256 over name, a line
/// end, type and key.
pub(super) fn verifier_key(name: &str, public: &[u8]) -> String {
    let mut key = vec![ED25519];
    key.extend_from_slice(public);
    let digest = Sha256::new().chain_update(name).chain_update("\n").chain_update(&key).finalize();
    let hash: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{name}+{hash}+{}", STANDARD.encode(&key))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published verifier key of the Go checksum database.
    #[test]
    fn the_form_is_that_of_the_go_checksum_database() {
        let published = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
        // The key's base64 may itself hold a plus sign: split from the left.
        let encoded = published.splitn(3, '+').nth(2).unwrap();
        let public = STANDARD.decode(encoded).unwrap();
        assert_eq!(verifier_key("sum.golang.org", &public[1..]), published);
    }
}
