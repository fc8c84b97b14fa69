//! What nobody is working on any more: outcomes in doubt, intents of a process that died, approvals that came too
//! late. It asks the processor and books the answer; it never guesses, and it opens no card.

use super::charge::{self, Charge, Charged};
use super::desk::{bounded, system};
use super::processor::Outcome;
use super::refund::{self, Refund, Status};
use super::{DeclineCode, PaymentError, Payments};
use crate::record::{Event, now_us};
use audit::{Action, Resource};

const SECOND_US: i64 = 1_000_000;
/// A doubt is asked about after this long, so that the caller's own retry comes first.
const DOUBTFUL_AFTER_US: i64 = 5 * SECOND_US;
/// An intent is taken for abandoned after this long: more than the HSM's and the processor's deadlines together.
const STARTED_AFTER_US: i64 = 60 * SECOND_US;
/// A charge that the processor never heard of is closed after this long: its verification code is wiped by then, and
/// a caller that still retries takes it up again before.
const NEVER_HEARD_AFTER_US: i64 = 15 * 60 * SECOND_US;

/// What one round did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resolved {
    /// Rows whose outcome is booked now.
    pub settled: usize,
    /// Rows that stay as they are for now.
    pub left: usize,
}

impl Payments {
    /// One round: call it at start-up and every few seconds. Running it twice at once is harmless.
    ///
    /// # Errors
    /// [`PaymentError::Store`] when the rows cannot be read; a row that fails alone is left for the next round.
    pub async fn resolve_in_doubt(&self) -> Result<Resolved, PaymentError> {
        self.resolve(now_us()).await
    }

    async fn resolve(&self, now: i64) -> Result<Resolved, PaymentError> {
        let (doubtful, started) = (now - DOUBTFUL_AFTER_US, now - STARTED_AFTER_US);
        let mut reader = self.desk.store.read().await?;
        let charges = charge::stale(&mut reader, doubtful, started).await?;
        drop(reader);
        let mut resolved = self.desk.resolve_refunds(now).await?;
        for charge in charges {
            let id = charge.id.clone();
            resolved.count(self.resolve_charge(charge, now).await, id.as_str());
        }
        Ok(resolved)
    }

    async fn resolve_charge(&self, charge: Charge, now: i64) -> Result<bool, PaymentError> {
        let asked = bounded(self.desk.processor.ask(charge.id.as_str())).await;
        let outcome = match asked.map_err(|_| PaymentError::InDoubt)? {
            Some(outcome) => outcome,
            None if charge.updated_at_us < now - NEVER_HEARD_AFTER_US => {
                Outcome::Declined { code: DeclineCode::NotProcessed }
            }
            None => return Ok(false),
        };
        let origin = system(&charge.tenant);
        match self.conclude(&origin, charge, outcome).await? {
            Charged::Now(_, _receipt) => Ok(true),
            Charged::Before(_) => Ok(false),
        }
    }
}

impl super::Desk {
    /// The refunds' part of a round.
    pub(super) async fn resolve_refunds(&self, now: i64) -> Result<Resolved, PaymentError> {
        let mut reader = self.store.read().await?;
        let refunds =
            refund::rows::stale(&mut reader, now - DOUBTFUL_AFTER_US, now - STARTED_AFTER_US, now).await?;
        drop(reader);
        let mut resolved = Resolved::default();
        for refund in refunds {
            let id = refund.id.clone();
            resolved.count(self.resolve_refund(refund, now).await, id.as_str());
        }
        Ok(resolved)
    }

    async fn resolve_refund(&self, refund: Refund, now: i64) -> Result<bool, PaymentError> {
        let origin = system(&refund.tenant);
        if refund.status == Status::PendingApproval {
            let recorder = self.recorder.clone();
            return self
                .store
                .commit(move |work| {
                    Box::pin(async move {
                        let expired = refund::expire(work, &refund, now).await?;
                        if expired {
                            let resource = Resource::Refund(refund.id.clone());
                            let event = Event::refused(Action::RefundApprove, resource, "approval_expired");
                            let _receipt = recorder.append(work, &origin, event).await?;
                        }
                        Ok(expired)
                    })
                })
                .await;
        }
        // It was reserved and, where needed, approved; no card is needed to send it.
        match self.resume(&origin, refund).await? {
            refund::Refunded::Now(_, _receipt) => Ok(true),
            refund::Refunded::Before(_) => Ok(false),
        }
    }
}

impl Resolved {
    fn count(&mut self, outcome: Result<bool, PaymentError>, id: &str) {
        match outcome {
            Ok(true) => self.settled += 1,
            Ok(false) => self.left += 1,
            Err(error) => {
                tracing::warn!(payment = id, error = %error, "a payment stays unsettled");
                self.left += 1;
            }
        }
    }
}
