//! Canonical bytes of an entry, and the strict way back: one entry has one spelling, and nothing else is read.
//!
//! A leaf is one line of JSON with fixed fields in fixed order, without spaces, escapes or optional fields. What
//! was hashed is what is stored; a reader that re-spells it and gets other bytes has found a forgery or a fault.

use crate::place::{read_resource, read_source, read_time, write_resource, write_source, write_time};
use crate::{Action, Actor, ActorRole, Entry, LogName, Outcome, Reason};
use serde::Deserialize;
use std::borrow::Cow;
use tokens::{Principal, RequestId, Tenant};

/// The bytes that are hashed and stored for `entry`.
pub fn leaf_bytes(entry: &Entry) -> Vec<u8> {
    let mut text = String::with_capacity(384);
    text.push_str("{\"v\":1,\"log\":\"");
    text.push_str(entry.log.as_str());
    text.push_str("\",\"time\":\"");
    write_time(&mut text, entry.time_us);
    field(&mut text, "\",\"role\":", Some(entry.actor.role.as_str()));
    field(&mut text, ",\"principal\":", entry.actor.principal.as_ref().map(Principal::as_str));
    field(&mut text, ",\"tenant\":", entry.tenant.as_ref().map(Tenant::as_str));
    field(&mut text, ",\"action\":", Some(entry.action.as_str()));
    text.push_str(",\"resource\":\"");
    write_resource(&mut text, &entry.resource);
    field(&mut text, "\",\"outcome\":", Some(entry.outcome.as_str()));
    field(&mut text, ",\"reason\":", entry.reason.as_ref().map(Reason::as_str));
    field(&mut text, ",\"request\":", entry.request.as_ref().map(RequestId::as_str));
    text.push_str(",\"source\":\"");
    write_source(&mut text, entry.source);
    text.push_str("\"}");
    text.into_bytes()
}

/// Why bytes are no leaf. Never repeats them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    /// Not the JSON object of a leaf: broken, a field missing, unknown, twice, or of another type.
    #[error("not a leaf of the audit log")]
    Form,
    /// A leaf of a version that this release does not know.
    #[error("a leaf of another version; use the release that wrote it")]
    Version,
    /// A field holds none of the values that it may hold.
    #[error("the leaf's field {field} holds none of its allowed values")]
    Field {
        /// The field.
        field: &'static str,
    },
    /// An entry, but not in its one spelling.
    #[error("the leaf is not in canonical form")]
    NotCanonical,
}

/// Reads a leaf back.
///
/// # Errors
/// [`LeafError`] for anything but exactly what [`leaf_bytes`] writes.
pub fn parse(leaf: &[u8]) -> Result<Entry, LeafError> {
    let wire: Wire<'_> = serde_json::from_slice(leaf).map_err(|_| LeafError::Form)?;
    if wire.v != 1 {
        return Err(LeafError::Version);
    }
    let entry = Entry {
        log: LogName::parse(&wire.log).map_err(|_| LeafError::Field { field: "log" })?,
        time_us: read_time(&wire.time).ok_or(LeafError::Field { field: "time" })?,
        actor: Actor {
            role: ActorRole::from_word(&wire.role).ok_or(LeafError::Field { field: "role" })?,
            principal: optional(wire.principal, "principal", |text| Principal::parse(text).ok())?,
        },
        tenant: optional(wire.tenant, "tenant", |text| Tenant::parse(text).ok())?,
        action: Action::from_word(&wire.action).ok_or(LeafError::Field { field: "action" })?,
        resource: read_resource(&wire.resource).ok_or(LeafError::Field { field: "resource" })?,
        outcome: Outcome::from_word(&wire.outcome).ok_or(LeafError::Field { field: "outcome" })?,
        reason: optional(wire.reason, "reason", |text| Reason::parse(text).ok())?,
        request: optional(wire.request, "request", |text| RequestId::parse(text).ok())?,
        source: read_source(&wire.source).ok_or(LeafError::Field { field: "source" })?,
    };
    if leaf_bytes(&entry) == leaf { Ok(entry) } else { Err(LeafError::NotCanonical) }
}

impl Entry {
    /// The bytes that are hashed and stored; see [`leaf_bytes`].
    pub fn leaf_bytes(&self) -> Vec<u8> {
        leaf_bytes(self)
    }

    /// Reads a leaf back; see [`parse`].
    ///
    /// # Errors
    /// [`LeafError`] for anything but exactly what [`leaf_bytes`] writes.
    pub fn parse(leaf: &[u8]) -> Result<Entry, LeafError> {
        parse(leaf)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    v: u32,
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow)]
    principal: Option<Cow<'a, str>>,
    #[serde(borrow)]
    tenant: Option<Cow<'a, str>>,
    #[serde(borrow)]
    action: Cow<'a, str>,
    #[serde(borrow)]
    resource: Cow<'a, str>,
    #[serde(borrow)]
    outcome: Cow<'a, str>,
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    request: Option<Cow<'a, str>>,
    #[serde(borrow)]
    source: Cow<'a, str>,
}

/// Every value is a validated word, so none needs escaping.
fn field(text: &mut String, name: &str, value: Option<&str>) {
    text.push_str(name);
    match value {
        Some(value) => {
            text.push('"');
            text.push_str(value);
            text.push('"');
        }
        None => text.push_str("null"),
    }
}

fn optional<T>(
    text: Option<Cow<'_, str>>,
    field: &'static str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, LeafError> {
    text.map(|text| read(&text).ok_or(LeafError::Field { field })).transpose()
}
