//! How long a server is waited for.

use crate::StoreError;
use crate::failure::Failure;
use std::time::Duration;

/// The answer, or the end of our patience: a server that hangs may not hang us.
pub(crate) async fn timed<T>(
    patience: Duration,
    answer: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::time::timeout(patience, answer).await.unwrap_or(Err(Failure::fatal(StoreError::Unavailable)))
}
