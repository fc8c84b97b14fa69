//! Sweeps whole bodies by their type, and single texts. Types that cannot be searched are refused.

use crate::context::{Exemption, FieldContext};
use crate::decode;
use crate::document::{Form, Json, MediaType, Multipart};
use crate::leaf::{self, Seen};
use crate::verdict::{Hit, Limits, Place, Undecidable, Verdict};
use crate::views::{markup, unicode};
use crate::work::Work;
use crate::{glance_json, join, tree};

/// Sweeps one value of the given context. A text that is too entangled to be searched to its end is reported as a
/// hit without a brand, so that no caller can mistake it for clean.
pub fn sweep_text(text: &str, context: FieldContext) -> Verdict {
    match leaf::sweep(text, context, 0, &Work::new()) {
        Ok(seen) => verdict(Place::new("text"), seen),
        Err(_) => undecided(Place::new("text")),
    }
}

/// Sweeps a body without a content coding. An empty body is clean whatever its type.
///
/// # Errors
/// [`Undecidable`]: refuse the body.
pub fn sweep_body(content_type: Option<&str>, body: &[u8], limits: &Limits) -> Result<Verdict, Undecidable> {
    sweep_typed(content_type, body, limits, &[], &Work::new())
}

/// Sweeps a body as it stands on the wire: undoes `Content-Encoding`, then sweeps by type. `exemptions` name the
/// typed fields of a JSON body that policy has reviewed.
///
/// # Errors
/// [`Undecidable`]: refuse the body.
pub fn sweep_message(
    content_type: Option<&str>,
    content_encoding: Option<&str>,
    body: &[u8],
    limits: &Limits,
    exemptions: &[Exemption],
) -> Result<Verdict, Undecidable> {
    let work = Work::new();
    match content_encoding {
        None => sweep_typed(content_type, body, limits, exemptions, &work),
        Some(_) => {
            let body = decode::content(content_encoding, body, limits)?;
            sweep_typed(content_type, &body, limits, exemptions, &work)
        }
    }
}

/// Sweeps a parsed JSON document.
///
/// # Errors
/// [`Undecidable`]: refuse the document.
pub fn sweep_json(json: &Json, exemptions: &[Exemption]) -> Result<Verdict, Undecidable> {
    self::json(json, exemptions, &Work::new())
}

pub(crate) fn verdict(place: Place, seen: Option<Seen>) -> Verdict {
    match seen {
        None => Verdict::Clean,
        Some((found, view)) => {
            Verdict::Hit(Hit { place, view, kind: found.kind, brand: found.brand, length: found.length })
        }
    }
}

pub(crate) fn undecided(place: Place) -> Verdict {
    Verdict::Hit(Hit { place, view: "undecidable", kind: crate::Kind::Pan, brand: None, length: 0 })
}

pub(crate) fn sweep_typed(
    content_type: Option<&str>,
    body: &[u8],
    limits: &Limits,
    exemptions: &[Exemption],
    work: &Work,
) -> Result<Verdict, Undecidable> {
    if body.len() > limits.body {
        return Err(Undecidable::TooLarge);
    }
    if body.is_empty() {
        return Ok(Verdict::Clean);
    }
    let media = MediaType::parse(content_type.ok_or(Undecidable::ContentTypeMissing)?)?;
    if media.is("multipart/form-data") {
        let boundary = media.parameter("boundary").ok_or(Undecidable::MalformedMultipart)?;
        return multipart(&Multipart::parse(boundary, body, limits)?, work);
    }
    let text = decode::charset(&media, body)?;
    if media.is_json() {
        if glance_json::is_clean_json(&text, limits) {
            return Ok(Verdict::Clean);
        }
        return json(&Json::parse(text.as_bytes(), limits)?, exemptions, work);
    }
    if media.is("application/x-www-form-urlencoded") {
        return form(&Form::parse(text.as_bytes(), limits)?, work);
    }
    if media.is("application/x-ndjson") {
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let verdict = json(&Json::parse(line.as_bytes(), limits)?, exemptions, work)?;
            if !verdict.is_clean() {
                return Ok(verdict);
            }
        }
        return Ok(Verdict::Clean);
    }
    if media.is_xml() || media.is("text/html") {
        return markup_body(&text, media.is_xml(), work);
    }
    let plain = [
        "text/plain",
        "text/csv",
        "text/tab-separated-values",
        "text/markdown",
        "application/edi-x12",
        "application/graphql",
    ];
    if !plain.iter().any(|essence| media.is(essence)) {
        return Err(Undecidable::ContentTypeUnknown);
    }
    // A text that is a JSON or XML document would be read as one by whoever sniffs.
    let start = text.trim_start();
    if start.starts_with("<?xml")
        || (start.starts_with(['{', '[']) && Json::parse(start.as_bytes(), limits).is_ok())
    {
        return Err(Undecidable::ContentTypeConfused);
    }
    free_text(&text, work)
}

fn json(json: &Json, exemptions: &[Exemption], work: &Work) -> Result<Verdict, Undecidable> {
    Ok(tree::sweep(json, exemptions, work)?.map_or(Verdict::Clean, Verdict::Hit))
}

fn free_text(text: &str, work: &Work) -> Result<Verdict, Undecidable> {
    Ok(verdict(Place::new("body"), leaf::sweep(text, FieldContext::FreeText, 0, work)?))
}

fn markup_body(text: &str, xml: bool, work: &Work) -> Result<Verdict, Undecidable> {
    let normal = unicode::normalise(text);
    if markup::declares_entities(&normal, xml) {
        return Err(Undecidable::Doctype);
    }
    if xml && !text.trim_start().starts_with('<') {
        return Err(Undecidable::ContentTypeConfused);
    }
    free_text(text, work)
}

fn form(form: &Form, work: &Work) -> Result<Verdict, Undecidable> {
    pairs(form.pairs().collect::<Vec<_>>().as_slice(), work)
}

fn multipart(multipart: &Multipart, work: &Work) -> Result<Verdict, Undecidable> {
    for part in multipart.parts() {
        if let Some(name) = part.filename()
            && let seen @ Some(_) = leaf::sweep(name, FieldContext::FreeText, 0, work)?
        {
            return Ok(verdict(Place::new("filename"), seen));
        }
        if part.filename().is_some() || part.content_type().is_some() {
            let found = leaf::sweep(part.text(), FieldContext::FreeText, 0, work)?;
            if found.is_some() {
                return Ok(verdict(Place::new(part.name()), found));
            }
        }
    }
    pairs(multipart.parts().map(|part| (part.name(), part.text())).collect::<Vec<_>>().as_slice(), work)
}

/// Sweeps names and values of a form or query: each alone, neighbours in order, and values that share a name.
pub(crate) fn pairs(pairs: &[(&str, &str)], work: &Work) -> Result<Verdict, Undecidable> {
    for (name, value) in pairs {
        let seen = leaf::sweep(name, FieldContext::Plain, 0, work)?;
        if seen.is_some() {
            return Ok(verdict(Place::new("*"), seen));
        }
        let seen = leaf::sweep(value, FieldContext::of_name(name), 0, work)?;
        if seen.is_some() {
            return Ok(verdict(Place::new(name), seen));
        }
    }
    let context = |name: &str| match FieldContext::of_name(name) {
        FieldContext::Card => FieldContext::Card,
        _ => FieldContext::Plain,
    };
    let values = join::find(pairs.iter().map(|(_, value)| join::piece(value)), FieldContext::Plain);
    let names = || join::find(pairs.iter().map(|(name, _)| join::piece(name)), FieldContext::Plain);
    if let Some(found) = values.or_else(names) {
        return Ok(verdict(Place::new("*"), Some((found, "joined"))));
    }
    let mut by_stem: Vec<&(&str, &str)> =
        pairs.iter().filter(|(_, value)| join::piece(value).is_some()).collect();
    by_stem.sort_by_key(|(name, _)| join::stem(name));
    for group in by_stem.chunk_by(|(first, _), (second, _)| join::stem(first) == join::stem(second)) {
        let name = group.first().map_or("", |(name, _)| name);
        if let Some(found) = join::find(group.iter().map(|(_, value)| join::piece(value)), context(name)) {
            return Ok(verdict(Place::new(name), Some((found, "joined"))));
        }
    }
    Ok(Verdict::Clean)
}
