//! Money back: `POST /v1/refunds`, `POST /v1/refunds/{id}/approve`, `GET /v1/refunds`, `GET /v1/refunds/{id}`. A refund
//! names a charge, never a card: it can go nowhere but where the money came from.

use super::charge::{Listed, field_problem, page, problem, read_currency, replayed, required_key};
use super::{Acted, Context, Refusal};
use crate::answer::{Answer, Code, Problem};
use crate::gateway::Gateway;
use crate::payments::PaymentError;
use crate::payments::fields::Fields;
use crate::payments::refund::{Reason, Refund, RefundOrder, RefundRequest, Refunded, Status};
use crate::permit::{self, Permit, ReadCharge};
use crate::record::rfc3339;
use audit::{Action, Resource};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use tokens::{ChargeId, Currency, Principal, RefundId};

/// A refund as the contract shows it.
#[derive(Serialize)]
struct Body<'a> {
    id: &'a RefundId,
    object: &'static str,
    charge: &'a ChargeId,
    amount: String,
    currency: Currency,
    reason: &'static str,
    status: &'static str,
    requested_by: &'a Principal,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_by: Option<&'a Principal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval_expires_at: Option<String>,
    created_at: String,
}

impl<'a> Body<'a> {
    fn of(refund: &'a Refund) -> Body<'a> {
        Body {
            id: &refund.id,
            object: "refund",
            charge: &refund.charge,
            amount: refund.amount.to_string(),
            currency: refund.amount.currency(),
            reason: refund.reason.as_str(),
            status: refund.status.as_str(),
            requested_by: &refund.requested_by,
            approved_by: refund.approved_by.as_ref(),
            approval_expires_at: refund.approval_expires_at_us.map(rfc3339),
            created_at: rfc3339(refund.created_at_us),
        }
    }

    /// As the first answer to the request was: one that needs a second person was told so, whatever came after.
    fn then(refund: &'a Refund) -> Body<'a> {
        match refund.approval_expires_at_us {
            Some(_) => {
                Body { status: Status::PendingApproval.as_str(), approved_by: None, ..Body::of(refund) }
            }
            None => Body::of(refund),
        }
    }
}

/// Refunds, or reserves and waits for a second person, or gives the stored answer of the same key again.
pub async fn create(
    gateway: &Gateway,
    context: &Context,
    permit: Permit<permit::Refund>,
    body: Value,
) -> Acted {
    let refuse = |problem: Problem| Refusal::new(Action::RefundCreate, problem);
    let key = required_key(context).map_err(refuse)?;
    let request = read(&body).map_err(refuse)?;
    let resource = Resource::Charge(request.charge.clone());
    let order = RefundOrder {
        tenant: permit.tenant().clone(),
        principal: permit.caller().principal().clone(),
        key,
        request,
        judge: permit.judge(),
    };
    match gateway.payments.refund(context.origin.clone(), order).await {
        Ok(Refunded::Now(refund, receipt)) => {
            Ok(Answer::done(&receipt, StatusCode::CREATED, &Body::of(&refund)))
        }
        Ok(Refunded::Before(refund)) => replayed(StatusCode::CREATED, &Body::then(&refund)).map_err(refuse),
        Err(error) => Err(refuse(problem(&error)).on(resource)),
    }
}

/// The second person's yes. The same person's second yes gives the same answer.
pub async fn approve(
    gateway: &Gateway,
    context: &Context,
    permit: Permit<permit::Refund>,
    id: &str,
) -> Acted {
    let refuse = |error: &PaymentError| Refusal::new(Action::RefundApprove, problem(error));
    let id = RefundId::parse(id).map_err(|_| refuse(&PaymentError::UnknownRefund))?;
    let (tenant, approver) = (permit.tenant().clone(), permit.caller().principal().clone());
    let judge = permit.judge();
    match gateway.payments.approve_refund(context.origin.clone(), tenant, approver, id.clone(), judge).await {
        Ok(Refunded::Now(refund, receipt)) => Ok(Answer::done(&receipt, StatusCode::OK, &Body::of(&refund))),
        Ok(Refunded::Before(refund)) => {
            let replay = replayed(StatusCode::OK, &Body::of(&refund));
            replay.map_err(|problem| Refusal::new(Action::RefundApprove, problem))
        }
        Err(error) => Err(refuse(&error).on(Resource::Refund(id))),
    }
}

/// One refund of the permit's tenant.
pub async fn show(gateway: &Gateway, context: &Context, permit: Permit<ReadCharge>, id: &str) -> Acted {
    let refuse = |error: &PaymentError| Refusal::new(Action::RefundRead, problem(error));
    let id = RefundId::parse(id).map_err(|_| refuse(&PaymentError::UnknownRefund))?;
    let shown =
        gateway.payments.show_refund(context.origin.clone(), permit.tenant().clone(), id.clone()).await;
    let (refund, receipt) = shown.map_err(|error| refuse(&error).on(Resource::Refund(id)))?;
    Ok(Answer::done(&receipt, StatusCode::OK, &Body::of(&refund)))
}

/// The refunds of the permit's tenant, newest first.
pub async fn list(gateway: &Gateway, context: &Context, permit: Permit<ReadCharge>, query: &str) -> Acted {
    let refuse = |problem: Problem| Refusal::new(Action::RefundRead, problem);
    let wanted = page(query).map_err(refuse)?;
    let listed = gateway.payments.list_refunds(context.origin.clone(), permit.tenant().clone(), wanted).await;
    let (list, receipt) = listed.map_err(|error| refuse(problem(&error)))?;
    let next = list.rows.last().map(|refund| refund.id.as_str());
    Ok(Answer::done(&receipt, StatusCode::OK, &Listed::of(&list, Body::of, next)))
}

fn read(body: &Value) -> Result<RefundRequest, Problem> {
    let fields = Fields::of(body, &["charge", "amount", "currency", "reason"]).map_err(field_problem)?;
    let charge = fields.text("charge").map_err(field_problem)?;
    let reason = fields.text("reason").map_err(field_problem)?;
    let amount = fields.optional_text("amount").map_err(field_problem)?;
    let currency = fields.optional_text("currency").map_err(field_problem)?;
    let reason = Reason::from_name(reason).ok_or_else(|| {
        let detail = "Use one of duplicate, insurance_paid_later, overpayment, service_not_rendered, billing_error, \
                      goodwill, dispute_settlement, ppdr_decision";
        Problem::new(Code::InvalidField, detail).at("reason")
    })?;
    Ok(RefundRequest {
        charge: ChargeId::parse(charge).map_err(|_| problem(&PaymentError::UnknownCharge))?,
        amount: amount.map(str::to_owned),
        currency: currency.map(read_currency).transpose()?,
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_refund_is_read_strictly() {
        let charge = ChargeId::mint().unwrap();
        let body = json!({"charge": charge, "reason": "duplicate"});
        assert_eq!(read(&body).unwrap().amount, None);
        for (name, value, code) in [
            ("reason", json!("because"), Code::InvalidField),
            ("reason", Value::Null, Code::MissingField),
            ("amount", json!(1), Code::WrongType),
            ("currency", json!("EURO"), Code::InvalidAmount),
            ("charge", json!("ch_1"), Code::UnknownCharge),
            ("token", json!("tok"), Code::UnknownField),
        ] {
            let mut wrong = body.clone();
            wrong[name] = value;
            assert_eq!(read(&wrong).unwrap_err().code(), code, "{name}");
        }
    }

    #[test]
    fn the_sentence_about_reasons_names_every_reason() {
        let wrong = json!({"charge": ChargeId::mint().unwrap(), "reason": "because"});
        let said = format!("{:?}", read(&wrong).unwrap_err());
        for reason in Reason::ALL {
            assert!(said.contains(reason.as_str()), "{}", reason.as_str());
        }
    }
}
