//! Sweeps a JSON tree: every name, every value, and neighbours that join up.

use crate::context::{Exempt, Exemption, FieldContext};
use crate::document::Json;
use crate::leaf::{self, Seen};
use crate::verdict::{Hit, Place};
use crate::work::Work;
use crate::{Undecidable, join};

/// The first hit in a document, with its place.
pub(crate) fn sweep(json: &Json, exemptions: &[Exemption], work: &Work) -> Result<Option<Hit>, Undecidable> {
    let mut walk = Walk { exemptions, path: vec![], nested: 0, work };
    let seen = walk.value(json, FieldContext::Plain)?;
    Ok(seen.map(|(found, view)| {
        let place = walk.path.iter().fold(Place::default(), |place, step| place.child(step));
        Hit { place, view, kind: found.kind, brand: found.brand, length: found.length }
    }))
}

/// The first hit in a document that was found inside a value.
pub(crate) fn sweep_inner(
    json: &Json,
    context: FieldContext,
    nested: usize,
    work: &Work,
) -> Result<Option<Seen>, Undecidable> {
    let mut walk = Walk { exemptions: &[], path: vec![], nested, work };
    Ok(walk.value(json, context)?.map(|(found, _)| (found, "json-in-string")))
}

struct Walk<'a> {
    exemptions: &'a [Exemption],
    /// Left standing where a hit was found.
    path: Vec<&'a str>,
    nested: usize,
    work: &'a Work,
}

impl<'a> Walk<'a> {
    fn value(&mut self, value: &'a Json, context: FieldContext) -> Result<Option<Seen>, Undecidable> {
        match value {
            Json::Null | Json::Bool(_) => Ok(None),
            Json::Number(text) | Json::Text(text) => {
                if self.exemption().is_some_and(|kind| kind.frees(text)) {
                    return Ok(None);
                }
                leaf::sweep(text, context, self.nested, self.work)
            }
            Json::Array(items) => self.array(items, context),
            Json::Object(members) => self.object(members, context),
        }
    }

    fn array(&mut self, items: &'a [Json], context: FieldContext) -> Result<Option<Seen>, Undecidable> {
        self.path.push("*");
        let joinable = self.exemption().is_none();
        for item in items {
            if let Some(seen) = self.value(item, context)? {
                return Ok(Some(seen));
            }
        }
        if joinable && let Some(found) = join::find(items.iter().map(piece), context) {
            return Ok(Some((found, "joined")));
        }
        self.path.pop();
        Ok(None)
    }

    fn object(
        &mut self,
        members: &'a [(crate::document::Text, Json)],
        context: FieldContext,
    ) -> Result<Option<Seen>, Undecidable> {
        let mut pieces = Vec::with_capacity(members.len());
        for (name, value) in members {
            self.path.push(name);
            if let Some((found, _)) = leaf::sweep(name, FieldContext::Plain, self.nested, self.work)? {
                return Ok(Some((found, "name")));
            }
            if let Some(seen) = self.value(value, context.inside(name))? {
                return Ok(Some(seen));
            }
            pieces.push(if self.exemption().is_none() { piece(value) } else { None });
            self.path.pop();
        }
        let in_names = || {
            let names = members.iter().map(|(name, _)| join::piece(name));
            if names.clone().all(|name| name.is_none()) {
                return None;
            }
            let in_order = || names.clone().zip(&pieces).flat_map(|(name, value)| [name, *value]);
            join::find(names.clone(), FieldContext::Plain)
                .or_else(|| join::find(in_order(), FieldContext::Plain))
        };
        let found = join::find(pieces.iter().copied(), context).or_else(in_names);
        Ok(found.map(|found| (found, "joined")))
    }

    fn exemption(&self) -> Option<Exempt> {
        if self.exemptions.is_empty() {
            return None;
        }
        self.exemptions.iter().find(|exemption| exemption.covers(&self.path)).map(|exemption| exemption.kind)
    }
}

fn piece(value: &Json) -> Option<&str> {
    value.as_text().and_then(join::piece)
}
