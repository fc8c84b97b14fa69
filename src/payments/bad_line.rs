//! For the tests of charges and refunds: the test processor behind a line that fails in every way it can.

use super::processor::{Asking, Outcome, Processor, ProcessorError};
use super::{DeclineCode, Sandbox};
use std::collections::VecDeque;
use std::sync::Mutex;
use store::Store;
use tokens::Money;
use vault::Revealed;

/// What happens to one call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    None,
    NotSent,
    RequestLost,
    AnswerLost,
    Refused,
}

/// A processor that suffers the faults in their order. When none is left the line is good.
pub(super) struct BadLine {
    sandbox: Sandbox,
    faults: Mutex<VecDeque<Fault>>,
}

impl BadLine {
    pub(super) fn new(store: Store, faults: Vec<Fault>) -> BadLine {
        BadLine { sandbox: Sandbox::new(store), faults: Mutex::new(faults.into()) }
    }

    async fn call(&self, key: &str, call: Asking<'_, Outcome>) -> Result<Outcome, ProcessorError> {
        let fault = self.faults.lock().map(|mut faults| faults.pop_front()).ok().flatten();
        match fault.unwrap_or(Fault::None) {
            Fault::None => call.await,
            Fault::NotSent => Err(ProcessorError::NotSent),
            Fault::RequestLost => Err(ProcessorError::Unknown),
            Fault::AnswerLost => call.await.and(Err(ProcessorError::Unknown)),
            Fault::Refused => {
                let before = self.sandbox.ask(key).await?;
                Ok(before.unwrap_or(Outcome::Declined { code: DeclineCode::DoNotHonor }))
            }
        }
    }
}

impl Processor for BadLine {
    fn name(&self) -> &'static str {
        "sandbox"
    }

    fn authorize<'a>(
        &'a self,
        card: &'a Revealed,
        amount: Money,
        capture: bool,
        key: &'a str,
    ) -> Asking<'a, Outcome> {
        Box::pin(self.call(key, self.sandbox.authorize(card, amount, capture, key)))
    }

    fn refund<'a>(&'a self, charge_reference: &'a str, amount: Money, key: &'a str) -> Asking<'a, Outcome> {
        Box::pin(self.call(key, self.sandbox.refund(charge_reference, amount, key)))
    }

    fn ask<'a>(&'a self, key: &'a str) -> Asking<'a, Option<Outcome>> {
        self.sandbox.ask(key)
    }
}

/// Runs one test on a runtime of its own.
pub(super) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}
