//! The stored logs as people read them: entry by entry, decoded, with the bytes that count.

use super::TIMELINE_ONE;
use crate::keys::{Keys, KeysError};
use hsm_sim::client::{LogEntry, SignedHead, entry_hash, from_hex, to_hex};
use store::{Reader, Row, Value};

/// Which part is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// At most so many entries.
    pub limit: u32,
    /// Those after this one.
    pub after: Option<Position>,
    /// Only of devices whose serial number begins so.
    pub device: Option<String>,
}

/// An entry's position among all, in order of device, timeline and number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    serial: [u8; 16],
    timeline: i64,
    seq: i64,
}

/// One stored entry.
#[derive(Debug)]
pub struct Line {
    /// The device's serial number.
    pub device: String,
    /// Which of its timelines; another begins when its state was set back.
    pub timeline: i64,
    /// The entry's number.
    pub seq: i64,
    /// What it says; none for bytes that are no entry.
    pub said: Option<LogEntry>,
    /// As the device encoded it.
    pub bytes: Vec<u8>,
    /// Its hash, which the next entry carries.
    pub hash: Option<[u8; 32]>,
    /// When it was stored, in unix microseconds.
    pub taken_at_us: i64,
}

/// One timeline of a device's log.
#[derive(Debug)]
pub struct Timeline {
    /// The device's serial number.
    pub device: String,
    /// Its number among the device's timelines.
    pub timeline: i64,
    /// The number of the last entry before it.
    pub begins_after: i64,
    /// `first_seen`, or what made it begin.
    pub reason: String,
    /// When it began, in unix microseconds.
    pub began_at_us: i64,
    /// The newest signed head, read, and its bytes.
    pub head: Option<(SignedHead, Vec<u8>)>,
}

/// A page: entries, and every timeline of the devices that were asked for, in one snapshot.
#[derive(Debug)]
pub struct Listed {
    /// The entries; one more than `limit` when more follow.
    pub lines: Vec<Line>,
    /// The timelines.
    pub timelines: Vec<Timeline>,
}

impl Position {
    /// The position in letters: no scanner takes it for a card number.
    #[must_use]
    pub fn text(&self) -> String {
        let numbers = [self.timeline.to_be_bytes(), self.seq.to_be_bytes()].concat();
        let bytes = self.serial.iter().chain(&numbers);
        bytes.flat_map(|byte| [byte >> 4, byte & 15]).map(|number| char::from(b'a' + number)).collect()
    }

    /// Reads what [`Self::text`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Position> {
        let number = |letter: u8| letter.checked_sub(b'a').filter(|number| *number < 16);
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if !rest.is_empty() {
            return None;
        }
        let bytes = pairs.iter().map(|&[high, low]| Some(number(high)? << 4 | number(low)?));
        let bytes: Vec<u8> = bytes.collect::<Option<_>>()?;
        let (serial, rest) = bytes.split_first_chunk::<16>()?;
        let (timeline, rest) = rest.split_first_chunk::<8>()?;
        let seq: [u8; 8] = rest.try_into().ok()?;
        Some(Position {
            serial: *serial,
            timeline: i64::from_be_bytes(*timeline),
            seq: i64::from_be_bytes(seq),
        })
    }
}

impl Line {
    /// Where it stands; none for a device that no serial number of ours names.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        Some(Position { serial: from_hex(&self.device)?, timeline: self.timeline, seq: self.seq })
    }
}

impl Keys {
    /// A page of the stored logs.
    ///
    /// # Errors
    /// The store's error.
    pub async fn stored_device_log(&self, wanted: &Wanted) -> Result<Listed, KeysError> {
        let mut reader = self.0.store.read().await?;
        let (device, timeline, seq) = match &wanted.after {
            None => (String::new(), TIMELINE_ONE, 0),
            Some(after) => (to_hex(&after.serial), after.timeline, after.seq),
        };
        let rows = reader
            .fetch_all(
                "SELECT device, timeline, seq, entry, taken_at FROM device_log \
                 WHERE (substr(device, 1, length($1)) = $1 OR $1 IS NULL) \
                 AND (device, timeline, seq) > ($2, $3, $4) ORDER BY device, timeline, seq LIMIT $5",
                vec![
                    Value::from(wanted.device.as_deref()),
                    device.into(),
                    timeline.into(),
                    seq.into(),
                    wanted.limit.saturating_add(1).into(),
                ],
            )
            .await?;
        let lines = rows.iter().map(line).collect::<Result<_, _>>()?;
        Ok(Listed { lines, timelines: timelines(&mut reader, wanted.device.as_deref()).await? })
    }
}

async fn timelines(reader: &mut Reader, device: Option<&str>) -> Result<Vec<Timeline>, KeysError> {
    let rows = reader
        .fetch_all(
            "SELECT device, timeline, begins_after, reason, began_at, head FROM device_log_timeline \
             WHERE (substr(device, 1, length($1)) = $1 OR $1 IS NULL) ORDER BY device, timeline",
            vec![Value::from(device)],
        )
        .await?;
    let read = |row: &Row| {
        let head = row.optional_bytes("head")?;
        Ok(Timeline {
            device: row.text("device")?,
            timeline: row.integer("timeline")?,
            begins_after: row.integer("begins_after")?,
            reason: row.text("reason")?,
            began_at_us: row.integer("began_at")?,
            head: head.and_then(|head| Some((SignedHead::decode(&head)?, head))),
        })
    };
    rows.iter().map(read).collect()
}

fn line(row: &Row) -> Result<Line, KeysError> {
    let (device, bytes) = (row.text("device")?, row.bytes("entry")?);
    Ok(Line {
        timeline: row.integer("timeline")?,
        seq: row.integer("seq")?,
        said: LogEntry::decode(&bytes),
        hash: from_hex(&device).map(|serial| entry_hash(&serial, &bytes)),
        taken_at_us: row.integer("taken_at")?,
        device,
        bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_has_one_spelling_without_a_digit() {
        let position = Position { serial: [0x42; 16], timeline: 2, seq: 4_242_424_242 };
        let text = position.text();
        assert!(text.bytes().all(|letter| letter.is_ascii_lowercase()), "{text}");
        assert_eq!(Position::parse(&text), Some(position));
        let cut = text.get(2..).unwrap();
        for wrong in ["", "a", cut, &text.to_uppercase(), &format!("{text}aa"), &text.replace('e', "z")] {
            assert_eq!(Position::parse(wrong), None, "{wrong}");
        }
    }
}
