//! The root key under split knowledge: shares for custodians (Shamir, ISO/IEC 19592-2), the public record of who has
//! one, the gathering that opens a sealed device, and the signed transcript. Kept out: files, sockets, and who may
//! order a split.
//!
//! Shamir alone has no integrity: too few, altered or mixed shares give a wrong key without a word. So every share
//! names its set, is checked when it is typed, is authenticated under the key it helps to make, and a combined key
//! counts only when its check value is the recorded one.

mod custody;
mod facts;
mod gathering;
mod hex;
mod person;
mod shamir;
mod share;
mod text;
mod transcript;
pub(crate) mod wire;

pub use custody::{Custody, CustodyError};
pub use facts::{FactsError, SplitFacts};
pub use gathering::{EntryError, Gathering, Progress};
pub use hex::{from_hex, to_hex};
pub use person::{Custodian, NotAName};
pub use shamir::{CombineError, SplitError, combine, split};
pub use share::{Share, ShareSet};
pub use text::{ShareTextError, read_share, write_share};
pub use transcript::{Transcript, TranscriptError};
pub use wire::{CustodianError, SealedStatus, call_off, enter_share, sealed_status};

/// Fewest shares that may open a device: one person never can.
pub const MIN_THRESHOLD: u8 = 2;
/// Most shares of one set.
pub const MAX_SHARES: u8 = 16;
