//! Who works on jobs: one loop in every gateway. It takes the job that waited longest, does one step, and takes the
//! next; a job whose gateway died is taken over when its lease is over, or at once by that gateway's next run.

use super::bucket::Bucket;
use super::device::newest;
use super::job::{Job, State, rows};
use super::steps::record;
use super::{Keys, KeysError};
use crate::record::now_us;
use audit::Action;
use hsm::{KeyLabel, KeyRef};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How often it is looked for jobs of other gateways that died.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Between two tries of a step that a part's absence stopped.
const PAUSE: Duration = Duration::from_millis(500);

impl Keys {
    /// Works until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        let jobs = &self.0.policy.jobs;
        let mut bucket = Bucket::new(jobs.rows_per_second, jobs.batch_rows, Instant::now());
        loop {
            let (pause, idle) = match self.work().await {
                Ok(Some(touched)) => (bucket.take(touched, Instant::now()), false),
                Ok(None) => (LOOK_EVERY, true),
                Err(error) => {
                    tracing::warn!(error = %error, "work on keys is held up");
                    (PAUSE, false)
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = self.0.wake.notified(), if idle => {}
            }
        }
    }

    /// One step of one job; none when there is nothing to do.
    async fn work(&self) -> Result<Option<u64>, KeysError> {
        let owner = self.0.owner.clone();
        let claimed: Result<Option<Job>, KeysError> = self
            .0
            .store
            .commit(move |work| Box::pin(async move { rows::claim(work, &owner, now_us()).await }))
            .await;
        let Some(job) = claimed? else { return Ok(None) };
        match self.step(job.clone()).await {
            Ok(touched) => Ok(Some(touched)),
            // Another gateway has it, or somebody halted it.
            Err(KeysError::LostLease) => Ok(Some(0)),
            Err(error) => {
                self.stumble(job, &error).await?;
                if error.is_transient() { Err(error) } else { Ok(Some(0)) }
            }
        }
    }

    /// A step did not work: the job waits, or fails when waiting cannot help.
    pub(in crate::keys) async fn stumble(&self, mut job: Job, error: &KeysError) -> Result<(), KeysError> {
        job.reason = Some(error.code().to_owned());
        if !error.is_transient() {
            tracing::warn!(job = job.id.as_str(), error = %error, "a job on keys failed");
            job.state = State::Failed;
        }
        let parts = Arc::clone(&self.0);
        self.0
            .store
            .commit(move |work| {
                Box::pin(async move {
                    if job.state == State::Failed {
                        record(work, &parts.recorder, &job, Action::JobEnd).await?;
                    }
                    rows::save(work, &job, &parts.owner, Some(&parts.owner), now_us()).await
                })
            })
            .await
    }

    /// The newest version of a key, over all devices.
    pub(in crate::keys) async fn newest_of(&self, label: &KeyLabel) -> Result<KeyRef, KeysError> {
        let versions = self.versions(label).await?;
        newest(&versions).map(|info| info.key.clone()).ok_or(KeysError::UnknownKey)
    }

    /// The card room has to ask the device anew which keys there are.
    pub(in crate::keys) async fn forget_names(&self) {
        self.0.vault.hsm_keys_changed().await;
    }
}
