//! What the HSMs wrote down themselves: `GET /v1/device-log?limit=&after=&device=`. Each entry is shown decoded and as
//! the device encoded it, so that whoever asks can check the chain and the device's signature without trusting the
//! gateway. Reading it is itself recorded.

use super::approvals::key_problem;
use super::{Acted, Context, Refusal, Stopped};
use crate::answer::{Answer, Code, Problem};
use crate::gateway::Gateway;
use crate::keys::device_log::{Line, Position, Timeline, Wanted};
use crate::permit::{Permit, ReadDeviceLog};
use crate::record::{Event, rfc3339};
use audit::{Action, Resource};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hsm_sim::client::{LogActor, LogEntry, to_hex};
use http::StatusCode;
use serde::Serialize;

const DEFAULT_LIMIT: u32 = 50;
const MOST: u32 = 500;
/// A device is named by the beginning of its serial number: long enough to tell devices apart, and never so many
/// digits that they could be a card's.
const DEVICE_DIGITS: std::ops::RangeInclusive<usize> = 8..=12;

#[derive(Serialize)]
struct Page {
    data: Vec<Shown>,
    has_more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    timelines: Vec<ShownTimeline>,
}

#[derive(Serialize)]
struct Shown {
    device: String,
    timeline: i64,
    seq: i64,
    #[serde(flatten)]
    said: Option<Said>,
    hash: Option<String>,
    entry: String,
    taken_at: String,
}

/// What an entry says; absent where the stored bytes are no entry.
#[derive(Serialize)]
struct Said {
    at: String,
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    event: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    subject: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    count: u32,
    prev: String,
}

#[derive(Serialize)]
struct ShownTimeline {
    device: String,
    timeline: i64,
    begins_after: i64,
    reason: String,
    began_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<Head>,
}

/// The newest head under the device's signature that the stored entries reach.
#[derive(Serialize)]
struct Head {
    seq: u64,
    hash: String,
    public_key: String,
    unlogged_boots: u32,
    unlogged_events: u32,
    signed: String,
}

/// One page, in order of device, timeline and number. The device serves the whole installation and its log names no
/// tenant: a credential of one tenant sees all of it, as it sees the HSM's keys.
pub async fn list(gateway: &Gateway, context: &Context, _: Permit<ReadDeviceLog>, query: &str) -> Acted {
    let refuse = |problem| Refusal::new(Action::DeviceLogRead, problem);
    let wanted = wanted(query).map_err(refuse)?;
    let listed = gateway.keys.stored_device_log(&wanted).await;
    let mut listed = listed.map_err(|error| refuse(key_problem(&error)))?;
    let limit = usize::try_from(wanted.limit).unwrap_or(usize::MAX);
    let has_more = listed.lines.len() > limit;
    listed.lines.truncate(limit);
    let next = listed.lines.last().filter(|_| has_more).and_then(Line::position).map(|last| last.text());
    let body = Page {
        data: listed.lines.into_iter().map(shown).collect(),
        has_more,
        next,
        timelines: listed.timelines.into_iter().map(timeline).collect(),
    };
    let (recorder, origin) = (gateway.recorder.clone(), context.origin.clone());
    gateway
        .store
        .commit(move |work| {
            Box::pin(async move {
                let event = Event::success(Action::DeviceLogRead, Resource::None);
                let receipt = recorder.append(work, &origin, event).await?;
                Ok::<_, Stopped>(Answer::done(&receipt, StatusCode::OK, &body))
            })
        })
        .await
        .map_err(|stopped| refuse(stopped.problem()))
}

fn shown(line: Line) -> Shown {
    Shown {
        device: line.device,
        timeline: line.timeline,
        seq: line.seq,
        said: line.said.map(said),
        hash: line.hash.map(|hash| to_hex(&hash)),
        entry: STANDARD.encode(&line.bytes),
        taken_at: rfc3339(line.taken_at_us),
    }
}

fn said(entry: LogEntry) -> Said {
    let seconds = i64::try_from(entry.at).unwrap_or(i64::MAX);
    let (role, account) = match &entry.actor {
        LogActor::Device => ("device", None),
        LogActor::Account(name, role) => (role.as_str(), Some(name.as_str().to_owned())),
        LogActor::Stranger => ("stranger", None),
    };
    Said {
        at: rfc3339(seconds.saturating_mul(1_000_000)),
        role,
        account,
        event: entry.event.as_str(),
        subject: entry.subject,
        outcome: if entry.refused.is_none() { "done" } else { "refused" },
        reason: entry.refused.map(|error| error.code()),
        count: entry.count,
        prev: to_hex(&entry.prev),
    }
}

fn timeline(timeline: Timeline) -> ShownTimeline {
    let head = timeline.head.map(|(head, signed)| Head {
        seq: head.counts.last,
        hash: to_hex(&head.head),
        public_key: to_hex(&head.public),
        unlogged_boots: head.counts.unlogged_boots,
        unlogged_events: head.counts.unlogged_events,
        signed: STANDARD.encode(signed),
    });
    ShownTimeline {
        device: timeline.device,
        timeline: timeline.timeline,
        begins_after: timeline.begins_after,
        reason: timeline.reason,
        began_at: rfc3339(timeline.began_at_us),
        head,
    }
}

fn wanted(query: &str) -> Result<Wanted, Problem> {
    let mut wanted = Wanted { limit: DEFAULT_LIMIT, after: None, device: None };
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let wrong = |place, detail| Problem::new(Code::InvalidField, detail).at(place);
        match name.as_ref() {
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=MOST).contains(limit));
                wanted.limit = limit.ok_or_else(|| wrong("limit", "Send a limit of 1 to 500"))?;
            }
            "after" => {
                let after = Position::parse(&value);
                let after =
                    after.ok_or_else(|| wrong("after", "Send `next` of the page before, as it is"))?;
                wanted.after = Some(after);
            }
            "device" => {
                let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
                let named = DEVICE_DIGITS.contains(&value.len()) && value.bytes().all(hexadecimal);
                if !named {
                    let detail = "Send the first 8 to 12 hexadecimal digits of the device's serial number";
                    return Err(wrong("device", detail));
                }
                wanted.device = Some(value.into_owned());
            }
            _ => {
                let detail = "Only `limit` (1 to 500), `after` and `device` are taken";
                return Err(Problem::new(Code::UnknownField, detail).at("query"));
            }
        }
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_bounds_and_a_device_is_named_by_the_beginning_of_its_serial() {
        let usual = Wanted { limit: DEFAULT_LIMIT, after: None, device: None };
        assert_eq!(wanted("").unwrap(), usual);
        let asked = wanted("limit=7&device=00ff00ff").unwrap();
        assert_eq!((asked.limit, asked.device.as_deref()), (7, Some("00ff00ff")));
        for wrong in [
            "limit=0",
            "limit=501",
            "after=12",
            "after=",
            "device=00ff",
            "device=00FF00FF",
            "device=00ff00ff00ff0",
            "device=%25%25%25%25%25%25%25%25",
            "other=1",
        ] {
            assert!(wanted(wrong).is_err(), "{wrong}");
        }
    }
}
