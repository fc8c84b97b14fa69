//! What pangate keeps of a key ceremony: that this transcript was signed by the device that holds its keys, that it
//! shows split knowledge and dual control (PCI DSS 3.6.1.2, 3.7.6), and the names of two people who say so. The
//! ceremony itself is held at the device; no share ever comes here.

use super::act::Act;
use super::{Keys, KeysError, letters};
use crate::record::rfc3339;
use hsm::{HsmError, Realm};
use hsm_sim::client::{SplitFacts, Transcript};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The key with which the device of `[hsm]` signs its transcripts; none for a device with ceremonies of its own.
pub type AskIdentity = dyn Fn() -> Result<Option<Identity>, HsmError> + Send + Sync;

/// Which device it is, and what verifies its signatures.
pub struct Identity {
    /// Its serial number.
    pub serial: [u8; 16],
    /// The public half of its own signing key.
    pub public: [u8; 32],
    /// Which money it is for.
    pub realm: Realm,
}

/// A transcript that was judged.
#[derive(Debug)]
pub struct Ceremony {
    hash: [u8; 32],
    facts: SplitFacts,
}

impl Ceremony {
    /// The act that two people agree to: that this transcript, and no other, is put into the log.
    pub fn act(&self) -> Act {
        Act::Ceremony(self.hash)
    }

    /// What is shown of it, as JSON.
    pub(in crate::keys) fn told(&self) -> Value {
        let custodians = self.facts.shares.iter().map(|(custodian, _)| custodian.as_str());
        let officers = self.facts.officers.iter().map(|officer| officer.as_str());
        json!({
            "transcript": letters::spelt(&self.hash),
            "held_at": rfc3339(i64::try_from(self.facts.made).unwrap_or(0).saturating_mul(1_000_000)),
            "threshold": self.facts.threshold,
            "shares": self.facts.shares.len(),
            "custodians": custodians.collect::<Vec<_>>(),
            "officers": officers.collect::<Vec<_>>(),
            "root_check": self.facts.root_check.to_string(),
        })
    }
}

impl Keys {
    /// Judges a transcript: whole, signed by the device of `[hsm]`, of its realm, and a ceremony.
    ///
    /// # Errors
    /// [`KeysError::Transcript`], which says what is wrong, or the device is away.
    pub async fn ceremony(&self, text: &str) -> Result<Ceremony, KeysError> {
        let ask = Arc::clone(&self.0.identity);
        let asked = tokio::task::spawn_blocking(move || ask()).await;
        let device = asked.map_err(|_| KeysError::HsmAway)??;
        let device = device.ok_or(KeysError::Transcript(
            "the device of [hsm] is no simulator; its vendor's own ceremony has its own records".to_owned(),
        ))?;
        judge(text, &device).map_err(KeysError::Transcript)
    }
}

fn judge(text: &str, device: &Identity) -> Result<Ceremony, String> {
    let transcript = Transcript::read(text, Some(&device.public)).map_err(|error| error.to_string())?;
    let facts = transcript.facts().map_err(|error| error.to_string())?;
    if facts.device != device.serial || facts.realm != device.realm {
        return Err("the transcript is of another device, or of the other realm".to_owned());
    }
    Ok(Ceremony { hash: Sha256::digest(text).into(), facts })
}
