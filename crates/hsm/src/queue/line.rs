//! One device behind its queue: a call goes in, waits its turn or its deadline, and an answer comes back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::workers::{Factory, Job, MacJob, Shared, spawn};
use super::{QueueLoad, QueueSettings, WORKER_LOST};
use crate::error::HsmError;
use crate::names::{KeyFilter, KeyInfo, KeyRef};
use crate::verbs::Hsm;

/// How long the end of a queue waits for its workers to give their sessions back.
const LEAVING: Duration = Duration::from_millis(500);

/// A device's queue. Clones share it and its workers, which end with the last clone.
#[derive(Clone)]
pub(super) struct Line {
    shared: Arc<Shared>,
    _stop: Arc<Stop>,
}

struct Stop(Arc<Shared>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.close();
        // A library in C must not be in use while the process takes it apart; a device that hangs is not waited for.
        self.0.wait_for_workers(LEAVING);
    }
}

impl Line {
    pub(super) fn start(settings: QueueSettings, factory: Arc<Factory>) -> Result<Self, HsmError> {
        let shared = Arc::new(Shared::new(settings));
        let line = Self { shared: Arc::clone(&shared), _stop: Arc::new(Stop(Arc::clone(&shared))) };
        spawn(&shared, factory)?;
        Ok(line)
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    pub(super) fn load(&self) -> QueueLoad {
        QueueLoad { waiting: self.shared.waiting(), away: self.shared.breaker.is_open() }
    }

    pub(super) async fn keys(&self) -> Result<Vec<KeyInfo>, HsmError> {
        self.call(|hsm| hsm.keys(&KeyFilter::default())).await
    }

    pub(super) async fn mac(&self, key: KeyRef, message: Zeroizing<Vec<u8>>) -> Result<[u8; 32], HsmError> {
        let (reply, answer) = oneshot::channel();
        self.submit(Job::Mac(MacJob { key, message, reply, deadline: self.deadline() }))?;
        self.wait(answer).await
    }

    pub(super) async fn call<T, F>(&self, act: F) -> Result<T, HsmError>
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
