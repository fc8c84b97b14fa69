//! The card room over a real HSM daemon and a real database: what goes in, what may come out, what never does.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod card_shaped;
mod cards;
mod messages;
mod support;
