//! Sweeps one value: a glance that settles ordinary text, then every view until one hits or none is left.

use crate::context::FieldContext;
use crate::document::Json;
use crate::glance_text::{self, Signs};
use crate::runs::{self, Found};
use crate::verdict::Kind;
use crate::views::{self, markup, unicode};
use crate::work::Work;
use crate::{Limits, Undecidable, glance, sad, tree};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use zeroize::Zeroizing;

/// Disguises that may be worn one over the other.
const MOST_LAYERS: usize = 5;
/// JSON texts that may stand inside each other's strings.
const MOST_NESTED: usize = 3;

/// A finding and the view that showed it.
pub(crate) type Seen = (Found, &'static str);

/// Sweeps `text`, a value that stands `nested` JSON texts deep.
pub(crate) fn sweep(
    text: &str,
    context: FieldContext,
    nested: usize,
    work: &Work,
) -> Result<Option<Seen>, Undecidable> {
    if nested == 0 {
        work.allow(text.len());
    }
    if context != FieldContext::VerificationCode && glance::is_clean(text.as_bytes()) {
        return Ok(None);
    }
    thoroughly(text, context, nested, work)
}

/// As [`sweep`], without the glance.
pub(crate) fn thoroughly(
    text: &str,
    context: FieldContext,
    nested: usize,
    work: &Work,
) -> Result<Option<Seen>, Undecidable> {
    search(text, context, nested, work, glance_text::signs)
}

/// Looks through all disguises; `signs` say of each view what need not be tried.
pub(crate) fn search(
    text: &str,
    context: FieldContext,
    nested: usize,
    work: &Work,
    signs_of: impl Fn(&[u8]) -> Signs,
) -> Result<Option<Seen>, Undecidable> {
    let mut seen: HashSet<u64> = HashSet::new();
    let mut waiting = vec![("raw", Zeroizing::new(unicode::normalise(text).into_owned()), 0usize)];
    while let Some((view, text, layers)) = waiting.pop() {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        if !seen.insert(hasher.finish()) {
            continue;
        }
        work.spend(text.len())?;
        let signs = signs_of(text.as_bytes());
        if let Some(found) = judge(&text, context, &signs) {
            return Ok(Some((found, view)));
        }
        if markup::declares_entities(&text, false) {
            return Err(Undecidable::Doctype);
        }
        if let Some(found) = inner_json(&text, context, nested, work)? {
            return Ok(Some(found));
        }
        let further = views::of(&text, &signs);
        if layers >= MOST_LAYERS {
            if !further.is_empty() {
                return Err(Undecidable::TooEntangled);
            }
            continue;
        }
        for (name, view) in further {
            let normal = unicode::normalise(&view).into_owned();
            waiting.push((name, Zeroizing::new(normal), layers + 1));
        }
    }
    Ok(None)
}

fn judge(text: &str, context: FieldContext, signs: &Signs) -> Option<Found> {
    if context == FieldContext::VerificationCode && sad::is_code(text) {
        return Some(Found::new(Kind::VerificationCode, None, text.trim().len()));
    }
    let digits = || runs::find(text, context).or_else(|| runs::unmasked(text));
    let code = || if signs.code_word { sad::code_in_text(text) } else { None };
    if signs.digits >= 11 { digits() } else { None }.or_else(code)
}

/// A JSON text inside a string is swept as a document of its own.
fn inner_json(
    text: &str,
    context: FieldContext,
    nested: usize,
    work: &Work,
) -> Result<Option<Seen>, Undecidable> {
    let trimmed = text.trim();
    if !trimmed.starts_with(['{', '[', '"']) || !trimmed.ends_with(['}', ']', '"']) {
        return Ok(None);
    }
    let limits = Limits { body: usize::MAX, ..Limits::default() };
    match Json::parse(trimmed.as_bytes(), &limits) {
        Ok(_) if nested >= MOST_NESTED => Err(Undecidable::TooDeep),
        Ok(json) => tree::sweep_inner(&json, context, nested + 1, work),
        Err(Undecidable::MalformedJson) => Ok(None),
        Err(reason) => Err(reason),
    }
}
