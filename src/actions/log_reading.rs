//! The audit log, page by page: `GET /v1/audit/entries?limit=&after=`. Reading it is itself recorded.

use super::tokenize::read_refusal;
use super::{Acted, Context, Refusal, Stopped};
use crate::answer::{Answer, Code, Problem};
use crate::gateway::Gateway;
use crate::permit::{Permit, ReadAudit};
use crate::record::Event;
use audit::{Action, Resource};
use http::StatusCode;
use serde::Serialize;
use store::Value;

const DEFAULT_LIMIT: i64 = 50;
const MOST: i64 = 500;

#[derive(Serialize)]
struct Page {
    data: Vec<Line>,
    has_more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize)]
struct Line {
    position: i64,
    leaf_hash: String,
    entry: serde_json::Value,
}

/// One page, oldest first. A credential of one tenant sees that tenant's entries.
pub async fn list(gateway: &Gateway, context: &Context, permit: Permit<ReadAudit>, query: &str) -> Acted {
    let refuse = |problem| Refusal::new(Action::AuditRead, problem);
    let (limit, after) = page(query).map_err(refuse)?;
    let mut reader = gateway.store.read().await.map_err(|e| read_refusal(Action::AuditRead, &e))?;
    let log = gateway.recorder.log().clone();
    let tenant = permit.scope().tenant().map(tokens::Tenant::as_str);
    let rows = reader
        .fetch_all(
            "SELECT position, leaf, leaf_hash FROM audit_entry WHERE log = $1 AND position > $2 \
             AND (tenant = $3 OR $3 IS NULL) ORDER BY position LIMIT $4",
            vec![Value::from(log.as_str()), Value::from(after), Value::from(tenant), Value::from(limit + 1)],
        )
        .await
        .map_err(|e| read_refusal(Action::AuditRead, &e))?;
    drop(reader);
    let mut data = Vec::with_capacity(rows.len());
    for row in &rows {
        let line = line(row).map_err(|e| read_refusal(Action::AuditRead, &e))?;
        data.push(line);
    }
    let has_more = i64::try_from(data.len()).unwrap_or(i64::MAX) > limit;
    data.truncate(usize::try_from(limit).unwrap_or(0));
    let next = data.last().filter(|_| has_more).map(|line| line.position.to_string());
    let body = Page { data, has_more, next };
    let (recorder, origin) = (gateway.recorder.clone(), context.origin.clone());
    gateway
        .store
        .commit(move |work| {
            Box::pin(async move {
                let event = Event::success(Action::AuditRead, Resource::Log(log));
                let receipt = recorder.append(work, &origin, event).await?;
                Ok::<_, Stopped>(Answer::done(&receipt, StatusCode::OK, &body))
            })
        })
        .await
        .map_err(|stopped| refuse(stopped.problem()))
}

fn line(row: &store::Row) -> Result<Line, store::StoreError> {
    let entry = serde_json::from_slice(&row.bytes("leaf")?)
        .map_err(|_| store::StoreError::Corrupt { column: "leaf" })?;
    let leaf_hash = row.bytes("leaf_hash")?.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Line { position: row.integer("position")?, leaf_hash, entry })
}

fn page(query: &str) -> Result<(i64, i64), Problem> {
    let mut limit = DEFAULT_LIMIT;
    let mut after = -1;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let number = value.parse::<i64>().ok().filter(|n| *n >= 0);
        let wrong = |place| Problem::new(Code::InvalidField, "Send a whole number, zero or more").at(place);
        match name.as_ref() {
            "limit" => limit = number.filter(|n| (1..=MOST).contains(n)).ok_or_else(|| wrong("limit"))?,
            "after" => after = number.ok_or_else(|| wrong("after"))?,
            _ => {
                return Err(Problem::new(
                    Code::UnknownField,
                    "Only `limit` (1 to 500) and `after` are taken",
                )
                .at("query"));
            }
        }
    }
    Ok((limit, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_bounds() {
        assert_eq!(page("").unwrap(), (DEFAULT_LIMIT, -1));
        assert_eq!(page("limit=7&after=9").unwrap(), (7, 9));
        for wrong in ["limit=0", "limit=501", "limit=x", "after=-2", "other=1"] {
            assert!(page(wrong).is_err(), "{wrong}");
        }
    }
}
