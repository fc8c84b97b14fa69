//! How much anybody may ask, at the front desk.

use crate::actions::Refusal;
use crate::answer::{Code, Problem};
use crate::gateway::Gateway;
use crate::rate::Exceeded;
use crate::record::{Event, Origin, now_us};
use audit::{Action, Resource, Source};
use std::net::IpAddr;

/// A stranger's refusal, or that strangers from there ask too much: then nothing is written any more.
pub(super) async fn stranger_refused(gateway: &Gateway, origin: &Origin, refusal: Refusal) -> Refusal {
    if refusal.problem.status().is_server_error() {
        return refusal;
    }
    match gateway.rates.stranger(address(origin), now_us()) {
        Ok(()) => refusal,
        Err(exceeded) => limited(gateway, origin, exceeded).await,
    }
}

/// The answer to what is beyond a limit. The first of a row is recorded; recording all would be the work that the limit
/// saves.
pub(super) async fn limited(gateway: &Gateway, origin: &Origin, exceeded: Exceeded) -> Refusal {
    gateway.metrics.rate_limited(exceeded.scope.as_str());
    if exceeded.first {
        let event = Event::refused(Action::AccessRefuse, Resource::None, Code::RateLimited.as_str());
        let recorded = gateway.recorder.add(&gateway.store, store::Rows::new(), origin, vec![event]).await;
        if let Err(error) = recorded {
            tracing::warn!(%error, "that a limit was reached could not be recorded");
        }
    }
    let detail = "Send fewer requests, and retry after the seconds of Retry-After; [limits] in the settings says how \
                  many are taken";
    let problem = Problem::new(Code::RateLimited, detail).at(exceeded.scope.as_str());
    Refusal::new(Action::AccessRefuse, problem.retry_in(exceeded.retry_after))
}

/// Where a request comes from.
pub(super) fn address(origin: &Origin) -> Option<IpAddr> {
    match origin.source {
        Source::Ip(address) => Some(address),
        Source::Console | Source::Internal => None,
    }
}
