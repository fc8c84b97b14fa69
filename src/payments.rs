//! Charges and refunds: who may be charged for what, and that it happens once (P8).
//!
//! Intent is stored before the processor is called, the outcome after, each in one transaction with its audit entry.
//! What the processor did is never guessed: an outcome that is not known is asked for with the same key.

#[cfg(test)]
mod bad_line;
pub mod charge;
mod decline;
mod desk;
mod error;
pub mod fields;
pub mod limits;
mod page;
pub mod processor;
pub mod purpose;
pub mod refund;
mod resolver;
mod running;
pub mod sandbox;

pub use decline::DeclineCode;
pub use error::PaymentError;
pub use page::{List, Page};
pub use resolver::Resolved;
pub use sandbox::Sandbox;

use crate::record::Recorder;
use desk::Desk;
use processor::Processor;
use std::sync::Arc;
use store::Store;
use vault::Vault;

/// The payments desk of one gateway process. Cheap to clone; every clone is the same desk.
#[derive(Clone)]
pub struct Payments {
    desk: Arc<Desk>,
    vault: Vault,
}

impl Payments {
    /// A desk over the gateway's own store, card room and log, and one processor.
    pub fn new(store: Store, vault: Vault, recorder: Recorder, processor: Arc<dyn Processor>) -> Payments {
        Payments { desk: Arc::new(Desk::new(store, recorder, processor)), vault }
    }
}
