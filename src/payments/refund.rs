//! Money back on a charge, once, and never more than was captured.
//!
//! ```text
//!            reserved                 second person              processor answers
//!  (nothing) ───────► pending_approval ───────────► started ─────────────────────► succeeded | failed
//!      │                  │        ▲                 ▲  │ no answer                  ▲
//!      │                  ▼        └── nothing sent ─┤  ▼                            │ asked again, same key
//!      │               expired                       │ in_doubt ─────────────────────┘
//!      └───── reserved, below the threshold ─────────┘
//! ```
//! The reservation raises the charge's `refunded` in the transaction that makes the row, so no interleaving can give
//! back more than was captured; `failed`, `expired` and a withdrawal lower it again. Each arrow is one transaction
//! with its audit entry; the processor is called between arrows, with the refund's id as its key.

mod approval;
#[cfg(test)]
mod laws;
mod request;
pub(super) mod rows;

pub(super) use approval::expire;
pub use request::{Reason, RefundRequest};
pub use rows::{Refund, Status};

use super::charge;
use super::desk::{Desk, bounded};
use super::processor::{Outcome, ProcessorError};
use super::{List, Page, PaymentError, Payments, limits};
use crate::permit::Judge;
use crate::record::{Event, Origin, Receipt, now_us};
use audit::{Action, Resource};
use std::sync::Arc;
use store::Work;
use tokens::{Principal, RefundId, Tenant};

/// A request, by whom, under which key.
#[derive(Debug, Clone)]
pub struct RefundOrder {
    /// Whose charge.
    pub tenant: Tenant,
    /// Who asks.
    pub principal: Principal,
    /// The caller's idempotency key.
    pub key: String,
    /// What is asked.
    pub request: RefundRequest,
    /// Says whether that much may be given back, once it is known how much it is.
    pub judge: Judge,
}

/// What an order or an approval came to.
#[derive(Debug)]
pub enum Refunded {
    /// It reached its state just now.
    Now(Refund, Receipt),
    /// It was there before.
    Before(Refund),
}

/// What the first transaction found or did.
pub(super) enum Step {
    /// To be sent; nothing was sent before.
    Send(Refund),
    /// An earlier run may have sent it.
    Resume(Refund),
    /// Nothing is left to do now.
    Rest(Refunded),
}

/// How to take a step back when nothing was sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Back {
    /// The request itself: as if it had not been made.
    Withdraw,
    /// The approval: it waits for one again.
    Unapprove,
    /// An earlier run may have sent something: leave it.
    Stay,
}

impl Payments {
    /// Refunds, reserves for approval, or gives the outcome of the same order again.
    ///
    /// # Errors
    /// [`PaymentError`]; after [`PaymentError::InDoubt`] the same order finds out what happened.
    pub async fn refund(&self, origin: Origin, order: RefundOrder) -> Result<Refunded, PaymentError> {
        self.desk.clone().refund(origin, order).await
    }

    /// The second person's yes, and the refund itself.
    ///
    /// # Errors
    /// [`PaymentError`]; after [`PaymentError::InDoubt`] the same approval finds out what happened.
    pub async fn approve_refund(
        &self,
        origin: Origin,
        tenant: Tenant,
        approver: Principal,
        id: RefundId,
        judge: Judge,
    ) -> Result<Refunded, PaymentError> {
        self.desk.clone().approve(origin, tenant, (approver, judge), id).await
    }

    /// One refund of the tenant, and the receipt of the look at it.
    ///
    /// # Errors
    /// [`PaymentError::UnknownRefund`], also for another tenant's; or the store's error.
    pub async fn show_refund(
        &self,
        origin: Origin,
        tenant: Tenant,
        id: RefundId,
    ) -> Result<(Refund, Receipt), PaymentError> {
        let recorder = self.desk.recorder.clone();
        self.desk
            .store
            .commit(move |work| {
                Box::pin(async move {
                    let refund = rows::by_id(work, &tenant, &id).await?.ok_or(PaymentError::UnknownRefund)?;
                    let event = Event::success(Action::RefundRead, Resource::Refund(id));
                    let receipt = recorder.append(work, &origin, event).await?;
                    Ok((refund, receipt))
                })
            })
            .await
    }

    /// The tenant's refunds, newest first, and the receipt of the look at them.
    ///
    /// # Errors
    /// [`PaymentError::Cursor`] or the store's error.
    pub async fn list_refunds(
        &self,
        origin: Origin,
        tenant: Tenant,
        wanted: Page,
    ) -> Result<(List<Refund>, Receipt), PaymentError> {
        let recorder = self.desk.recorder.clone();
        self.desk
            .store
            .commit(move |work| {
                Box::pin(async move {
                    let list = rows::page(work, &tenant, &wanted).await?;
                    let event = Event::success(Action::RefundRead, Resource::None);
                    let receipt = recorder.append(work, &origin, event).await?;
                    Ok((list, receipt))
                })
            })
            .await
    }
}

impl Desk {
    pub(super) async fn refund(
        self: Arc<Self>,
        origin: Origin,
        order: RefundOrder,
    ) -> Result<Refunded, PaymentError> {
        let name = format!("refund {}/{}/{}", order.tenant, order.principal, order.key);
        let at_work = self.running.enter(name).ok_or(PaymentError::InFlight)?;
        let task = tokio::spawn(async move {
            let _at_work = at_work;
            let step = self.reserve(&origin, order).await?;
            self.take(&origin, step, Back::Withdraw).await
        });
        task.await.unwrap_or(Err(PaymentError::InDoubt))
    }

    /// Goes on from the first transaction.
    pub(super) async fn take(
        &self,
        origin: &Origin,
        step: Step,
        back: Back,
    ) -> Result<Refunded, PaymentError> {
        match step {
            Step::Rest(refunded) => Ok(refunded),
            Step::Send(refund) => self.send(origin, refund, back).await,
            Step::Resume(refund) => self.resume(origin, refund).await,
        }
    }

    /// Finds out what became of a refund that may have been sent, and sends it under the same key if it was not.
    pub(super) async fn resume(&self, origin: &Origin, refund: Refund) -> Result<Refunded, PaymentError> {
        match bounded(self.processor.ask(refund.id.as_str())).await.map_err(|_| PaymentError::InDoubt)? {
            Some(outcome) => self.settle_refund(origin, refund, outcome).await,
            None => self.send(origin, refund, Back::Stay).await,
        }
    }

    /// The row and the reservation, in one transaction.
    async fn reserve(&self, origin: &Origin, order: RefundOrder) -> Result<Step, PaymentError> {
        let (recorder, origin, id) = (self.recorder.clone(), origin.clone(), RefundId::mint()?);
        self.store
            .commit(move |work| {
                Box::pin(async move {
                    let now = now_us();
                    if let Some((found, hash)) =
                        rows::by_key(work, &order.tenant, &order.principal, &order.key).await?
                    {
                        rows::touch(work, &found, now).await?;
                        return again(found, &hash, &order);
                    }
                    let refund = draw_up(work, id, &order, now).await?;
                    if !rows::reserve(work, &refund, now).await? {
                        return Err(PaymentError::ExceedsCapture);
                    }
                    rows::insert(work, &refund, &order).await?;
                    let event = Event::success(Action::RefundCreate, Resource::Refund(refund.id.clone()));
                    let receipt = recorder.append(work, &origin, event).await?;
                    match refund.status {
                        Status::PendingApproval => Ok(Step::Rest(Refunded::Now(refund, receipt))),
                        _ => Ok(Step::Send(refund)),
                    }
                })
            })
            .await
    }

    async fn send(&self, origin: &Origin, refund: Refund, back: Back) -> Result<Refunded, PaymentError> {
        let reference = refund.charge_reference.clone().ok_or(PaymentError::Integrity)?;
        match bounded(self.processor.refund(&reference, refund.amount, refund.id.as_str())).await {
            Ok(outcome) => self.settle_refund(origin, refund, outcome).await,
            Err(ProcessorError::NotSent) => {
                self.step_back(origin, refund, back).await;
                Err(match back {
                    Back::Withdraw | Back::Unapprove => PaymentError::ProcessorUnavailable,
                    Back::Stay => PaymentError::InDoubt,
                })
            }
            Err(ProcessorError::Unknown) => {
                self.doubt_refund(origin, refund).await;
                Err(PaymentError::InDoubt)
            }
        }
    }

    /// Books an outcome, once. A refusal gives the reservation back.
    pub(super) async fn settle_refund(
        &self,
        origin: &Origin,
        refund: Refund,
        outcome: Outcome,
    ) -> Result<Refunded, PaymentError> {
        let (recorder, origin, id) = (self.recorder.clone(), origin.clone(), refund.id.clone());
        let booked: Result<Refunded, PaymentError> = self
            .store
            .commit(move |work| {
                Box::pin(async move {
                    let now = now_us();
                    let settled = rows::settle(work, &refund, &outcome, now).await?;
                    let current = rows::by_id(work, &refund.tenant, &refund.id).await?;
                    let current = current.ok_or(PaymentError::Integrity)?;
                    if !settled {
                        return Ok(Refunded::Before(current));
                    }
                    let resource = Resource::Refund(refund.id.clone());
                    let event = match &outcome {
                        Outcome::Approved { .. } => Event::success(Action::RefundSettle, resource),
                        Outcome::Declined { code } => {
                            rows::give_back(work, &refund, now).await?;
                            Event::failed(Action::RefundSettle, resource, code.as_str())
                        }
                    };
                    let receipt = recorder.append(work, &origin, event).await?;
                    Ok(Refunded::Now(current, receipt))
                })
            })
            .await;
        booked.map_err(|error| {
            tracing::warn!(refund = %id, error = %error, "an outcome was not booked");
            if error == PaymentError::Integrity { error } else { PaymentError::InDoubt }
        })
    }

    async fn step_back(&self, origin: &Origin, refund: Refund, back: Back) {
        if back == Back::Stay {
            return;
        }
        let (recorder, origin, id) = (self.recorder.clone(), origin.clone(), refund.id.clone());
        let done: Result<(), PaymentError> = self
            .store
            .commit(move |work| {
                Box::pin(async move {
                    let now = now_us();
                    let stepped = match back {
                        Back::Withdraw if rows::withdraw(work, &refund).await? => {
                            rows::give_back(work, &refund, now).await?;
                            true
                        }
                        Back::Unapprove => rows::unapprove(work, &refund, now).await?,
                        Back::Withdraw | Back::Stay => false,
                    };
                    if stepped {
                        let resource = Resource::Refund(refund.id.clone());
                        let event = Event::failed(Action::RefundSettle, resource, "processor_unavailable");
                        let _receipt = recorder.append(work, &origin, event).await?;
                    }
                    Ok(())
                })
            })
            .await;
        if let Err(error) = done {
            // It stays `started`, and the resolver sends it under the same key.
            tracing::warn!(refund = %id, error = %error, "a refund was not taken back");
        }
    }

    async fn doubt_refund(&self, origin: &Origin, refund: Refund) {
        let (recorder, origin, id) = (self.recorder.clone(), origin.clone(), refund.id.clone());
        let noted: Result<(), PaymentError> = self
            .store
            .commit(move |work| {
                Box::pin(async move {
                    if rows::doubt(work, &refund, now_us()).await? {
                        let resource = Resource::Refund(refund.id.clone());
                        let event = Event::failed(Action::RefundSettle, resource, "outcome_in_doubt");
                        let _receipt = recorder.append(work, &origin, event).await?;
                    }
                    Ok(())
                })
            })
            .await;
        if let Err(error) = noted {
            tracing::warn!(refund = %id, error = %error, "a doubt was not noted");
        }
    }
}

/// The same key again.
fn again(found: Refund, hash: &[u8], order: &RefundOrder) -> Result<Step, PaymentError> {
    if hash != order.request.hash() {
        return Err(PaymentError::KeyReused);
    }
    Ok(match found.status {
        Status::Started | Status::InDoubt => Step::Resume(found),
        Status::PendingApproval | Status::Succeeded | Status::Failed | Status::Expired => {
            Step::Rest(Refunded::Before(found))
        }
    })
}

/// Checks the request against its charge and draws up the refund.
async fn draw_up(
    work: &mut Work<'_>,
    id: RefundId,
    order: &RefundOrder,
    now: i64,
) -> Result<Refund, PaymentError> {
    let charge = charge::by_id_alone(work, &order.tenant, &order.request.charge).await?;
    let charge = charge.ok_or(PaymentError::UnknownCharge)?;
    if charge.status != charge::Status::Succeeded {
        return Err(PaymentError::ChargeState);
    }
    let left = charge.left().ok_or(PaymentError::Integrity)?;
    let amount = order.request.amount_of(&charge, left)?;
    if amount.minor() > left.minor() || left.is_zero() {
        return Err(PaymentError::ExceedsCapture);
    }
    order.judge.allows(amount).map_err(PaymentError::Denied)?;
    let alone = rows::given_alone(work, &charge).await?;
    let waits = limits::needs_second_person(alone.plus(amount).map_err(|_| PaymentError::Integrity)?);
    Ok(Refund {
        id,
        tenant: order.tenant.clone(),
        charge: charge.id,
        amount,
        reason: order.request.reason,
        status: if waits { Status::PendingApproval } else { Status::Started },
        requested_by: order.principal.clone(),
        approved_by: None,
        charge_reference: charge.processor_reference,
        created_at_us: now,
        updated_at_us: now,
        approval_expires_at_us: waits.then(|| now.saturating_add(limits::APPROVAL_WITHIN_US)),
    })
}
