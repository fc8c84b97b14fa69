//! The async front of a blocking device: a bounded queue, worker threads with one device session each, a
//! deadline for every call, and a breaker that answers at once while the device is away.
//! Kept out: retries of calls (a provider knows which are safe) and any knowledge of a provider.

mod house;
mod line;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::context::Context;
use crate::data_key::{DataKey, SealedDataKey};
use crate::error::{HsmError, InputFault};
use crate::names::{KeyFilter, KeyInfo, KeyRef, KeyStatus};
use crate::verbs::{
    Approval, Capability, DestructionRecord, DeviceInfo, DeviceLogHead, DeviceLogPage, Health, Hsm, KeySpec,
    MAX_BATCH, MAX_MESSAGE, MAX_RANDOM,
};
use house::House;
use line::Line;

/// Code of [`HsmError::Internal`] when a worker thread could not be started or a provider panicked.
pub(crate) const WORKER_LOST: u16 = 1;

/// How a queue behaves. The defaults suit a device on the same host.
#[derive(Clone, Copy, Debug)]
pub struct QueueSettings {
    /// Worker threads, each with a device session of its own; at least 1.
    pub workers: usize,
    /// Calls that may wait; one more is refused with [`HsmError::Overloaded`].
    pub capacity: usize,
    /// How long one call may take, waiting included, before [`HsmError::Timeout`].
    pub deadline: Duration,
    /// Failures in a row after which calls are refused without asking the device.
    pub breaker_failures: u32,
    /// How long they are refused before the device is asked again.
    pub breaker_pause: Duration,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            workers: 4,
            capacity: 1024,
            deadline: Duration::from_secs(2),
            breaker_failures: 8,
            breaker_pause: Duration::from_millis(200),
        }
    }
}

/// What a queue holds right now, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLoad {
    /// Calls that wait for a worker.
    pub waiting: usize,
    /// Is the device considered away?
    pub away: bool,
}

/// The async front of a device, or of two while keys move from one to the other. Clones share the queue and its
/// workers, which end with the last clone.
#[derive(Clone)]
pub struct HsmQueue {
    house: Arc<House>,
}

impl HsmQueue {
    /// Starts the workers. `factory` makes one device session per worker, and is asked again after a failure;
    /// the device need not be there yet.
    ///
    /// # Errors
    /// [`HsmError::Internal`] when no thread can be started.
    pub fn start<F>(settings: QueueSettings, factory: F) -> Result<Self, HsmError>
    where
        F: Fn() -> Result<Box<dyn Hsm>, HsmError> + Send + Sync + 'static,
    {
        let line = Line::start(settings, Arc::new(factory))?;
        Ok(Self { house: Arc::new(House::new(line)) })
    }

    /// Takes a second device in, for every clone of this queue. From now on new keys are made there, and every other
    /// call goes to the device that holds its key. `second` itself goes on speaking to its own device alone. Attaching
    /// what is attached changes nothing.
    pub fn attach(&self, second: HsmQueue) {
        self.house.attach(second.house.all());
    }

    /// Lets the device go that was attached last; `false` when there is only one. Its keys are unknown from now on.
    pub fn detach(&self) -> bool {
        self.house.detach()
    }

    /// A front for each device, the oldest first: each speaks to its own device alone, whatever is attached here.
    #[must_use]
    pub fn each(&self) -> Vec<HsmQueue> {
        let alone = |line| HsmQueue { house: Arc::new(House::new(line)) };
        self.house.all().into_iter().map(alone).collect()
    }

    /// What waits right now, at all devices.
    #[must_use]
    pub fn load(&self) -> QueueLoad {
        let none = QueueLoad { waiting: 0, away: false };
        self.house.all().iter().map(Line::load).fold(none, |sum, one| QueueLoad {
            waiting: sum.waiting.saturating_add(one.waiting),
            away: sum.away || one.away,
        })
    }

    /// As [`Hsm::describe`], of the device that makes new keys.
    ///
    /// # Errors
    /// As there, and [`HsmError::Overloaded`] or [`HsmError::Timeout`] of the queue.
    pub async fn describe(&self) -> Result<DeviceInfo, HsmError> {
        self.house.newest().call(|hsm| hsm.describe()).await
    }

    /// As [`Hsm::health`], of all devices together: as well as the least well.
    ///
    /// # Errors
    /// As there, and [`HsmError::Overloaded`] or [`HsmError::Timeout`] of the queue.
    pub async fn health(&self) -> Result<Health, HsmError> {
        let mut together: Option<Health> = None;
        for device in self.house.all() {
            let one = device.call(|hsm| hsm.health()).await?;
            together = Some(match together {
                None => one,
                Some(sum) => Health {
                    operational: sum.operational && one.operational,
                    latched: sum.latched.or(one.latched),
                    pin_tries_left: sum.pin_tries_left.into_iter().chain(one.pin_tries_left).min(),
                    generation: sum.generation.max(one.generation),
                    uptime: sum.uptime.min(one.uptime),
                },
            });
        }
        together.ok_or(HsmError::Internal { code: WORKER_LOST })
    }

    /// As [`Hsm::random`]: `len` bytes, at most [`MAX_RANDOM`].
    ///
    /// # Errors
    /// As there, and [`HsmError::Overloaded`] or [`HsmError::Timeout`] of the queue.
    pub async fn random(&self, len: usize) -> Result<Zeroizing<Vec<u8>>, HsmError> {
        if len > MAX_RANDOM {
            return Err(HsmError::InvalidInput(InputFault::TooLong));
        }
        let device = self.house.newest();
        device
            .call(move |hsm| {
                let mut out = Zeroizing::new(vec![0; len]);
                hsm.random(&mut out).map(|()| out)
            })
            .await
    }

    /// As [`Hsm::keys`], of all devices together.
    ///
    /// # Errors
    /// As there, and [`HsmError::Overloaded`] or [`HsmError::Timeout`] of the queue.
    pub async fn keys(&self, filter: KeyFilter) -> Result<Vec<KeyInfo>, HsmError> {
        if let Some(only) = self.house.only() {
            return only.call(move |hsm| hsm.keys(&filter)).await;
        }
        let (listed, away) = self.house.look().await;
        if let Some(error) = away {
            return Err(error);
        }
        Ok(listed.into_iter().map(|(_, info)| info).filter(|info| filter.admits(info)).collect())
    }

    /// Every device with its keys, the oldest device first. A version that two devices claim is the older one's; the
    /// younger one's is not in use, and is left out.
    ///
    /// # Errors
    /// Those of [`Hsm::describe`] and [`Hsm::keys`], of any device, and [`HsmError::Overloaded`] or
    /// [`HsmError::Timeout`] of the queue.
    pub async fn census(&self) -> Result<Vec<(DeviceInfo, Vec<KeyInfo>)>, HsmError> {
        let (mut listed, away) = self.house.look().await;
        if let Some(error) = away {
            return Err(error);
        }
        let mut census = Vec::new();
        for device in self.house.all() {
            let info = device.call(|hsm| hsm.describe()).await?;
            let (here, elsewhere) = listed.into_iter().partition(|(line, _)| line.is(&device));
            listed = elsewhere;
            let keys: Vec<(Line, KeyInfo)> = here;
            census.push((info, keys.into_iter().map(|(_, key)| key).collect()));
        }
        Ok(census)
    }

    /// As [`Hsm::new_data_key`].
    ///
    /// # Errors
    /// As there, and [`HsmError::Overloaded`] or [`HsmError::Timeout`] of the queue.
    pub async fn new_data_key(
        &self,
        kek: KeyRef,
        context: Context,
    ) -> Result<(DataKey, SealedDataKey), HsmError> {
        let device = self.house.holding(&kek).await?;
        device.call(move |hsm| hsm.new_data_key(&kek, &context)).await
    }

    /// As [`Hsm::open_data_key`].
    ///
    /// # Errors
    /// As there, and [`HsmError::Overloaded`] or [`HsmError::Timeout`] of the queue.
    pub async fn open_data_key(&self, sealed: SealedDataKey, context: Context) -> Result<DataKey, HsmError> {
        let device = self.house.holding(&sealed.kek).await?;
        device.call(move |hsm| hsm.open_data_key(&sealed, &context)).await
    }

    /// As [`Hsm::reseal_data_key`], inside one device.
    ///
    /// # Errors
    /// [`HsmError::Denied`] when the two KEKs are on different devices: a data key would have to leave one of them.
    /// Else as there, and [`HsmError::Overloaded`] or [`HsmError::Timeout`] of the queue.
    pub async fn reseal_data_key(
        &self,
        sealed: SealedDataKey,
        from: Context,
        to_kek: KeyRef,
        to: Context,
    ) -> Result<SealedDataKey, HsmError> {
        let device = self.house.holding(&sealed.kek).await?;
        if !device.is(&self.house.holding(&to_kek).await?) {
            return Err(HsmError::Denied);
        }
        device.call(move |hsm| hsm.reseal_data_key(&sealed, &from, &to_kek, &to)).await
    }

    /// As [`Hsm::mac`]. Calls with the same key that wait at the same time go to the device as one batch.
    ///
    /// # Errors
    /// As there, and [`HsmError::Overloaded`] or [`HsmError::Timeout`] of the queue.
    pub async fn mac(&self, key: KeyRef, message: Zeroizing<Vec<u8>>) -> Result<[u8; 32], HsmError> {
        // Judged here, so that one caller's bad message cannot fail the batch it would share.
        judge_message(&message)?;
        let device = self.house.holding(&key).await?;
        device.mac(key, message).await
    }

    /// As [`Hsm::mac_many`].
    ///
    /// # Errors
    /// As there, and [`HsmError::Overloaded`] or [`HsmError::Timeout`] of the queue.
    pub async fn mac_many(
        &self,
        key: KeyRef,
        messages: Vec<Zeroizing<Vec<u8>>>,
    ) -> Result<Vec<[u8; 32]>, HsmError> {
        if messages.len() > MAX_BATCH {
            return Err(HsmError::InvalidInput(InputFault::TooLong));
        }
        messages.iter().try_for_each(|message| judge_message(message))?;
        let device = self.house.holding(&key).await?;
        device
            .call(move |hsm| {
                let views: Vec<&[u8]> = messages.iter().map(|message| message.as_slice()).collect();
                hsm.mac_many(&key, &views)
            })
            .await
    }

    /// As [`Hsm::sign`].
    ///
    /// # Errors
    /// As there, and [`HsmError::Overloaded`] or [`HsmError::Timeout`] of the queue.
    pub async fn sign(&self, key: KeyRef, message: Vec<u8>) -> Result<[u8; 64], HsmError> {
        let device = self.house.holding(&key).await?;
        device.call(move |hsm| hsm.sign(&key, &message)).await
    }

    /// As [`Hsm::create_key`], on the device that was attached last.
    ///
    /// # Errors
    /// As there, and [`HsmError::Overloaded`] or [`HsmError::Timeout`] of the queue.
    pub async fn create_key(&self, spec: KeySpec, approval: Approval) -> Result<KeyInfo, HsmError> {
        self.house.newest().call(move |hsm| hsm.create_key(&spec, &approval)).await
    }

    /// As [`Hsm::rotate_key`], on the device that was attached last.
    ///
    /// # Errors
    /// As there, and [`HsmError::Overloaded`] or [`HsmError::Timeout`] of the queue.
    pub async fn rotate_key(&self, spec: KeySpec, approval: Approval) -> Result<KeyInfo, HsmError> {
        self.house.newest().call(move |hsm| hsm.rotate_key(&spec, &approval)).await
    }

    /// As [`Hsm::set_status`].
    ///
    /// # Errors
    /// As there, and [`HsmError::Overloaded`] or [`HsmError::Timeout`] of the queue.
    pub async fn set_status(
        &self,
        key: KeyRef,
        status: KeyStatus,
        approval: Approval,
    ) -> Result<(), HsmError> {
        let device = self.house.holding(&key).await?;
        device.call(move |hsm| hsm.set_status(&key, status, &approval)).await
    }

    /// As [`Hsm::destroy_key`].
    ///
    /// # Errors
    /// As there, and [`HsmError::Overloaded`] or [`HsmError::Timeout`] of the queue.
    pub async fn destroy_key(&self, key: KeyRef, approval: Approval) -> Result<DestructionRecord, HsmError> {
        let device = self.house.holding(&key).await?;
        device.call(move |hsm| hsm.destroy_key(&key, &approval)).await
    }

    /// As [`Hsm::drain_log`], of the oldest device that has a log.
    ///
    /// # Errors
    /// As there, and [`HsmError::Overloaded`] or [`HsmError::Timeout`] of the queue.
    pub async fn drain_log(&self, after: u64, max: u16) -> Result<DeviceLogPage, HsmError> {
        let mut outcome = Err(HsmError::Unsupported(Capability::DeviceLog));
        for device in self.house.all() {
            outcome = device.call(move |hsm| hsm.drain_log(after, max)).await;
            if outcome != Err(HsmError::Unsupported(Capability::DeviceLog)) {
                break;
            }
        }
        outcome
    }

    /// As [`Hsm::signed_log_head`], of the device that makes new keys.
    ///
    /// # Errors
    /// As there, and [`HsmError::Overloaded`] or [`HsmError::Timeout`] of the queue.
    pub async fn signed_log_head(&self) -> Result<DeviceLogHead, HsmError> {
        self.house.newest().call(|hsm| hsm.signed_log_head()).await
    }
}

fn judge_message(message: &[u8]) -> Result<(), HsmError> {
    match message.len() {
        0 => Err(HsmError::InvalidInput(InputFault::Empty)),
        1..=MAX_MESSAGE => Ok(()),
        _ => Err(HsmError::InvalidInput(InputFault::TooLong)),
    }
}
