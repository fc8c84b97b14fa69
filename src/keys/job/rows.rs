//! Jobs as rows. Every change is fenced by the row's owner, so that a gateway that lost a job changes nothing of it
//! any more.

use super::{Job, Kind, State, Step};
use crate::keys::KeysError;
use store::{Fetch, Row, Value, Work};
use tokens::{ApprovalId, JobId, Principal, Tenant};

/// How long a gateway that works on a job is believed to be alive without a word.
pub const LEASE_US: i64 = 30_000_000;

macro_rules! columns {
    () => {
        "id, kind, subject, state, step, from_version, to_version, cursor, done, total, reason, requested_by, \
         approved_by, approval, outcome, created_at, updated_at, finished_at"
    };
}

/// Puts a new job down inside `work`, held by `owner`.
///
/// # Errors
/// [`KeysError::Running`] with the job that does the same already, [`KeysError::Excluded`] while keys move between
/// devices (or are rotated, for a move), or the store's error.
pub async fn start(work: &mut Work<'_>, job: &Job, owner: &str) -> Result<(), KeysError> {
    // What excludes what is judged by one at a time.
    work.alone("job").await?;
    let inserted = work
        .execute(
            "INSERT INTO job (id, kind, subject, state, step, from_version, to_version, done, total, owner, \
             lease_until, requested_by, approved_by, approval, created_at, updated_at) \
             SELECT $1, $2, $3, 'running', $4, $5, $6, 0, 0, $7, $8, $9, $10, $11, $12, $12 \
             WHERE NOT EXISTS (SELECT 1 FROM job WHERE state IN ('running', 'paused') AND (kind = 'migrate' \
             OR ($2 = 'migrate' AND kind IN ('rotate', 'reencrypt', 'retire', 'destroy')))) \
             ON CONFLICT DO NOTHING",
            vec![
                job.id.as_str().into(),
                job.kind.as_str().into(),
                job.kind.subject().into(),
                job.step.as_str().into(),
                job.from_version.into(),
                job.to_version.into(),
                owner.into(),
                job.created_at_us.saturating_add(LEASE_US).into(),
                job.requested_by.as_str().into(),
                job.approved_by.as_ref().map(Principal::as_str).into(),
                job.approval.as_ref().map(ApprovalId::as_str).into(),
                job.created_at_us.into(),
            ],
        )
        .await?;
    if inserted == 1 {
        return Ok(());
    }
    Err(active(work, &job.kind).await?.map_or(KeysError::Excluded, |job| KeysError::Running(job.id)))
}

/// The job of that kind and subject that is not over, if there is one.
///
/// # Errors
/// The store's error.
pub async fn active(from: &mut impl Fetch, kind: &Kind) -> Result<Option<Job>, KeysError> {
    let row = from
        .fetch_optional(
            concat!(
                "SELECT ",
                columns!(),
                " FROM job WHERE kind = $1 AND subject = $2 AND state IN ('running', 'paused')"
            ),
            vec![kind.as_str().into(), kind.subject().into()],
        )
        .await?;
    row.map(|row| read(&row)).transpose()
}

/// One job, or none.
///
/// # Errors
/// The store's error.
pub async fn find(from: &mut impl Fetch, id: &JobId) -> Result<Option<Job>, KeysError> {
    let sql = concat!("SELECT ", columns!(), " FROM job WHERE id = $1");
    from.fetch_optional(sql, vec![id.as_str().into()]).await?.map(|row| read(&row)).transpose()
}

/// The job that an approval led to.
///
/// # Errors
/// The store's error.
pub async fn of_approval(from: &mut impl Fetch, id: &ApprovalId) -> Result<Option<Job>, KeysError> {
    let sql = concat!("SELECT ", columns!(), " FROM job WHERE approval = $1");
    from.fetch_optional(sql, vec![id.as_str().into()]).await?.map(|row| read(&row)).transpose()
}

/// Jobs, newest first, after the named one; of those that are about one tenant's data only that tenant's, or all.
///
/// # Errors
/// The store's error.
pub async fn list(
    from: &mut impl Fetch,
    tenant: Option<&Tenant>,
    limit: u32,
    after: Option<&str>,
) -> Result<Vec<Job>, KeysError> {
    let rows = from
        .fetch_all(
            concat!(
                "SELECT ",
                columns!(),
                " FROM job WHERE ((created_at, id) < (SELECT created_at, id FROM job WHERE id = $1) OR $1 IS NULL) \
                 AND (subject = $3 OR $3 IS NULL OR kind NOT IN ('reencrypt', 'shred')) \
                 ORDER BY created_at DESC, id DESC LIMIT $2"
            ),
            vec![after.into(), limit.into(), tenant.map(Tenant::as_str).into()],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// The last move to a device that was ever begun, over or not.
///
/// # Errors
/// The store's error.
pub async fn last_migration(from: &mut impl Fetch) -> Result<Option<Job>, KeysError> {
    let sql =
        concat!("SELECT ", columns!(), " FROM job WHERE kind = 'migrate' ORDER BY created_at DESC LIMIT 1");
    from.fetch_optional(sql, Vec::new()).await?.map(|row| read(&row)).transpose()
}

macro_rules! free {
    () => {
        "state = 'running' AND (owner IS NULL OR owner = $1 OR lease_until <= $3 \
         OR (substr(owner, 1, length($4)) = $4 AND substr(owner, 1, length($1)) <> $1))"
    };
}

/// Takes the job that waited longest, for [`LEASE_US`]: one that nobody has, that a dead run of this gateway had, or
/// whose gateway has not been heard of. `owner` is `log/run`.
///
/// # Errors
/// The store's error.
pub async fn claim(work: &mut Work<'_>, owner: &str, now_us: i64) -> Result<Option<Job>, KeysError> {
    let log = owner.split_once('/').map_or(owner, |(log, _)| log);
    let row = work
        .fetch_optional(
            concat!(
                "UPDATE job SET owner = $1, lease_until = $2 WHERE id = (SELECT id FROM job WHERE ",
                free!(),
                " ORDER BY updated_at, id LIMIT 1) AND ",
                // Once more for the row itself: another gateway may have taken it in this instant.
                free!(),
                " RETURNING ",
                columns!()
            ),
            vec![
                owner.into(),
                now_us.saturating_add(LEASE_US).into(),
                now_us.into(),
                format!("{log}/").into(),
            ],
        )
        .await?;
    row.map(|row| read(&row)).transpose()
}

/// Writes the job as it is now inside `work`, if `owner` still has it and nobody halted it; it stays `next`'s.
///
/// # Errors
/// [`KeysError::LostLease`], after which the transaction must not be committed; or the store's error.
pub async fn save(
    work: &mut Work<'_>,
    job: &Job,
    owner: &str,
    next: Option<&str>,
    now_us: i64,
) -> Result<(), KeysError> {
    let whole = |count: u64| Value::from(i64::try_from(count).unwrap_or(i64::MAX));
    let over = matches!(job.state, State::Done | State::Failed);
    let saved = work
        .execute(
            "UPDATE job SET state = $3, step = $4, from_version = $5, to_version = $6, cursor = $7, done = $8, \
             total = $9, reason = $10, outcome = $11, updated_at = $12, finished_at = $13, owner = $14, \
             lease_until = $15 WHERE id = $1 AND owner = $2 AND state = 'running'",
            vec![
                job.id.as_str().into(),
                owner.into(),
                job.state.as_str().into(),
                job.step.as_str().into(),
                job.from_version.into(),
                job.to_version.into(),
                job.cursor.as_deref().into(),
                whole(job.done),
                whole(job.total),
                job.reason.as_deref().into(),
                job.outcome.as_deref().into(),
                now_us.into(),
                over.then_some(now_us).into(),
                next.filter(|_| !over).into(),
                now_us.saturating_add(LEASE_US).into(),
            ],
        )
        .await?;
    if saved == 1 { Ok(()) } else { Err(KeysError::LostLease) }
}

/// Halts a running job, or takes up one that was halted or failed. What two people agreed to is not halted before it
/// was begun, nor a shredding at all: else one of them alone could choose when it happens.
///
/// # Errors
/// [`KeysError::JobState`] when it is in no state for that, [`KeysError::Running`] when another does the same work
/// by now, or the store's error.
pub async fn change(work: &mut Work<'_>, id: &JobId, to: State, now_us: i64) -> Result<Job, KeysError> {
    let job = find(work, id).await?.ok_or(KeysError::UnknownJob)?;
    let sql = match (to, job.state) {
        (State::Paused, State::Running) if job.step == Step::Device => {
            return Err(KeysError::JobState("at a step that cannot be halted; wait for the next one"));
        }
        (State::Paused, State::Running) => {
            "UPDATE job SET state = 'paused', owner = NULL, updated_at = $2 WHERE id = $1 AND state = 'running'"
        }
        (State::Running, State::Paused | State::Failed) => {
            if let Some(other) = active(work, &job.kind).await?.filter(|other| other.id != *id) {
                return Err(KeysError::Running(other.id));
            }
            "UPDATE job SET state = 'running', owner = NULL, reason = NULL, finished_at = NULL, updated_at = $2 \
             WHERE id = $1 AND state IN ('paused', 'failed')"
        }
        (_, state) => return Err(KeysError::JobState(state.as_str())),
    };
    work.execute(sql, vec![id.as_str().into(), now_us.into()]).await?;
    find(work, id).await?.ok_or(KeysError::UnknownJob)
}

fn read(row: &Row) -> Result<Job, KeysError> {
    let count = |column| -> Result<u64, KeysError> {
        u64::try_from(row.integer(column)?).map_err(|_| KeysError::Integrity)
    };
    let version = |column| -> Result<Option<u32>, KeysError> {
        row.optional_integer(column)?.map(u32::try_from).transpose().map_err(|_| KeysError::Integrity)
    };
    let person = |name: String| Principal::parse(&name).map_err(|_| KeysError::Integrity);
    Ok(Job {
        id: JobId::parse(&row.text("id")?).map_err(|_| KeysError::Integrity)?,
        kind: Kind::read(&row.text("kind")?, &row.text("subject")?).ok_or(KeysError::Integrity)?,
        state: State::read(&row.text("state")?).ok_or(KeysError::Integrity)?,
        step: Step::read(&row.text("step")?).ok_or(KeysError::Integrity)?,
        from_version: version("from_version")?,
        to_version: version("to_version")?,
        cursor: row.optional_text("cursor")?,
        done: count("done")?,
        total: count("total")?,
        reason: row.optional_text("reason")?,
        requested_by: person(row.text("requested_by")?)?,
        approved_by: row.optional_text("approved_by")?.map(person).transpose()?,
        approval: row
            .optional_text("approval")?
            .map(|id| ApprovalId::parse(&id).map_err(|_| KeysError::Integrity))
            .transpose()?,
        outcome: row.optional_text("outcome")?,
        created_at_us: row.integer("created_at")?,
        updated_at_us: row.integer("updated_at")?,
        finished_at_us: row.optional_integer("finished_at")?,
    })
}
