//! Cards read, sealed and waiting for their transaction. All that needs the HSM is done here, and nothing of this
//! room is kept open while a transaction is: a draft settles, or it is wiped.

use super::card::{Position, Today, request};
use super::cvc::Cvc;
use super::fingerprint::Fingerprints;
use super::intake::Intake;
use super::mint::{self, Drawn};
use super::seal::seal;
use super::{fingerprint, stray};
use crate::binding::Binding;
use crate::error::VaultError;
use crate::field::Field;
use crate::shelf::Metadata;
use crate::vault::Parts;
use sweep::document::{Document, Json};
use tokens::{Format, MaskedCard, RequestId, Tenant, Token};

const MOST_CARDS: usize = 256;

/// What a body of `/v1/tokens` holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardsShape {
    /// One card: `POST /v1/tokens`.
    One,
    /// 1 to 256 of them: `POST /v1/tokens/batch` with `{"cards": […]}`.
    Batch,
}

/// Why one card of a batch has no token. The same words as for a whole request.
pub type CardProblem = VaultError;

/// A sealed card with its token, not yet shelved.
pub(in crate::clear) struct Sealed {
    pub(in crate::clear) token: Token,
    pub(in crate::clear) card: MaskedCard,
    pub(in crate::clear) envelope: Vec<u8>,
    pub(in crate::clear) data_key_id: [u8; 16],
    pub(in crate::clear) fingerprints: Option<Fingerprints>,
    pub(in crate::clear) format: Format,
    pub(in crate::clear) metadata: Metadata,
    pub(in crate::clear) expires_at_us: Option<i64>,
    pub(in crate::clear) cvc: Option<Cvc>,
}

/// The cards of a `/v1/tokens` body, each sealed or refused.
pub struct CardsDraft {
    pub(in crate::clear) tenant: Tenant,
    pub(in crate::clear) cards: Vec<Result<Sealed, CardProblem>>,
    pub(in crate::clear) consent: Option<RequestId>,
}

/// Reads, checks and seals the cards of a `/v1/tokens` body. What is wrong with the one card of
/// [`CardsShape::One`] refuses the request; in a batch it refuses that card.
pub(crate) async fn draft_cards(
    vault: &Parts,
    tenant: &Tenant,
    intake: Intake,
    shape: CardsShape,
) -> Result<CardsDraft, VaultError> {
    let limits = vault.limits();
    let today = Today::at(vault.clock.now_us());
    stray::no_card_in_headers("/", &intake.trailers)?;
    let Document::Json(json) = Document::parse(intake.content_type.as_deref(), &intake.body, &limits)? else {
        return Err(VaultError::UnsupportedMediaType);
    };
    drop(intake);
    let requests = match shape {
        CardsShape::One => vec![Ok(request(json, Position(None), &today)?)],
        CardsShape::Batch => batch(json)?
            .into_iter()
            .enumerate()
            .map(|(index, item)| request(whole(item), Position(Some(index)), &today))
            .collect(),
    };
    // Where its caller will put the token is not known here.
    let drawn = |request| mint::draw(vault.settings.realm, request?, |_, _, _| Ok(true));
    let drawn = requests.into_iter().map(drawn).collect();
    Ok(CardsDraft { tenant: tenant.clone(), cards: seal_all(vault, tenant, drawn).await?, consent: None })
}

fn batch(mut json: Json) -> Result<Vec<Json>, VaultError> {
    let wrong = |name: &str| VaultError::WrongType { field: Field::named(name) };
    let refused = match (json.remove(&["cards"]), &json) {
        (Some(Json::Array(cards)), Json::Object(others))
            if others.is_empty() && (1..=MOST_CARDS).contains(&cards.len()) =>
        {
            return Ok(cards);
        }
        (_, Json::Object(others)) if !others.is_empty() => {
            VaultError::UnknownField { field: Field::named("the body") }
        }
        (None, Json::Object(_)) => VaultError::MissingField { field: Field::named("cards") },
        (Some(Json::Array(_)), _) => VaultError::BatchSize,
        (Some(_), _) => wrong("cards"),
        (None, _) => wrong("the body"),
    };
    Err(stray::first(stray::no_card_in_json(&json), refused))
}

/// An item may be a whole request (`{"card": {…}, "reuse": true}`) or the bare card.
fn whole(item: Json) -> Json {
    let bare =
        matches!(item, Json::Object(_)) && item.get(&["number"]).is_some() && item.get(&["card"]).is_none();
    if bare { Json::Object(vec![("card".to_owned().into(), item)]) } else { item }
}

/// Seals, with one data key and one call for all fingerprints. A refused card stays refused.
pub(in crate::clear) async fn seal_all(
    vault: &Parts,
    tenant: &Tenant,
    cards: Vec<Result<Drawn, VaultError>>,
) -> Result<Vec<Result<Sealed, VaultError>>, VaultError> {
    if cards.iter().all(Result::is_err) {
        return Ok(cards.into_iter().filter_map(Result::err).map(Err).collect());
    }
    let reusable: Vec<_> =
        cards.iter().flatten().filter(|card| card.request.reuse).map(|card| &card.request.pan).collect();
    let mut fingerprints = fingerprint::fingerprints(&vault.names, tenant, &reusable).await?.into_iter();
    let seals = u64::try_from(cards.iter().flatten().count()).unwrap_or(u64::MAX);
    let (id, data_key) = vault.keys.for_sealing(tenant, seals).await?;
    let mut sealed = Vec::with_capacity(cards.len());
    for card in cards {
        let card = match card {
            Ok(card) => card,
            Err(problem) => {
                sealed.push(Err(problem));
                continue;
            }
        };
        let fingerprint =
            if card.request.reuse { Some(fingerprints.next().ok_or(VaultError::HsmRefused)?) } else { None };
        sealed.push(Ok(seal_one(tenant, (id, data_key.expose()), card, fingerprint)?));
    }
    Ok(sealed)
}

fn seal_one(
    tenant: &Tenant,
    (data_key_id, data_key): ([u8; 16], &[u8; 32]),
    Drawn { request, token, last4 }: Drawn,
    fingerprints: Option<Fingerprints>,
) -> Result<Sealed, VaultError> {
    let envelope = seal(data_key, &data_key_id, &Binding { tenant, token: &token }, &request.pan)?;
    let card = MaskedCard {
        brand: request.pan.brand(),
        last4,
        exp_month: request.expiry.month(),
        exp_year: request.expiry.year(),
    };
    Ok(Sealed {
        token,
        card,
        envelope,
        data_key_id,
        fingerprints,
        format: request.format,
        metadata: request.metadata,
        expires_at_us: request.expires_at_us,
        cvc: request.cvc,
    })
}

static_assertions::assert_not_impl_any!(CardsDraft: std::fmt::Debug, Clone, serde::Serialize);
