//! Rows of payments: reserved before the charge, finished once after it, never changed again.

use crate::accounts::currency_of;
use crate::answer::Answer;
use crate::database::{Connection, StoreError};
use crate::ids::{AccountId, StatementId};
use crate::order::{Order, Sender};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use tokens::{Brand, ChargeId, Last4, Money, PaymentId, RequestId, Tenant, Token};

/// A payment's row, in the parts that later steps need.
#[derive(Debug, Clone)]
pub struct Payment {
    /// The payment.
    pub id: PaymentId,
    /// On which account.
    pub account: AccountId,
    /// On which statement.
    pub statement: StatementId,
    /// What is charged: the token of the first request, also when a repeat is answered.
    pub token: Token,
    /// The card's network.
    pub brand: Brand,
    /// The card's last four.
    pub last4: Last4,
    /// How much.
    pub money: Money,
    /// Digest of what was asked.
    pub request_digest: Vec<u8>,
    /// How far it is.
    pub state: State,
    /// The gateway's charge, once known.
    pub charge: Option<ChargeId>,
    /// The request that asked for it first.
    pub request: RequestId,
    /// When it was reserved, RFC 3339.
    pub created_at: String,
}

/// How far a payment is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Reserved; whether the card was charged is not known yet.
    Charging,
    /// Over, with the answer that was given.
    Finished(Outcome, Answer),
}

/// How a payment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Charged and posted.
    Succeeded,
    /// Declined by the processor.
    Declined,
    /// Refused by the gateway.
    Refused,
}

impl Outcome {
    /// The name in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Succeeded => "succeeded",
            Outcome::Declined => "declined",
            Outcome::Refused => "refused",
        }
    }
}

impl State {
    /// The name in the database and in answers.
    pub fn as_str(&self) -> &'static str {
        match self {
            State::Charging => "charging",
            State::Finished(outcome, _) => outcome.as_str(),
        }
    }
}

/// Reserves: from here on the amount counts against the statement until the payment is finished.
///
/// # Errors
/// [`StoreError::Rule`] when the tenant has a payment with this key.
pub async fn reserve(
    work: &mut Connection,
    id: &PaymentId,
    sender: &Sender,
    order: &Order,
    at: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO payments (id, tenant, principal, request_id, key_digest, request_digest, account, statement,
                               token, brand, last4, minor, currency, note, state, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 'charging', $15)",
    )
    .bind(id.as_str())
    .bind(sender.tenant.as_str())
    .bind(sender.principal.as_str())
    .bind(sender.request.as_str())
    .bind(sender.key.as_slice())
    .bind(order.digest().to_vec())
    .bind(order.account.as_str())
    .bind(order.statement.as_str())
    .bind(order.token.as_str())
    .bind(order.brand.as_str())
    .bind(order.last4.as_str())
    .bind(order.money.minor())
    .bind(order.money.currency().code())
    .bind(order.note.as_deref())
    .bind(at)
    .execute(&mut *work)
    .await?;
    Ok(())
}

/// Finishes a payment that is still charging; `false` when it was finished already.
///
/// # Errors
/// [`StoreError`].
pub async fn finish(
    work: &mut Connection,
    id: &PaymentId,
    outcome: Outcome,
    charge: Option<&ChargeId>,
    answer: &Answer,
    at: &str,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE payments SET state = $1, charge = $2, answer_status = $3, answer_body = $4, finished_at = $5
         WHERE id = $6 AND state = 'charging'",
    )
    .bind(outcome.as_str())
    .bind(charge.map(ChargeId::as_str))
    .bind(i64::from(answer.status))
    .bind(&answer.body)
    .bind(at)
    .bind(id.as_str())
    .execute(&mut *work)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The tenant's payment with this key.
///
/// # Errors
/// [`StoreError`].
pub async fn by_key(
    from: &mut Connection,
    tenant: &Tenant,
    key: &[u8; 32],
) -> Result<Option<Payment>, StoreError> {
    let row = sqlx::query("SELECT * FROM payments WHERE tenant = $1 AND key_digest = $2")
        .bind(tenant.as_str())
        .bind(key.as_slice())
        .fetch_optional(&mut *from)
        .await?;
    row.map(read).transpose()
}

/// Tenants and keys of payments that are still charging and were reserved before that time (RFC 3339), oldest first,
/// at most ten thousand.
///
/// # Errors
/// [`StoreError`].
pub async fn left_behind(from: &mut Connection, before: &str) -> Result<Vec<(Tenant, [u8; 32])>, StoreError> {
    let rows = sqlx::query(
        "SELECT tenant, key_digest FROM payments WHERE state = 'charging' AND created_at < $1
         ORDER BY created_at, rowid LIMIT 10000",
    )
    .bind(before)
    .fetch_all(&mut *from)
    .await?;
    rows.into_iter()
        .map(|row| {
            let (tenant, key): (String, Vec<u8>) = (row.try_get("tenant")?, row.try_get("key_digest")?);
            let tenant =
                Tenant::parse(&tenant).map_err(|_| StoreError::Corrupt { column: "payments.tenant" })?;
            let key = key.try_into().map_err(|_| StoreError::Corrupt { column: "payments.key_digest" })?;
            Ok((tenant, key))
        })
        .collect()
}

/// The tenant's payment that has this charge.
///
/// # Errors
/// [`StoreError`].
pub async fn by_charge(
    from: &mut Connection,
    tenant: &Tenant,
    charge: &ChargeId,
) -> Result<Option<Payment>, StoreError> {
    let row = sqlx::query("SELECT * FROM payments WHERE tenant = $1 AND charge = $2 AND state = 'succeeded'")
        .bind(tenant.as_str())
        .bind(charge.as_str())
        .fetch_optional(&mut *from)
        .await?;
    row.map(read).transpose()
}

/// The payments on an account, oldest first.
///
/// # Errors
/// [`StoreError`].
pub async fn of_account(from: &mut Connection, account: &AccountId) -> Result<Vec<Payment>, StoreError> {
    let rows = sqlx::query("SELECT * FROM payments WHERE account = $1 ORDER BY created_at, rowid")
        .bind(account.as_str())
        .fetch_all(&mut *from)
        .await?;
    rows.into_iter().map(read).collect()
}

/// The payments on a statement, oldest first.
///
/// # Errors
/// [`StoreError`].
pub async fn of_statement(
    from: &mut Connection,
    statement: &StatementId,
) -> Result<Vec<Payment>, StoreError> {
    let rows = sqlx::query("SELECT * FROM payments WHERE statement = $1 ORDER BY created_at, rowid")
        .bind(statement.as_str())
        .fetch_all(&mut *from)
        .await?;
    rows.into_iter().map(read).collect()
}

/// Minor units on a statement that are reserved and neither paid nor given up.
///
/// # Errors
/// [`StoreError`].
pub async fn reserved(from: &mut Connection, statement: &StatementId) -> Result<i64, StoreError> {
    let row = sqlx::query(
        "SELECT CAST(COALESCE(SUM(minor), 0) AS INTEGER) AS reserved FROM payments
         WHERE statement = $1 AND state = 'charging'",
    )
    .bind(statement.as_str())
    .fetch_one(&mut *from)
    .await?;
    Ok(row.try_get("reserved")?)
}

fn read(row: SqliteRow) -> Result<Payment, StoreError> {
    let text = |column: &'static str| -> Result<String, StoreError> {
        row.try_get(column).map_err(|_| StoreError::Corrupt { column })
    };
    let corrupt = |column: &'static str| move || StoreError::Corrupt { column };
    let charge: Option<String> = row.try_get("charge")?;
    let outcome = match text("state")?.as_str() {
        "charging" => None,
        "succeeded" => Some(Outcome::Succeeded),
        "declined" => Some(Outcome::Declined),
        "refused" => Some(Outcome::Refused),
        _ => return Err(StoreError::Corrupt { column: "payments.state" }),
    };
    let state = match outcome {
        None => State::Charging,
        Some(outcome) => {
            let status: i64 = row.try_get("answer_status")?;
            let status = u16::try_from(status).map_err(|_| corrupt("payments.answer_status")())?;
            State::Finished(outcome, Answer::repeated(status, text("answer_body")?))
        }
    };
    Ok(Payment {
        id: PaymentId::parse(&text("id")?).map_err(|_| corrupt("payments.id")())?,
        account: AccountId::parse(&text("account")?).map_err(|_| corrupt("payments.account")())?,
        statement: StatementId::parse(&text("statement")?).map_err(|_| corrupt("payments.statement")())?,
        token: Token::parse(&text("token")?).map_err(|_| corrupt("payments.token")())?,
        brand: Brand::from_name(&text("brand")?),
        last4: Last4::parse(&text("last4")?).map_err(|_| corrupt("payments.last4")())?,
        money: Money::from_minor(row.try_get("minor")?, currency_of(text("currency")?)?)
            .map_err(|_| corrupt("payments.minor")())?,
        request_digest: row.try_get("request_digest")?,
        state,
        charge: charge
            .map(|text| ChargeId::parse(&text).map_err(|_| corrupt("payments.charge")()))
            .transpose()?,
        request: RequestId::parse(&text("request_id")?).map_err(|_| corrupt("payments.request_id")())?,
        created_at: text("created_at")?,
    })
}
