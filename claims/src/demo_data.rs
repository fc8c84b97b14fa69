//! A made-up patient with one open statement of urgent-care services, large enough for hundreds of test payments.
//! No real person, no card.

use crate::accounts::{self, Line};
use crate::database::{Database, StoreError};
use crate::ids::{AccountId, StatementId};
use crate::ledger;
use crate::payment::now;
use time::{Duration, OffsetDateTime};
use tokens::{Currency, Money, Tenant};

/// CPT or HCPCS code, our own words for it, days before today, units, cents each. Adds up to 48,200.00.
const SERVICES: [(&str, &str, i64, i64, i64); 8] = [
    ("S9083", "Urgent care visit, global fee", 41, 1, 42_500),
    ("99204", "New patient visit, moderate complexity", 41, 1, 38_500),
    ("12002", "Repair of a superficial wound", 41, 1, 61_250),
    ("73610", "X-ray of the ankle, three views", 38, 2, 29_800),
    ("87637", "Swab for four respiratory viruses", 33, 4, 21_200),
    ("96365", "Infusion, first hour", 27, 10, 64_200),
    ("96366", "Infusion, each further hour", 27, 20, 18_725),
    ("J3590", "Infused medicine, one course", 20, 10, 351_685),
];

/// What was seeded.
#[derive(Debug, Clone)]
pub struct Seeded {
    /// The new account.
    pub account: AccountId,
    /// Its open statement.
    pub statement: StatementId,
    /// What is owed on it.
    pub balance: Money,
}

/// Opens a demonstration account with one statement for a tenant. Each call opens another.
///
/// # Errors
/// [`StoreError`].
pub async fn seed(database: &Database, tenant: &Tenant) -> Result<Seeded, StoreError> {
    let at = now();
    let today = OffsetDateTime::now_utc().date();
    let mut work = database.write().await?;
    let account = accounts::open_account(&mut work, tenant, "Dana Reyes", Currency::Usd, &at).await?;
    let due = today.saturating_add(Duration::days(30)).to_string();
    let statement = accounts::open_statement(&mut work, tenant, &account, Currency::Usd, &due, &at).await?;
    for (number, (code, description, days_ago, units, cents)) in (1i64..).zip(SERVICES) {
        let line = Line {
            code: code.to_owned(),
            description: description.to_owned(),
            service_date: today.saturating_sub(Duration::days(days_ago)).to_string(),
            units,
            unit_price: Money::from_minor(cents, Currency::Usd)
                .map_err(|_| StoreError::Corrupt { column: "statement_lines.unit_minor" })?,
        };
        accounts::bill_line(&mut work, &statement, number, &line, &at).await?;
    }
    let balance = ledger::balance(&mut work, &statement, Currency::Usd).await?;
    work.commit().await?;
    Ok(Seeded { account, statement, balance })
}
