//! What happens behind the queue: the waiting jobs, the threads that take them to the device, the batching of
//! MACs, and the breaker. Kept out: everything async.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::{QueueSettings, WORKER_LOST};
use crate::error::{ErrorClass, HsmError};
use crate::names::KeyRef;
use crate::verbs::Hsm;

/// The most MACs that go to the device together.
const MAC_BATCH: usize = 64;
/// The most message bytes that go to the device together.
const MAC_BATCH_BYTES: usize = 32 * 1024;

/// Makes one device session.
pub(super) type Factory = dyn Fn() -> Result<Box<dyn Hsm>, HsmError> + Send + Sync;
type Act = Box<dyn FnOnce(Result<&dyn Hsm, HsmError>) -> Option<HsmError> + Send>;

pub(super) struct MacJob {
    pub(super) key: KeyRef,
    pub(super) message: Zeroizing<Vec<u8>>,
    pub(super) reply: oneshot::Sender<Result<[u8; 32], HsmError>>,
    pub(super) deadline: Instant,
}

pub(super) enum Job {
    Mac(MacJob),
    Act { run: Act, deadline: Instant },
}

/// Starts the worker threads; fewer than asked for will do, none will not.
pub(super) fn spawn(shared: &Arc<Shared>, factory: Arc<Factory>) -> Result<(), HsmError> {
    let mut started = 0_usize;
    for _ in 0..shared.settings.workers.max(1) {
        let factory = Arc::clone(&factory);
        let thread = std::thread::Builder::new().name("hsm-queue".to_owned());
        let present = Present::new(shared);
        let run = move || {
            work(&present.0, &*factory);
            drop(factory);
            drop(present);
        };
        if thread.spawn(run).is_ok() {
            started += 1;
        }
    }
    if started == 0 { Err(HsmError::Internal { code: WORKER_LOST }) } else { Ok(()) }
}

/// A worker that has not left yet.
struct Present(Arc<Shared>);

impl Present {
    fn new(shared: &Arc<Shared>) -> Self {
        *shared.count() += 1;
        Self(Arc::clone(shared))
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        *self.0.count() -= 1;
        self.0.left.notify_all();
    }
}

fn work(shared: &Shared, factory: &Factory) {
    let mut device: Option<Box<dyn Hsm>> = None;
    while let Some(taken) = shared.take() {
        let error = catch_unwind(AssertUnwindSafe(|| {
            let session = match &device {
                Some(session) => Ok(&**session),
                None => factory().map(|made| &**device.insert(made)),
            };
            match taken {
                Taken::Macs(jobs) => serve_macs(session, jobs),
                Taken::Act(run) => run(session),
            }
        }));
        let error = error.unwrap_or_else(|_| {
            // A provider that panicked is not trusted with the next call: the session is made anew.
            device = None;
            Some(HsmError::Internal { code: WORKER_LOST })
        });
        shared.breaker.note(error);
    }
}

fn serve_macs(session: Result<&dyn Hsm, HsmError>, jobs: Vec<MacJob>) -> Option<HsmError> {
    let first = jobs.first()?;
    let outcome = session.and_then(|hsm| {
        if jobs.len() == 1 {
            return hsm.mac(&first.key, &first.message).map(|mac| vec![mac]);
        }
        let views: Vec<&[u8]> = jobs.iter().map(|job| job.message.as_slice()).collect();
        let macs = hsm.mac_many(&first.key, &views)?;
        if macs.len() == jobs.len() { Ok(macs) } else { Err(HsmError::Internal { code: WORKER_LOST }) }
    });
    match outcome {
        Ok(macs) => {
            for (job, mac) in jobs.into_iter().zip(macs) {
                let _ = job.reply.send(Ok(mac));
            }
            None
        }
        Err(error) => {
            for job in jobs {
                let _ = job.reply.send(Err(error));
            }
            Some(error)
        }
    }
}

enum Taken {
    Macs(Vec<MacJob>),
    Act(Act),
}

/// What callers and workers share.
pub(super) struct Shared {
    pub(super) settings: QueueSettings,
    pub(super) breaker: Breaker,
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    workers: Mutex<usize>,
    left: Condvar,
}

struct Waiting {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Shared {
    pub(super) fn new(settings: QueueSettings) -> Self {
        Self {
            settings,
            breaker: Breaker::new(settings.breaker_failures, settings.breaker_pause),
            waiting: Mutex::new(Waiting { jobs: VecDeque::new(), closed: false }),
            arrived: Condvar::new(),
            workers: Mutex::new(0),
            left: Condvar::new(),
        }
    }

    fn count(&self) -> MutexGuard<'_, usize> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until every worker has given its session back, or for `limit`.
    pub(super) fn wait_for_workers(&self, limit: Duration) {
        let outcome = self.left.wait_timeout_while(self.count(), limit, |workers| *workers > 0);
        drop(outcome.unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn push(&self, job: Job) -> Result<(), HsmError> {
        let mut waiting = self.lock();
        if waiting.jobs.len() >= self.settings.capacity {
            return Err(HsmError::Overloaded);
        }
        waiting.jobs.push_back(job);
        drop(waiting);
        self.arrived.notify_one();
        Ok(())
    }

    pub(super) fn waiting(&self) -> usize {
        self.lock().jobs.len()
    }

    pub(super) fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.jobs.clear();
        drop(waiting);
        self.arrived.notify_all();
    }

    /// The next job, and with a MAC every other waiting MAC of its key that fits; `None` when the queue is closed.
    fn take(&self) -> Option<Taken> {
        let mut waiting = self.lock();
        loop {
            if waiting.closed {
                return None;
            }
            let now = Instant::now();
            match waiting.jobs.pop_front() {
                None => waiting = self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(Job::Act { run, deadline }) if deadline > now => return Some(Taken::Act(run)),
                Some(Job::Mac(first)) if first.deadline > now => {
                    return Some(Taken::Macs(gather(first, &mut waiting.jobs, now)));
                }
                // Nobody waits for its answer any more.
                Some(_) => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn gather(first: MacJob, waiting: &mut VecDeque<Job>, now: Instant) -> Vec<MacJob> {
    let mut bytes = first.message.len();
    let mut batch = vec![first];
    let mut rest = VecDeque::with_capacity(waiting.len());
    for job in waiting.drain(..) {
        match job {
            Job::Mac(mac)
                if batch.len() < MAC_BATCH
                    && bytes.saturating_add(mac.message.len()) <= MAC_BATCH_BYTES
                    && mac.deadline > now
                    && batch.first().is_some_and(|head| head.key == mac.key) =>
            {
                bytes = bytes.saturating_add(mac.message.len());
                batch.push(mac);
            }
            other => rest.push_back(other),
        }
    }
    *waiting = rest;
    batch
}

/// Refuses calls for a moment after several failures in a row of a device that is away, so that a thousand
/// callers do not each wait for the same silence.
pub(super) struct Breaker {
    failures: u32,
    pause: Duration,
    state: Mutex<(u32, Option<Instant>)>,
}

impl Breaker {
    fn new(failures: u32, pause: Duration) -> Self {
        Self { failures: failures.max(1), pause, state: Mutex::new((0, None)) }
    }

    pub(super) fn is_open(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.1.is_some_and(|until| Instant::now() < until)
    }

    /// Counts an outcome; an error that the device itself gave shows that it is there.
    pub(super) fn note(&self, error: Option<HsmError>) {
        let away = error.is_some_and(|error| {
            matches!(error.class(), ErrorClass::Unavailable | ErrorClass::Retry) || error == HsmError::Timeout
        });
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if away {
            state.0 = state.0.saturating_add(1);
            if state.0 >= self.failures {
                state.1 = Some(Instant::now() + self.pause);
            }
        } else {
            *state = (0, None);
        }
    }
}
