//! Promises of the companion, over real sockets against the real binary. The gateway is the outside party here
//! and is played by a stub.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops here, with its backtrace"
)]

mod away;
mod command_line;
mod crashes;
mod house;
mod payments;
mod reads;
mod refunds;
mod refusals;
mod stub;
