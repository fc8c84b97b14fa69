//! A payment from request to receipt: reserve, charge at the gateway, post. Each step is its own transaction
//! and the gateway is called between two, so that a crash anywhere leaves a payment that a repeat finishes.

use crate::accounts::{self, Status};
use crate::answer::{Answer, Refusal};
use crate::database::{Connection, Database, StoreError};
use crate::gateway::{Charged, Found, Gateway};
use crate::ids::StatementId;
use crate::ledger::{self, Kind, Posting};
use crate::order::{Order, Sender};
use crate::patience::Patience;
use crate::record::{self, Outcome, Payment, State};
use serde_json::json;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokens::{ChargeId, Money, PaymentId, RequestId, Tenant};

/// The caller's own repeat comes first; after this long a payment is asked about.
const LEFT_AFTER: Duration = Duration::from_secs(10);
/// A payment of which the gateway knows no charge after this long will never be charged: what it opened there for its
/// charge is closed after an hour.
const NEVER_AFTER: Duration = Duration::from_secs(2 * 60 * 60);

/// Makes payments.
pub struct Cashier {
    database: Database,
    gateway: Gateway,
    turns: Turns,
    patience: Patience,
}

enum Reserved {
    /// To be charged, for the first time or again.
    Charge(Box<Payment>),
    /// Over already.
    Repeat(Answer),
}

impl Cashier {
    /// A cashier for this database and gateway.
    pub fn new(database: Database, gateway: Gateway) -> Self {
        Cashier { database, gateway, turns: Turns::default(), patience: Patience::default() }
    }

    /// Pays: the answer is the receipt, or the same answer as before for a repeat.
    ///
    /// # Errors
    /// [`Refusal`]. After [`Refusal::GatewayUnavailable`] and [`Refusal::Store`] the payment may be half done;
    /// a repeat with the same key goes on where it stopped.
    pub async fn pay(&self, sender: &Sender, order: &Order) -> Result<Answer, Refusal> {
        let _turn = self.turns.take(&sender.tenant, sender.key).ok_or(Refusal::InProgress)?;
        let payment = match self.reserve(sender, order).await? {
            Reserved::Charge(payment) => payment,
            Reserved::Repeat(answer) => return Ok(answer),
        };
        // The token that was reserved, not the one that arrived: the gateway must see the same request again.
        let charged = self.gateway.charge(&payment.id, &payment.token, payment.money).await;
        self.conclude(&payment, charged, &sender.request).await
    }

    /// Finishes, or asks about, what nobody came back for: its card may have been charged, and its amount is held
    /// back from the statement. Charges nothing; only the caller's own repeat does that. Gives how many it finished.
    ///
    /// # Errors
    /// [`StoreError`] when the payments cannot be read; one that fails alone is left for the next round.
    pub async fn finish_left_behind(&self) -> Result<usize, StoreError> {
        let mut reader = self.database.read().await?;
        let left = record::left_behind(&mut reader, &earlier(LEFT_AFTER)).await?;
        drop(reader);
        self.patience.keep_only(&left.iter().map(|(_, key)| *key).collect());
        let mut finished = 0;
        for (tenant, key) in left {
            if !self.patience.is_due(key, Instant::now()) {
                continue;
            }
            let Some(_turn) = self.turns.take(&tenant, key) else { continue };
            let found = record::by_key(&mut *self.database.read().await?, &tenant, &key).await?;
            let Some(payment) = found.filter(|payment| payment.state == State::Charging) else { continue };
            let charged = match self.gateway.find(&payment.id, payment.money).await {
                Found::Charge(charged) => charged,
                Found::Nothing if payment.created_at < earlier(NEVER_AFTER) => {
                    Charged::Refused { code: "not_charged".to_owned() }
                }
                Found::Nothing => continue,
                // Nor would it say anything about the others.
                Found::Unanswered => break,
            };
            if let Ok(answer) = self.conclude(&payment, charged, &payment.request).await {
                tracing::warn!(event = "payment_finished_late", payment = %payment.id, status = answer.status);
                finished += 1;
            }
        }
        Ok(finished)
    }

    async fn conclude(
        &self,
        payment: &Payment,
        charged: Charged,
        request: &RequestId,
    ) -> Result<Answer, Refusal> {
        match charged {
            Charged::Succeeded(charge) => self.post(payment, &charge).await,
            Charged::Declined { code, charge } => {
                let refusal = Refusal::Declined { code, charge: charge.clone() };
                self.give_up(payment, Outcome::Declined, charge.as_ref(), refusal, request).await
            }
            Charged::Refused { code } => {
                let refusal = Refusal::ChargeRefused { code };
                self.give_up(payment, Outcome::Refused, None, refusal, request).await
            }
            Charged::Unknown { why } => {
                tracing::warn!(event = "charge_unknown", payment = %payment.id, why);
                Err(Refusal::GatewayUnavailable)
            }
        }
    }

    async fn reserve(&self, sender: &Sender, order: &Order) -> Result<Reserved, Refusal> {
        let mut work = self.database.write().await?;
        if let Some(payment) = record::by_key(&mut work, &sender.tenant, &sender.key).await? {
            if payment.request_digest != order.digest() {
                return Err(Refusal::KeyReused);
            }
            return Ok(match payment.state {
                State::Charging => Reserved::Charge(Box::new(payment)),
                State::Finished(_, answer) => Reserved::Repeat(answer),
            });
        }
        check(&mut work, &sender.tenant, order).await?;
        let id = PaymentId::mint().map_err(|_| Refusal::Internal)?;
        record::reserve(&mut work, &id, sender, order, &now()).await?;
        let payment =
            record::by_key(&mut work, &sender.tenant, &sender.key).await?.ok_or(Refusal::Internal)?;
        work.commit().await.map_err(StoreError::from)?;
        Ok(Reserved::Charge(Box::new(payment)))
    }

    /// Ledger, payment and statement change together or not at all.
    async fn post(&self, payment: &Payment, charge: &ChargeId) -> Result<Answer, Refusal> {
        let at = now();
        let mut work = self.database.write().await?;
        let owed = ledger::balance(&mut work, &payment.statement, payment.money.currency()).await?;
        let balance =
            owed.minus(payment.money).map_err(|_| StoreError::Corrupt { column: "entries.minor" })?;
        let answer = receipt(payment, charge, balance);
        // Finishing comes first: whoever comes second posts nothing.
        if !record::finish(&mut work, &payment.id, Outcome::Succeeded, Some(charge), &answer, &at).await? {
            return Err(Refusal::InProgress);
        }
        Posting::new(Kind::Payment, payment.id.as_str(), &payment.statement, payment.money)
            .write(&mut work, &at)
            .await?;
        accounts::mark(&mut work, &payment.statement, balance).await?;
        work.commit().await.map_err(StoreError::from)?;
        Ok(answer)
    }

    async fn give_up(
        &self,
        payment: &Payment,
        outcome: Outcome,
        charge: Option<&ChargeId>,
        refusal: Refusal,
        request: &RequestId,
    ) -> Result<Answer, Refusal> {
        let answer = refusal.answer(request);
        let mut work = self.database.write().await?;
        if !record::finish(&mut work, &payment.id, outcome, charge, &answer, &now()).await? {
            return Err(Refusal::InProgress);
        }
        work.commit().await.map_err(StoreError::from)?;
        Ok(answer)
    }
}

fn receipt(payment: &Payment, charge: &ChargeId, balance: Money) -> Answer {
    Answer::success(
        201,
        &json!({
            "id": payment.id.as_str(),
            "status": Outcome::Succeeded.as_str(),
            "charge": charge.as_str(),
            "account": payment.account.as_str(),
            "statement": payment.statement.as_str(),
            "amount": payment.money.to_string(),
            "currency": payment.money.currency().code(),
            "card": { "brand": payment.brand.as_str(), "last4": payment.last4.as_str() },
            "balance": balance.to_string(),
        }),
    )
}

/// Whether the tenant may pay this much on this statement now. Another tenant's account or statement is
/// answered like one that does not exist, so that nobody can ask which identifiers are taken.
async fn check(work: &mut Connection, tenant: &Tenant, order: &Order) -> Result<(), Refusal> {
    let account = accounts::find_account(work, &order.account).await?;
    let account = account.filter(|account| account.tenant == *tenant).ok_or(Refusal::AccountUnknown)?;
    let statement = accounts::find_statement(work, &order.statement).await?;
    let statement = statement
        .filter(|statement| statement.tenant == *tenant && statement.account == account.id)
        .ok_or(Refusal::StatementUnknown)?;
    if statement.status == Status::Paid {
        return Err(Refusal::StatementPaid);
    }
    if statement.currency != order.money.currency() {
        return Err(Refusal::CurrencyDiffers);
    }
    let available = available(work, &statement.id, order.money).await?;
    if order.money.minor() > available.minor() {
        return Err(Refusal::AmountExceedsBalance { available });
    }
    Ok(())
}

/// What is owed and not yet reserved by a payment under way: two payments at once cannot both take it.
async fn available(work: &mut Connection, statement: &StatementId, money: Money) -> Result<Money, Refusal> {
    let owed = ledger::balance(work, statement, money.currency()).await?;
    let reserved = record::reserved(work, statement).await?;
    Money::from_minor(owed.minor().saturating_sub(reserved).max(0), money.currency())
        .map_err(|_| Refusal::Internal)
}

/// The present, RFC 3339 in UTC, whole seconds: in this one form, texts compare as times do.
pub(crate) fn now() -> String {
    earlier(Duration::ZERO)
}

fn earlier(by: Duration) -> String {
    let now = OffsetDateTime::now_utc() - by;
    now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339).unwrap_or_default()
}

/// Which keys are being worked on in this process. A payment that a crash left behind holds no turn, so its
/// repeat may go on at once, while a twin of a request under way may not.
#[derive(Default)]
struct Turns(Arc<Taken>);

type Taken = Mutex<HashSet<(Tenant, [u8; 32])>>;

struct Turn {
    of: Arc<Taken>,
    key: (Tenant, [u8; 32]),
}

impl Turns {
    fn take(&self, tenant: &Tenant, key: [u8; 32]) -> Option<Turn> {
        let key = (tenant.clone(), key);
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.insert(key.clone()).then(|| Turn { of: Arc::clone(&self.0), key })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.of.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
