//! Hosts that pangate calls. Each room takes only what is safe for its host: the companion gets `Scrubbed` alone.

pub mod companion;
pub mod egress;
