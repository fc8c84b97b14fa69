//! Moving house: the device of `[hsm.target]` is attached beside the one of `[hsm]`, new versions of every key are made
//! there, and at the end the settings are swapped by hand. No key travels; rows do, in the job's later steps.

use super::act::{Act, MOVING, Target};
use super::device::{Word, newest, resource};
use super::job::{Job, Kind, State, Step, rows};
use super::{Keys, KeysError, Second, TargetDevice};
use crate::record::{Event, rfc3339};
use audit::{Action, Resource};
use hsm::{KeyFilter, KeyInfo, KeyLabel, KeyRef, KeyStatus};
use serde_json::{Value, json};
use std::sync::Arc;

/// Answers under an idempotency key are kept, and compared, for a day.
const REPLAYS_US: i64 = 24 * 3600 * 1_000_000;

impl Keys {
    /// Every key gets its next version on the second device. The job remembers which device that is.
    pub(in crate::keys) async fn new_versions_there(
        &self,
        job: &mut Job,
        word: Word<'_>,
    ) -> Result<Vec<Event>, KeysError> {
        self.attach().await?;
        let second = self.0.second.lock().await;
        let second = second.as_ref().ok_or(KeysError::NoTarget)?;
        let serial = second.hsm.describe().await?.serial;
        let there = second.hsm.keys(KeyFilter::default()).await?;
        let mut events = Vec::new();
        for label in MOVING {
            let on_it: Vec<KeyInfo> = there.iter().filter(|info| info.key.label == label).cloned().collect();
            let all = self.versions(&label).await?;
            let newest_there = newest(&on_it).filter(|info| info.status == KeyStatus::Active);
            let newest_of_all = newest(&all).ok_or(KeysError::UnknownKey)?;
            let moved = newest_there.is_some_and(|info| info.key == newest_of_all.key);
            if !moved {
                let from = Some(newest_of_all.key.version.get());
                let made = self.make_version(&label, from, second.officers, word).await?;
                events.push(Event::success(Action::KeyRotate, resource(&made.key)));
            }
        }
        job.step = Step::Epochs;
        job.outcome = Some(json!({ "device": serial }).to_string());
        events.push(Event::success(Action::KeyMigrate, Resource::None));
        Ok(events)
    }

    /// That the act's target can be attached, before anybody is asked to agree.
    pub(in crate::keys) async fn attachable(&self, act: &Act) -> Result<(), KeysError> {
        let device = self.open_target().await?;
        if *act != Act::Migrate(device.target) {
            return Err(KeysError::NoTarget);
        }
        self.is_another(&device, self.0.second.lock().await.as_ref()).await
    }

    /// Attaches the device of `[hsm.target]`, unless it is.
    ///
    /// # Errors
    /// [`KeysError::NoTarget`] when the settings name none that can be used, [`KeysError::Attached`] when another one
    /// is attached.
    async fn attach(&self) -> Result<(), KeysError> {
        let device = self.open_target().await?;
        let mut second = self.0.second.lock().await;
        self.is_another(&device, second.as_ref()).await?;
        if second.is_none() {
            self.take_in(&mut second, device);
        }
        Ok(())
    }

    fn take_in(&self, second: &mut Option<Second>, device: TargetDevice) {
        let TargetDevice { officers, hsm, .. } = device;
        self.0.hsm.attach(hsm.clone());
        *second = Some(Second { officers, hsm });
    }

    /// That the target is no device whose keys are to move away from here: neither the one of `[hsm]`, nor one beside
    /// another that keys moved to already.
    async fn is_another(&self, device: &TargetDevice, second: Option<&Second>) -> Result<(), KeysError> {
        device.hsm.health().await?;
        let serial = device.hsm.describe().await?.serial;
        match second {
            Some(second) if second.hsm.describe().await?.serial == serial => Ok(()),
            Some(_) => Err(KeysError::Attached),
            None if self.0.hsm.describe().await?.serial == serial => {
                tracing::warn!("[hsm.target] is the very device of [hsm]");
                Err(KeysError::NoTarget)
            }
            None => Ok(()),
        }
    }

    /// The device of `[hsm.target]` as the settings name it now. Libraries of vendors block.
    async fn open_target(&self) -> Result<TargetDevice, KeysError> {
        let open = Arc::clone(&self.0.target);
        let opened = tokio::task::spawn_blocking(move || open()).await;
        opened.map_err(|_| KeysError::NoTarget)?.map_err(|why| {
            tracing::warn!(why, "the device of [hsm.target] cannot be used");
            KeysError::NoTarget
        })
    }

    /// Whether the device that makes new keys asks two of its officers: the second one does so once it is attached.
    pub(in crate::keys) async fn officers(&self) -> bool {
        self.0.second.lock().await.as_ref().map_or(self.0.officers, |second| second.officers)
    }

    /// Whether the device that holds that key asks two of its officers.
    ///
    /// # Errors
    /// [`KeysError::UnknownKey`], or a device that is away.
    pub(in crate::keys) async fn officers_of(&self, key: &KeyRef) -> Result<bool, KeysError> {
        let devices = self.0.hsm.census().await?;
        let holds = |(_, keys): &(_, Vec<KeyInfo>)| keys.iter().any(|info| info.key == *key);
        match devices.iter().position(holds).ok_or(KeysError::UnknownKey)? {
            0 => Ok(self.0.officers),
            _ => Ok(self.officers().await),
        }
    }

    /// Takes up what an earlier run of this gateway left: the second device has to be attached before a request
    /// needs a key on it.
    ///
    /// # Errors
    /// The store's error. A device that cannot be attached is told to the log and tried again by its job.
    pub async fn resume(&self) -> Result<(), KeysError> {
        let mut reader = self.0.store.read().await?;
        let migration = rows::last_migration(&mut reader).await?;
        drop(reader);
        // After a move the settings name the new device alone; until then both are needed.
        let Some(job) = migration.filter(|job| job.step != Step::Device) else { return Ok(()) };
        let Ok(device) = self.open_target().await else { return Ok(()) };
        if moved_to(&job, &device).await {
            self.take_in(&mut *self.0.second.lock().await, device);
            tracing::info!("the device of [hsm.target] is attached: keys moved, or are moving, to it");
        } else if job.state != State::Done {
            tracing::error!("[hsm.target] is not the device that keys are moving to; name that one again");
        }
        Ok(())
    }

    /// What is left to do by hand after a move.
    pub(in crate::keys) async fn told_of_settings(
        &self,
        job: &Job,
        target: Target,
    ) -> Result<String, KeysError> {
        let newest = self.newest_of(&KeyLabel::MAC_REQUEST).await?;
        let mut reader = self.0.store.read().await?;
        let row = reader
            .fetch_optional(
                "SELECT MAX(created_at) AS last FROM idempotency WHERE request_mac_version < $1",
                vec![newest.version.get().into()],
            )
            .await?;
        let last = row.map(|row| row.optional_integer("last")).transpose()?.flatten();
        let until = last.map(|at| rfc3339(at.saturating_add(REPLAYS_US)));
        Ok(json!({
            "device": device_of(job),
            "settings": format!(
                "replace [hsm] by what stands under [hsm.target] (provider = \"{}\"), remove [hsm.target], restart",
                target.as_str()
            ),
            "old_device": match &until {
                Some(_) => "stored answers are compared under its mac/request until then; swapped earlier, a request \
                            that is retried under its Idempotency-Key is refused instead of answered again",
                None => "nothing names it any more",
            },
            "old_device_until": until,
        })
        .to_string())
    }
}

/// Whether that device is the one that the job moved, or moves, keys to. One that is away is taken for it: its keys are
/// needed when it is back.
async fn moved_to(job: &Job, device: &TargetDevice) -> bool {
    if job.kind != Kind::Migrate(device.target) {
        return false;
    }
    match (device_of(job), device.hsm.describe().await) {
        (Some(told), Ok(there)) => told == there.serial,
        _ => true,
    }
}

/// The serial number of the device that the job moves to.
fn device_of(job: &Job) -> Option<String> {
    let outcome: Value = serde_json::from_str(job.outcome.as_deref()?).ok()?;
    outcome.get("device")?.as_str().map(str::to_owned)
}
