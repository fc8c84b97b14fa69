//! What makes two requests the same one: endpoint, content type and body, but no verification code. The stored MAC
//! outlives the charge, and from a MAC of everything else plus three digits the digits could be found by trying (PCI
//! DSS 3.3.1: sensitive authentication data is not kept after authorization, in whatever form).

use super::draft::CardsShape;
use super::intake::Intake;
use super::message::BOUNDARY;
use crate::binding::append;
use crate::shape::Shape;
use sha2::{Digest, Sha256};
use sweep::Limits;
use sweep::document::{Document, Json};
use zeroize::{Zeroize, Zeroizing};

/// Where a request's verification codes are declared.
#[derive(Debug, Clone, Copy)]
pub enum Declared<'a> {
    /// In a body of `/v1/tokens`.
    Cards(CardsShape),
    /// In a route's message.
    Route(&'a Shape),
}

/// What is hashed under the request key in the HSM: a digest of endpoint, content type and body, each behind its
/// length. The digest is wiped with the message; by itself it could be searched for the card inside.
pub(crate) fn request_message(
    endpoint: &str,
    intake: &Intake,
    declared: Declared<'_>,
    limits: &Limits,
) -> Zeroizing<Vec<u8>> {
    let content_type = intake.content_type.as_deref().unwrap_or_default();
    // What cannot be read is refused before anything of it is stored, its MAC included.
    let written = without_codes(intake, declared, limits);
    let body = written.as_ref().map_or(&intake.body, |written| written);
    let mut hash = Sha256::new();
    for field in [endpoint.as_bytes(), content_type.as_bytes(), body] {
        hash.update(u64::try_from(field.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(field);
    }
    let mut digest = <[u8; 32]>::from(hash.finalize());
    let mut message = Zeroizing::new(Vec::with_capacity(64));
    append(&mut message, b"pangate/v1/request");
    append(&mut message, &digest);
    digest.zeroize();
    message
}

/// The body written anew without its codes.
fn without_codes(intake: &Intake, declared: Declared<'_>, limits: &Limits) -> Option<Zeroizing<Vec<u8>>> {
    if intake.body.is_empty() {
        return None;
    }
    let mut document = Document::parse(intake.content_type.as_deref(), &intake.body, limits).ok()?;
    match (declared, &mut document) {
        (Declared::Cards(_), Document::Json(json)) => drop_codes(json),
        (Declared::Cards(_), _) => return None,
        (Declared::Route(shape), document) => {
            for path in shape.cards.iter().filter_map(|card| card.cvc.as_ref()) {
                document.remove(&path.steps());
            }
        }
    }
    document.write(BOUNDARY).ok().map(|(_, body)| body)
}

/// `/v1/tokens` knows the name in no other place than a card.
fn drop_codes(json: &mut Json) {
    match json {
        Json::Object(members) => {
            members.retain(|(name, _)| &**name != "cvc");
            members.iter_mut().for_each(|(_, value)| drop_codes(value));
        }
        Json::Array(items) => items.iter_mut().for_each(drop_codes),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => {}
    }
}
