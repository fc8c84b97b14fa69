//! What staff tools may read: an account, a statement. Amounts as decimal strings, cards as brand and last four.

use crate::accounts::{self, Account, Statement};
use crate::answer::{Answer, Refusal};
use crate::database::{Connection, Database, StoreError};
use crate::ids::{AccountId, StatementId};
use crate::ledger;
use crate::record::{self, Payment};
use crate::refund;
use serde_json::{Value, json};
use tokens::{Currency, Money, Tenant};

/// One account with its statements and payments.
///
/// # Errors
/// [`Refusal::AccountUnknown`], also for another tenant's when `tenant` is given.
pub async fn account(database: &Database, tenant: Option<&Tenant>, id: &str) -> Result<Answer, Refusal> {
    let id = AccountId::parse(id).map_err(|_| Refusal::AccountUnknown)?;
    let mut from = database.read().await?;
    let account = accounts::find_account(&mut from, &id).await?;
    let account = account.filter(|found| is_of(&found.tenant, tenant)).ok_or(Refusal::AccountUnknown)?;
    Ok(Answer::success(200, &account_body(&mut from, &account).await?))
}

/// One statement with its lines, payments and refunds.
///
/// # Errors
/// [`Refusal::StatementUnknown`], also for another tenant's when `tenant` is given.
pub async fn statement(database: &Database, tenant: Option<&Tenant>, id: &str) -> Result<Answer, Refusal> {
    let id = StatementId::parse(id).map_err(|_| Refusal::StatementUnknown)?;
    let mut from = database.read().await?;
    let statement = accounts::find_statement(&mut from, &id).await?;
    let statement =
        statement.filter(|found| is_of(&found.tenant, tenant)).ok_or(Refusal::StatementUnknown)?;
    Ok(Answer::success(200, &statement_body(&mut from, &statement).await?))
}

async fn account_body(from: &mut Connection, account: &Account) -> Result<Value, StoreError> {
    let mut statements = Vec::new();
    let mut owed = Money::zero(account.currency);
    for id in accounts::statements_of(from, &account.id).await? {
        let Some(statement) = accounts::find_statement(from, &id).await? else { continue };
        let balance = ledger::balance(from, &id, statement.currency).await?;
        owed = owed.plus(balance).map_err(|_| StoreError::Corrupt { column: "statements.currency" })?;
        statements.push(json!({
            "id": id.as_str(),
            "status": statement.status.as_str(),
            "balance": balance.to_string(),
            "currency": statement.currency.code(),
            "due_date": statement.due_date,
        }));
    }
    let payments: Vec<Value> =
        record::of_account(from, &account.id).await?.iter().map(payment_body).collect();
    Ok(json!({
        "id": account.id.as_str(),
        "tenant": account.tenant.as_str(),
        "patient": account.patient_name,
        "balance": owed.to_string(),
        "currency": account.currency.code(),
        "statements": statements,
        "payments": payments,
    }))
}

async fn statement_body(from: &mut Connection, statement: &Statement) -> Result<Value, StoreError> {
    let mut lines = Vec::new();
    let mut total = Money::zero(statement.currency);
    for line in accounts::lines_of(from, statement).await? {
        let amount = line.amount()?;
        total =
            total.plus(amount).map_err(|_| StoreError::Corrupt { column: "statement_lines.unit_minor" })?;
        lines.push(json!({
            "service_date": line.service_date,
            "code": line.code,
            "description": line.description,
            "units": line.units,
            "unit_price": line.unit_price.to_string(),
            "amount": amount.to_string(),
        }));
    }
    let balance = ledger::balance(from, &statement.id, statement.currency).await?;
    let payments: Vec<Value> =
        record::of_statement(from, &statement.id).await?.iter().map(payment_body).collect();
    let mut refunds = Vec::new();
    for refund in refund::of_statement(from, &statement.id).await? {
        refunds.push(json!({
            "id": refund.id,
            "payment": refund.payment,
            "amount": shown(refund.minor, statement.currency)?,
            "reason": refund.reason,
            "created_at": refund.created_at,
        }));
    }
    Ok(json!({
        "id": statement.id.as_str(),
        "tenant": statement.tenant.as_str(),
        "account": statement.account.as_str(),
        "status": statement.status.as_str(),
        "currency": statement.currency.code(),
        "lines": lines,
        "total": total.to_string(),
        "balance": balance.to_string(),
        "payments": payments,
        "refunds": refunds,
        "due_date": statement.due_date,
    }))
}

fn payment_body(payment: &Payment) -> Value {
    json!({
        "id": payment.id.as_str(),
        "statement": payment.statement.as_str(),
        "amount": payment.money.to_string(),
        "currency": payment.money.currency().code(),
        "status": payment.state.as_str(),
        "charge": payment.charge.as_ref().map(|charge| charge.as_str()),
        "card": { "brand": payment.brand.as_str(), "last4": payment.last4.as_str() },
        "created_at": payment.created_at,
    })
}

fn shown(minor: i64, currency: Currency) -> Result<String, StoreError> {
    let money =
        Money::from_minor(minor, currency).map_err(|_| StoreError::Corrupt { column: "refunds.minor" })?;
    Ok(money.to_string())
}

fn is_of(owner: &Tenant, asked: Option<&Tenant>) -> bool {
    asked.is_none_or(|tenant| tenant == owner)
}
