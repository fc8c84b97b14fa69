//! The HSM's own log, taken before it is full: a page is stored, and only then is the device told to forget it, so
//! that a crash between the two repeats a page and loses none. A page that does not follow what was stored before is
//! evidence, not an outage: it is kept, recorded and told.

use super::{Keys, KeysError, system};
use crate::record::{Event, now_us};
use audit::{Action, Resource};
use hsm::{Capability, DeviceLogPage, HsmError};
use hsm_sim::client::{Broken, Start, verify};
use std::sync::atomic::{AtomicU8, Ordering};
use store::Value;

/// Entries in one page.
const PAGE: u16 = 256;
/// Pages in one round; a log is at most 4,096 entries long.
const MOST_PAGES: usize = 32;

/// How it stands with the device's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceLogState {
    /// It is taken by this gateway, or the device has none.
    Kept,
    /// It is full and only the device's auditor may take it.
    FullForAuditor,
    /// A page did not follow the one before it.
    Broken,
}

/// The state, shared by the round that takes the log and those who tell of it.
#[derive(Debug, Default)]
pub(in crate::keys) struct Told(AtomicU8);

impl Told {
    fn set(&self, state: DeviceLogState) {
        let number = match state {
            DeviceLogState::Kept => 0,
            DeviceLogState::FullForAuditor => 1,
            DeviceLogState::Broken => 2,
        };
        // A broken chain stays told until the gateway is started anew: somebody has to look.
        if self.0.load(Ordering::Relaxed) != 2 {
            self.0.store(number, Ordering::Relaxed);
        }
    }

    fn get(&self) -> DeviceLogState {
        match self.0.load(Ordering::Relaxed) {
            0 => DeviceLogState::Kept,
            1 => DeviceLogState::FullForAuditor,
            _ => DeviceLogState::Broken,
        }
    }
}

/// What a page says of the entries stored before it.
enum Follows {
    /// It goes on where they end.
    On,
    /// Entries between were taken away by somebody else: the device's auditor, by `hsm-sim log`.
    AfterGap,
    /// It does not fit.
    Not,
}

impl Keys {
    /// How it stands with the device's log.
    pub fn device_log(&self) -> DeviceLogState {
        self.0.device_log.get()
    }

    /// Takes what the device has written since the last time. While keys move between two devices their logs wait.
    ///
    /// # Errors
    /// A part that is away; what was stored before that stays stored.
    pub async fn take_device_log(&self) -> Result<(), KeysError> {
        if self.0.second.lock().await.is_some() {
            return Ok(());
        }
        let device = self.0.hsm.describe().await?;
        if !device.capabilities.has(Capability::DeviceLog) {
            return Ok(());
        }
        let Some(serial) = serial(&device.serial) else { return Ok(()) };
        for _ in 0..MOST_PAGES {
            let start = self.stored_end(&device.serial, &serial).await?;
            let page = match self.0.hsm.drain_log(start.seq, PAGE).await {
                Ok(page) => page,
                Err(HsmError::Denied) => return self.left_to_the_auditor().await,
                Err(error) => return Err(error.into()),
            };
            if page.entries.is_empty() {
                break;
            }
            self.store_page(&device.serial, &serial, start, page).await?;
        }
        self.0.device_log.set(DeviceLogState::Kept);
        Ok(())
    }

    /// The device was made so that only its auditor takes the log: then it must be told in time.
    async fn left_to_the_auditor(&self) -> Result<(), KeysError> {
        let full = self.0.hsm.random(1).await.err() == Some(HsmError::LogFull);
        self.0.device_log.set(if full { DeviceLogState::FullForAuditor } else { DeviceLogState::Kept });
        Ok(())
    }

    /// Where the stored log of that device ends.
    async fn stored_end(&self, device: &str, serial: &[u8; 16]) -> Result<Start, KeysError> {
        let mut reader = self.0.store.read().await?;
        let row = reader
            .fetch_optional(
                "SELECT seq, entry FROM device_log WHERE device = $1 ORDER BY seq DESC LIMIT 1",
                vec![device.into()],
            )
            .await?;
        let Some(row) = row else { return Ok(Start::of_device(serial)) };
        let seq = u64::try_from(row.integer("seq")?).map_err(|_| KeysError::Integrity)?;
        // A stored entry that cannot be read any more still has its number; what follows it will not fit.
        Ok(Start::after(serial, &row.bytes("entry")?).filter(|start| start.seq == seq).unwrap_or(Start {
            seq,
            hash: [0; 32],
            at: 0,
        }))
    }

    async fn store_page(
        &self,
        device: &str,
        serial: &[u8; 16],
        start: Start,
        page: DeviceLogPage,
    ) -> Result<(), KeysError> {
        let event = match follows(serial, start, &page.entries) {
            Follows::On => None,
            Follows::AfterGap => {
                let reason = audit::Reason::parse("taken_elsewhere").ok();
                Some(Event { reason, ..Event::success(Action::DeviceLogGap, Resource::None) })
            }
            Follows::Not => {
                tracing::error!("the HSM's log does not follow what was taken from it before");
                self.0.device_log.set(DeviceLogState::Broken);
                Some(Event::failed(Action::DeviceLogBroken, Resource::None, "chain_broken"))
            }
        };
        let before = page.last.saturating_sub(u64::try_from(page.entries.len()).unwrap_or(u64::MAX));
        let (device, recorder) = (device.to_owned(), self.0.recorder.clone());
        self.0
            .store
            .commit(move |work| {
                Box::pin(async move {
                    for (seq, entry) in (before.saturating_add(1)..).zip(page.entries) {
                        let seq = i64::try_from(seq).map_err(|_| KeysError::Integrity)?;
                        // Another gateway may have stored the same page.
                        work.execute(
                            "INSERT INTO device_log (device, seq, entry, taken_at) VALUES ($1, $2, $3, $4) \
                             ON CONFLICT DO NOTHING",
                            vec![device.as_str().into(), seq.into(), Value::from(entry), now_us().into()],
                        )
                        .await?;
                    }
                    if let Some(event) = event {
                        let _receipt = recorder.append(work, &system(), event).await?;
                    }
                    Ok::<(), KeysError>(())
                })
            })
            .await
    }
}

fn follows(serial: &[u8; 16], start: Start, entries: &[Vec<u8>]) -> Follows {
    match verify(serial, start, entries) {
        Ok(_) => Follows::On,
        Err(Broken::OutOfOrder { expected, found }) if expected == start.seq + 1 && found > expected => {
            let Some((first, rest)) = entries.split_first() else { return Follows::Not };
            let rest = Start::after(serial, first).map(|start| verify(serial, start, rest));
            if matches!(rest, Some(Ok(_))) { Follows::AfterGap } else { Follows::Not }
        }
        Err(_) => Follows::Not,
    }
}

/// The device's serial number, 32 hexadecimal digits, as its log binds it.
fn serial(text: &str) -> Option<[u8; 16]> {
    let mut serial = [0; 16];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != serial.len() || !rest.is_empty() {
        return None;
    }
    for (byte, pair) in serial.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(serial)
}
