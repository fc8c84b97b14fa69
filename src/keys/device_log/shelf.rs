//! What is stored of a device's own log, and how a page comes to it: judged and stored in one transaction, so that two
//! gateways that ask the same device find the same. Kept out: asking the device.

use super::{Place, TIMELINE_ONE};
use crate::keys::KeysError;
use crate::record::{Event, Recorder, now_us};
use audit::{Action, Reason, Resource};
use hsm::DeviceLogPage;
use hsm_sim::client::{Start, entry_hash, verify};
use std::collections::BTreeMap;
use store::{Fetch, Value, Work};

/// How far a device's log is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    /// The timeline that goes on.
    pub(super) timeline: i64,
    /// The number of its last entry.
    pub(super) end: u64,
    /// Where a check goes on from; none where the entry before a timeline's first is not stored.
    link: Option<Start>,
    /// The number of the entry that the newest kept head is about.
    pub(super) head: Option<u64>,
}

/// What a page says that should not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// Entries between were taken away by somebody else: the device's auditor, by `hsm-sim log`.
    Gap,
    /// It does not fit what is stored.
    Broken(&'static str),
    /// The device's log ends before what was stored of it: its state was set back.
    SetBack,
}

/// What became of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// All of it is stored, and it goes on where the stored log ended, if nothing was found.
    Stored(Option<Finding>),
    /// Another gateway began a timeline meanwhile: look again.
    Overtaken,
}

impl Finding {
    pub(super) fn event(self) -> Event {
        match self {
            Finding::Gap => {
                let reason = Reason::parse("taken_elsewhere").ok();
                Event { reason, ..Event::success(Action::DeviceLogGap, Resource::None) }
            }
            Finding::Broken(why) => Event::failed(Action::DeviceLogBroken, Resource::None, why),
            Finding::SetBack => {
                Event::failed(Action::DeviceLogSetBack, Resource::None, "log_ends_before_stored")
            }
        }
    }

    /// The finding as the reason of a timeline.
    fn reason(self) -> &'static str {
        match self {
            Finding::Gap => "taken_elsewhere",
            Finding::Broken(why) => why,
            Finding::SetBack => "set_back",
        }
    }
}

/// Where the stored log of that device ends.
pub(super) async fn stored<F: Fetch>(from: &mut F, place: &Place) -> Result<Stored, KeysError> {
    let row = from
        .fetch_optional(
            "SELECT timeline, begins_after, head_seq FROM device_log_timeline WHERE device = $1 \
             ORDER BY timeline DESC LIMIT 1",
            vec![place.device.as_str().into()],
        )
        .await?;
    let Some(row) = row else {
        let link = Some(Start::of_device(&place.serial));
        return Ok(Stored { timeline: TIMELINE_ONE, end: 0, link, head: None });
    };
    let timeline = row.integer("timeline")?;
    let head = row.optional_integer("head_seq")?.map(number).transpose()?;
    let last = from
        .fetch_optional(
            "SELECT seq, entry FROM device_log WHERE device = $1 AND timeline = $2 ORDER BY seq DESC LIMIT 1",
            vec![place.device.as_str().into(), timeline.into()],
        )
        .await?;
    let Some(last) = last else {
        let end = number(row.integer("begins_after")?)?;
        let link = if end == 0 {
            Some(Start::of_device(&place.serial))
        } else {
            before(from, place, timeline, end).await?
        };
        return Ok(Stored { timeline, end, link, head });
    };
    let end = number(last.integer("seq")?)?;
    // A stored entry that cannot be read any more still has its number; what follows it will not fit.
    let link = Start::after(&place.serial, &last.bytes("entry")?)
        .filter(|start| start.seq == end)
        .unwrap_or(Start { seq: end, hash: [0; 32], at: 0 });
    Ok(Stored { timeline, end, link: Some(link), head })
}

/// The entry that a timeline without entries begins after.
async fn before<F: Fetch>(
    from: &mut F,
    place: &Place,
    timeline: i64,
    seq: u64,
) -> Result<Option<Start>, KeysError> {
    let row = from
        .fetch_optional(
            "SELECT entry FROM device_log WHERE device = $1 AND timeline = $2 AND seq = $3",
            vec![place.device.as_str().into(), timeline.saturating_sub(1).into(), row_number(seq)?.into()],
        )
        .await?;
    let entry = row.map(|row| row.bytes("entry")).transpose()?;
    Ok(entry.and_then(|entry| Start::after(&place.serial, &entry)).filter(|start| start.seq == seq))
}

/// Judges a page that the device gave after `seen` was read, and stores it with what was found, in one transaction.
pub(super) async fn keep(
    work: &mut Work<'_>,
    recorder: &Recorder,
    place: &Place,
    seen: &Stored,
    page: &DeviceLogPage,
) -> Result<Kept, KeysError> {
    // Pages are judged by what is stored, so one at a time, whichever gateway took them.
    work.alone("device_log").await?;
    let stored = stored(work, place).await?;
    if stored.timeline != seen.timeline {
        return Ok(Kept::Overtaken);
    }
    let first = page.last.saturating_sub(crate::keys::whole(page.entries.len())).saturating_add(1);
    let entries: BTreeMap<u64, &[u8]> = (first..).zip(page.entries.iter().map(Vec::as_slice)).collect();
    let ended = entries.last_key_value().is_none_or(|(_, last)| entry_hash(&place.serial, last) == page.head);
    let known = compare(work, place, &stored, first, &entries).await?;
    // Another gateway may have stored more since, but what was stored before the device was asked, it must have.
    let leaves = if ended && page.last < seen.end {
        Some(Finding::SetBack)
    } else {
        known.differs.then_some(Finding::Broken("entry_differs"))
    };
    if let Some(finding) = leaves {
        let timeline = stored.timeline.saturating_add(1);
        let other = entries.into_iter().filter(|(seq, _)| *seq > known.same).collect();
        begin(work, place, timeline, known.same, finding).await?;
        put(work, place, timeline, &other).await?;
        return found(work, recorder, finding).await;
    }
    let fresh: BTreeMap<u64, &[u8]> = entries.into_iter().filter(|(seq, _)| *seq > stored.end).collect();
    if fresh.is_empty() {
        return Ok(Kept::Stored(None));
    }
    first_seen(work, place).await?;
    put(work, place, stored.timeline, &fresh).await?;
    match judge(&place.serial, &stored, &fresh) {
        None => Ok(Kept::Stored(None)),
        Some(finding) => found(work, recorder, finding).await,
    }
}

/// Whether new entries go on where the stored ones end.
fn judge(serial: &[u8; 16], stored: &Stored, fresh: &BTreeMap<u64, &[u8]>) -> Option<Finding> {
    let broken = Some(Finding::Broken("chain_broken"));
    let (&first, bytes) = fresh.first_key_value()?;
    let behind = stored.end.checked_add(1) == Some(first);
    let entries: Vec<&[u8]> = fresh.values().copied().collect();
    if let Some(link) = stored.link.filter(|_| behind) {
        return verify(serial, link, &entries).err().and(broken);
    }
    // What went before is not here to be compared; the entries still have to follow each other.
    let (_, rest) = entries.split_first()?;
    let Some(start) = Start::after(serial, bytes).filter(|start| start.seq == first) else { return broken };
    match verify(serial, start, rest) {
        Err(_) => broken,
        Ok(_) if behind => None,
        Ok(_) => Some(Finding::Gap),
    }
}

/// What of a page is stored already.
struct Known {
    /// The number up to which the page says what is stored.
    same: u64,
    /// Whether it gives another entry under a number that is stored.
    differs: bool,
}

async fn compare(
    work: &mut Work<'_>,
    place: &Place,
    stored: &Stored,
    first: u64,
    entries: &BTreeMap<u64, &[u8]>,
) -> Result<Known, KeysError> {
    let mut known = Known { same: first.saturating_sub(1), differs: false };
    let Some((&last, _)) = entries.last_key_value().filter(|_| first <= stored.end) else { return Ok(known) };
    let rows = work
        .fetch_all(
            "SELECT seq, entry FROM device_log WHERE device = $1 AND timeline = $2 AND seq BETWEEN $3 AND $4 \
             ORDER BY seq",
            vec![
                place.device.as_str().into(),
                stored.timeline.into(),
                row_number(first)?.into(),
                row_number(last)?.into(),
            ],
        )
        .await?;
    for row in rows {
        let seq = number(row.integer("seq")?)?;
        match entries.get(&seq) {
            Some(given) if *given == row.bytes("entry")?.as_slice() => known.same = seq,
            Some(_) => {
                known.differs = true;
                break;
            }
            None => break,
        }
    }
    Ok(known)
}

async fn found(work: &mut Work<'_>, recorder: &Recorder, finding: Finding) -> Result<Kept, KeysError> {
    let _receipt = recorder.append(work, &crate::keys::system(), finding.event()).await?;
    Ok(Kept::Stored(Some(finding)))
}

async fn begin(
    work: &mut Work<'_>,
    place: &Place,
    timeline: i64,
    begins_after: u64,
    why: Finding,
) -> Result<(), KeysError> {
    work.execute(
        "INSERT INTO device_log_timeline (device, timeline, begins_after, reason, began_at) \
         VALUES ($1, $2, $3, $4, $5)",
        vec![
            place.device.as_str().into(),
            timeline.into(),
            row_number(begins_after)?.into(),
            why.reason().into(),
            now_us().into(),
        ],
    )
    .await?;
    Ok(())
}

async fn first_seen(work: &mut Work<'_>, place: &Place) -> Result<(), KeysError> {
    work.execute(
        "INSERT INTO device_log_timeline (device, timeline, begins_after, reason, began_at) \
         VALUES ($1, $2, 0, 'first_seen', $3) ON CONFLICT DO NOTHING",
        vec![place.device.as_str().into(), TIMELINE_ONE.into(), now_us().into()],
    )
    .await?;
    Ok(())
}

async fn put(
    work: &mut Work<'_>,
    place: &Place,
    timeline: i64,
    entries: &BTreeMap<u64, &[u8]>,
) -> Result<(), KeysError> {
    for (&seq, &entry) in entries {
        work.execute(
            "INSERT INTO device_log (device, timeline, seq, entry, taken_at) VALUES ($1, $2, $3, $4, $5)",
            vec![
                place.device.as_str().into(),
                timeline.into(),
                row_number(seq)?.into(),
                Value::from(entry),
                now_us().into(),
            ],
        )
        .await?;
    }
    Ok(())
}

fn number(column: i64) -> Result<u64, KeysError> {
    u64::try_from(column).map_err(|_| KeysError::Integrity)
}

pub(super) fn row_number(seq: u64) -> Result<i64, KeysError> {
    i64::try_from(seq).map_err(|_| KeysError::Integrity)
}
