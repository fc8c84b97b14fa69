//! What is done about keys without being asked: approvals end, overdue keys are told of and by policy replaced, what
//! a crash or a late request left on an old key is moved, and data keys that protect nothing are destroyed.

use super::job::{Job, Kind, Step};
use super::overdue::Overdue;
use super::{Inventory, Keys, KeysError, approval, system};
use crate::people;
use crate::record::{Event, now_us};
use audit::{Action, Resource};
use hsm::{KeyLabel, KeyStatus};
use std::sync::Arc;
use tokens::{Principal, Tenant};
use vault::Purge;
use vault::rotation::Task;

/// Jobs that are begun in one round, at most.
const MOST_AT_ONCE: usize = 16;
/// Data keys that are destroyed in one round, at most.
const MOST_DESTROYED: usize = 200;
/// A job that failed is not begun again by itself for so long: somebody has to look first.
const REST_US: i64 = 24 * 3600 * 1_000_000;

impl Keys {
    /// One round. Gives what there is, for the metrics.
    ///
    /// # Errors
    /// A part that is away; what was done before that stays done.
    pub async fn look_after(&self) -> Result<Inventory, KeysError> {
        self.end_approvals().await?;
        self.destroy_emptied().await?;
        self.renew_factors().await?;
        let inventory = self.states().await?;
        let overdue = self.find_overdue(&inventory.data, &inventory.data_keys);
        self.tell_overdue(overdue.clone()).await?;
        for job in self.wanted(&overdue).await? {
            match self.start(system(), job).await {
                Ok(_) => self.0.wake.notify_one(),
                // Keys are moving between devices; that replaces them all.
                Err(KeysError::Excluded) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(inventory)
    }

    /// People's second factors are sealed under the newest KEK.
    pub(in crate::keys) async fn renew_factors(&self) -> Result<(), KeysError> {
        let newest = self.newest_of(&KeyLabel::KEK_CARD).await?.version.get();
        let parts = &self.0;
        let origin = system();
        people::renew_factors(&parts.store, &parts.vault, &parts.recorder, &origin, newest).await?;
        Ok(())
    }

    async fn end_approvals(&self) -> Result<(), KeysError> {
        let recorder = self.0.recorder.clone();
        self.0
            .store
            .commit(move |work| {
                Box::pin(async move { approval::expire(work, &recorder, now_us()).await.map(drop) })
            })
            .await
    }

    /// Jobs that the policy or what was left behind asks for.
    async fn wanted(&self, overdue: &[Overdue]) -> Result<Vec<Job>, KeysError> {
        let by = Principal::parse("pangate").map_err(|_| KeysError::Integrity)?;
        let mut jobs = Vec::new();
        for key in overdue {
            match key {
                Overdue::Data { tenant } if self.0.policy.data_key().rotate_by_itself => {
                    jobs.push(Job::new(Kind::Reencrypt(tenant.clone()), Step::Epochs, by.clone(), now_us())?);
                }
                Overdue::Hsm { name, version } if !self.0.officers => {
                    let Ok(label) = KeyLabel::new(name) else { continue };
                    if self.0.policy.of(&label).is_some_and(|rule| rule.rotate_by_itself) {
                        let mut job = Job::new(Kind::Rotate(label), Step::Device, by.clone(), now_us())?;
                        job.from_version = Some(*version);
                        jobs.push(job);
                    }
                }
                _ => {}
            }
        }
        for tenant in self.tenants_left_behind().await? {
            jobs.push(Job::new(Kind::Reencrypt(tenant), Step::Reencrypt, by.clone(), now_us())?);
        }
        jobs.extend(self.data_keys_left_behind(&by).await?);
        jobs.extend(self.fingerprints_left_behind(&by).await?);
        let mut rested = Vec::new();
        for job in jobs {
            if !self.failed_lately(&job.kind).await? {
                rested.push(job);
            }
        }
        rested.truncate(MOST_AT_ONCE);
        Ok(rested)
    }

    /// Tenants with cards under a data key that is deactivated.
    async fn tenants_left_behind(&self) -> Result<Vec<Tenant>, KeysError> {
        let mut reader = self.0.store.read().await?;
        let rows = reader
            .fetch_all(
                "SELECT DISTINCT tenant FROM data_key WHERE status = 'deactivated' AND EXISTS \
                 (SELECT 1 FROM card WHERE card.data_key_id = data_key.data_key_id) \
                 AND EXISTS (SELECT 1 FROM data_key AS newer WHERE newer.tenant = data_key.tenant \
                 AND newer.status = 'active') LIMIT 16",
                Vec::new(),
            )
            .await?;
        rows.iter().map(|row| Tenant::parse(&row.text("tenant")?).map_err(|_| KeysError::Integrity)).collect()
    }

    /// Data keys that came to be under a KEK just as it was rotated. Across two devices nothing is sealed anew: there
    /// the data key itself is replaced.
    async fn data_keys_left_behind(&self, by: &Principal) -> Result<Option<Job>, KeysError> {
        if self.0.second.lock().await.is_some() {
            return Ok(None);
        }
        let versions = self.versions(&KeyLabel::KEK_CARD).await?;
        let Some(newest) = super::device::newest(&versions).filter(|info| info.status == KeyStatus::Active)
        else {
            return Ok(None);
        };
        if self.0.vault.remaining(&Task::Rewrap { to: newest.key.clone() }).await? == 0 {
            return Ok(None);
        }
        let mut job = Job::new(Kind::Rotate(KeyLabel::KEK_CARD), Step::Rewrap, by.clone(), now_us())?;
        job.to_version = Some(newest.key.version.get());
        Ok(Some(job))
    }

    /// Cards that a gateway fingerprinted before it had heard of the newest version: for half a minute it goes by what
    /// it knew. Left there they would hold up the old version's retirement until the next rotation.
    async fn fingerprints_left_behind(&self, by: &Principal) -> Result<Option<Job>, KeysError> {
        let versions = self.versions(&KeyLabel::MAC_PAN).await?;
        let Some(newest) = super::device::newest(&versions).filter(|info| info.status == KeyStatus::Active)
        else {
            return Ok(None);
        };
        if self.0.vault.remaining(&Task::Refingerprint { to: newest.key.clone() }).await? == 0 {
            return Ok(None);
        }
        let mut job = Job::new(Kind::Rotate(KeyLabel::MAC_PAN), Step::Refingerprint, by.clone(), now_us())?;
        job.to_version = Some(newest.key.version.get());
        Ok(Some(job))
    }

    async fn failed_lately(&self, kind: &Kind) -> Result<bool, KeysError> {
        let mut reader = self.0.store.read().await?;
        let row = reader
            .fetch_optional(
                "SELECT 1 AS n FROM job WHERE kind = $1 AND subject = $2 AND state = 'failed' AND finished_at > $3 \
                 LIMIT 1",
                vec![
                    kind.as_str().into(),
                    kind.subject().into(),
                    now_us().saturating_sub(REST_US).into(),
                ],
            )
            .await?;
        Ok(row.is_some())
    }

    async fn destroy_emptied(&self) -> Result<(), KeysError> {
        let parts = Arc::clone(&self.0);
        let gone = self
            .0
            .store
            .commit(move |work| {
                Box::pin(async move {
                    let gone = parts.vault.destroy_emptied(work, None, MOST_DESTROYED, now_us()).await?;
                    for key in &gone {
                        let mut origin = system();
                        origin.tenant = Some(key.tenant.clone());
                        let resource = Resource::DataKey(*key.id.as_bytes());
                        let event = Event::success(Action::DataKeyDestroy, resource);
                        let _receipt = parts.recorder.append(work, &origin, event).await?;
                    }
                    Ok::<_, KeysError>(gone)
                })
            })
            .await?;
        if !gone.is_empty() {
            for key in gone {
                self.0.vault.purge_data_keys(&Purge::Tenant(key.tenant));
            }
            let _ = self.0.store.checkpoint().await;
        }
        Ok(())
    }
}
