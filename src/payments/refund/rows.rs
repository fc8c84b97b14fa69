//! Rows of refunds, and the reservation on their charge. Every change names the states it may come from.

use super::request::act_hash;
use super::{Reason, RefundOrder};
use crate::payments::charge::Charge;
use crate::payments::processor::Outcome;
use crate::payments::{List, Page, PaymentError};
use store::{Fetch, Row, StoreError, Value, Work};
use tokens::{ChargeId, Currency, Money, Principal, RefundId, Tenant};

/// Where a refund stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Reserved; a second person has to approve.
    PendingApproval,
    /// Reserved; the processor may have been called.
    Started,
    /// The processor was called and did not answer.
    InDoubt,
    /// The money went back.
    Succeeded,
    /// The processor refused; the reservation was returned.
    Failed,
    /// Nobody approved in time; the reservation was returned.
    Expired,
}

impl Status {
    const ALL: [Status; 6] = [
        Status::PendingApproval,
        Status::Started,
        Status::InDoubt,
        Status::Succeeded,
        Status::Failed,
        Status::Expired,
    ];

    /// The name in answers and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::PendingApproval => "pending_approval",
            Status::Started => "started",
            Status::InDoubt => "in_doubt",
            Status::Succeeded => "succeeded",
            Status::Failed => "failed",
            Status::Expired => "expired",
        }
    }
}

/// One refund as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// Its id; the processor's key as well.
    pub id: RefundId,
    /// Whose.
    pub tenant: Tenant,
    /// The charge that it gives back.
    pub charge: ChargeId,
    /// How much, in the charge's currency.
    pub amount: Money,
    /// Why.
    pub reason: Reason,
    /// Where it stands.
    pub status: Status,
    /// Who asked.
    pub requested_by: Principal,
    /// The second person.
    pub approved_by: Option<Principal>,
    /// The processor's name for the charge.
    pub charge_reference: Option<String>,
    /// Unix microseconds.
    pub created_at_us: i64,
    /// Unix microseconds.
    pub updated_at_us: i64,
    /// Unix microseconds; only where a second person is needed.
    pub approval_expires_at_us: Option<i64>,
}

impl Refund {
    fn of(row: &Row) -> Result<Refund, StoreError> {
        let corrupt = |column| StoreError::Corrupt { column };
        let currency = Currency::parse(&row.text("currency")?).map_err(|_| corrupt("currency"))?;
        let (status, approver) = (row.text("status")?, row.optional_text("approved_by")?);
        Ok(Refund {
            id: RefundId::parse(&row.text("id")?).map_err(|_| corrupt("id"))?,
            tenant: Tenant::parse(&row.text("tenant")?).map_err(|_| corrupt("tenant"))?,
            charge: ChargeId::parse(&row.text("charge")?).map_err(|_| corrupt("charge"))?,
            amount: Money::from_minor(row.integer("amount_minor")?, currency)
                .map_err(|_| corrupt("amount_minor"))?,
            reason: Reason::from_name(&row.text("reason")?).ok_or(corrupt("reason"))?,
            status: Status::ALL.into_iter().find(|s| s.as_str() == status).ok_or(corrupt("status"))?,
            requested_by: Principal::parse(&row.text("requested_by")?)
                .map_err(|_| corrupt("requested_by"))?,
            approved_by: approver
                .map(|name| Principal::parse(&name).map_err(|_| corrupt("approved_by")))
                .transpose()?,
            charge_reference: row.optional_text("charge_reference")?,
            created_at_us: row.integer("created_at")?,
            updated_at_us: row.integer("updated_at")?,
            approval_expires_at_us: row.optional_integer("approval_expires_at")?,
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT r.id, r.tenant, r.charge, r.amount_minor, r.currency, r.reason, r.status, r.requested_by, \
             r.approved_by, r.act_hash, r.request_hash, r.created_at, r.updated_at, r.approval_expires_at, \
             (SELECT processor_reference FROM charge WHERE charge.id = r.charge) AS charge_reference \
             FROM refund r ",
            $rest
        )
    };
}

/// One refund of the tenant.
pub(super) async fn by_id(
    from: &mut impl Fetch,
    tenant: &Tenant,
    id: &RefundId,
) -> Result<Option<Refund>, StoreError> {
    let args = vec![Value::from(tenant.as_str()), Value::from(id.as_str())];
    from.fetch_optional(select!("WHERE r.tenant = $1 AND r.id = $2"), args)
        .await?
        .map(|row| Refund::of(&row))
        .transpose()
}

/// What that key came to, and the hash of what was asked.
pub(super) async fn by_key(
    from: &mut impl Fetch,
    tenant: &Tenant,
    principal: &Principal,
    key: &str,
) -> Result<Option<(Refund, Vec<u8>)>, StoreError> {
    let args = vec![Value::from(tenant.as_str()), Value::from(principal.as_str()), Value::from(key)];
    let row = from
        .fetch_optional(
            select!("WHERE r.tenant = $1 AND r.requested_by = $2 AND r.idempotency_key = $3"),
            args,
        )
        .await?;
    row.map(|row| Ok((Refund::of(&row)?, row.bytes("request_hash")?))).transpose()
}

/// Whether the row still says what its hash was made of.
pub(super) async fn is_what_was_asked(from: &mut impl Fetch, refund: &Refund) -> Result<bool, StoreError> {
    let row = from
        .fetch_optional("SELECT act_hash FROM refund WHERE id = $1", vec![Value::from(refund.id.as_str())])
        .await?;
    row.map_or(Ok(false), |row| Ok(row.bytes("act_hash")? == act_hash(refund)))
}

/// One page, newest first.
pub(super) async fn page(
    from: &mut impl Fetch,
    tenant: &Tenant,
    wanted: &Page,
) -> Result<List<Refund>, PaymentError> {
    let (mut at, mut id) = (i64::MAX, String::new());
    if let Some(after) = &wanted.after {
        let after = RefundId::parse(after).map_err(|_| PaymentError::Cursor)?;
        let row = by_id(from, tenant, &after).await?.ok_or(PaymentError::Cursor)?;
        (at, id) = (row.created_at_us, after.as_str().to_owned());
    }
    let args = vec![
        Value::from(tenant.as_str()),
        Value::from(at),
        Value::from(id),
        Value::from(wanted.limit.saturating_add(1)),
    ];
    let rows = from
        .fetch_all(
            select!(
                "WHERE r.tenant = $1 AND (r.created_at, r.id) < ($2, $3) \
                 ORDER BY r.created_at DESC, r.id DESC LIMIT $4"
            ),
            args,
        )
        .await?;
    let rows = rows.iter().map(Refund::of).collect::<Result<_, _>>()?;
    Ok(List::cut(rows, wanted.limit))
}

/// Unsettled refunds that nobody can still be working on, and approvals whose time is over.
pub(in crate::payments) async fn stale(
    from: &mut impl Fetch,
    doubtful_before_us: i64,
    started_before_us: i64,
    now_us: i64,
) -> Result<Vec<Refund>, StoreError> {
    let args = vec![Value::from(doubtful_before_us), Value::from(started_before_us), Value::from(now_us)];
    let rows = from
        .fetch_all(
            select!(
                "WHERE r.status IN ('pending_approval', 'started', 'in_doubt') \
                 AND ((r.status = 'in_doubt' AND r.updated_at < $1) OR (r.status = 'started' AND r.updated_at < $2) \
                 OR (r.status = 'pending_approval' AND r.approval_expires_at <= $3)) \
                 ORDER BY r.updated_at LIMIT 500"
            ),
            args,
        )
        .await?;
    rows.iter().map(Refund::of).collect()
}

/// What of the charge was given back, or is about to be, without a second person's yes.
pub(super) async fn given_alone(from: &mut impl Fetch, charge: &Charge) -> Result<Money, StoreError> {
    let corrupt = StoreError::Corrupt { column: "amount_minor" };
    let row = from
        .fetch_optional(
            "SELECT COALESCE(SUM(amount_minor), 0) AS alone FROM refund WHERE tenant = $1 AND charge = $2 \
             AND approval_expires_at IS NULL AND status IN ('started', 'in_doubt', 'succeeded')",
            vec![Value::from(charge.tenant.as_str()), Value::from(charge.id.as_str())],
        )
        .await?
        .ok_or(corrupt)?;
    Money::from_minor(row.integer("alone")?, charge.amount.currency()).map_err(|_| corrupt)
}

/// Raises the charge's `refunded`, or says that it would exceed what was captured.
pub(super) async fn reserve(work: &mut Work<'_>, refund: &Refund, now_us: i64) -> Result<bool, StoreError> {
    let rows = work
        .execute(
            "UPDATE charge SET refunded_minor = refunded_minor + $3, updated_at = $4 \
             WHERE tenant = $1 AND id = $2 AND status = 'succeeded' AND currency = $5 \
             AND $3 > 0 AND refunded_minor + $3 <= captured_minor",
            on_charge(refund, now_us),
        )
        .await?;
    Ok(rows == 1)
}

/// Lowers the charge's `refunded` again. Only in the transaction that ends the refund without money.
pub(super) async fn give_back(work: &mut Work<'_>, refund: &Refund, now_us: i64) -> Result<(), PaymentError> {
    let rows = work
        .execute(
            "UPDATE charge SET refunded_minor = refunded_minor - $3, updated_at = $4 \
             WHERE tenant = $1 AND id = $2 AND currency = $5 AND refunded_minor >= $3",
            on_charge(refund, now_us),
        )
        .await?;
    if rows == 1 { Ok(()) } else { Err(PaymentError::Integrity) }
}

fn on_charge(refund: &Refund, now_us: i64) -> Vec<Value> {
    vec![
        Value::from(refund.tenant.as_str()),
        Value::from(refund.charge.as_str()),
        Value::from(refund.amount.minor()),
        Value::from(now_us),
        Value::from(refund.amount.currency().code()),
    ]
}

/// Stores the refund.
pub(super) async fn insert(
    work: &mut Work<'_>,
    refund: &Refund,
    order: &RefundOrder,
) -> Result<(), StoreError> {
    work.execute(
        "INSERT INTO refund (id, tenant, charge, amount_minor, currency, reason, status, requested_by, act_hash, \
         request_hash, idempotency_key, created_at, updated_at, approval_expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12, $13)",
        vec![
            Value::from(refund.id.as_str()),
            Value::from(refund.tenant.as_str()),
            Value::from(refund.charge.as_str()),
            Value::from(refund.amount.minor()),
            Value::from(refund.amount.currency().code()),
            Value::from(refund.reason.as_str()),
            Value::from(refund.status.as_str()),
            Value::from(refund.requested_by.as_str()),
            Value::from(act_hash(refund)),
            Value::from(order.request.hash()),
            Value::from(order.key.as_str()),
            Value::from(refund.created_at_us),
            Value::from(refund.approval_expires_at_us),
        ],
    )
    .await
    .map(|_| ())
}

/// The second person said yes.
pub(super) async fn approve(
    work: &mut Work<'_>,
    refund: &Refund,
    approver: &Principal,
    now_us: i64,
) -> Result<bool, StoreError> {
    let rows = work
        .execute(
            "UPDATE refund SET status = 'started', approved_by = $2, updated_at = $3 \
             WHERE id = $1 AND status = 'pending_approval' AND requested_by <> $2",
            vec![Value::from(refund.id.as_str()), Value::from(approver.as_str()), Value::from(now_us)],
        )
        .await?;
    Ok(rows == 1)
}

/// The approved refund was not sent: it waits for an approval again. Not when somebody took it up meanwhile.
pub(super) async fn unapprove(work: &mut Work<'_>, refund: &Refund, now_us: i64) -> Result<bool, StoreError> {
    let rows = work
        .execute(
            "UPDATE refund SET status = 'pending_approval', approved_by = NULL, updated_at = $2 \
             WHERE id = $1 AND status = 'started' AND updated_at = $3",
            vec![Value::from(refund.id.as_str()), Value::from(now_us), Value::from(refund.updated_at_us)],
        )
        .await?;
    Ok(rows == 1)
}

/// Somebody works on it again: an earlier run's steps back no longer apply.
pub(super) async fn touch(work: &mut Work<'_>, refund: &Refund, now_us: i64) -> Result<bool, StoreError> {
    change(
        work,
        "UPDATE refund SET updated_at = $2 WHERE id = $1 AND status IN ('started', 'in_doubt')",
        refund,
        now_us,
    )
    .await
}

/// Nobody approved in time.
pub(super) async fn expire(work: &mut Work<'_>, refund: &Refund, now_us: i64) -> Result<bool, StoreError> {
    change(
        work,
        "UPDATE refund SET status = 'expired', updated_at = $2 WHERE id = $1 AND status = 'pending_approval'",
        refund,
        now_us,
    )
    .await
}

/// Notes that no answer arrived.
pub(super) async fn doubt(work: &mut Work<'_>, refund: &Refund, now_us: i64) -> Result<bool, StoreError> {
    change(
        work,
        "UPDATE refund SET status = 'in_doubt', updated_at = $2 WHERE id = $1 AND status IN ('started', 'in_doubt')",
        refund,
        now_us,
    )
    .await
}

async fn change(
    work: &mut Work<'_>,
    sql: &'static str,
    refund: &Refund,
    now_us: i64,
) -> Result<bool, StoreError> {
    let args = vec![Value::from(refund.id.as_str()), Value::from(now_us)];
    Ok(work.execute(sql, args).await? == 1)
}

/// Books the outcome; `false` when it was settled before.
pub(super) async fn settle(
    work: &mut Work<'_>,
    refund: &Refund,
    outcome: &Outcome,
    now_us: i64,
) -> Result<bool, StoreError> {
    let (status, reference) = match outcome {
        Outcome::Approved { reference } => (Status::Succeeded, Some(reference.as_str())),
        Outcome::Declined { .. } => (Status::Failed, None),
    };
    let rows = work
        .execute(
            "UPDATE refund SET status = $2, processor_reference = $3, updated_at = $4 \
             WHERE id = $1 AND status IN ('started', 'in_doubt')",
            vec![
                Value::from(refund.id.as_str()),
                Value::from(status.as_str()),
                Value::from(reference),
                Value::from(now_us),
            ],
        )
        .await?;
    Ok(rows == 1)
}

/// Removes a refund of which nothing was sent. Not when somebody took it up meanwhile.
pub(super) async fn withdraw(work: &mut Work<'_>, refund: &Refund) -> Result<bool, StoreError> {
    let args = vec![Value::from(refund.id.as_str()), Value::from(refund.updated_at_us)];
    let sql = "DELETE FROM refund WHERE id = $1 AND status = 'started' AND updated_at = $2";
    Ok(work.execute(sql, args).await? == 1)
}
