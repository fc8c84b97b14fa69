//! Finds what could be a card number in anything that is about to leave (promise P2).
//!
//! Text goes in, a [`Verdict`] comes out: clean, a [`Hit`] that names the place and never the digits, or
//! [`Undecidable`], which callers treat as a refusal. [`document`] parses, edits and serialises the body formats.
//! Nothing here opens a vault, speaks to a network or writes a log, so both sides of the PCI wall may link it.

mod bits;
mod body;
mod context;
pub mod decode;
pub mod document;
mod glance;
mod glance_bits;
mod glance_json;
#[cfg(test)]
mod glance_promise;
mod glance_text;
mod grouping;
mod head;
mod join;
mod leaf;
mod line;
pub mod pan;
mod runs;
mod sad;
mod snomed;
mod tree;
mod triples;
mod verdict;
mod views;
mod work;

pub use body::{sweep_body, sweep_json, sweep_message, sweep_text};
pub use context::{Exempt, Exemption, FieldContext};
pub use head::sweep_head;
pub use line::sweep_line;
pub use verdict::{Hit, Kind, Limits, Place, Undecidable, Verdict};
