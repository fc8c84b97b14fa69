//! THE CLEAR ROOM: the only module in which card numbers and codes exist in the clear. The module is private and
//! `Pan` and `Cvc` are visible only inside it; what leaves is sealed, scrubbed, or `Revealed` for one processor.
//!
//! In order of a card's way: [`intake`] gathers a body · [`card`] and [`fields`] read it · [`pan`] and [`cvc`] hold it ·
//! [`fingerprint`] asks whether we know it · [`mint`] draws its token · [`seal`] locks it up · [`draft`] and [`message`] wait for a transaction · [`settle`]
//! shelves it · [`plain`] is for bodies without one · [`same_request`] recognises a retry · [`stray`] looks once more · [`open`] and [`reveal`] are the way back ·
//! [`reseal`] moves it to new keys.

mod card;
pub(crate) mod cvc;
mod draft;
mod fields;
mod fingerprint;
mod intake;
mod message;
mod mint;
mod open;
mod pan;
mod plain;
mod reseal;
mod reveal;
mod same_request;
mod seal;
mod settle;
mod stray;

pub use draft::{CardProblem, CardsDraft, CardsShape};
pub use intake::Intake;
pub use message::{Facts, Head, MessageDraft};
pub use reveal::Revealed;
pub use settle::{Settled, SettledMessage};
pub use stray::{Scrubbed, SweptAnswer};

pub(crate) use cvc::CvcHolder;
pub(crate) use draft::draft_cards;
pub(crate) use fingerprint::{Fingerprint, Fingerprints};
pub(crate) use intake::intake;
pub(crate) use message::draft_message;
pub(crate) use plain::plain;
pub(crate) use reseal::{refingerprint, reseal};
pub(crate) use reveal::reveal;
pub use same_request::Declared;
pub(crate) use same_request::request_message;
pub(crate) use stray::sweep_answer;
