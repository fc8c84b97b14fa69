//! The HSM's own log, taken before it is full: a page is stored, and only then is the device told to forget it, so
//! that a crash between the two repeats a page and loses none. What does not fit what was stored before is evidence,
//! not an outage: it is kept, recorded and told, and the taking goes on.

mod heads;
#[cfg(test)]
mod laws;
mod reading;
mod shelf;
mod told;

pub use reading::{Line, Listed, Position, Timeline, Wanted};
pub use told::DeviceLogTrouble;

use super::{Keys, KeysError, system, whole};
use futures_util::future::join_all;
use heads::Head;
use hsm::{Capability, HsmError, HsmQueue};
use hsm_sim::client::from_hex;
use shelf::{Finding, Kept, Stored};
use std::time::Duration;
pub(in crate::keys) use told::Told;

/// Entries in one page.
const PAGE: u16 = 256;
/// Pages in one round; a log is at most 4,096 entries long.
const MOST_PAGES: usize = 32;
/// How long one round may take at one device.
const ROUND: Duration = Duration::from_secs(5);
/// The timeline that a device's log begins with.
const TIMELINE_ONE: i64 = 1;

/// A device whose log is taken.
#[derive(Debug, Clone)]
struct Place {
    /// The serial number as text: 32 hexadecimal digits.
    device: String,
    /// As its log binds it.
    serial: [u8; 16],
}

impl Keys {
    /// What somebody should look at, by the device's serial number.
    pub fn device_log_troubles(&self) -> Vec<(String, DeviceLogTrouble)> {
        self.0.device_log.troubles()
    }

    /// Takes what every device with a log has written since the last time; while keys move between two devices, of
    /// both. Gives how many entries were stored. Bounded in time: a device that is slow or away delays nobody else,
    /// and what is left waits in the device for the next round.
    pub async fn take_device_logs(&self) -> u64 {
        let devices = self.0.hsm.each();
        let rounds = (0_usize..).zip(&devices).map(|(place, device)| async move {
            let mut taken = 0;
            match tokio::time::timeout(ROUND, self.take(device, &mut taken)).await {
                Ok(Ok(())) => {
                    self.0.device_log.held_up(place, None);
                }
                Ok(Err(error)) => self.held_up(place, error.code(), error.is_transient()),
                Err(_) => self.held_up(place, "timeout", true),
            }
            taken
        });
        join_all(rounds).await.into_iter().sum()
    }

    /// Told once for each cause: a device that is away is told by readiness already.
    fn held_up(&self, place: usize, code: &'static str, transient: bool) {
        if !self.0.device_log.held_up(place, Some(code)) {
            return;
        }
        if transient {
            tracing::debug!(code, "the HSM's log could not be taken yet");
        } else {
            tracing::error!(code, "the HSM's log cannot be taken; when it is full the HSM stops");
        }
    }

    async fn take(&self, device: &HsmQueue, taken: &mut u64) -> Result<(), KeysError> {
        let info = device.describe().await?;
        if !info.capabilities.has(Capability::DeviceLog) {
            return Ok(());
        }
        let Some(serial) = from_hex(&info.serial) else { return Ok(()) };
        let place = Place { device: info.serial, serial };
        // What is safely stored, as the device is told with the next question; at first nothing is.
        let (mut safe, mut head) = (0, None);
        for _ in 0..MOST_PAGES {
            let seen = self.stored(&place).await?;
            let page = match device.drain_log(safe, PAGE).await {
                Ok(page) => page,
                Err(HsmError::Denied) => return self.left_to_the_auditor(device, &place).await,
                Err(error) => return Err(error.into()),
            };
            self.0.device_log.full(&place.device, false);
            if page.entries.is_empty() {
                if page.last >= seen.end {
                    return self.take_head(device, &place, head).await;
                }
                // One that shut itself may have no log left, and comes back with its state; its health tells.
                if device.health().await?.latched.is_some() {
                    return Ok(());
                }
            }
            if head.is_none() {
                head = signed_head(device).await?;
            }
            let (last, count) = (page.last, whole(page.entries.len()));
            let (recorder, here) = (self.0.recorder.clone(), place.clone());
            let kept = self
                .0
                .store
                .commit(move |work| {
                    Box::pin(async move { shelf::keep(work, &recorder, &here, &seen, &page).await })
                })
                .await?;
            match kept {
                Kept::Overtaken => continue,
                Kept::Stored(finding) => {
                    if let Some(finding) = finding {
                        self.tell(&place, finding);
                    }
                }
            }
            *taken = taken.saturating_add(count);
            safe = last;
        }
        Ok(())
    }

    /// Keeps the device's signed word for what is stored, where it has not given that yet.
    async fn take_head(
        &self,
        device: &HsmQueue,
        place: &Place,
        asked: Option<Vec<u8>>,
    ) -> Result<(), KeysError> {
        let stored = self.stored(place).await?;
        if stored.end == 0 || stored.head == Some(stored.end) {
            return Ok(());
        }
        let signed = match asked {
            Some(signed) => signed,
            None => match signed_head(device).await? {
                Some(signed) => signed,
                None => return Ok(()),
            },
        };
        let here = place.clone();
        let kept = self
            .0
            .store
            .commit(move |work| {
                Box::pin(async move { heads::keep(work, &here, stored.timeline, &signed).await })
            })
            .await?;
        match kept {
            Head::Not(finding) if !self.0.device_log.knows(&place.device, finding) => {
                let recorder = self.0.recorder.clone();
                self.0
                    .store
                    .commit(move |work| {
                        Box::pin(async move {
                            let _receipt = recorder.append(work, &system(), finding.event()).await?;
                            Ok::<(), KeysError>(())
                        })
                    })
                    .await?;
                self.tell(place, finding);
            }
            // A head that is ahead of what is stored is asked for again in the next round.
            Head::Not(_) | Head::Kept | Head::Ahead => {}
        }
        Ok(())
    }

    fn tell(&self, place: &Place, finding: Finding) {
        match finding {
            Finding::Gap => tracing::warn!("entries of the HSM's log were taken away by somebody else"),
            Finding::Broken(why) => tracing::error!(why, "the HSM's log does not fit what was taken before"),
            Finding::SetBack => {
                tracing::error!("the HSM's log ends before what was taken of it: its state was set back");
            }
        }
        self.0.device_log.found(&place.device, finding);
    }

    /// The device was made so that only its auditor takes the log: then it must be told in time.
    async fn left_to_the_auditor(&self, device: &HsmQueue, place: &Place) -> Result<(), KeysError> {
        let full = device.random(1).await.err() == Some(HsmError::LogFull);
        self.0.device_log.full(&place.device, full);
        Ok(())
    }

    async fn stored(&self, place: &Place) -> Result<Stored, KeysError> {
        let mut reader = self.0.store.read().await?;
        shelf::stored(&mut reader, place).await
    }
}

/// The device's signed head, where it offers one.
async fn signed_head(device: &HsmQueue) -> Result<Option<Vec<u8>>, KeysError> {
    match device.signed_log_head().await {
        Ok(head) => Ok(Some(head.signed)),
        Err(HsmError::Unsupported(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
