//! A software HSM as a process of its own: a device whose keys never leave it, a daemon that serves it on a Unix
//! socket, and the client that implements [`hsm::Hsm`] over that socket. A simulator: not certified hardware.
//! Kept out: anything about cards, tokens or tenants beyond the names inside a context.
//!
//! A gateway uses [`client::SimClient`] and nothing else of this crate; [`device`] and [`state`] run in the
//! daemon's process only, so that no key is ever in the address space of its user.

pub mod ceremony;
pub mod client;
pub mod daemon;
pub mod device;
pub mod fault;
pub mod firmware;
pub mod log;
mod protocol;
pub mod state;
