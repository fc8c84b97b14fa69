//! The second person's yes. It is bound to one amount, charge and reason, holds for a day, and is used once.

use super::{Back, Refund, Refunded, Status, Step, rows};
use crate::payments::PaymentError;
use crate::payments::desk::Desk;
use crate::permit::Judge;
use crate::record::{Event, Origin, now_us};
use audit::{Action, Resource};
use std::sync::Arc;
use store::Work;
use tokens::{Principal, RefundId, Tenant};

/// What the transaction of an approval came to. An expiry is an effect and a refusal at once: it commits.
enum Approval {
    Given(Refund),
    Expired,
    Settled(Step),
}

impl Desk {
    pub(in crate::payments) async fn approve(
        self: Arc<Self>,
        origin: Origin,
        tenant: Tenant,
        (approver, judge): (Principal, Judge),
        id: RefundId,
    ) -> Result<Refunded, PaymentError> {
        let at_work = self.running.enter(format!("approve {id}")).ok_or(PaymentError::InFlight)?;
        let task = tokio::spawn(async move {
            let _at_work = at_work;
            match self.decide(&origin, tenant, (approver, judge), id).await? {
                Approval::Given(refund) => self.take(&origin, Step::Send(refund), Back::Unapprove).await,
                Approval::Settled(step) => self.take(&origin, step, Back::Stay).await,
                Approval::Expired => Err(PaymentError::ApprovalExpired),
            }
        });
        task.await.unwrap_or(Err(PaymentError::InDoubt))
    }

    async fn decide(
        &self,
        origin: &Origin,
        tenant: Tenant,
        (approver, judge): (Principal, Judge),
        id: RefundId,
    ) -> Result<Approval, PaymentError> {
        let (recorder, origin) = (self.recorder.clone(), origin.clone());
        self.store
            .commit(move |work| {
                Box::pin(async move {
                    let now = now_us();
                    let refund = rows::by_id(work, &tenant, &id).await?.ok_or(PaymentError::UnknownRefund)?;
                    if refund.status != Status::PendingApproval {
                        rows::touch(work, &refund, now).await?;
                        return approved_before(refund, &approver).map(Approval::Settled);
                    }
                    if approver == refund.requested_by {
                        return Err(PaymentError::SecondPerson);
                    }
                    judge.allows_approved(refund.amount, 1).map_err(PaymentError::Denied)?;
                    let resource = Resource::Refund(refund.id.clone());
                    if refund.approval_expires_at_us.is_none_or(|until| until <= now) {
                        expire(work, &refund, now).await?;
                        let event = Event::refused(Action::RefundApprove, resource, "approval_expired");
                        let _receipt = recorder.append(work, &origin, event).await?;
                        return Ok(Approval::Expired);
                    }
                    // A row that was edited after the request would give the yes to something else.
                    if !rows::is_what_was_asked(work, &refund).await? {
                        return Err(PaymentError::Integrity);
                    }
                    if !rows::approve(work, &refund, &approver, now).await? {
                        return Err(PaymentError::RefundState);
                    }
                    let event = Event::success(Action::RefundApprove, resource);
                    let _receipt = recorder.append(work, &origin, event).await?;
                    let refund = rows::by_id(work, &tenant, &id).await?.ok_or(PaymentError::Integrity)?;
                    Ok(Approval::Given(refund))
                })
            })
            .await
    }
}

/// The approver asks again: the same outcome. Anybody else comes too late.
fn approved_before(refund: Refund, approver: &Principal) -> Result<Step, PaymentError> {
    if refund.approved_by.as_ref() != Some(approver) {
        return Err(PaymentError::RefundState);
    }
    Ok(match refund.status {
        Status::Started | Status::InDoubt => Step::Resume(refund),
        Status::PendingApproval | Status::Succeeded | Status::Failed | Status::Expired => {
            Step::Rest(Refunded::Before(refund))
        }
    })
}

/// Nobody approved in time: the reservation goes back.
pub(in crate::payments) async fn expire(
    work: &mut Work<'_>,
    refund: &Refund,
    now: i64,
) -> Result<bool, PaymentError> {
    let expired = rows::expire(work, refund, now).await?;
    if expired {
        rows::give_back(work, refund, now).await?;
    }
    Ok(expired)
}
