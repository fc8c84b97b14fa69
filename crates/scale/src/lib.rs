//! What an installation of a given size needs, computed from what the load bench measured (`benches/load.json`). A
//! planner's arithmetic: no vault, no database, nothing of the product is linked. `docs/scale.md` shows the result and
//! says what it assumes; a test holds both together.
#![expect(clippy::float_arithmetic, reason = "estimates; no money and no digit string is here")]

mod availability;
mod bench;
mod demand;
mod need;
mod pages;
mod tables;

pub use availability::{Availability, Outage};
pub use bench::{Bench, BenchError, TokenCost};
pub use demand::{Demand, Host};
pub use need::{Need, Part};
pub use tables::{BEGIN, END, into_document, tables};
