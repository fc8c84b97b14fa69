//! Notices that the gateway has sent money back: post the reversal, reopen the balance. Told twice, posted once.

use crate::accounts;
use crate::answer::{Answer, Refusal};
use crate::database::{Connection, Database, StoreError};
use crate::ids::StatementId;
use crate::ledger::{self, Kind, Posting};
use crate::order::RefundNotice;
use crate::payment::now;
use crate::record;
use serde_json::json;
use sqlx::Row;
use tokens::{Money, PaymentId, Tenant};

/// Posts a refund and reopens the statement.
///
/// # Errors
/// [`Refusal::ChargeUnknown`], [`Refusal::RefundExceedsPayment`], [`Refusal::KeyReused`] when the refund's
/// identifier was posted with other contents, [`Refusal::Store`].
pub async fn post(database: &Database, tenant: &Tenant, notice: &RefundNotice) -> Result<Answer, Refusal> {
    let mut work = database.write().await?;
    let payment =
        record::by_charge(&mut work, tenant, &notice.charge).await?.ok_or(Refusal::ChargeUnknown)?;
    if payment.money.currency() != notice.money.currency() {
        return Err(Refusal::CurrencyDiffers);
    }
    let known = digest_of(&mut work, notice).await?;
    let repeated = match known {
        Some(digest) if digest != notice.digest() => return Err(Refusal::KeyReused),
        Some(_) => true,
        None => {
            write(&mut work, tenant, &payment.id, &payment.statement, payment.money, notice).await?;
            false
        }
    };
    let balance = ledger::balance(&mut work, &payment.statement, payment.money.currency()).await?;
    if !repeated {
        accounts::mark(&mut work, &payment.statement, balance).await?;
    }
    work.commit().await.map_err(StoreError::from)?;
    let body = json!({
        "refund": notice.refund.as_str(),
        "status": "posted",
        "charge": notice.charge.as_str(),
        "payment": payment.id.as_str(),
        "statement": payment.statement.as_str(),
        "amount": notice.money.to_string(),
        "currency": notice.money.currency().code(),
        "balance": balance.to_string(),
    });
    Ok(Answer { replayed: repeated, ..Answer::success(201, &body) })
}

async fn write(
    work: &mut Connection,
    tenant: &Tenant,
    payment: &PaymentId,
    statement: &StatementId,
    paid: Money,
    notice: &RefundNotice,
) -> Result<(), Refusal> {
    let refunded = of_payment(work, payment).await?;
    if refunded.saturating_add(notice.money.minor()) > paid.minor() {
        return Err(Refusal::RefundExceedsPayment);
    }
    let at = now();
    sqlx::query(
        "INSERT INTO refunds (id, tenant, payment, request_digest, minor, currency, reason, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(notice.refund.as_str())
    .bind(tenant.as_str())
    .bind(payment.as_str())
    .bind(notice.digest().to_vec())
    .bind(notice.money.minor())
    .bind(notice.money.currency().code())
    .bind(&notice.reason)
    .bind(&at)
    .execute(&mut *work)
    .await
    .map_err(StoreError::from)?;
    Posting::new(Kind::Refund, notice.refund.as_str(), statement, notice.money).write(work, &at).await?;
    Ok(())
}

async fn digest_of(from: &mut Connection, notice: &RefundNotice) -> Result<Option<Vec<u8>>, StoreError> {
    let row = sqlx::query("SELECT request_digest FROM refunds WHERE id = $1")
        .bind(notice.refund.as_str())
        .fetch_optional(&mut *from)
        .await?;
    row.map(|row| Ok(row.try_get("request_digest")?)).transpose()
}

async fn of_payment(from: &mut Connection, payment: &PaymentId) -> Result<i64, StoreError> {
    let row = sqlx::query(
        "SELECT CAST(COALESCE(SUM(minor), 0) AS INTEGER) AS back FROM refunds WHERE payment = $1",
    )
    .bind(payment.as_str())
    .fetch_one(&mut *from)
    .await?;
    Ok(row.try_get("back")?)
}

/// A refund on a statement, as answers show it.
#[derive(Debug, Clone)]
pub struct Posted {
    /// `re_…`.
    pub id: String,
    /// `pay_…`.
    pub payment: String,
    /// Minor units.
    pub minor: i64,
    /// Why.
    pub reason: String,
    /// RFC 3339.
    pub created_at: String,
}

/// The refunds on a statement, oldest first.
///
/// # Errors
/// [`StoreError`].
pub async fn of_statement(from: &mut Connection, statement: &StatementId) -> Result<Vec<Posted>, StoreError> {
    let rows = sqlx::query(
        "SELECT r.id, r.payment, r.minor, r.reason, r.created_at FROM refunds r
         JOIN payments p ON p.id = r.payment WHERE p.statement = $1 ORDER BY r.created_at, r.rowid",
    )
    .bind(statement.as_str())
    .fetch_all(&mut *from)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Posted {
                id: row.try_get("id")?,
                payment: row.try_get("payment")?,
                minor: row.try_get("minor")?,
                reason: row.try_get("reason")?,
                created_at: row.try_get("created_at")?,
            })
        })
        .collect()
}
