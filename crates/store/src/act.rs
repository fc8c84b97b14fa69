//! An act in the queue: the caller's closure with its types erased, and the way its answer goes back.

use crate::{StoreError, Work};
use futures_util::FutureExt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::oneshot;

/// A boxed future that borrows for `'w`.
pub(crate) type Boxed<'w, T> = Pin<Box<dyn Future<Output = T> + Send + 'w>>;

/// What waits in the queue. It is run once, or refused once.
pub(crate) trait Act: Send {
    /// Runs the closure, for `limit` at most. The answer is held back until the transaction's fate is known.
    fn run<'w>(self: Box<Self>, work: &'w mut Work<'_>, limit: Duration) -> Boxed<'w, Box<dyn Held>>;
    /// The answer of an act that never ran to its end.
    fn refuse(self: Box<Self>, error: StoreError);
}

/// An answer that waits for the commit.
pub(crate) trait Held: Send {
    /// Whether the closure succeeded, so that its savepoint is kept.
    fn succeeded(&self) -> bool;
    /// Gives the answer, or the commit's error in its place.
    ///
    /// An act's own refusal is replaced as well: it may rest on what a neighbour wrote into the same lost
    /// transaction ("this key is taken").
    fn answer(self: Box<Self>, fate: Result<(), StoreError>);
}

pub(crate) struct Typed<T, E, F> {
    act: F,
    reply: oneshot::Sender<Result<T, E>>,
}

struct Answer<T, E> {
    result: Result<T, E>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F> Typed<T, E, F> {
    pub(crate) fn new(act: F) -> (Self, oneshot::Receiver<Result<T, E>>) {
        let (reply, answer) = oneshot::channel();
        (Typed { act, reply }, answer)
    }
}

impl<T, E, F> Act for Typed<T, E, F>
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
    F: for<'w> FnOnce(&'w mut Work<'_>) -> Boxed<'w, Result<T, E>> + Send + 'static,
{
    fn run<'w>(self: Box<Self>, work: &'w mut Work<'_>, limit: Duration) -> Boxed<'w, Box<dyn Held>> {
        Box::pin(async move {
            let Typed { act, reply } = *self;
            let result = contained(act, work, limit).await;
            Box::new(Answer { result, reply }) as Box<dyn Held>
        })
    }

    fn refuse(self: Box<Self>, error: StoreError) {
        // The caller may have gone; then nobody waits for this answer.
        let _ = self.reply.send(Err(error.into()));
    }
}

/// The act's result, with its panic and its dawdling caught: one defective act must not stop the writer that
/// all depend on.
async fn contained<T, E, F>(act: F, work: &mut Work<'_>, limit: Duration) -> Result<T, E>
where
    E: From<StoreError>,
    F: for<'w> FnOnce(&'w mut Work<'_>) -> Boxed<'w, Result<T, E>>,
{
    let running = AssertUnwindSafe(async move { act(work).await }).catch_unwind();
    match tokio::time::timeout(limit, running).await {
        Ok(Ok(result)) => result,
        Ok(Err(_panic)) => Err(StoreError::Panicked.into()),
        Err(_elapsed) => Err(StoreError::TimedOut.into()),
    }
}

impl<T: Send, E: From<StoreError> + Send> Held for Answer<T, E> {
    fn succeeded(&self) -> bool {
        self.result.is_ok()
    }

    fn answer(self: Box<Self>, fate: Result<(), StoreError>) {
        let result = match fate {
            Ok(()) => self.result,
            Err(error) => Err(error.into()),
        };
        let _ = self.reply.send(result);
    }
}
