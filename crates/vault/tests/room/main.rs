//! The card room over a real HSM daemon and a real database: what goes in, what may come out, what never does.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

mod caching;
mod card_shaped;
mod cards;
mod epochs;
mod fingerprints;
mod interleaving;
mod load;
mod messages;
mod rewrap;
mod shredding;
mod support;
