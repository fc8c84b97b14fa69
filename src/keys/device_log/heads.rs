//! Heads of a device's own log under the device's signature: verified, and the newest of each timeline kept, so that
//! an auditor can check what is stored against the device's word. The first key that a device signed with is its key;
//! an auditor compares it with the one that was noted when the device was made.

use super::Place;
use super::shelf::{Finding, row_number};
use crate::keys::KeysError;
use hsm_sim::client::{Broken, SignedHead, Start, entry_hash, verify_head};
use store::{Value, Work};

/// What became of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// It fits and is kept.
    Kept,
    /// The device went on meanwhile: what it is about is not stored yet.
    Ahead,
    /// It does not fit.
    Not(Finding),
}

/// Keeps a head of the timeline, if it is the device's word for what is stored.
pub(super) async fn keep(
    work: &mut Work<'_>,
    place: &Place,
    timeline: i64,
    signed: &[u8],
) -> Result<Head, KeysError> {
    let no_head = Head::Not(Finding::Broken("head_signature"));
    let Some(head) = SignedHead::decode(signed).filter(|head| head.serial == place.serial) else {
        return Ok(no_head);
    };
    let last = head.counts.last;
    let public = noted_key(work, place).await?.unwrap_or(head.public);
    let Some(entry) = entry(work, place, timeline, last).await? else {
        // The signature is judged all the same: a stranger's head must not wait.
        let claimed = Start { seq: last, hash: head.head, at: 0 };
        return Ok(if verify_head(claimed, &head, &public).is_ok() { Head::Ahead } else { no_head });
    };
    let end = Start { seq: last, hash: entry_hash(&place.serial, &entry), at: 0 };
    match verify_head(end, &head, &public) {
        Ok(()) => {}
        Err(Broken::NotTheHead { .. }) => return Ok(Head::Not(Finding::Broken("head_differs"))),
        Err(_) => return Ok(no_head),
    }
    work.execute(
        "UPDATE device_log_timeline SET head_seq = $3, head = $4 WHERE device = $1 AND timeline = $2 \
         AND (head_seq IS NULL OR head_seq <= $3)",
        vec![place.device.as_str().into(), timeline.into(), row_number(last)?.into(), Value::from(signed)],
    )
    .await?;
    Ok(Head::Kept)
}

/// The key of the first head that was kept of that device.
async fn noted_key(work: &mut Work<'_>, place: &Place) -> Result<Option<[u8; 32]>, KeysError> {
    let row = work
        .fetch_optional(
            "SELECT head FROM device_log_timeline WHERE device = $1 AND head IS NOT NULL \
             ORDER BY timeline LIMIT 1",
            vec![place.device.as_str().into()],
        )
        .await?;
    let head = row.map(|row| row.bytes("head")).transpose()?;
    Ok(head.and_then(|head| SignedHead::decode(&head)).map(|head| head.public))
}

async fn entry(
    work: &mut Work<'_>,
    place: &Place,
    timeline: i64,
    seq: u64,
) -> Result<Option<Vec<u8>>, KeysError> {
    let row = work
        .fetch_optional(
            "SELECT entry FROM device_log WHERE device = $1 AND timeline = $2 AND seq = $3",
            vec![place.device.as_str().into(), timeline.into(), row_number(seq)?.into()],
        )
        .await?;
    Ok(row.map(|row| row.bytes("entry")).transpose()?)
}
