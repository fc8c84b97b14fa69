//! Where passwords are hashed: one thread of its own behind a short queue, of lower priority than everything else. A
//! flood of sign-ins fills the queue and is sent away; it takes no core from payments.

use super::PeopleError;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use tokio::sync::oneshot;

/// Work that may wait: at 50 ms each, less than two seconds.
const WAITING: usize = 32;
/// How much nicer than the rest of the process its thread is (nice(2); on Linux a thread has its own).
const NICER: i32 = 5;

type Work = Box<dyn FnOnce() + Send>;

/// The queue. The thread ends with it.
pub(super) struct Hasher(SyncSender<Work>);

impl Hasher {
    /// Starts the thread; where that fails every call says that it is overloaded.
    pub(super) fn start() -> Hasher {
        let (queue, waiting) = sync_channel(WAITING);
        let started = std::thread::Builder::new().name("passwords".to_owned()).spawn(move || work(&waiting));
        if let Err(error) = started {
            tracing::error!(%error, "the thread that hashes passwords did not start");
        }
        Hasher(queue)
    }

    /// Does that work on the thread.
    ///
    /// # Errors
    /// [`PeopleError::Overloaded`] when the queue is full.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, PeopleError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let work = Box::new(move || {
            let _ = reply.send(work());
        });
        self.0.try_send(work).map_err(|error| match error {
            TrySendError::Full(_) | TrySendError::Disconnected(_) => PeopleError::Overloaded,
        })?;
        answer.await.map_err(|_| PeopleError::Overloaded)
    }
}

fn work(waiting: &Receiver<Work>) {
    let _ = rustix::process::nice(NICER);
    for one in waiting {
        one();
    }
}
