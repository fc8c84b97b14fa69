//! What charges and refunds share: the store, the log, the processor and the keys at work. It opens no card.

use super::processor::{Asking, Processor, ProcessorError};
use super::running::Running;
use crate::record::{Origin, Recorder};
use audit::{Actor, ActorRole, Source};
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use tokens::Tenant;

/// How long a processor may take. What takes longer is in doubt.
pub(super) const PROCESSOR_DEADLINE: Duration = Duration::from_secs(20);

/// One desk.
pub(super) struct Desk {
    pub(super) store: Store,
    pub(super) recorder: Recorder,
    pub(super) processor: Arc<dyn Processor>,
    pub(super) running: Running,
}

impl Desk {
    pub(super) fn new(store: Store, recorder: Recorder, processor: Arc<dyn Processor>) -> Desk {
        Desk { store, recorder, processor, running: Running::default() }
    }
}

/// Waits for a processor, but not forever: a silent one is in doubt.
pub(super) async fn bounded<T>(asking: Asking<'_, T>) -> Result<T, ProcessorError> {
    tokio::time::timeout(PROCESSOR_DEADLINE, asking).await.unwrap_or(Err(ProcessorError::Unknown))
}

/// Pangate itself, where no request is at hand.
pub(super) fn system(tenant: &Tenant) -> Origin {
    Origin {
        actor: Actor { role: ActorRole::System, principal: None },
        tenant: Some(tenant.clone()),
        request: None,
        source: Source::Internal,
    }
}
