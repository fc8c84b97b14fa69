//! What a ceremony leaves for auditors: who, when, which set, which check values, with which program, signed by the
//! device. Plain lines that people read and programs check; no part of any key.

use super::{Custody, from_hex, to_hex};
use crate::device::primitives;

const TITLE: &str = "pangate hsm-sim ceremony transcript v1";
const SIGNED: &str = "signature";

/// A signed transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    body: String,
    public: [u8; 32],
    signature: [u8; 64],
}

/// Why a transcript proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TranscriptError {
    /// Not a transcript of this program.
    #[error("this is no transcript of a ceremony, or lines of it are missing")]
    Malformed,
    /// A line was altered, or the signature is another's.
    #[error("the signature does not fit: the transcript was altered, or another device signed it")]
    Signature,
    /// Signed, but by a key that was not expected.
    #[error("the transcript is signed by another key than the one given")]
    OtherKey,
}

impl Transcript {
    /// Writes down a split and signs it with the seed of the device's signing key.
    #[must_use]
    pub fn of_split(custody: &Custody, officers: &[String], signer: &str, seed: &[u8; 32]) -> Self {
        let set = &custody.set;
        let public = primitives::public_key(seed);
        let mut lines = vec![
            TITLE.to_owned(),
            "act split".to_owned(),
            format!("at {} {}", custody.made, utc(custody.made)),
            format!("tool hsm-sim {}", env!("CARGO_PKG_VERSION")),
            format!("device {}", to_hex(&set.serial)),
            format!("realm {}", set.realm.as_str()),
            format!("set {}", to_hex(&set.id)),
            format!("threshold {} of {}", set.threshold, set.count),
            format!("root-check {}", set.root_kcv),
        ];
        lines.extend(officers.iter().map(|officer| format!("officer {officer}")));
        let holders = (1_u8..).zip(&custody.holders);
        lines.extend(holders.map(|(id, (custodian, check))| format!("share {id} {custodian} check {check}")));
        lines.push(format!("signer {signer} {}", to_hex(&public)));
        let body = lines.join("\n") + "\n";
        let signature = primitives::sign(seed, &said(&body));
        Self { body, public, signature }
    }

    /// The text that is kept.
    #[must_use]
    pub fn write(&self) -> String {
        format!("{}{SIGNED} {}\n", self.body, to_hex(&self.signature))
    }

    /// Reads a transcript and checks its signature under the key it names, and under `expected` when given: the key
    /// in the text is only as good as the reader's other knowledge of it.
    ///
    /// # Errors
    /// [`TranscriptError`].
    pub fn read(text: &str, expected: Option<&[u8; 32]>) -> Result<Self, TranscriptError> {
        let malformed = TranscriptError::Malformed;
        let whole = text.strip_suffix('\n').ok_or(malformed)?;
        let (body, last) = whole.rsplit_once('\n').ok_or(malformed)?;
        let signature = last.strip_prefix(SIGNED).and_then(|rest| rest.strip_prefix(' '));
        let signature = signature.and_then(from_hex::<64>).ok_or(malformed)?;
        if body.lines().next() != Some(TITLE) || body.contains(|c: char| c.is_control() && c != '\n') {
            return Err(malformed);
        }
        let signer = body.lines().next_back().and_then(|line| line.strip_prefix("signer "));
        let public = signer.and_then(|line| line.split_once(' ')).and_then(|(_, key)| from_hex::<32>(key));
        let public = public.ok_or(malformed)?;
        let body = format!("{body}\n");
        if !primitives::verify(&public, &said(&body), &signature) {
            return Err(TranscriptError::Signature);
        }
        if expected.is_some_and(|expected| *expected != public) {
            return Err(TranscriptError::OtherKey);
        }
        Ok(Self { body, public, signature })
    }

    /// The text again under another signature, for tests of what a signed text may say.
    #[cfg(test)]
    pub(super) fn signed_again(text: &str, seed: &[u8; 32]) -> Self {
        let body = text.split_inclusive('\n').filter(|line| !line.starts_with(SIGNED)).collect::<String>();
        let signature = primitives::sign(seed, &said(&body));
        Self { body, public: primitives::public_key(seed), signature }
    }

    /// What was signed, line by line.
    #[must_use]
    pub fn body(&self) -> &str {
        &self.body
    }

    /// The key that signed it.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.public
    }
}

/// The signing key signs other things too; nothing of them begins like this.
fn said(body: &str) -> Vec<u8> {
    [b"pangate/hsm-sim/ceremony/v1\0", body.as_bytes()].concat()
}

/// A time in UTC as RFC 3339.
fn utc(unix: u64) -> String {
    i64::try_from(unix)
        .ok()
        .and_then(|unix| time::OffsetDateTime::from_unix_timestamp(unix).ok())
        .and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod laws;
