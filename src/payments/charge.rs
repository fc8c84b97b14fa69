//! A charge by token, once.
//!
//! ```text
//!             intent stored, purpose spent            processor answers
//!   (nothing) ─────────────────────────────► started ─────────────────► succeeded | authorized | declined
//!        ▲                                    │    │ no answer               ▲
//!        └── withdrawn: nothing was sent ─────┘    ▼                         │ asked again with the same key
//!                                               in_doubt ────────────────────┘
//! ```
//! `authorized` is an approval without capture. Each arrow is one transaction with its audit entry; the card room and
//! the processor are called between arrows. A decline or a withdrawal opens the purpose again.

#[cfg(test)]
mod laws;
mod rows;

pub use rows::{Charge, Status};
pub(super) use rows::{by_id, by_id_alone, page, settle, stale};

use super::desk::{Desk, bounded};
use super::processor::{Outcome, ProcessorError};
use super::{List, Page, PaymentError, Payments, purpose};
use crate::permit::Judge;
use crate::record::{Event, Origin, Receipt, now_us};
use audit::{Action, Resource};
use std::sync::Arc;
use tokens::{ChargeId, Money, Principal, Tenant, Token};
use vault::shelf::{self, CardState};

/// What is to be charged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChargeRequest {
    /// The card.
    pub token: Token,
    /// How much; more than zero.
    pub amount: Money,
    /// The caller's own name for it.
    pub reference: Option<String>,
    /// Whether the money is taken at once.
    pub capture: bool,
}

/// A request, by whom, under which key.
#[derive(Debug, Clone)]
pub struct ChargeOrder {
    /// Whose card and money.
    pub tenant: Tenant,
    /// Who asks.
    pub principal: Principal,
    /// The caller's idempotency key.
    pub key: String,
    /// What is asked.
    pub request: ChargeRequest,
    /// Says whether that much may be charged.
    pub judge: Judge,
}

impl ChargeOrder {
    /// What the verification code is bound to, and which twin waits: the key of another caller is another charge.
    fn name(&self) -> String {
        format!("{}/{}/{}", self.tenant, self.principal, self.key)
    }
}

/// What an order came to.
#[derive(Debug)]
pub enum Charged {
    /// The charge was settled just now.
    Now(Charge, Receipt),
    /// It was settled before: the stored outcome again.
    Before(Charge),
}

/// What the first transaction found.
enum Intent {
    Fresh(Charge),
    Unfinished(Charge),
    Settled(Charge),
}

/// Whether an earlier run may have sent something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Attempt {
    First,
    Resumed,
}

impl Payments {
    /// Charges, or gives the outcome of the same order again.
    ///
    /// Once begun it runs to its end, also when the caller hangs up.
    ///
    /// # Errors
    /// [`PaymentError`]; after [`PaymentError::InDoubt`] the same order finds out what happened.
    pub async fn charge(&self, origin: Origin, order: ChargeOrder) -> Result<Charged, PaymentError> {
        let at_work =
            self.desk.running.enter(format!("charge {}", order.name())).ok_or(PaymentError::InFlight)?;
        let payments = self.clone();
        let task = tokio::spawn(async move {
            let _at_work = at_work;
            payments.carry_out(&origin, &order).await
        });
        task.await.unwrap_or(Err(PaymentError::InDoubt))
    }

    async fn carry_out(&self, origin: &Origin, order: &ChargeOrder) -> Result<Charged, PaymentError> {
        match self.desk.intend(origin, order).await? {
            Intent::Settled(charge) => Ok(Charged::Before(charge)),
            Intent::Fresh(charge) => self.authorize(origin, order, charge, Attempt::First).await,
            Intent::Unfinished(charge) => {
                let asked = bounded(self.desk.processor.ask(charge.id.as_str())).await;
                match asked.map_err(|_| PaymentError::InDoubt)? {
                    Some(outcome) => self.conclude(origin, charge, outcome).await,
                    None => self.authorize(origin, order, charge, Attempt::Resumed).await,
                }
            }
        }
    }

    async fn authorize(
        &self,
        origin: &Origin,
        order: &ChargeOrder,
        charge: Charge,
        attempt: Attempt,
    ) -> Result<Charged, PaymentError> {
        let revealed = match self.vault.reveal(&order.tenant, &order.request.token, &order.name()).await {
            Ok(revealed) => revealed,
            Err(error) => {
                self.desk.withdraw(origin, &charge, attempt, error.code()).await;
                return Err(error.into());
            }
        };
        let (amount, capture) = (order.request.amount, order.request.capture);
        let answer =
            bounded(self.desk.processor.authorize(&revealed, amount, capture, charge.id.as_str())).await;
        drop(revealed);
        match answer {
            Ok(outcome) => self.conclude(origin, charge, outcome).await,
            Err(ProcessorError::NotSent) => {
                self.desk.withdraw(origin, &charge, attempt, "processor_unavailable").await;
                Err(match attempt {
                    Attempt::First => PaymentError::ProcessorUnavailable,
                    Attempt::Resumed => PaymentError::InDoubt,
                })
            }
            Err(ProcessorError::Unknown) => {
                self.desk.doubt(origin, &charge).await;
                Err(PaymentError::InDoubt)
            }
        }
    }

    /// Books the processor's answer and wipes the verification code.
    pub(super) async fn conclude(
        &self,
        origin: &Origin,
        charge: Charge,
        outcome: Outcome,
    ) -> Result<Charged, PaymentError> {
        let (tenant, token) = (charge.tenant.clone(), charge.token.clone());
        let charged = self.desk.book(origin, charge, outcome).await?;
        self.vault.forget_used_cvc(&tenant, &token);
        Ok(charged)
    }

    /// One charge of the tenant, and the receipt of the look at it.
    ///
    /// # Errors
    /// [`PaymentError::UnknownCharge`], also for another tenant's; or the store's error.
    pub async fn show_charge(
        &self,
        origin: Origin,
        tenant: Tenant,
        id: ChargeId,
    ) -> Result<(Charge, Receipt), PaymentError> {
        let recorder = self.desk.recorder.clone();
        self.desk
            .store
            .commit(move |work| {
                Box::pin(async move {
                    let charge = by_id(work, &tenant, &id).await?.ok_or(PaymentError::UnknownCharge)?;
                    let event = Event::success(Action::ChargeRead, Resource::Charge(id));
                    let receipt = recorder.append(work, &origin, event).await?;
                    Ok((charge, receipt))
                })
            })
            .await
    }

    /// The tenant's charges, newest first, and the receipt of the look at them.
    ///
    /// # Errors
    /// [`PaymentError::Cursor`] or the store's error.
    pub async fn list_charges(
        &self,
        origin: Origin,
        tenant: Tenant,
        wanted: Page,
    ) -> Result<(List<Charge>, Receipt), PaymentError> {
        let recorder = self.desk.recorder.clone();
        self.desk
            .store
            .commit(move |work| {
                Box::pin(async move {
                    let list = page(work, &tenant, &wanted).await?;
                    let event = Event::success(Action::ChargeRead, Resource::None);
                    let receipt = recorder.append(work, &origin, event).await?;
                    Ok((list, receipt))
                })
            })
            .await
    }
}

impl Payments {
    /// What the caller's own key came to, one charge or none, and the receipt of the look at it. Nothing is charged:
    /// so a caller learns what became of an order that it does not want to repeat.
    ///
    /// # Errors
    /// The store's error.
    pub async fn charge_of_key(
        &self,
        origin: Origin,
        tenant: Tenant,
        principal: Principal,
        key: String,
    ) -> Result<(List<Charge>, Receipt), PaymentError> {
        let recorder = self.desk.recorder.clone();
        self.desk
            .store
            .commit(move |work| {
                Box::pin(async move {
                    let rows = rows::by_key(work, &tenant, &principal, &key).await?.into_iter().collect();
                    let event = Event::success(Action::ChargeRead, Resource::None);
                    let receipt = recorder.append(work, &origin, event).await?;
                    Ok((List { rows, has_more: false }, receipt))
                })
            })
            .await
    }
}

impl Desk {
    /// Stores the intent before anything is sent, or finds what the same key came to.
    async fn intend(self: &Arc<Self>, origin: &Origin, order: &ChargeOrder) -> Result<Intent, PaymentError> {
        let (recorder, origin, order) = (self.recorder.clone(), origin.clone(), order.clone());
        let (id, processor) = (ChargeId::mint()?, self.processor.name());
        self.store
            .commit(move |work| {
                Box::pin(async move {
                    let now = now_us();
                    let (tenant, request) = (&order.tenant, &order.request);
                    if let Some(found) = rows::by_key(work, tenant, &order.principal, &order.key).await? {
                        if !found.is_of(request) {
                            return Err(PaymentError::KeyReused);
                        }
                        if found.status.is_final() {
                            return Ok(Intent::Settled(found));
                        }
                        rows::touch(work, &found.id, now).await?;
                        return Ok(Intent::Unfinished(found));
                    }
                    order.judge.allows(request.amount).map_err(PaymentError::Denied)?;
                    let card =
                        shelf::find(work, tenant, &request.token).await?.ok_or(PaymentError::UnknownToken)?;
                    if card.state != CardState::Usable {
                        return Err(PaymentError::TokenGone);
                    }
                    if !purpose::spend(work, tenant, &request.token, request.amount, &id, now).await? {
                        return Err(PaymentError::NoOpenPayment);
                    }
                    let charge = Charge::started(id, &order, &card.card, processor, now);
                    rows::insert(work, &charge, &order).await?;
                    let event = Event::success(Action::ChargeCreate, Resource::Charge(charge.id.clone()));
                    let _receipt = recorder.append(work, &origin, event).await?;
                    Ok(Intent::Fresh(charge))
                })
            })
            .await
    }

    /// Books an outcome, once. Whoever comes second is given what the first booked.
    async fn book(&self, origin: &Origin, charge: Charge, outcome: Outcome) -> Result<Charged, PaymentError> {
        let (recorder, origin) = (self.recorder.clone(), origin.clone());
        let id = charge.id.clone();
        let booked: Result<Charged, PaymentError> = self
            .store
            .commit(move |work| {
                Box::pin(async move {
                    if !settle(work, &charge, &outcome, now_us()).await? {
                        let settled =
                            by_id(work, &charge.tenant, &charge.id).await?.ok_or(PaymentError::Integrity)?;
                        if matches!(outcome, Outcome::Approved { .. }) && settled.status == Status::Declined {
                            tracing::error!(charge = %settled.id, "approved by the processor, booked as declined");
                        }
                        return Ok(Charged::Before(settled));
                    }
                    let resource = Resource::Charge(charge.id.clone());
                    let event = match &outcome {
                        Outcome::Approved { .. } => Event::success(Action::ChargeSettle, resource),
                        Outcome::Declined { code } => {
                            purpose::reopen(work, &charge.tenant, &charge.id).await?;
                            Event::refused(Action::ChargeSettle, resource, code.as_str())
                        }
                    };
                    let receipt = recorder.append(work, &origin, event).await?;
                    let settled =
                        by_id(work, &charge.tenant, &charge.id).await?.ok_or(PaymentError::Integrity)?;
                    Ok(Charged::Now(settled, receipt))
                })
            })
            .await;
        booked.map_err(|error| {
            tracing::warn!(charge = %id, error = %error, "an outcome was not booked");
            // The processor has decided; only the booking is missing. The same key finds it.
            if error == PaymentError::Integrity { error } else { PaymentError::InDoubt }
        })
    }

    /// Takes back an intent of which nothing was sent. An intent that an earlier run may have sent stays.
    async fn withdraw(&self, origin: &Origin, charge: &Charge, attempt: Attempt, reason: &'static str) {
        if attempt == Attempt::Resumed {
            return;
        }
        let (recorder, origin, charge) = (self.recorder.clone(), origin.clone(), charge.clone());
        let id = charge.id.clone();
        let withdrawn: Result<(), PaymentError> = self
            .store
            .commit(move |work| {
                Box::pin(async move {
                    if rows::withdraw(work, &charge).await? {
                        purpose::reopen(work, &charge.tenant, &charge.id).await?;
                        let resource = Resource::Charge(charge.id.clone());
                        let event = Event::failed(Action::ChargeSettle, resource, reason);
                        let _receipt = recorder.append(work, &origin, event).await?;
                    }
                    Ok(())
                })
            })
            .await;
        if let Err(error) = withdrawn {
            // It stays `started`; the same key resumes it and the resolver closes it.
            tracing::warn!(charge = %id, error = %error, "an intent was not withdrawn");
        }
    }

    /// Notes that the processor's answer did not arrive.
    async fn doubt(&self, origin: &Origin, charge: &Charge) {
        let (recorder, origin, charge) = (self.recorder.clone(), origin.clone(), charge.clone());
        let id = charge.id.clone();
        let noted: Result<(), PaymentError> = self
            .store
            .commit(move |work| {
                Box::pin(async move {
                    if rows::doubt(work, &charge, now_us()).await? {
                        let resource = Resource::Charge(charge.id.clone());
                        let event = Event::failed(Action::ChargeSettle, resource, "outcome_in_doubt");
                        let _receipt = recorder.append(work, &origin, event).await?;
                    }
                    Ok(())
                })
            })
            .await;
        if let Err(error) = noted {
            tracing::warn!(charge = %id, error = %error, "a doubt was not noted");
        }
    }
}
