//! Jobs as people see them: shown, listed, halted and taken up again.

use super::dual::Person;
use super::job::{Job, State, rows};
use super::{Keys, KeysError, steps};
use crate::record::{Event, Origin, Receipt, now_us};
use audit::Action;
use tokens::JobId;

impl Keys {
    /// One job as it stands.
    ///
    /// # Errors
    /// [`KeysError::UnknownJob`] or the store's error.
    pub async fn job(&self, person: &Person, id: &JobId) -> Result<Job, KeysError> {
        let mut reader = self.0.store.read().await?;
        let found = rows::find(&mut reader, id).await?;
        found.filter(|job| person.reaches(job.kind.tenant())).ok_or(KeysError::UnknownJob)
    }

    /// Jobs, newest first, after the named one; one more than `limit` when more follow.
    ///
    /// # Errors
    /// The store's error.
    pub async fn jobs(
        &self,
        person: &Person,
        limit: u32,
        after: Option<&str>,
    ) -> Result<Vec<Job>, KeysError> {
        let mut reader = self.0.store.read().await?;
        rows::list(&mut reader, person.tenant.as_ref(), limit.saturating_add(1), after).await
    }

    /// Halts a job, or takes up one that was halted or failed.
    ///
    /// # Errors
    /// [`KeysError::UnknownJob`], [`KeysError::JobState`], [`KeysError::Running`], or the store's error.
    pub async fn change_job(
        &self,
        origin: Origin,
        person: &Person,
        id: &JobId,
        to: State,
    ) -> Result<(Job, Receipt), KeysError> {
        self.job(person, id).await?;
        let (recorder, id) = (self.0.recorder.clone(), id.clone());
        let changed = self
            .0
            .store
            .commit(move |work| {
                Box::pin(async move {
                    let job = rows::change(work, &id, to, now_us()).await?;
                    let reason = audit::Reason::parse(to.as_str()).ok();
                    let event = Event { reason, ..Event::success(Action::JobChange, steps::subject(&job)) };
                    let mut origin = origin;
                    origin.tenant = job.kind.tenant().cloned().or(origin.tenant);
                    let receipt = recorder.append(work, &origin, event).await?;
                    Ok::<_, KeysError>((job, receipt))
                })
            })
            .await?;
        self.0.wake.notify_one();
        Ok(changed)
    }
}
