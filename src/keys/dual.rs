//! Two people: one asks for an act, another agrees, and the act begins, once. And what one person may begin alone.

use super::act::{Act, Target};
use super::approval::{self, Approval, Request, State, Tickets};
use super::ceremony::Ceremony;
use super::device::{Agreed, Word, newest};
use super::job::{Job, Kind, Step, rows};
use super::{Keys, KeysError, steps};
use crate::people::account;
use crate::record::{Event, Origin, Receipt, now_us};
use audit::{Action, Resource};
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use tokens::{ApprovalId, Principal, Tenant};

/// How often the device's part is tried while the request that brought the tickets waits.
const TRIES: u32 = 4;
const BETWEEN_TRIES: Duration = Duration::from_millis(400);

/// Who acts, and which tenant limits them.
#[derive(Debug, Clone)]
pub struct Person {
    /// Under which name.
    pub name: Principal,
    /// The tenant that the credential is bound to; none reaches the whole installation.
    pub tenant: Option<Tenant>,
}

impl Person {
    /// Whether what concerns `tenant` is this person's to see and to act on.
    pub(in crate::keys) fn reaches(&self, tenant: Option<&Tenant>) -> bool {
        tenant.is_none() || self.tenant.is_none() || self.tenant.as_ref() == tenant
    }
}

/// What the second person brings.
#[derive(Default)]
pub struct Proof {
    /// The tickets of the device, where it asks its officers.
    pub tickets: Tickets,
    /// The transcript, judged anew from that person's own copy, where one is agreed to.
    pub ceremony: Option<Ceremony>,
}

/// What agreeing came to.
#[derive(Debug)]
pub enum Agreement {
    /// The act was begun by it.
    Begun(Box<Job>, Receipt),
    /// The same person had agreed before; this is what it came to.
    Before(Box<Job>),
}

impl Keys {
    /// Asks for an act: opens an approval, or gives the open one of the same act.
    ///
    /// # Errors
    /// Why the act makes no sense now, [`KeysError::Running`] when it goes on already, or a part that is away.
    pub async fn request(
        &self,
        origin: Origin,
        person: &Person,
        act: Act,
        reason: String,
        tickets: Tickets,
    ) -> Result<(Approval, Receipt), KeysError> {
        if !person.reaches(act.tenant()) {
            return Err(KeysError::UnknownTenant);
        }
        if act.done_to() == Some(&person.name) {
            return Err(KeysError::SamePerson);
        }
        if let Act::Migrate(_) = act {
            self.attachable(&act).await?;
        }
        self.permissible(&act).await?;
        let lifetime = self.0.policy.approvals.lifetime.as_micros();
        let request = Request {
            act,
            reason,
            tickets,
            by: person.name.clone(),
            lifetime_us: i64::try_from(lifetime).unwrap_or(i64::MAX),
        };
        let recorder = self.0.recorder.clone();
        self.0
            .store
            .commit(move |work| {
                Box::pin(async move {
                    if let Some(job) = rows::active(work, &Kind::of(&request.act)).await? {
                        return Err(KeysError::Running(job.id));
                    }
                    approval::open(work, &recorder, &origin, &request, now_us()).await
                })
            })
            .await
    }

    /// The second person's yes: the approval is used, the job begins, and the device does its part before this
    /// answers. The same person's second yes gives the same job.
    ///
    /// # Errors
    /// [`KeysError::SamePerson`], [`KeysError::CredentialGone`], [`KeysError::ApprovalState`], [`KeysError::OtherAct`],
    /// [`KeysError::TicketRequired`] (the approval stays open), what the device refused (the approval is used and the
    /// job has failed), or a part that is away.
    pub async fn approve(
        &self,
        origin: Origin,
        person: &Person,
        id: &ApprovalId,
        named: Option<&str>,
        proof: Proof,
    ) -> Result<Agreement, KeysError> {
        let mut reader = self.0.store.read().await?;
        let approval = self.seen(&mut reader, person, id).await?;
        if named.is_some_and(|named| named != approval.act.text()) {
            return Err(KeysError::OtherAct);
        }
        if approval.state == State::Used && approval.approved_by.as_ref() == Some(&person.name) {
            let job = rows::of_approval(&mut reader, id).await?.ok_or(KeysError::Integrity)?;
            return Ok(Agreement::Before(Box::new(job)));
        }
        if approval.requested_by == person.name || approval.act.done_to() == Some(&person.name) {
            return Err(KeysError::SamePerson);
        }
        let first = approval::tickets(&mut reader, id).await?;
        drop(reader);
        if approval.state != State::Open {
            return Err(KeysError::ApprovalState(approval.state.as_str()));
        }
        if self.asks_officers(&approval.act).await? {
            let all =
                |tickets: &Tickets| approval.act.device_acts().iter().all(|act| tickets.contains_key(act));
            if !all(&first) || !all(&proof.tickets) {
                return Err(KeysError::TicketRequired);
            }
        }
        self.permissible(&approval.act).await?;
        let mut job = self.prepared(&approval, person).await?;
        if let Act::Ceremony(_) = approval.act {
            let seen = proof.ceremony.filter(|ceremony| ceremony.act() == approval.act);
            job.outcome = Some(seen.ok_or(KeysError::OtherAct)?.told().to_string());
            job.step = Step::End;
        }
        if let Act::ResetFactor(_) = approval.act {
            job.step = Step::End;
        }
        let agreed = Agreed { first, second: proof.tickets };
        // The device must not be left half asked when the caller hangs up.
        let (keys, name) = (self.clone(), person.name.clone());
        let begun = tokio::spawn(async move { keys.begin(origin, name, approval, job, agreed).await });
        begun.await.map_err(|_| KeysError::HsmAway)?
    }

    /// Whether the device that does the act asks its officers: the one that holds the key, or makes the new one.
    async fn asks_officers(&self, act: &Act) -> Result<bool, KeysError> {
        match act {
            Act::Shred(_) | Act::Ceremony(_) | Act::ResetFactor(_) => Ok(false),
            Act::Migrate(target) => Ok(*target == Target::Simulator),
            Act::Rotate(_) => Ok(self.officers().await),
            Act::Retire(key) | Act::Destroy(key) => self.officers_of(key).await,
        }
    }

    /// The job that the act will be.
    async fn prepared(&self, approval: &Approval, person: &Person) -> Result<Job, KeysError> {
        let kind = Kind::of(&approval.act);
        let mut job = Job::new(kind, Step::Device, approval.requested_by.clone(), now_us())?;
        job.approved_by = Some(person.name.clone());
        job.approval = Some(approval.id.clone());
        if let Act::Rotate(label) = &approval.act {
            job.from_version = newest(&self.versions(label).await?).map(|info| info.key.version.get());
        }
        Ok(job)
    }

    async fn begin(
        &self,
        origin: Origin,
        by: Principal,
        approval: Approval,
        job: Job,
        agreed: Agreed,
    ) -> Result<Agreement, KeysError> {
        let at_the_door = format!("{}/door", self.0.owner);
        let bundle = self.0.governance.now();
        let (recorder, owner, new) = (self.0.recorder.clone(), at_the_door.clone(), job.clone());
        let receipt = self
            .0
            .store
            .commit(move |work| {
                Box::pin(async move {
                    let rules = (&*bundle, now_us());
                    let receipt = approval::take(work, &recorder, &origin, &approval, &by, rules).await?;
                    if let Act::ResetFactor(owner) = &approval.act {
                        let person = &owner.principal;
                        if !account::reset_factor(work, &recorder, &origin, person, now_us()).await? {
                            return Err(KeysError::UnknownPerson);
                        }
                    }
                    rows::start(work, &new, &owner).await?;
                    steps::record(work, &recorder, &new, Action::JobStart).await?;
                    Ok::<Receipt, KeysError>(receipt)
                })
            })
            .await?;
        let job = match job.kind {
            Kind::Shred(_) | Kind::ResetFactor(_) => self.hand_over(job, Vec::new(), &at_the_door).await?,
            Kind::Ceremony(transcript) => {
                let event = Event::success(Action::KeyCeremony, Resource::Transcript(transcript));
                self.hand_over(job, vec![event], &at_the_door).await?
            }
            _ => self.first_part(job, &agreed, &at_the_door).await?,
        };
        self.0.wake.notify_one();
        Ok(Agreement::Begun(Box::new(job), receipt))
    }

    /// The device's part, with the tickets at hand.
    async fn first_part(&self, job: Job, agreed: &Agreed, owner: &str) -> Result<Job, KeysError> {
        let mut unanswered = false;
        for attempt in 1..=TRIES {
            let mut next = job.clone();
            match self.device_part(&mut next, Word::Given(agreed)).await {
                Ok(events) => return self.hand_over(next, events, owner).await,
                // Once a try was left without an answer, a refusal may mean that the device did it after all (the
                // tickets are spent): then the next look shows it.
                Err(error) if attempt < TRIES && (unanswered || error.is_transient()) => {
                    unanswered = true;
                    tokio::time::sleep(BETWEEN_TRIES).await;
                }
                Err(error) => {
                    self.forget_names().await;
                    let failed = Job {
                        state: super::job::State::Failed,
                        reason: Some(error.code().to_owned()),
                        ..job.clone()
                    };
                    self.hand_over(failed, Vec::new(), owner).await?;
                    return Err(error);
                }
            }
        }
        Err(KeysError::HsmAway)
    }

    /// Saves what was done and leaves the rest to whoever works on jobs.
    async fn hand_over(&self, job: Job, events: Vec<Event>, owner: &str) -> Result<Job, KeysError> {
        let (recorder, owner, saved) = (self.0.recorder.clone(), owner.to_owned(), job.clone());
        self.0
            .store
            .commit(move |work| {
                Box::pin(async move {
                    for event in events {
                        let _receipt = recorder.append(work, &super::system(), event).await?;
                    }
                    if saved.state == super::job::State::Failed {
                        steps::record(work, &recorder, &saved, Action::JobEnd).await?;
                    }
                    rows::save(work, &saved, &owner, None, now_us()).await
                })
            })
            .await?;
        Ok(job)
    }

    /// The second person's no, or the first one's change of mind.
    ///
    /// # Errors
    /// [`KeysError::UnknownApproval`], [`KeysError::ApprovalState`], or the store's error.
    pub async fn reject(
        &self,
        origin: Origin,
        person: &Person,
        id: &ApprovalId,
    ) -> Result<(Approval, Receipt), KeysError> {
        let mut reader = self.0.store.read().await?;
        let approval = self.seen(&mut reader, person, id).await?;
        drop(reader);
        let (recorder, by) = (self.0.recorder.clone(), person.name.clone());
        self.0
            .store
            .commit(move |work| {
                Box::pin(async move {
                    let receipt =
                        approval::reject(work, &recorder, &origin, &approval, &by, now_us()).await?;
                    let approval = Approval { state: State::Rejected, approved_by: Some(by), ..approval };
                    Ok((approval, receipt))
                })
            })
            .await
    }

    async fn seen(
        &self,
        reader: &mut store::Reader,
        person: &Person,
        id: &ApprovalId,
    ) -> Result<Approval, KeysError> {
        let found = approval::find(reader, id, now_us()).await?;
        found.filter(|approval| person.reaches(approval.act.tenant())).ok_or(KeysError::UnknownApproval)
    }

    /// One approval as it stands.
    ///
    /// # Errors
    /// [`KeysError::UnknownApproval`] or the store's error.
    pub async fn approval(&self, person: &Person, id: &ApprovalId) -> Result<Approval, KeysError> {
        let mut reader = self.0.store.read().await?;
        self.seen(&mut reader, person, id).await
    }

    /// The newest approvals, open ones first; one more than `limit` when more follow.
    ///
    /// # Errors
    /// The store's error.
    pub async fn approvals(&self, person: &Person, limit: u32) -> Result<Vec<Approval>, KeysError> {
        let mut reader = self.0.store.read().await?;
        approval::list(&mut reader, person.tenant.as_ref(), limit.saturating_add(1), now_us()).await
    }

    /// Whether the act needs tickets of the device's officers.
    pub async fn wants_tickets(&self, act: &Act) -> bool {
        // Of a key that nobody holds any more, or a device that is away, what holds usually.
        !act.device_acts().is_empty() && self.asks_officers(act).await.unwrap_or(self.0.officers)
    }

    /// A new data key for a tenant and its cards sealed anew: replaces nothing that cannot be replaced again, so one
    /// person begins it alone. A second start gives the first one's job.
    ///
    /// # Errors
    /// [`KeysError::UnknownTenant`], [`KeysError::Excluded`], or a part that is away.
    pub async fn rotate_data_key(
        &self,
        origin: Origin,
        person: &Person,
        tenant: Tenant,
    ) -> Result<(Job, Receipt), KeysError> {
        if !person.reaches(Some(&tenant)) {
            return Err(KeysError::UnknownTenant);
        }
        has_data_key(&self.0.store, &tenant).await?;
        let job = Job::new(Kind::Reencrypt(tenant.clone()), Step::Epochs, person.name.clone(), now_us())?;
        let started = self.start(origin, job).await?;
        self.0.wake.notify_one();
        Ok(started)
    }

    /// Begins a job that nobody has to agree to, or gives the one that does the same.
    pub(in crate::keys) async fn start(&self, origin: Origin, job: Job) -> Result<(Job, Receipt), KeysError> {
        let parts = Arc::clone(&self.0);
        self.0
            .store
            .commit(move |work| {
                Box::pin(async move {
                    let job = match rows::start(work, &job, &parts.owner).await {
                        Ok(()) => {
                            steps::record(work, &parts.recorder, &job, Action::JobStart).await?;
                            job
                        }
                        Err(KeysError::Running(id)) => {
                            rows::find(work, &id).await?.ok_or(KeysError::UnknownJob)?
                        }
                        Err(error) => return Err(error),
                    };
                    let mut origin = origin;
                    if let Some(tenant) = job.kind.tenant() {
                        origin.tenant = Some(tenant.clone());
                    }
                    let event = Event::success(Action::JobRead, Resource::None);
                    let receipt = parts.recorder.append(work, &origin, event).await?;
                    Ok::<_, KeysError>((job, receipt))
                })
            })
            .await
    }
}

async fn has_data_key(store: &Store, tenant: &Tenant) -> Result<(), KeysError> {
    let mut reader = store.read().await?;
    let row = reader
        .fetch_optional(
            "SELECT 1 AS n FROM data_key WHERE tenant = $1 AND status = 'active' LIMIT 1",
            vec![tenant.as_str().into()],
        )
        .await?;
    row.map(drop).ok_or(KeysError::UnknownTenant)
}
