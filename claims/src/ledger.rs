//! The double-entry ledger: what a posting is, and writing and summing it. Append only: a mistake is
//! reversed by another posting, never edited. A statement's balance is read from here and stored nowhere else.

use crate::database::{Connection, StoreError};
use crate::ids::StatementId;
use sqlx::Row;
use tokens::{Currency, Money};

/// What money is booked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerAccount {
    /// What the patient owes.
    PatientReceivable,
    /// What the processor has taken and not yet paid out.
    CashClearing,
    /// What the clinic has earned.
    Revenue,
    /// What the clinic has given up (contractual write-off, assistance).
    Adjustments,
}

impl LedgerAccount {
    /// Every account.
    pub const ALL: [LedgerAccount; 4] = [
        LedgerAccount::PatientReceivable,
        LedgerAccount::CashClearing,
        LedgerAccount::Revenue,
        LedgerAccount::Adjustments,
    ];

    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            LedgerAccount::PatientReceivable => "patient_receivable",
            LedgerAccount::CashClearing => "cash_clearing",
            LedgerAccount::Revenue => "revenue",
            LedgerAccount::Adjustments => "adjustments",
        }
    }
}

/// The two sides of the book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Left.
    Debit,
    /// Right.
    Credit,
}

impl Side {
    fn as_str(self) -> &'static str {
        match self {
            Side::Debit => "debit",
            Side::Credit => "credit",
        }
    }

    fn opposite(self) -> Side {
        match self {
            Side::Debit => Side::Credit,
            Side::Credit => Side::Debit,
        }
    }
}

/// Why something was posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A service was billed.
    Charge,
    /// A patient paid.
    Payment,
    /// A payment went back; the patient owes again.
    Refund,
    /// The clinic gave something up.
    Adjustment,
}

const REVERSAL: &str = "reversal";

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Charge => "charge",
            Kind::Payment => "payment",
            Kind::Refund => "refund",
            Kind::Adjustment => "adjustment",
        }
    }

    fn legs(self) -> [(LedgerAccount, Side); 2] {
        match self {
            Kind::Charge => {
                [(LedgerAccount::PatientReceivable, Side::Debit), (LedgerAccount::Revenue, Side::Credit)]
            }
            Kind::Payment => {
                [(LedgerAccount::CashClearing, Side::Debit), (LedgerAccount::PatientReceivable, Side::Credit)]
            }
            Kind::Refund => {
                [(LedgerAccount::PatientReceivable, Side::Debit), (LedgerAccount::CashClearing, Side::Credit)]
            }
            Kind::Adjustment => {
                [(LedgerAccount::Adjustments, Side::Debit), (LedgerAccount::PatientReceivable, Side::Credit)]
            }
        }
    }
}

/// One balanced booking on one statement: two legs of the same amount, so debits and credits cannot differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posting {
    id: String,
    kind: &'static str,
    statement: StatementId,
    legs: [(LedgerAccount, Side); 2],
    money: Money,
}

impl Posting {
    /// A posting of `money` for `source` (a payment, a refund, a statement line). The same kind and source
    /// cannot be posted twice.
    pub fn new(kind: Kind, source: &str, statement: &StatementId, money: Money) -> Self {
        Posting {
            id: format!("{}:{source}", kind.as_str()),
            kind: kind.as_str(),
            statement: statement.clone(),
            legs: kind.legs(),
            money,
        }
    }

    /// The posting that undoes this one.
    pub fn reversed(&self) -> Posting {
        Posting {
            id: format!("{REVERSAL}:{}", self.id),
            kind: REVERSAL,
            statement: self.statement.clone(),
            legs: self.legs.map(|(account, side)| (account, side.opposite())),
            money: self.money,
        }
    }

    /// Writes the entries, then the posting that closes them; a trigger refuses the close when they differ.
    ///
    /// # Errors
    /// [`StoreError::Rule`] when this was posted before, [`StoreError::Unavailable`] when the disk fails.
    pub async fn write(&self, work: &mut Connection, at: &str) -> Result<(), StoreError> {
        for (leg, (account, side)) in (1i64..).zip(self.legs) {
            sqlx::query(
                "INSERT INTO entries (posting, leg, statement, account, side, minor, currency)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(&self.id)
            .bind(leg)
            .bind(self.statement.as_str())
            .bind(account.as_str())
            .bind(side.as_str())
            .bind(self.money.minor())
            .bind(self.money.currency().code())
            .execute(&mut *work)
            .await?;
        }
        sqlx::query("INSERT INTO postings (id, kind, created_at) VALUES ($1, $2, $3)")
            .bind(&self.id)
            .bind(self.kind)
            .bind(at)
            .execute(&mut *work)
            .await?;
        Ok(())
    }
}

/// Debits minus credits of one ledger account on one statement, in minor units.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn net(
    from: &mut Connection,
    statement: &StatementId,
    account: LedgerAccount,
) -> Result<i64, StoreError> {
    let row = sqlx::query(
        "SELECT CAST(COALESCE(SUM(CASE side WHEN 'debit' THEN minor ELSE -minor END), 0) AS INTEGER) AS net
         FROM entries WHERE statement = $1 AND account = $2",
    )
    .bind(statement.as_str())
    .bind(account.as_str())
    .fetch_one(&mut *from)
    .await?;
    Ok(row.try_get("net")?)
}

/// What the patient still owes on a statement: charges − payments − adjustments + refunds.
///
/// # Errors
/// [`StoreError::Corrupt`] when the sum is below zero, which no posting of ours makes.
pub async fn balance(
    from: &mut Connection,
    statement: &StatementId,
    currency: Currency,
) -> Result<Money, StoreError> {
    let minor = net(from, statement, LedgerAccount::PatientReceivable).await?;
    Money::from_minor(minor, currency).map_err(|_| StoreError::Corrupt { column: "entries.minor" })
}

#[cfg(test)]
#[path = "ledger_laws.rs"]
mod laws;
