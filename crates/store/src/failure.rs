//! What a statement failed with, whichever database it was sent to.

use crate::StoreError;

/// An error, and whether the transaction around it can still be trusted.
pub(crate) struct Failure {
    pub(crate) error: StoreError,
    pub(crate) ends_transaction: bool,
}

impl Failure {
    /// A failure after which nothing of the transaction may become durable.
    pub(crate) fn fatal(error: StoreError) -> Failure {
        Failure { error, ends_transaction: true }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}
