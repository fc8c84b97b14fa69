//! Pangate: a payment tokenization gateway. A card goes in, only a token comes out.
//!
//! ```text
//! portal ─ TLS ─► edge ► front (hygiene, sweep, identity) ► permit ► actions ► answer
//!                                                              │
//!                                  vault (card room) ◄─────────┤
//!                                  store (one transaction: effect + audit entry)
//!                                  payments ► processor        └► upstream ► companion (tokens only)
//! ```
//!
//! The modules below stand in calling order: a module uses only what stands below it. A test reads this list.

pub mod cli;
pub mod serve;
pub mod assemble;
pub mod front;
pub mod actions;
pub mod gateway;
pub mod keys;
pub mod payments;
pub mod upstream;
pub mod ops;
pub mod edge;
pub mod idempotency;
pub mod people;
pub mod credential;
pub mod routes;
pub mod answer;
pub mod record;
pub mod permit;
pub mod governance;
pub mod act;
pub mod rate;
pub mod caller;
pub mod metrics;
pub mod log;
pub mod settings;
