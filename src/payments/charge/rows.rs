//! Rows of charges. A row that is settled is never unsettled: every change names the states it may come from.

use super::{ChargeOrder, ChargeRequest};
use crate::payments::processor::Outcome;
use crate::payments::{DeclineCode, List, Page, PaymentError};
use store::{Fetch, Row, StoreError, Value, Work};
use tokens::{Brand, ChargeId, Currency, Last4, MaskedCard, Money, Principal, Tenant, Token};

/// Where a charge stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The intent is stored; the processor may have been called.
    Started,
    /// The processor was called and did not answer.
    InDoubt,
    /// The money is captured.
    Succeeded,
    /// Approved, not captured.
    Authorized,
    /// Refused; no money moved.
    Declined,
}

impl Status {
    const ALL: [Status; 5] =
        [Status::Started, Status::InDoubt, Status::Succeeded, Status::Authorized, Status::Declined];

    /// The name in answers and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Started => "started",
            Status::InDoubt => "in_doubt",
            Status::Succeeded => "succeeded",
            Status::Authorized => "authorized",
            Status::Declined => "declined",
        }
    }

    /// Whether the processor's answer is booked.
    pub fn is_final(self) -> bool {
        match self {
            Status::Started | Status::InDoubt => false,
            Status::Succeeded | Status::Authorized | Status::Declined => true,
        }
    }
}

/// One charge as it stands. Holds brand and last four, never more of a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// Its id; the processor's key as well.
    pub id: ChargeId,
    /// Whose.
    pub tenant: Tenant,
    /// Who asked for it.
    pub principal: Principal,
    /// The card.
    pub token: Token,
    /// The card's network.
    pub brand: Brand,
    /// The card's last four digits.
    pub last4: Last4,
    /// What was to be charged.
    pub amount: Money,
    /// Whether it was to be captured at once.
    pub capture: bool,
    /// What was taken.
    pub captured: Money,
    /// What was given back or is reserved for it.
    pub refunded: Money,
    /// Where it stands.
    pub status: Status,
    /// Why it was declined.
    pub decline: Option<DeclineCode>,
    /// The caller's own name for it.
    pub reference: Option<String>,
    /// Which processor.
    pub processor: String,
    /// The processor's name for it.
    pub processor_reference: Option<String>,
    /// Unix microseconds.
    pub created_at_us: i64,
    /// Unix microseconds.
    pub updated_at_us: i64,
}

impl Charge {
    /// A charge whose intent is about to be stored.
    pub(super) fn started(
        id: ChargeId,
        order: &ChargeOrder,
        card: &MaskedCard,
        processor: &str,
        now_us: i64,
    ) -> Charge {
        let request = &order.request;
        let zero = Money::zero(request.amount.currency());
        Charge {
            id,
            tenant: order.tenant.clone(),
            principal: order.principal.clone(),
            token: request.token.clone(),
            brand: card.brand,
            last4: card.last4.clone(),
            amount: request.amount,
            capture: request.capture,
            captured: zero,
            refunded: zero,
            status: Status::Started,
            decline: None,
            reference: request.reference.clone(),
            processor: processor.to_owned(),
            processor_reference: None,
            created_at_us: now_us,
            updated_at_us: now_us,
        }
    }

    /// Whether the same thing was asked.
    pub(super) fn is_of(&self, request: &ChargeRequest) -> bool {
        self.token == request.token
            && self.amount == request.amount
            && self.reference == request.reference
            && self.capture == request.capture
    }

    /// What a refund may still give back.
    pub fn left(&self) -> Option<Money> {
        self.captured.minus(self.refunded).ok()
    }

    fn of(row: &Row) -> Result<Charge, StoreError> {
        let corrupt = |column| StoreError::Corrupt { column };
        let currency = Currency::parse(&row.text("currency")?).map_err(|_| corrupt("currency"))?;
        let money = |column| {
            row.integer(column)
                .and_then(|minor| Money::from_minor(minor, currency).map_err(|_| corrupt(column)))
        };
        let status = row.text("status")?;
        let decline = row.optional_text("decline_code")?;
        Ok(Charge {
            id: ChargeId::parse(&row.text("id")?).map_err(|_| corrupt("id"))?,
            tenant: Tenant::parse(&row.text("tenant")?).map_err(|_| corrupt("tenant"))?,
            principal: Principal::parse(&row.text("principal")?).map_err(|_| corrupt("principal"))?,
            token: Token::parse(&row.text("token")?).map_err(|_| corrupt("token"))?,
            brand: Brand::from_name(&row.text("brand")?),
            last4: Last4::parse(&row.text("last4")?).map_err(|_| corrupt("last4"))?,
            amount: money("amount_minor")?,
            capture: row.integer("capture")? != 0,
            captured: money("captured_minor")?,
            refunded: money("refunded_minor")?,
            status: Status::ALL.into_iter().find(|s| s.as_str() == status).ok_or(corrupt("status"))?,
            decline: decline
                .map(|name| DeclineCode::from_name(&name).ok_or(corrupt("decline_code")))
                .transpose()?,
            reference: row.optional_text("reference")?,
            processor: row.text("processor")?,
            processor_reference: row.optional_text("processor_reference")?,
            created_at_us: row.integer("created_at")?,
            updated_at_us: row.integer("updated_at")?,
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, tenant, principal, token, brand, last4, amount_minor, currency, capture, captured_minor, \
             refunded_minor, status, decline_code, reference, processor, processor_reference, created_at, updated_at \
             FROM charge ",
            $rest
        )
    };
}

/// One charge of the tenant.
pub(in crate::payments) async fn by_id(
    from: &mut impl Fetch,
    tenant: &Tenant,
    id: &ChargeId,
) -> Result<Option<Charge>, StoreError> {
    let args = vec![Value::from(tenant.as_str()), Value::from(id.as_str())];
    from.fetch_optional(select!("WHERE tenant = $1 AND id = $2"), args)
        .await?
        .map(|row| Charge::of(&row))
        .transpose()
}

/// One charge of the tenant, which nobody else changes until this transaction ends: for sums over its refunds.
pub(in crate::payments) async fn by_id_alone(
    work: &mut Work<'_>,
    tenant: &Tenant,
    id: &ChargeId,
) -> Result<Option<Charge>, StoreError> {
    let sql = work
        .dialect()
        .of(select!("WHERE tenant = $1 AND id = $2"), select!("WHERE tenant = $1 AND id = $2 FOR UPDATE"));
    let row = work.fetch_optional(sql, vec![Value::from(tenant.as_str()), Value::from(id.as_str())]).await?;
    row.map(|row| Charge::of(&row)).transpose()
}

/// What that key came to.
pub(super) async fn by_key(
    from: &mut impl Fetch,
    tenant: &Tenant,
    principal: &Principal,
    key: &str,
) -> Result<Option<Charge>, StoreError> {
    let args = vec![Value::from(tenant.as_str()), Value::from(principal.as_str()), Value::from(key)];
    from.fetch_optional(select!("WHERE tenant = $1 AND principal = $2 AND idempotency_key = $3"), args)
        .await?
        .map(|row| Charge::of(&row))
        .transpose()
}

/// One page, newest first.
pub(in crate::payments) async fn page(
    from: &mut impl Fetch,
    tenant: &Tenant,
    wanted: &Page,
) -> Result<List<Charge>, PaymentError> {
    let (mut at, mut id) = (i64::MAX, String::new());
    if let Some(after) = &wanted.after {
        let after = ChargeId::parse(after).map_err(|_| PaymentError::Cursor)?;
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
                "WHERE tenant = $1 AND (created_at, id) < ($2, $3) ORDER BY created_at DESC, id DESC LIMIT $4"
            ),
            args,
        )
        .await?;
    let rows = rows.iter().map(Charge::of).collect::<Result<_, _>>()?;
    Ok(List::cut(rows, wanted.limit))
}

/// Unsettled charges that nobody can still be working on.
pub(in crate::payments) async fn stale(
    from: &mut impl Fetch,
    doubtful_before_us: i64,
    started_before_us: i64,
) -> Result<Vec<Charge>, StoreError> {
    let args = vec![Value::from(doubtful_before_us), Value::from(started_before_us)];
    let rows = from
        .fetch_all(
            select!(
                "WHERE status IN ('started', 'in_doubt') AND updated_at < $1 \
                 AND (status = 'in_doubt' OR updated_at < $2) ORDER BY updated_at LIMIT 500"
            ),
            args,
        )
        .await?;
    rows.iter().map(Charge::of).collect()
}

/// Stores the intent.
pub(super) async fn insert(
    work: &mut Work<'_>,
    charge: &Charge,
    order: &ChargeOrder,
) -> Result<(), StoreError> {
    work.execute(
        "INSERT INTO charge (id, tenant, token, brand, last4, amount_minor, currency, capture, captured_minor, \
         refunded_minor, status, reference, idempotency_key, principal, processor, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, 'started', $9, $10, $11, $12, $13, $13)",
        vec![
            Value::from(charge.id.as_str()),
            Value::from(charge.tenant.as_str()),
            Value::from(charge.token.as_str()),
            Value::from(charge.brand.as_str()),
            Value::from(charge.last4.as_str()),
            Value::from(charge.amount.minor()),
            Value::from(charge.amount.currency().code()),
            Value::from(charge.capture),
            Value::from(charge.reference.as_deref()),
            Value::from(order.key.as_str()),
            Value::from(charge.principal.as_str()),
            Value::from(charge.processor.as_str()),
            Value::from(charge.created_at_us),
        ],
    )
    .await
    .map(|_| ())
}

/// Somebody works on it again.
pub(super) async fn touch(work: &mut Work<'_>, id: &ChargeId, now_us: i64) -> Result<(), StoreError> {
    work.execute(
        "UPDATE charge SET updated_at = $2 WHERE id = $1 AND status IN ('started', 'in_doubt')",
        vec![Value::from(id.as_str()), Value::from(now_us)],
    )
    .await
    .map(|_| ())
}

/// Books the outcome of an unsettled charge; `false` when it was settled before.
pub(in crate::payments) async fn settle(
    work: &mut Work<'_>,
    charge: &Charge,
    outcome: &Outcome,
    now_us: i64,
) -> Result<bool, StoreError> {
    let (status, decline, captured, reference) = match outcome {
        Outcome::Approved { reference } if charge.capture => {
            (Status::Succeeded, None, charge.amount.minor(), Some(reference.as_str()))
        }
        Outcome::Approved { reference } => (Status::Authorized, None, 0, Some(reference.as_str())),
        Outcome::Declined { code } => (Status::Declined, Some(code.as_str()), 0, None),
    };
    let rows = work
        .execute(
            "UPDATE charge SET status = $2, decline_code = $3, captured_minor = $4, processor_reference = $5, \
             updated_at = $6 WHERE id = $1 AND status IN ('started', 'in_doubt')",
            vec![
                Value::from(charge.id.as_str()),
                Value::from(status.as_str()),
                Value::from(decline),
                Value::from(captured),
                Value::from(reference),
                Value::from(now_us),
            ],
        )
        .await?;
    Ok(rows == 1)
}

/// Notes that no answer arrived; `false` when it was settled meanwhile.
pub(super) async fn doubt(work: &mut Work<'_>, charge: &Charge, now_us: i64) -> Result<bool, StoreError> {
    let rows = work
        .execute(
            "UPDATE charge SET status = 'in_doubt', updated_at = $2 WHERE id = $1 \
             AND status IN ('started', 'in_doubt')",
            vec![Value::from(charge.id.as_str()), Value::from(now_us)],
        )
        .await?;
    Ok(rows == 1)
}

/// Removes an intent of which nothing was sent.
pub(super) async fn withdraw(work: &mut Work<'_>, charge: &Charge) -> Result<bool, StoreError> {
    let rows = work
        .execute(
            "DELETE FROM charge WHERE id = $1 AND status = 'started' AND updated_at = $2",
            vec![Value::from(charge.id.as_str()), Value::from(charge.updated_at_us)],
        )
        .await?;
    Ok(rows == 1)
}
