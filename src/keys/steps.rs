//! One step of a job: a batch of rows, a count, a new data key. What a step changes and how far the job is then are
//! one transaction, so that a crash repeats a step and never skips one.

use super::device::{Word, at, resource};
use super::job::{Job, Kind, State, Step, rows};
use super::needs::since_us;
use super::{Keys, KeysError, approval, system, whole};
use crate::idempotency;
use crate::record::{Event, Recorder, now_us};
use audit::{Action, Reason, Resource};
use hsm::KeyLabel;
use std::sync::Arc;
use std::time::Duration;
use store::{StoreError, Work};
use tokens::Tenant;
use vault::rotation::{Task, TenantShredded, forget_former_fingerprints};
use vault::{DataKeyDraft, Purge};

/// Between the two counts at the end: requests that began before the rotation have settled by then.
const BETWEEN_COUNTS: Duration = Duration::from_millis(1500);
/// The reason of a job that met rows that do not open.
const BROKEN: &str = "integrity";

impl Keys {
    /// Does the job's next step. Gives how many rows it touched.
    pub(in crate::keys) async fn step(&self, mut job: Job) -> Result<u64, KeysError> {
        match (&job.kind, job.step) {
            (Kind::Shred(tenant), Step::Device) => {
                let tenant = tenant.clone();
                if job.outcome.is_none() && self.is_over(&job).await? {
                    return Err(KeysError::ApprovalState("expired"));
                }
                self.shred(job, tenant).await
            }
            (_, Step::Device) => {
                let word = if self.is_over(&job).await? { Word::Over } else { Word::Earlier };
                let events = self.device_part(&mut job, word).await?;
                self.keep(job, events).await
            }
            (Kind::Reencrypt(tenant), Step::Epochs) => {
                let tenant = tenant.clone();
                job.step = Step::Reencrypt;
                self.epoch(job, &tenant).await
            }
            (_, Step::Epochs) => self.next_epoch(job).await,
            (_, Step::Rewrap | Step::Refingerprint | Step::Reencrypt) => self.batch(job).await,
            (_, Step::Verify | Step::VerifyAgain) => self.verify(job).await,
            (_, Step::Forget) => self.forget_fingerprints(job).await,
            (_, Step::End) => self.end(job).await,
        }
    }

    /// Whether the agreement that the job rests on is too old to begin anything: two people agreed to an act of that
    /// hour, not to one that somebody takes up alone when it suits.
    async fn is_over(&self, job: &Job) -> Result<bool, KeysError> {
        let Some(id) = &job.approval else { return Ok(false) };
        let mut reader = self.0.store.read().await?;
        let used = approval::used_at(&mut reader, id).await?.ok_or(KeysError::Integrity)?;
        Ok(since_us(used) > self.0.policy.approvals.lifetime)
    }

    /// What the job's step moves.
    async fn task(&self, job: &Job) -> Result<Task, KeysError> {
        Ok(match (&job.kind, job.step) {
            (Kind::Rotate(label), _) if *label == KeyLabel::KEK_CARD => {
                Task::Rewrap { to: at(KeyLabel::KEK_CARD, job.to_version)? }
            }
            (Kind::Rotate(label), _) if *label == KeyLabel::MAC_PAN => {
                Task::Refingerprint { to: at(KeyLabel::MAC_PAN, job.to_version)? }
            }
            (Kind::Reencrypt(tenant), _) => Task::Reencrypt { tenant: Some(tenant.clone()) },
            (Kind::Migrate(_), Step::Refingerprint) => {
                Task::Refingerprint { to: self.newest_of(&KeyLabel::MAC_PAN).await? }
            }
            (Kind::Migrate(_), _) => Task::Reencrypt { tenant: None },
            _ => return Err(KeysError::Integrity),
        })
    }

    async fn batch(&self, mut job: Job) -> Result<u64, KeysError> {
        let task = self.task(&job).await?;
        if job.cursor.is_none() {
            job.total = job.total.max(job.done.saturating_add(self.0.vault.remaining(&task).await?));
        }
        let limit = usize::try_from(self.0.policy.jobs.batch_rows).unwrap_or(1);
        let batch = self.0.vault.rotation_batch(&task, job.cursor.as_deref(), limit).await?;
        let read = whole(batch.len());
        let (parts, every) = (Arc::clone(&self.0), self.0.policy.jobs.audit_every_rows);
        self.0
            .store
            .commit(move |work| {
                Box::pin(async move {
                    let progress = batch.settle(work, now_us()).await?;
                    let before = job.done;
                    job.done = job.done.saturating_add(progress.changed);
                    job.total = job.total.max(job.done);
                    job.cursor = progress.cursor;
                    // What does not open stays where it is, and the old key is still needed: an alarm at once, and the
                    // job fails, but not before every other row is safe on the new key.
                    let broken = progress.broken > 0 || job.reason.as_deref() == Some(BROKEN);
                    job.reason = broken.then(|| BROKEN.to_owned());
                    if progress.last {
                        job.cursor = None;
                        if broken {
                            job.state = State::Failed;
                        } else {
                            job.step = after_batches(&job);
                        }
                    }
                    if progress.broken > 0 {
                        let alarm = Event::failed(Action::JobProgress, subject(&job), BROKEN);
                        let mut origin = system();
                        origin.tenant = job.kind.tenant().cloned();
                        let _receipt = parts.recorder.append(work, &origin, alarm).await?;
                    } else if before / every != job.done / every {
                        record(work, &parts.recorder, &job, Action::JobProgress).await?;
                    }
                    if job.state == State::Failed {
                        record(work, &parts.recorder, &job, Action::JobEnd).await?;
                    }
                    rows::save(work, &job, &parts.owner, Some(&parts.owner), now_us()).await?;
                    Ok::<u64, KeysError>(read)
                })
            })
            .await
    }

    /// Counts what is left on the old key; twice nothing, or the batches begin again.
    async fn verify(&self, mut job: Job) -> Result<u64, KeysError> {
        if job.step == Step::VerifyAgain {
            tokio::time::sleep(BETWEEN_COUNTS).await;
        }
        self.renew_factors().await?;
        let left = match job.kind {
            Kind::Migrate(_) => self.left_behind().await?,
            _ => self.0.vault.remaining(&self.task(&job).await?).await?,
        };
        job.step = match (left, job.step) {
            (0, Step::Verify) => Step::VerifyAgain,
            (0, _) => Step::End,
            (..) => match &job.kind {
                Kind::Rotate(label) if *label == KeyLabel::KEK_CARD => Step::Rewrap,
                Kind::Rotate(_) => Step::Refingerprint,
                Kind::Migrate(_) => Step::Epochs,
                _ => Step::Reencrypt,
            },
        };
        self.keep(job, Vec::new()).await
    }

    /// Rows that name a version older than the newest of their key: after a move, rows on the old device.
    async fn left_behind(&self) -> Result<u64, KeysError> {
        let kek = Task::Rewrap { to: self.newest_of(&KeyLabel::KEK_CARD).await? };
        let fingerprints = Task::Refingerprint { to: self.newest_of(&KeyLabel::MAC_PAN).await? };
        // A data key that is empty but not yet destroyed is no card's: it is not counted.
        let mut reader = self.0.store.read().await?;
        let Task::Rewrap { to } = &kek else { return Err(KeysError::Integrity) };
        let keys = reader
            .fetch_optional(
                "SELECT COUNT(*) AS n FROM data_key WHERE kek_version < $1 AND destroyed_at IS NULL \
                 AND (status = 'active' OR EXISTS (SELECT 1 FROM card WHERE card.data_key_id = data_key.data_key_id))",
                vec![to.version.get().into()],
            )
            .await?
            .ok_or(KeysError::Integrity)?
            .integer("n")?;
        drop(reader);
        let keys = u64::try_from(keys).map_err(|_| KeysError::Integrity)?;
        Ok(keys.saturating_add(self.0.vault.remaining(&fingerprints).await?))
    }

    async fn epoch(&self, job: Job, tenant: &Tenant) -> Result<u64, KeysError> {
        let draft = self.0.vault.new_epoch(tenant).await?;
        let (parts, purge) = (Arc::clone(&self.0), Purge::Tenant(tenant.clone()));
        let tenant = tenant.clone();
        self.0
            .store
            .commit(move |work| {
                Box::pin(async move {
                    settle_epoch(work, &parts.recorder, &tenant, draft).await?;
                    rows::save(work, &job, &parts.owner, Some(&parts.owner), now_us()).await
                })
            })
            .await?;
        self.0.vault.purge_data_keys(&purge);
        Ok(1)
    }

    /// The next tenant whose active data key is not yet sealed under the newest KEK.
    async fn next_epoch(&self, mut job: Job) -> Result<u64, KeysError> {
        let kek = self.newest_of(&KeyLabel::KEK_CARD).await?;
        let mut reader = self.0.store.read().await?;
        let row = reader
            .fetch_optional(
                "SELECT tenant FROM data_key WHERE status = 'active' AND kek_version < $1 ORDER BY tenant LIMIT 1",
                vec![kek.version.get().into()],
            )
            .await?;
        drop(reader);
        match row {
            Some(row) => {
                let tenant = Tenant::parse(&row.text("tenant")?).map_err(|_| KeysError::Integrity)?;
                self.epoch(job, &tenant).await
            }
            None => {
                job.step = Step::Reencrypt;
                self.keep(job, Vec::new()).await
            }
        }
    }

    async fn shred(&self, mut job: Job, tenant: Tenant) -> Result<u64, KeysError> {
        let (parts, owner) = (Arc::clone(&self.0), tenant.clone());
        let rows = self
            .0
            .store
            .commit(move |work| {
                Box::pin(async move {
                    let TenantShredded { keys, cards, more } =
                        parts.vault.shred_tenant(work, &tenant, now_us()).await?;
                    let mut origin = system();
                    origin.tenant = Some(tenant.clone());
                    for key in &keys {
                        let resource = Resource::DataKey(*key.id.as_bytes());
                        let event = Event::success(Action::DataKeyDestroy, resource);
                        let _receipt = parts.recorder.append(work, &origin, event).await?;
                    }
                    job.done = job.done.saturating_add(cards);
                    job.total = job.total.max(job.done);
                    if !keys.is_empty() {
                        let versions: Vec<u32> = keys.iter().map(|key| key.kek_version).collect();
                        job.outcome = Some(told_of_backups(&versions));
                    }
                    if !more {
                        idempotency::forget_tokens(work, &tenant).await?;
                        job.step = Step::End;
                        let event = Event::success(Action::TenantShred, Resource::None);
                        let _receipt = parts.recorder.append(work, &origin, event).await?;
                    }
                    rows::save(work, &job, &parts.owner, Some(&parts.owner), now_us()).await?;
                    Ok::<u64, KeysError>(cards)
                })
            })
            .await?;
        self.0.vault.purge_data_keys(&Purge::Tenant(owner));
        Ok(rows)
    }

    async fn forget_fingerprints(&self, mut job: Job) -> Result<u64, KeysError> {
        let Kind::Retire(key) = job.kind.clone() else { return Err(KeysError::Integrity) };
        let limit = usize::try_from(self.0.policy.jobs.batch_rows).unwrap_or(1);
        let parts = Arc::clone(&self.0);
        self.0
            .store
            .commit(move |work| {
                Box::pin(async move {
                    let forgotten = forget_former_fingerprints(work, &key, limit).await?;
                    job.done = job.done.saturating_add(forgotten);
                    job.total = job.total.max(job.done);
                    if forgotten == 0 {
                        job.step = Step::End;
                    }
                    rows::save(work, &job, &parts.owner, Some(&parts.owner), now_us()).await?;
                    Ok::<u64, KeysError>(forgotten)
                })
            })
            .await
    }

    async fn end(&self, mut job: Job) -> Result<u64, KeysError> {
        job.state = State::Done;
        if let Kind::Migrate(target) = job.kind {
            job.outcome = Some(self.told_of_settings(&job, target).await?);
        }
        if matches!(job.kind, Kind::Shred(_) | Kind::Destroy(_)) {
            // What was overwritten is still in the write-ahead log until that is emptied.
            let _ = self.0.store.checkpoint().await;
        }
        self.keep(job, Vec::new()).await
    }

    /// Saves the job as it is now, with what is to be recorded; its end is always recorded.
    pub(in crate::keys) async fn keep(&self, job: Job, events: Vec<Event>) -> Result<u64, KeysError> {
        let parts = Arc::clone(&self.0);
        self.0
            .store
            .commit(move |work| {
                Box::pin(async move {
                    for event in events {
                        let _receipt = parts.recorder.append(work, &system(), event).await?;
                    }
                    if job.state != State::Running {
                        record(work, &parts.recorder, &job, Action::JobEnd).await?;
                    }
                    rows::save(work, &job, &parts.owner, Some(&parts.owner), now_us()).await
                })
            })
            .await?;
        Ok(0)
    }
}

/// What comes when the last batch is through.
fn after_batches(job: &Job) -> Step {
    match (&job.kind, job.step) {
        (Kind::Migrate(_), Step::Reencrypt) => Step::Refingerprint,
        _ => Step::Verify,
    }
}

async fn settle_epoch(
    work: &mut Work<'_>,
    recorder: &Recorder,
    tenant: &Tenant,
    draft: DataKeyDraft,
) -> Result<(), KeysError> {
    let resource = Resource::DataKey(*draft.id().as_bytes());
    if draft.settle(work, now_us()).await? {
        let mut origin = system();
        origin.tenant = Some(tenant.clone());
        for action in [Action::DataKeyCreate, Action::DataKeyRotate] {
            let _receipt = recorder.append(work, &origin, Event::success(action, resource.clone())).await?;
        }
    }
    Ok(())
}

/// What a job is about, in the log's words; whose, when it is one tenant's, stands in the entry's origin.
pub(in crate::keys) fn subject(job: &Job) -> Resource {
    match &job.kind {
        Kind::Rotate(label) => at(label.clone(), job.to_version).map_or(Resource::None, |key| resource(&key)),
        Kind::Retire(key) | Kind::Destroy(key) => resource(key),
        Kind::Ceremony(transcript) => Resource::Transcript(*transcript),
        Kind::ResetFactor(owner) => Resource::Credential(owner.principal.clone()),
        Kind::Reencrypt(_) | Kind::Shred(_) | Kind::Migrate(_) => Resource::None,
    }
}

/// Records how a job is, with its kind or why it failed as the reason.
pub(in crate::keys) async fn record(
    work: &mut Work<'_>,
    recorder: &Recorder,
    job: &Job,
    action: Action,
) -> Result<(), StoreError> {
    let on = subject(job);
    let event = match job.state {
        State::Failed => Event::failed(action, on, job.reason.as_deref().unwrap_or("failed")),
        _ => Event { reason: Reason::parse(job.kind.as_str()).ok(), ..Event::success(action, on) },
    };
    let mut origin = system();
    origin.tenant = job.kind.tenant().cloned();
    recorder.append(work, &origin, event).await.map(drop)
}

fn told_of_backups(versions: &[u32]) -> String {
    let mut versions = versions.to_vec();
    versions.sort_unstable();
    versions.dedup();
    serde_json::json!({
        "kek_versions": versions,
        "backups": "a backup from before can still open these data keys until these versions of kek/card are \
                    destroyed: rotate kek/card, then destroy them",
    })
    .to_string()
}
