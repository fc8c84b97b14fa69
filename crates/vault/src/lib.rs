//! The card room: the only code that can name a card number.
//!
//! Unread bodies go in ([`Vault::intake`]); sealed cards wait for their transaction ([`CardsDraft`],
//! [`MessageDraft`]), settle into rows of the caller's [`store::Work`], and leave as [`Scrubbed`] for the companion
//! or, by token and for one charge, as [`Revealed`] for a processor. Between a draft and its commit the HSM is out
//! of reach. Neither `Scrubbed` nor `Revealed` can be made outside.
//!
//! The tour: [`vault`](Vault) the door · `clear` the clear room, where numbers exist · `envelope`, `binding`,
//! `record_key` what is stored and what it belongs to · `key_names`, `data_keys`, `presence` keys by name, opened by
//! the HSM while it is there · [`rotation`] from old keys to new ones · [`shelf`] the rows · `factor` secrets of authenticator apps · `shape` what a route's body looks like · `field`, `error` words that hold no card · `clock`.

mod binding;
mod clear;
mod clock;
mod data_keys;
mod envelope;
mod error;
mod factor;
mod field;
mod key_names;
mod presence;
mod record_key;
pub mod rotation;
mod shape;
pub mod shelf;
mod vault;

pub use clear::{
    CardProblem, CardsDraft, CardsShape, Declared, Facts, Head, Intake, MessageDraft, Revealed, Scrubbed,
    Settled, SettledMessage, SweptAnswer,
};
pub use clock::{Clock, SystemClock};
pub use data_keys::{CacheState, DataKeyDraft, DataKeyLimits, Purge};
pub use error::VaultError;
pub use factor::{SECRET as FACTOR_SECRET, SealedFactor};
pub use field::Field;
pub use shape::{CardSpec, ExemptSpec, FieldPath, Shape, ShapeError, ShapeSpec, Unknown};
pub use vault::{Settings, Vault};
