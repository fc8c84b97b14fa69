//! A draft into the open transaction: rows on the shelf, the winning tokens, and the message that may leave. The
//! HSM is not in reach here, so it cannot be called while the transaction is open.

use super::cvc::Cvc;
use super::draft::{CardProblem, CardsDraft, Sealed};
use super::fields;
use super::message::{BOUNDARY, Facts, Head, MessageDraft};
use super::stray::Scrubbed;
use crate::error::VaultError;
use crate::shape::FieldPath;
use crate::shelf::{self, Metadata, NewCard};
use store::{Rows, Work};
use sweep::document::Document;
use sweep::{Exemption, Limits};
use tokens::{Format, MaskedCard, RequestId, Tenant, Token};

/// A card that has its row. It counts only once the transaction is durable.
pub struct Settled {
    /// The token: with `reuse` the tenant's existing one for that card.
    pub token: Token,
    /// Brand, last four, expiry.
    pub card: MaskedCard,
    /// Unix microseconds.
    pub created_at_us: i64,
    /// Unix microseconds; none means until it is shredded.
    pub expires_at_us: Option<i64>,
    /// Whether the token was there before.
    pub reused: bool,
    /// What the caller keeps with it.
    pub metadata: Metadata,
    /// What the token looks like.
    pub format: Format,
    tenant: Tenant,
    cvc: Option<Cvc>,
}

impl Settled {
    /// Whose card it is, and its code, which can be taken once.
    pub(crate) fn take_cvc(&mut self, keep: impl FnOnce(&Tenant, &Token, Held)) {
        if let Some(cvc) = self.cvc.take() {
            keep(&self.tenant, &self.token, Held(cvc));
        }
    }
}

/// A code on its way to its holder; outside the clear room it can only be handed on.
pub(crate) struct Held(pub(in crate::clear) Cvc);

impl CardsDraft {
    /// Puts the cards on the shelf. Problems of single cards stay what they were.
    ///
    /// # Errors
    /// Any failure of the store; then the transaction must not be committed.
    pub async fn settle(
        self,
        work: &mut Work<'_>,
        now_us: i64,
    ) -> Result<Vec<Result<Settled, CardProblem>>, VaultError> {
        let mut settled = Vec::with_capacity(self.cards.len());
        for card in self.cards {
            settled.push(match card {
                Ok(sealed) => Ok(shelve(work, &self.tenant, sealed, self.consent.as_ref(), now_us).await?),
                Err(problem) => Err(problem),
            });
        }
        Ok(settled)
    }
}

/// Adding without asking: what can be new goes down as rows, and only who finds a row in its place has to settle.
impl CardsDraft {
    /// The patient agreed, in this request, that the cards are kept and charged again.
    #[must_use]
    pub fn with_consent(self, request: RequestId) -> CardsDraft {
        CardsDraft { consent: Some(request), ..self }
    }

    /// Whether every card of it is only added. One with a fingerprint may have a token that has to be found, under a version
    /// of the key that no index compares with its own, so it is asked for in the transaction that adds it.
    pub fn only_adds(&self) -> bool {
        self.cards.iter().flatten().all(|sealed| sealed.fingerprints.is_none())
    }

    /// Lays the cards out as rows, for a draft that [`CardsDraft::only_adds`], and tells what they come to once the rows
    /// are durable; their codes stay with the draft until then. A row that finds no place (a token that is there, a data
    /// key that ended) fails the request as a whole, and the draft can still settle.
    ///
    /// # Errors
    /// [`VaultError::Integrity`] for metadata that cannot be written.
    pub fn lay_out(
        &self,
        rows: &mut Rows,
        now_us: i64,
    ) -> Result<Vec<Result<Settled, CardProblem>>, VaultError> {
        let mut settled = Vec::with_capacity(self.cards.len());
        for card in &self.cards {
            let sealed = match card {
                Ok(sealed) => sealed,
                Err(problem) => {
                    settled.push(Err(problem.clone()));
                    continue;
                }
            };
            shelf::lay_out(rows, &self.tenant, &sealed.new_card(self.consent.as_ref()), now_us)?;
            settled.push(Ok(Settled {
                token: sealed.token.clone(),
                card: sealed.card.clone(),
                created_at_us: now_us,
                expires_at_us: sealed.expires_at_us,
                reused: false,
                metadata: sealed.metadata.clone(),
                format: sealed.format,
                tenant: self.tenant.clone(),
                cvc: None,
            }));
        }
        Ok(settled)
    }

    /// Gives the cards that were laid out, and are durable now, their codes.
    pub fn hand_codes_to(self, settled: &mut [Settled]) {
        for (card, sealed) in settled.iter_mut().zip(self.cards.into_iter().flatten()) {
            card.cvc = sealed.cvc;
        }
    }
}

impl Sealed {
    fn new_card<'a>(&'a self, consent: Option<&'a RequestId>) -> NewCard<'a> {
        NewCard {
            token: &self.token,
            card: &self.card,
            envelope: &self.envelope,
            data_key_id: &self.data_key_id,
            fingerprints: self.fingerprints.as_ref(),
            format: self.format,
            metadata: &self.metadata,
            expires_at_us: self.expires_at_us,
            consent,
        }
    }
}

async fn shelve(
    work: &mut Work<'_>,
    tenant: &Tenant,
    sealed: Sealed,
    consent: Option<&RequestId>,
    now_us: i64,
) -> Result<Settled, VaultError> {
    let (record, reused) = shelf::put(work, tenant, &sealed.new_card(consent), now_us).await?;
    Ok(Settled {
        token: record.token,
        card: record.card,
        created_at_us: record.created_at_us,
        expires_at_us: record.expires_at_us,
        reused,
        metadata: record.metadata,
        format: record.format,
        tenant: tenant.clone(),
        cvc: sealed.cvc,
    })
}

/// A message whose cards have their rows.
pub struct SettledMessage {
    head: Head,
    document: Option<Document>,
    places: Vec<FieldPath>,
    cards: Vec<Settled>,
    facts: Facts,
    exempt: Vec<Exemption>,
    limits: Limits,
}

impl MessageDraft {
    /// Puts the message's cards on the shelf.
    ///
    /// # Errors
    /// Any failure of the store; then the transaction must not be committed.
    pub async fn settle(self, work: &mut Work<'_>, now_us: i64) -> Result<SettledMessage, VaultError> {
        let mut places = Vec::with_capacity(self.cards.len());
        let mut cards = Vec::with_capacity(self.cards.len());
        for (place, sealed) in self.cards {
            places.push(place);
            cards.push(shelve(work, &self.tenant, sealed, None, now_us).await?);
        }
        Ok(SettledMessage {
            head: self.head,
            document: self.document,
            places,
            cards,
            facts: self.facts,
            exempt: self.exempt,
            limits: self.limits,
        })
    }
}

impl SettledMessage {
    /// The cards of the message, in the order of its route.
    pub fn cards(&mut self) -> &mut [Settled] {
        &mut self.cards
    }

    /// What the message says besides its card.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The message that may leave: tokens where the numbers were, codes gone, brand and last four beside each
    /// token, written anew and searched once more as it will leave.
    ///
    /// # Errors
    /// [`VaultError::StrayPan`] when anything in it reads like a card.
    pub fn scrub(self) -> Result<Scrubbed, VaultError> {
        let Some(mut document) = self.document else {
            return Scrubbed::prove(self.head, None, vec![], &[], &self.limits);
        };
        for (place, settled) in self.places.iter().zip(&self.cards) {
            let MaskedCard { last4, brand, .. } = &settled.card;
            fields::put_card(&mut document, place, &settled.token, last4, *brand)?;
        }
        let (content_type, mut body) = document.write(BOUNDARY)?;
        Scrubbed::prove(self.head, Some(content_type), std::mem::take(&mut *body), &self.exempt, &self.limits)
    }
}

static_assertions::assert_not_impl_any!(Settled: std::fmt::Debug, Clone, serde::Serialize);
static_assertions::assert_not_impl_any!(SettledMessage: std::fmt::Debug, Clone, serde::Serialize);
