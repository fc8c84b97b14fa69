//! Attacks on who somebody is: each must fail.
#![expect(clippy::indexing_slicing, reason = "a test that cannot be set up must fail")]

mod support;

#[path = "attack_identity/people.rs"]
mod people;
