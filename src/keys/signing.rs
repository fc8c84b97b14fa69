//! The public half of every version of the signing keys, kept for ever: what a version signed is verified long after
//! it was retired, destroyed, or left behind on another device. The audit log carries each half too, so that a row
//! that was altered is found out.

use super::overdue::once_a_day;
use super::{Keys, KeysError, system};
use crate::record::{Event, Recorder, now_us, rfc3339};
use audit::{Action, KeyName, Resource};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hsm::{DeviceInfo, KeyInfo, KeyKind, KeyStatus};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use store::{Fetch, Row, Work};

/// The byte of Ed25519 in signed notes (C2SP signed-note).
const ED25519: i64 = 1;

/// One version of a signing key: what verifies its signatures.
#[derive(Debug, Serialize)]
pub struct SigningKeyLine {
    /// Its label.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// Serial number of the device that made it.
    pub device: String,
    /// `ed25519`.
    pub algorithm: &'static str,
    /// Its public half, in base64.
    pub public_key: String,
    /// When pangate saw it first.
    pub first_seen_at: String,
    /// Since when it signs nothing more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// Whether a device that is attached still holds its private half.
    pub held: bool,
}

/// A public half as a device shows it.
struct Shown {
    label: String,
    version: u32,
    device: String,
    public: [u8; 32],
    status: KeyStatus,
    deactivated: Option<SystemTime>,
    /// Whether this is the version that signs.
    signs: bool,
}

/// A public half as it was stored.
struct Stored {
    label: String,
    version: u32,
    device: String,
    public: Vec<u8>,
    first_seen: i64,
    ended: Option<i64>,
}

impl Keys {
    /// Stores the public halves that the devices show and the database does not know yet, and when versions ended.
    ///
    /// # Errors
    /// A part that is away; [`KeysError::Integrity`] for a half that is none.
    pub(in crate::keys) async fn note_signing_keys(&self) -> Result<(), KeysError> {
        let shown = shown(&self.0.hsm.census().await?)?;
        let mut reader = self.0.store.read().await?;
        let known = stored(&mut reader).await?;
        drop(reader);
        if !is_news(&shown, &known) {
            return Ok(());
        }
        let parts = Arc::clone(&self.0);
        self.0
            .store
            .commit(move |work| Box::pin(async move { note(work, &parts.recorder, &shown).await }))
            .await
    }

    /// Every version there ever was.
    pub(in crate::keys) async fn signing_keys(&self) -> Result<Vec<SigningKeyLine>, KeysError> {
        self.note_signing_keys().await?;
        let shown = shown(&self.0.hsm.census().await?)?;
        let mut reader = self.0.store.read().await?;
        let known = stored(&mut reader).await?;
        let line = |half: Stored| SigningKeyLine {
            held: shown.iter().any(|here| here.is(&half) && here.public[..] == half.public[..]),
            name: half.label,
            version: half.version,
            device: half.device,
            algorithm: "ed25519",
            public_key: STANDARD.encode(&half.public),
            first_seen_at: rfc3339(half.first_seen),
            ended_at: half.ended.map(rfc3339),
        };
        Ok(known.into_iter().map(line).collect())
    }
}

impl Shown {
    fn is(&self, stored: &Stored) -> bool {
        self.label == stored.label && self.version == stored.version
    }

    /// Whether it cannot be the stored one: another half, from the same device or in use. A device that keys are to
    /// move to may have a version of that number that was never used; that one is nobody's.
    fn contradicts(&self, stored: &Stored) -> bool {
        self.is(stored)
            && self.public[..] != stored.public[..]
            && (self.signs || self.device == stored.device)
    }

    /// When the version ended, if it did.
    fn ended(&self, newest: &BTreeMap<String, u32>) -> Option<i64> {
        let stopped =
            matches!(self.status, KeyStatus::Deactivated | KeyStatus::Compromised | KeyStatus::Destroyed);
        let at = self.deactivated.filter(|_| stopped).map(micros);
        let over = stopped || newest.get(&self.label).is_some_and(|newest| *newest > self.version);
        over.then(|| at.unwrap_or_else(now_us))
    }
}

/// Every half that the devices show, with its device.
fn shown(census: &[(DeviceInfo, Vec<KeyInfo>)]) -> Result<Vec<Shown>, KeysError> {
    let mut all = Vec::new();
    for (device, keys) in census {
        for info in keys.iter().filter(|info| info.kind == KeyKind::SignEd25519) {
            let Some(public) = info.public.as_deref() else { continue };
            all.push(Shown {
                label: info.key.label.to_string(),
                version: info.key.version.get(),
                device: device.serial.clone(),
                public: public.try_into().map_err(|_| KeysError::Integrity)?,
                status: info.status,
                deactivated: info.deactivated,
                signs: false,
            });
        }
    }
    let newest = newest_active(&all);
    for half in &mut all {
        half.signs = half.status == KeyStatus::Active && newest.get(&half.label) == Some(&half.version);
    }
    Ok(all)
}

fn newest_active(shown: &[Shown]) -> BTreeMap<String, u32> {
    let mut newest = BTreeMap::new();
    for half in shown.iter().filter(|half| half.status == KeyStatus::Active) {
        let version: &mut u32 = newest.entry(half.label.clone()).or_default();
        *version = (*version).max(half.version);
    }
    newest
}

/// Whether there is something to write.
fn is_news(shown: &[Shown], known: &[Stored]) -> bool {
    let newest = newest_active(shown);
    let unknown = |half: &Shown| {
        let row = known.iter().find(|row| half.is(row));
        row.is_none_or(|row| half.contradicts(row))
    };
    let over = |row: &Stored| row.ended.is_none() && ended(row, shown, &newest).is_some();
    shown.iter().any(unknown) || known.iter().any(over)
}

/// When a stored version ended: as its device says, or, where that is gone, since a newer one signs.
fn ended(row: &Stored, shown: &[Shown], newest: &BTreeMap<String, u32>) -> Option<i64> {
    match shown.iter().find(|half| half.is(row) && half.public[..] == row.public[..]) {
        Some(half) => half.ended(newest),
        None => newest.get(&row.label).filter(|newest| **newest > row.version).map(|_| now_us()),
    }
}

async fn note(work: &mut Work<'_>, recorder: &Recorder, shown: &[Shown]) -> Result<(), KeysError> {
    for half in shown {
        let new = work
            .execute(
                "INSERT INTO signing_key (label, version, device, algorithm, public, first_seen) \
                 VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
                vec![
                    half.label.as_str().into(),
                    half.version.into(),
                    half.device.as_str().into(),
                    ED25519.into(),
                    half.public.to_vec().into(),
                    now_us().into(),
                ],
            )
            .await?;
        if new == 1 {
            let event = Event::success(Action::SigningKeySeen, resource(half));
            let _receipt = recorder.append(work, &system(), event).await?;
        }
    }
    let newest = newest_active(shown);
    for row in stored(work).await? {
        if let Some(other) = shown.iter().find(|half| half.contradicts(&row)) {
            tracing::error!(
                key = %other.label, version = other.version,
                "the HSM shows another public half of this signing key than it did first; treat it as tampering"
            );
            let what = format!("keys.other_half_told/{}/{}#{}", recorder.log(), row.label, row.version);
            if once_a_day(work, &what).await? {
                let event = Event::failed(Action::SigningKeySeen, resource(other), "other_public_half");
                let _receipt = recorder.append(work, &system(), event).await?;
            }
        }
        if let Some(at) = ended(&row, shown, &newest).filter(|_| row.ended.is_none()) {
            work.execute(
                "UPDATE signing_key SET ended = $3 WHERE label = $1 AND version = $2 AND ended IS NULL",
                vec![row.label.as_str().into(), row.version.into(), at.into()],
            )
            .await?;
        }
    }
    Ok(())
}

/// The key in the log's words, with its public half.
fn resource(half: &Shown) -> Resource {
    KeyName::parse(&half.label).map_or(Resource::None, |label| Resource::SigningKey {
        label,
        version: half.version,
        public: half.public,
    })
}

async fn stored(from: &mut impl Fetch) -> Result<Vec<Stored>, KeysError> {
    let rows = from
        .fetch_all(
            "SELECT label, version, device, public, first_seen, ended FROM signing_key ORDER BY label, version",
            Vec::new(),
        )
        .await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Stored, KeysError> {
    Ok(Stored {
        label: row.text("label")?,
        version: u32::try_from(row.integer("version")?).map_err(|_| KeysError::Integrity)?,
        device: row.text("device")?,
        public: row.bytes("public")?,
        first_seen: row.integer("first_seen")?,
        ended: row.optional_integer("ended")?,
    })
}

fn micros(at: SystemTime) -> i64 {
    let micros = at.duration_since(UNIX_EPOCH).map(|at| at.as_micros()).unwrap_or(0);
    i64::try_from(micros).unwrap_or(0)
}
