//! A route's message: its cards read by the route's shape, sealed, and swapped for tokens; the rest swept.

use super::card::{Request, Today};
use super::cvc::Cvc;
use super::draft::{Sealed, seal_all};
use super::intake::Intake;
use super::mint::{self, Drawn};
use super::pan::Pan;
use super::{fields, stray};
use crate::error::VaultError;
use crate::field::Field;
use crate::shape::{CardFields, FieldPath, Shape, Unknown};
use crate::shelf::Metadata;
use crate::vault::Parts;
use sweep::Limits;
use sweep::document::Document;
use tokens::{Expiry, Last4, Realm, Tenant, Token};

/// Line and headers of a message that shall go on: all of it is swept. Put in what the companion may see, with the
/// gateway's own `Pangate-…` headers; leave out the caller's credential.
pub struct Head {
    /// The method.
    pub method: http::Method,
    /// Path and query as they will leave.
    pub path_and_query: String,
    /// The headers that go along.
    pub headers: http::HeaderMap,
}

/// What a message says besides its card, as far as its route names it. Swept: safe to record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The patient's account.
    pub account: Option<String>,
    /// The statement that is paid.
    pub statement: Option<String>,
    /// The amount as it was written.
    pub amount: Option<String>,
    /// The currency as it was written.
    pub currency: Option<String>,
}

/// A route's message with its cards sealed and already swapped for tokens, waiting for its transaction.
pub struct MessageDraft {
    pub(in crate::clear) tenant: Tenant,
    pub(in crate::clear) head: Head,
    pub(in crate::clear) document: Option<Document>,
    /// Where each card's token stands.
    pub(in crate::clear) cards: Vec<(FieldPath, Sealed)>,
    pub(in crate::clear) facts: Facts,
    pub(in crate::clear) exempt: Vec<sweep::Exemption>,
    pub(in crate::clear) limits: Limits,
}

impl MessageDraft {
    /// What the message says besides its card.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }
}

/// Reads a route's message by its shape, seals its cards and refuses what else reads like one.
pub(crate) async fn draft_message(
    vault: &Parts,
    tenant: &Tenant,
    head: Head,
    intake: Intake,
    shape: &Shape,
) -> Result<MessageDraft, VaultError> {
    let limits = vault.limits();
    let today = Today::at(vault.clock.now_us());
    stray::no_card_in_head(&head)?;
    stray::no_card_in_headers("/", &intake.trailers)?;
    if intake.body.is_empty() {
        return without_body(tenant, head, shape, limits);
    }
    let mut document = Document::parse(intake.content_type.as_deref(), &intake.body, &limits)?;
    drop(intake);
    let (requests, places) = match take_cards(&mut document, shape, &today) {
        Ok(taken) => taken,
        Err(error) => return Err(stray::first(sweep_beside(document, shape, &limits), error)),
    };
    // Swept with neutral words in place of the cards before the HSM is asked for anything: a message that will be
    // refused must not make tokens.
    for place in &places {
        fields::put(&mut document, place, "token")?;
    }
    let (content_type, body) = document.write(BOUNDARY)?;
    stray::no_card_in_body(Some(&content_type), &body, &shape.exempt, &limits)?;
    let facts = facts(&document, shape)?;
    let neutral =
        Neutral { content_type: &content_type, body: &body, exempt: &shape.exempt, limits: &limits };
    let drawn = neutral.draw(vault.settings.realm, requests, &places)?;
    let sealed: Vec<Sealed> = seal_all(vault, tenant, drawn).await?.into_iter().collect::<Result<_, _>>()?;
    Ok(MessageDraft {
        tenant: tenant.clone(),
        head,
        document: Some(document),
        cards: places.into_iter().zip(sealed).collect(),
        facts,
        exempt: shape.exempt.clone(),
        limits,
    })
}

/// The message with neutral words in place of its cards, in which nothing is found.
struct Neutral<'a> {
    content_type: &'a str,
    body: &'a [u8],
    exempt: &'a [sweep::Exemption],
    limits: &'a Limits,
}

impl Neutral<'_> {
    /// Draws tokens that do not read like a card number beside what the message says, nor beside each other.
    fn draw(
        &self,
        realm: Realm,
        requests: Vec<Request>,
        places: &[FieldPath],
    ) -> Result<Vec<Result<Drawn, VaultError>>, VaultError> {
        let mut drawn: Vec<Result<Drawn, VaultError>> = Vec::with_capacity(requests.len());
        for (request, place) in requests.into_iter().zip(places) {
            let suits = |token: &Token, last4: &Last4, request: &Request| {
                let mut document = Document::parse(Some(self.content_type), self.body, self.limits)?;
                for (place, card) in places.iter().zip(drawn.iter().flatten()) {
                    fields::put_card(
                        &mut document,
                        place,
                        &card.token,
                        &card.last4,
                        card.request.pan.brand(),
                    )?;
                }
                fields::put_card(&mut document, place, token, last4, request.pan.brand())?;
                let (content_type, body) = document.write(BOUNDARY)?;
                Ok(stray::no_card_in_body(Some(&content_type), &body, self.exempt, self.limits).is_ok())
            };
            let next = mint::draw(realm, request, suits)?;
            drawn.push(Ok(next));
        }
        Ok(drawn)
    }
}

/// Letters only: a boundary with digits could meet the sweep. Ours is fixed and checked against every part.
pub(in crate::clear) const BOUNDARY: &str = "pangateboundarypangateboundary";

fn without_body(
    tenant: &Tenant,
    head: Head,
    shape: &Shape,
    limits: Limits,
) -> Result<MessageDraft, VaultError> {
    match shape.cards.iter().find(|card| card.required) {
        Some(card) => Err(fields::missing(&card.number)),
        None => Ok(MessageDraft {
            tenant: tenant.clone(),
            head,
            document: None,
            cards: vec![],
            facts: Facts::default(),
            exempt: vec![],
            limits,
        }),
    }
}

/// Holds the message against its shape and reads its cards: what they are, and where each one stood.
fn take_cards(document: &mut Document, shape: &Shape, today: &Today) -> Result<Taken, VaultError> {
    fields::bounded(document, shape)?;
    if shape.unknown == Unknown::Refuse {
        fields::only_declared(document, shape)?;
    }
    let (mut requests, mut places) = (vec![], vec![]);
    for card in &shape.cards {
        if let Some(found) = take_card(document, card, shape, today)? {
            requests.push(found);
            places.push(card.number.clone());
        }
    }
    Ok((requests, places))
}

type Taken = (Vec<Request>, Vec<FieldPath>);

/// Sweeps what stands beside the declared cards of a message that will be refused.
fn sweep_beside(mut document: Document, shape: &Shape, limits: &Limits) -> Result<(), VaultError> {
    for card in &shape.cards {
        let number = card.number.steps();
        if document.has(&number) && !document.replace(&number, "token") {
            // Several numbers in the one field: the caller is told of that.
            return Ok(());
        }
        card.cvc.as_ref().map(|path| document.remove(&path.steps()));
    }
    let (content_type, body) = document.write(BOUNDARY)?;
    stray::no_card_in_body(Some(&content_type), &body, &shape.exempt, limits)
}

/// Reads one card of the message and takes its code out of it.
fn take_card(
    document: &mut Document,
    card: &CardFields,
    shape: &Shape,
    today: &Today,
) -> Result<Option<Request>, VaultError> {
    let named = |path: &FieldPath| Field::named(&path.dotted());
    let Some(number) = fields::text(document, &card.number)? else {
        return if card.required { Err(fields::missing(&card.number)) } else { Ok(None) };
    };
    let pan = Pan::parse(number).map_err(|_| VaultError::InvalidCardNumber { field: named(&card.number) })?;
    let expiry = expiry(document, card, today)?;
    let mut cvc = None;
    if let Some(path) = &card.cvc {
        cvc = fields::text(document, path)?
            .map(|text| Cvc::parse(text, pan.brand()))
            .transpose()
            .map_err(|_| VaultError::InvalidCvc { field: named(path) })?;
        document.remove(&path.steps());
    }
    Ok(Some(Request {
        pan,
        cvc,
        expiry,
        format: shape.format,
        reuse: shape.reuse,
        expires_at_us: None,
        metadata: Metadata::new(),
    }))
}

fn expiry(document: &Document, card: &CardFields, today: &Today) -> Result<Expiry, VaultError> {
    let part = |path| match fields::find(document, path) {
        Ok(Some(fields::Found::Text(text) | fields::Found::Number(text))) => Ok(text),
        Ok(None) => Err(fields::missing(path)),
        Err(error) => Err(error),
    };
    let named = |name| {
        let path = if name == "exp_month" { &card.exp_month } else { &card.exp_year };
        Field::named(&path.dotted())
    };
    today.expiry(part(&card.exp_month)?, part(&card.exp_year)?, named)
}

fn facts(document: &Document, shape: &Shape) -> Result<Facts, VaultError> {
    // A fact that the route names is needed, for instance so that the token can be charged for that amount only.
    let text = |path: &Option<FieldPath>| match path {
        Some(path) => match fields::text(document, path)? {
            Some(text) => Ok(Some(text.to_owned())),
            None => Err(fields::missing(path)),
        },
        None => Ok(None),
    };
    Ok(Facts {
        account: text(&shape.account)?,
        statement: text(&shape.statement)?,
        amount: text(&shape.amount)?,
        currency: text(&shape.currency)?,
    })
}

static_assertions::assert_not_impl_any!(MessageDraft: std::fmt::Debug, Clone, serde::Serialize);
