//! Appends to the audit log inside the transaction of the effect (P5). A `Receipt` is the only proof of it, and no
//! success leaves without one.

use audit::{Action, Actor, Entry, LogName, Outcome, Reason, Resource, Source};
use std::time::{SystemTime, UNIX_EPOCH};
use store::{Column, Kind, Numbered, Rows, Sheet, Store, StoreError, Value, Work};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokens::{RequestId, Tenant};

/// Proof that an event stands in the log. Made only by [`Recorder::append`], and then it leaves the transaction only
/// when that was committed, and by [`Recorder::add`] once its rows are durable.
///
/// ```compile_fail
/// // A receipt cannot be made without appending.
/// let forged = pangate::record::Receipt(());
/// ```
#[derive(Debug)]
#[must_use = "a receipt belongs to the answer"]
pub struct Receipt(());

/// Who caused it, from where, in which request.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Role and name.
    pub actor: Actor,
    /// Whose data.
    pub tenant: Option<Tenant>,
    /// The request.
    pub request: Option<RequestId>,
    /// Network address, console, or pangate itself.
    pub source: Source,
}

/// What happened. Closed types only: what cannot hold a string cannot hold a card number.
#[derive(Debug, Clone)]
pub struct Event {
    /// The act.
    pub action: Action,
    /// Acted upon.
    pub resource: Resource,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, as a stable code.
    pub reason: Option<Reason>,
}

impl Event {
    /// An act that succeeded.
    pub fn success(action: Action, resource: Resource) -> Event {
        Event { action, resource, outcome: Outcome::Success, reason: None }
    }

    /// An act that was refused, with the code of the answer.
    pub fn refused(action: Action, resource: Resource, code: &str) -> Event {
        Event { action, resource, outcome: Outcome::Refused, reason: Reason::parse(code).ok() }
    }

    /// An act that failed on our side or beyond.
    pub fn failed(action: Action, resource: Resource, code: &str) -> Event {
        Event { action, resource, outcome: Outcome::Failed, reason: Reason::parse(code).ok() }
    }
}

/// How entries are added, many at a time, each at the next position.
static ENTRIES: Sheet = Sheet {
    table: "audit_entry",
    columns: &[
        Column { name: "log", kind: Kind::Text },
        Column { name: "tenant", kind: Kind::Text },
        Column { name: "leaf", kind: Kind::Bytes },
        Column { name: "leaf_hash", kind: Kind::Bytes },
    ],
    needs: None,
    numbered: Some(Numbered { column: "position", within: "log" }),
};

/// How often a position that somebody else took first is asked for anew.
const ATTEMPTS: u32 = 16;

/// Writes to one instance's log.
#[derive(Debug, Clone)]
pub struct Recorder {
    log: LogName,
}

impl Recorder {
    /// A recorder for the named log.
    pub fn new(log: LogName) -> Recorder {
        Recorder { log }
    }

    /// The log's name.
    pub fn log(&self) -> &LogName {
        &self.log
    }

    fn leaf(&self, origin: &Origin, event: Event) -> Vec<u8> {
        let entry = Entry {
            time_us: now_us(),
            log: self.log.clone(),
            actor: origin.actor.clone(),
            tenant: origin.tenant.clone(),
            action: event.action,
            resource: event.resource,
            outcome: event.outcome,
            reason: event.reason,
            request: origin.request.clone(),
            source: origin.source,
        };
        entry.leaf_bytes()
    }

    /// Adds `rows` together with an entry for each of `events`: all of it is durable when this returns, or nothing is.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when a row found no place, or whatever else the store failed with.
    pub async fn add(
        &self,
        store: &Store,
        mut rows: Rows,
        origin: &Origin,
        events: Vec<Event>,
    ) -> Result<Receipt, StoreError> {
        if events.is_empty() {
            return Err(StoreError::Constraint);
        }
        for event in events {
            let leaf = self.leaf(origin, event);
            let leaf_hash = audit::leaf_hash(&leaf);
            rows.add(
                &ENTRIES,
                vec![
                    Value::from(self.log.as_str()),
                    Value::from(origin.tenant.as_ref().map(Tenant::as_str)),
                    Value::from(leaf),
                    Value::from(leaf_hash.to_vec()),
                ],
            );
        }
        store.add(rows).await?;
        Ok(Receipt(()))
    }

    /// Appends inside `work`. The entry and whatever else `work` holds commit together or not at all.
    ///
    /// # Errors
    /// [`StoreError`] when the row cannot be written; the caller's act then fails as a whole.
    pub async fn append(
        &self,
        work: &mut Work<'_>,
        origin: &Origin,
        event: Event,
    ) -> Result<Receipt, StoreError> {
        let leaf = self.leaf(origin, event);
        let leaf_hash = audit::leaf_hash(&leaf);
        // The command line may write to the same log beside the gateway; whoever comes second takes the next position.
        for _ in 0..ATTEMPTS {
            let row = work
                .fetch_optional(
                    "INSERT INTO audit_entry (log, position, tenant, leaf, leaf_hash) \
                     SELECT $1, COALESCE((SELECT MAX(position) + 1 FROM audit_entry WHERE log = $1), 0), $2, $3, $4 \
                     WHERE true ON CONFLICT DO NOTHING RETURNING position",
                    vec![
                        Value::from(self.log.as_str()),
                        Value::from(origin.tenant.as_ref().map(Tenant::as_str)),
                        Value::from(leaf.clone()),
                        Value::from(leaf_hash.to_vec()),
                    ],
                )
                .await?;
            if row.is_some() {
                return Ok(Receipt(()));
            }
        }
        Err(StoreError::Busy)
    }
}

/// Microseconds since 1970-01-01 UTC, as every table stores them.
pub fn now_us() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|elapsed| i64::try_from(elapsed.as_micros()).ok())
        .unwrap_or(0)
}

/// Unix microseconds as every answer shows them: RFC 3339, UTC, to the second; empty beyond the year 9999.
pub fn rfc3339(time_us: i64) -> String {
    OffsetDateTime::from_unix_timestamp(time_us.div_euclid(1_000_000))
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_default()
}
