//! Rows of accounts, statements and their lines. What is owed is not here but in the ledger.

use crate::database::{Connection, StoreError};
use crate::ids::{AccountId, StatementId};
use crate::ledger::{Kind, Posting};
use sqlx::Row;
use tokens::{Currency, Money, Tenant};

/// An account's row.
#[derive(Debug, Clone)]
pub struct Account {
    /// The account.
    pub id: AccountId,
    /// Whose it is.
    pub tenant: Tenant,
    /// The patient's name as staff and patient see it.
    pub patient_name: String,
    /// Of all its statements.
    pub currency: Currency,
}

/// A statement's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Something is owed.
    Open,
    /// Nothing is owed.
    Paid,
}

impl Status {
    /// The name in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Open => "open",
            Status::Paid => "paid",
        }
    }
}

/// A statement's row.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The statement.
    pub id: StatementId,
    /// Whose it is.
    pub tenant: Tenant,
    /// The account it belongs to.
    pub account: AccountId,
    /// Whether something is owed.
    pub status: Status,
    /// Of every amount on it.
    pub currency: Currency,
    /// ISO 8601 date.
    pub due_date: String,
}

/// One service on a statement.
#[derive(Debug, Clone)]
pub struct Line {
    /// CPT or HCPCS code.
    pub code: String,
    /// In our own words.
    pub description: String,
    /// ISO 8601 date of service.
    pub service_date: String,
    /// How many, at least 1.
    pub units: i64,
    /// Price of one.
    pub unit_price: Money,
}

impl Line {
    /// Units times unit price.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the product is out of the range of [`Money`].
    pub fn amount(&self) -> Result<Money, StoreError> {
        self.units
            .checked_mul(self.unit_price.minor())
            .and_then(|minor| Money::from_minor(minor, self.unit_price.currency()).ok())
            .ok_or(StoreError::Corrupt { column: "statement_lines.units" })
    }
}

/// Opens an account and gives its new identifier.
///
/// # Errors
/// [`StoreError`].
pub async fn open_account(
    work: &mut Connection,
    tenant: &Tenant,
    patient_name: &str,
    currency: Currency,
    at: &str,
) -> Result<AccountId, StoreError> {
    let id = AccountId::mint().map_err(|_| StoreError::Corrupt { column: "accounts.id" })?;
    sqlx::query(
        "INSERT INTO accounts (id, tenant, patient_name, currency, created_at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(id.as_str())
    .bind(tenant.as_str())
    .bind(patient_name)
    .bind(currency.code())
    .bind(at)
    .execute(&mut *work)
    .await?;
    Ok(id)
}

/// Opens a statement without lines and gives its new identifier.
///
/// # Errors
/// [`StoreError`].
pub async fn open_statement(
    work: &mut Connection,
    tenant: &Tenant,
    account: &AccountId,
    currency: Currency,
    due_date: &str,
    at: &str,
) -> Result<StatementId, StoreError> {
    let id = StatementId::mint().map_err(|_| StoreError::Corrupt { column: "statements.id" })?;
    sqlx::query(
        "INSERT INTO statements (id, tenant, account, status, currency, due_date, created_at)
         VALUES ($1, $2, $3, 'open', $4, $5, $6)",
    )
    .bind(id.as_str())
    .bind(tenant.as_str())
    .bind(account.as_str())
    .bind(currency.code())
    .bind(due_date)
    .bind(at)
    .execute(&mut *work)
    .await?;
    Ok(id)
}

/// Puts a service on a statement and posts its charge, so that the line and the debt appear together.
///
/// # Errors
/// [`StoreError::Rule`] when the number is taken.
pub async fn bill_line(
    work: &mut Connection,
    statement: &StatementId,
    number: i64,
    line: &Line,
    at: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO statement_lines (statement, number, code, description, service_date, units, unit_minor)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(statement.as_str())
    .bind(number)
    .bind(&line.code)
    .bind(&line.description)
    .bind(&line.service_date)
    .bind(line.units)
    .bind(line.unit_price.minor())
    .execute(&mut *work)
    .await?;
    let source = format!("{statement}/{number}");
    Posting::new(Kind::Charge, &source, statement, line.amount()?).write(work, at).await
}

/// The account of that identifier, of whatever tenant.
///
/// # Errors
/// [`StoreError`].
pub async fn find_account(from: &mut Connection, id: &AccountId) -> Result<Option<Account>, StoreError> {
    let row = sqlx::query("SELECT tenant, patient_name, currency FROM accounts WHERE id = $1")
        .bind(id.as_str())
        .fetch_optional(&mut *from)
        .await?;
    row.map(|row| {
        Ok(Account {
            id: id.clone(),
            tenant: tenant_of(row.try_get("tenant")?)?,
            patient_name: row.try_get("patient_name")?,
            currency: currency_of(row.try_get("currency")?)?,
        })
    })
    .transpose()
}

/// The statement of that identifier, of whatever tenant.
///
/// # Errors
/// [`StoreError`].
pub async fn find_statement(
    from: &mut Connection,
    id: &StatementId,
) -> Result<Option<Statement>, StoreError> {
    let row = sqlx::query("SELECT tenant, account, status, currency, due_date FROM statements WHERE id = $1")
        .bind(id.as_str())
        .fetch_optional(&mut *from)
        .await?;
    row.map(|row| {
        let account: String = row.try_get("account")?;
        let status: String = row.try_get("status")?;
        Ok(Statement {
            id: id.clone(),
            tenant: tenant_of(row.try_get("tenant")?)?,
            account: AccountId::parse(&account)
                .map_err(|_| StoreError::Corrupt { column: "statements.account" })?,
            status: match status.as_str() {
                "open" => Status::Open,
                "paid" => Status::Paid,
                _ => return Err(StoreError::Corrupt { column: "statements.status" }),
            },
            currency: currency_of(row.try_get("currency")?)?,
            due_date: row.try_get("due_date")?,
        })
    })
    .transpose()
}

/// The statements of an account, oldest first.
///
/// # Errors
/// [`StoreError`].
pub async fn statements_of(
    from: &mut Connection,
    account: &AccountId,
) -> Result<Vec<StatementId>, StoreError> {
    let rows = sqlx::query("SELECT id FROM statements WHERE account = $1 ORDER BY created_at, id")
        .bind(account.as_str())
        .fetch_all(&mut *from)
        .await?;
    rows.into_iter()
        .map(|row| {
            let id: String = row.try_get("id")?;
            StatementId::parse(&id).map_err(|_| StoreError::Corrupt { column: "statements.id" })
        })
        .collect()
}

/// The lines of a statement in their order.
///
/// # Errors
/// [`StoreError`].
pub async fn lines_of(from: &mut Connection, statement: &Statement) -> Result<Vec<Line>, StoreError> {
    let rows = sqlx::query(
        "SELECT code, description, service_date, units, unit_minor FROM statement_lines
         WHERE statement = $1 ORDER BY number",
    )
    .bind(statement.id.as_str())
    .fetch_all(&mut *from)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Line {
                code: row.try_get("code")?,
                description: row.try_get("description")?,
                service_date: row.try_get("service_date")?,
                units: row.try_get("units")?,
                unit_price: Money::from_minor(row.try_get("unit_minor")?, statement.currency)
                    .map_err(|_| StoreError::Corrupt { column: "statement_lines.unit_minor" })?,
            })
        })
        .collect()
}

/// Marks a statement by what is owed on it: paid at zero, open above.
///
/// # Errors
/// [`StoreError`].
pub async fn mark(work: &mut Connection, statement: &StatementId, balance: Money) -> Result<(), StoreError> {
    let status = if balance.is_zero() { Status::Paid } else { Status::Open };
    sqlx::query("UPDATE statements SET status = $1 WHERE id = $2")
        .bind(status.as_str())
        .bind(statement.as_str())
        .execute(&mut *work)
        .await?;
    Ok(())
}

/// A stored currency code.
pub(crate) fn currency_of(code: String) -> Result<Currency, StoreError> {
    Currency::parse(&code).map_err(|_| StoreError::Corrupt { column: "currency" })
}

fn tenant_of(name: String) -> Result<Tenant, StoreError> {
    Tenant::parse(&name).map_err(|_| StoreError::Corrupt { column: "tenant" })
}
