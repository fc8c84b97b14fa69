//! The async front of a blocking device: a bounded queue, worker threads with one device session each, a
//! deadline for every call, and a breaker that answers at once while the device is away.
//! Kept out: retries of calls (a provider knows which are safe) and any knowledge of a provider.

mod workers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::context::Context;
use crate::data_key::{DataKey, SealedDataKey};
use crate::error::{HsmError, InputFault};
use crate::names::{KeyFilter, KeyInfo, KeyRef};
use crate::verbs::{DeviceInfo, Health, Hsm, MAX_BATCH, MAX_MESSAGE, MAX_RANDOM};
use workers::{Job, MacJob, Shared};

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

/// The async front of a device. Clones share the queue and its workers, which end with the last clone.
#[derive(Clone)]
pub struct HsmQueue {
    shared: Arc<Shared>,
    _stop: Arc<Stop>,
}

struct Stop(Arc<Shared>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.close();
    }
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
        let shared = Arc::new(Shared::new(settings));
        let queue = Self { shared: Arc::clone(&shared), _stop: Arc::new(Stop(Arc::clone(&shared))) };
        workers::spawn(&shared, Arc::new(factory))?;
        Ok(queue)
    }

    /// What waits right now.
    #[must_use]
    pub fn load(&self) -> QueueLoad {
        QueueLoad { waiting: self.shared.waiting(), away: self.shared.breaker.is_open() }
    }

    /// As [`Hsm::describe`].
    ///
    /// # Errors
    /// As there, and [`HsmError::Overloaded`] or [`HsmError::Timeout`] of the queue.
    pub async fn describe(&self) -> Result<DeviceInfo, HsmError> {
        self.call(|hsm| hsm.describe()).await
    }

    /// As [`Hsm::health`].
    ///
    /// # Errors
    /// As there, and [`HsmError::Overloaded`] or [`HsmError::Timeout`] of the queue.
    pub async fn health(&self) -> Result<Health, HsmError> {
        self.call(|hsm| hsm.health()).await
    }

    /// As [`Hsm::random`]: `len` bytes, at most [`MAX_RANDOM`].
    ///
    /// # Errors
    /// As there, and [`HsmError::Overloaded`] or [`HsmError::Timeout`] of the queue.
    pub async fn random(&self, len: usize) -> Result<Zeroizing<Vec<u8>>, HsmError> {
        if len > MAX_RANDOM {
            return Err(HsmError::InvalidInput(InputFault::TooLong));
        }
        self.call(move |hsm| {
            let mut out = Zeroizing::new(vec![0; len]);
            hsm.random(&mut out).map(|()| out)
        })
        .await
    }

    /// As [`Hsm::keys`].
    ///
    /// # Errors
    /// As there, and [`HsmError::Overloaded`] or [`HsmError::Timeout`] of the queue.
    pub async fn keys(&self, filter: KeyFilter) -> Result<Vec<KeyInfo>, HsmError> {
        self.call(move |hsm| hsm.keys(&filter)).await
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
        self.call(move |hsm| hsm.new_data_key(&kek, &context)).await
    }

    /// As [`Hsm::open_data_key`].
    ///
    /// # Errors
    /// As there, and [`HsmError::Overloaded`] or [`HsmError::Timeout`] of the queue.
    pub async fn open_data_key(&self, sealed: SealedDataKey, context: Context) -> Result<DataKey, HsmError> {
        self.call(move |hsm| hsm.open_data_key(&sealed, &context)).await
    }

    /// As [`Hsm::reseal_data_key`].
    ///
    /// # Errors
    /// As there, and [`HsmError::Overloaded`] or [`HsmError::Timeout`] of the queue.
    pub async fn reseal_data_key(
        &self,
        sealed: SealedDataKey,
        from: Context,
        to_kek: KeyRef,
        to: Context,
    ) -> Result<SealedDataKey, HsmError> {
        self.call(move |hsm| hsm.reseal_data_key(&sealed, &from, &to_kek, &to)).await
    }

    /// As [`Hsm::mac`]. Calls with the same key that wait at the same time go to the device as one batch.
    ///
    /// # Errors
    /// As there, and [`HsmError::Overloaded`] or [`HsmError::Timeout`] of the queue.
    pub async fn mac(&self, key: KeyRef, message: Zeroizing<Vec<u8>>) -> Result<[u8; 32], HsmError> {
        // Judged here, so that one caller's bad message cannot fail the batch it would share.
        judge_message(&message)?;
        let (reply, answer) = oneshot::channel();
        self.submit(Job::Mac(MacJob { key, message, reply, deadline: self.deadline() }))?;
        self.wait(answer).await
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
        self.call(move |hsm| {
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
        self.call(move |hsm| hsm.sign(&key, &message)).await
    }

    async fn call<T, F>(&self, act: F) -> Result<T, HsmError>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Hsm) -> Result<T, HsmError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let run = Box::new(move |device: Result<&dyn Hsm, HsmError>| {
            let outcome = device.and_then(act);
            let error = outcome.as_ref().err().copied();
            // The caller may have given up; then nobody wants the answer.
            drop(reply.send(outcome));
            error
        });
        self.submit(Job::Act { run, deadline: self.deadline() })?;
        self.wait(answer).await
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.shared.settings.deadline
    }

    fn submit(&self, job: Job) -> Result<(), HsmError> {
        if self.shared.breaker.is_open() {
            return Err(HsmError::NeedsReinit);
        }
        self.shared.push(job)
    }

    async fn wait<T>(&self, answer: oneshot::Receiver<Result<T, HsmError>>) -> Result<T, HsmError> {
        match tokio::time::timeout(self.shared.settings.deadline, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(HsmError::Internal { code: WORKER_LOST }),
            Err(_) => {
                self.shared.breaker.note(Some(HsmError::Timeout));
                Err(HsmError::Timeout)
            }
        }
    }
}

fn judge_message(message: &[u8]) -> Result<(), HsmError> {
    match message.len() {
        0 => Err(HsmError::InvalidInput(InputFault::Empty)),
        1..=MAX_MESSAGE => Ok(()),
        _ => Err(HsmError::InvalidInput(InputFault::TooLong)),
    }
}
