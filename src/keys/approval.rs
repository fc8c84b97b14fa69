//! Acts that wait for a second person: bound to exactly one act, for a time, used once. Every step is recorded in
//! the transaction that takes it.

use super::KeysError;
use super::act::Act;
use crate::credential;
use crate::governance::Bundle;
use crate::permit::{self, ManageKeys};
use crate::record::{Event, Origin, Receipt, Recorder};
use audit::{Action, KeyName, Reason, Resource};
use std::collections::BTreeMap;
use store::{Fetch, Row, Work};
use tokens::{ApprovalId, Principal, Tenant};
use zeroize::Zeroizing;

/// Tickets of the device's officers, by the act that each is for. Opaque, and worth nothing without a second one.
pub type Tickets = BTreeMap<String, Zeroizing<Vec<u8>>>;

/// Where an approval is in its life. One way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It waits.
    Open,
    /// A second person agreed and the act was begun.
    Used,
    /// Somebody said no.
    Rejected,
    /// Nobody agreed in time.
    Expired,
}

impl State {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Open => "open",
            State::Used => "used",
            State::Rejected => "rejected",
            State::Expired => "expired",
        }
    }

    fn from_name(name: &str) -> Option<State> {
        [State::Open, State::Used, State::Rejected, State::Expired]
            .into_iter()
            .find(|state| state.as_str() == name)
    }
}

/// One approval.
#[derive(Debug, Clone)]
pub struct Approval {
    /// Its name.
    pub id: ApprovalId,
    /// What it is for.
    pub act: Act,
    /// Where it is in its life; an open one past its time is expired.
    pub state: State,
    /// Why it was asked for, in the first person's words.
    pub reason: String,
    /// The first person.
    pub requested_by: Principal,
    /// The second person; of a rejected one, whoever rejected it.
    pub approved_by: Option<Principal>,
    /// Whether the first person's tickets of the device are with it.
    pub has_ticket: bool,
    /// Unix microseconds.
    pub created_at_us: i64,
    /// Unix microseconds.
    pub expires_at_us: i64,
}

/// What the first person asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The act.
    pub act: Act,
    /// Why, in that person's words.
    pub reason: String,
    /// That person's tickets of the device.
    pub tickets: Tickets,
    /// Who asks.
    pub by: Principal,
    /// How long it waits, in microseconds.
    pub lifetime_us: i64,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, act, act_hash, state, reason, requested_by, approved_by, ticket IS NOT NULL AS has_ticket, \
             created_at, expires_at FROM approval ",
            $rest
        )
    };
}

/// Opens an approval inside `work`, or gives the open one of the same act; with it the first person's ticket is
/// brought up to date.
///
/// # Errors
/// The store's error.
pub async fn open(
    work: &mut Work<'_>,
    recorder: &Recorder,
    origin: &Origin,
    request: &Request,
    now_us: i64,
) -> Result<(Approval, Receipt), KeysError> {
    expire(work, recorder, now_us).await?;
    let hash = request.act.hash();
    let tickets = pack(&request.tickets);
    let earlier =
        work.fetch_optional(select!("WHERE act_hash = $1 AND state = 'open'"), vec![hash.into()]).await?;
    if let Some(row) = earlier {
        let mut approval = read(&row, now_us)?;
        if approval.requested_by == request.by && tickets.is_some() {
            work.execute(
                "UPDATE approval SET ticket = $2 WHERE id = $1",
                vec![approval.id.as_str().into(), tickets.map(|bytes| bytes.to_vec()).into()],
            )
            .await?;
            approval.has_ticket = true;
        }
        let receipt = record(work, recorder, origin, Action::KeyApprovalOpen, &approval.act).await?;
        return Ok((approval, receipt));
    }
    let approval = Approval {
        id: ApprovalId::mint()?,
        act: request.act.clone(),
        state: State::Open,
        reason: request.reason.clone(),
        requested_by: request.by.clone(),
        approved_by: None,
        has_ticket: tickets.is_some(),
        created_at_us: now_us,
        expires_at_us: now_us.saturating_add(request.lifetime_us),
    };
    work.execute(
        "INSERT INTO approval (id, act, act_hash, state, reason, requested_by, ticket, created_at, expires_at) \
         VALUES ($1, $2, $3, 'open', $4, $5, $6, $7, $8)",
        vec![
            approval.id.as_str().into(),
            approval.act.text().into(),
            hash.into(),
            approval.reason.as_str().into(),
            approval.requested_by.as_str().into(),
            tickets.map(|bytes| bytes.to_vec()).into(),
            now_us.into(),
            approval.expires_at_us.into(),
        ],
    )
    .await?;
    let receipt = record(work, recorder, origin, Action::KeyApprovalOpen, &approval.act).await?;
    Ok((approval, receipt))
}

/// One approval, or none.
///
/// # Errors
/// The store's error; [`KeysError::Integrity`] when the act is not the one that was hashed.
pub async fn find(
    from: &mut impl Fetch,
    id: &ApprovalId,
    now_us: i64,
) -> Result<Option<Approval>, KeysError> {
    let row = from.fetch_optional(select!("WHERE id = $1"), vec![id.as_str().into()]).await?;
    row.map(|row| read(&row, now_us)).transpose()
}

/// The newest approvals, open ones first; of those that are about one tenant's data only that tenant's, or all.
///
/// # Errors
/// The store's error.
pub async fn list(
    from: &mut impl Fetch,
    tenant: Option<&Tenant>,
    limit: u32,
    now_us: i64,
) -> Result<Vec<Approval>, KeysError> {
    let own = tenant.map(|tenant| Act::Shred(tenant.clone()).text());
    let people = tenant.map(|tenant| format!("reset-factor %@{tenant}"));
    let rows = from
        .fetch_all(
            select!(
                "WHERE act = $2 OR $2 IS NULL OR act LIKE $3 \
                 OR (act NOT LIKE 'shred %' AND act NOT LIKE 'reset-factor %@%') \
                 ORDER BY state = 'open' DESC, created_at DESC, id LIMIT $1"
            ),
            vec![limit.into(), own.into(), people.into()],
        )
        .await?;
    rows.iter().map(|row| read(row, now_us)).collect()
}

/// The first person's tickets.
///
/// # Errors
/// The store's error.
pub async fn tickets(from: &mut impl Fetch, id: &ApprovalId) -> Result<Tickets, KeysError> {
    let row = from
        .fetch_optional("SELECT ticket FROM approval WHERE id = $1", vec![id.as_str().into()])
        .await?
        .ok_or(KeysError::UnknownApproval)?;
    unpack(row.optional_bytes("ticket")?)
}

/// When an approval was used, in unix microseconds; none of one that was not.
///
/// # Errors
/// The store's error.
pub async fn used_at(from: &mut impl Fetch, id: &ApprovalId) -> Result<Option<i64>, KeysError> {
    let sql = "SELECT used_at FROM approval WHERE id = $1 AND state = 'used'";
    let row = from.fetch_optional(sql, vec![id.as_str().into()]).await?;
    Ok(row.map(|row| row.integer("used_at")).transpose()?)
}

/// Uses an open approval inside `work`: it can be used by nobody again, and its ticket is forgotten. Both people have
/// to be of those who may, at this moment: whoever lost the credential since asking is no second person.
///
/// # Errors
/// [`KeysError::ApprovalState`] when somebody was faster or its time is over, [`KeysError::SamePerson`],
/// [`KeysError::CredentialGone`], or the store's error; then nothing changed.
pub async fn take(
    work: &mut Work<'_>,
    recorder: &Recorder,
    origin: &Origin,
    approval: &Approval,
    by: &Principal,
    (bundle, now_us): (&Bundle, i64),
) -> Result<Receipt, KeysError> {
    if approval.requested_by == *by || approval.act.done_to().is_some_and(|person| person == by) {
        return Err(KeysError::SamePerson);
    }
    for person in [&approval.requested_by, by] {
        let roles = credential::live_roles(work, person, now_us).await?;
        if !roles.into_iter().any(|role| permit::may::<ManageKeys>(bundle, person, role, now_us)) {
            return Err(KeysError::CredentialGone);
        }
    }
    // What was read before the transaction is compared again here: of two that agree at once, one is first.
    let taken = work
        .execute(
            "UPDATE approval SET state = 'used', approved_by = $2, used_at = $3, ticket = NULL WHERE id = $1 \
             AND state = 'open' AND expires_at > $3 AND requested_by <> $2 AND act_hash = $4",
            vec![approval.id.as_str().into(), by.as_str().into(), now_us.into(), approval.act.hash().into()],
        )
        .await?;
    if taken == 0 {
        return Err(closed(work, approval, now_us).await?);
    }
    record(work, recorder, origin, Action::KeyApprove, &approval.act).await
}

/// Rejects an open approval inside `work`. The first person may take it back in this way.
///
/// # Errors
/// [`KeysError::ApprovalState`] when it is closed, or the store's error.
pub async fn reject(
    work: &mut Work<'_>,
    recorder: &Recorder,
    origin: &Origin,
    approval: &Approval,
    by: &Principal,
    now_us: i64,
) -> Result<Receipt, KeysError> {
    let rejected = work
        .execute(
            "UPDATE approval SET state = 'rejected', approved_by = $2, used_at = $3, ticket = NULL WHERE id = $1 \
             AND state = 'open' AND expires_at > $3",
            vec![approval.id.as_str().into(), by.as_str().into(), now_us.into()],
        )
        .await?;
    if rejected == 0 {
        return Err(closed(work, approval, now_us).await?);
    }
    record(work, recorder, origin, Action::KeyReject, &approval.act).await
}

async fn closed(work: &mut Work<'_>, approval: &Approval, now_us: i64) -> Result<KeysError, KeysError> {
    let now = find(work, &approval.id, now_us).await?;
    Ok(now.map_or(KeysError::UnknownApproval, |approval| KeysError::ApprovalState(approval.state.as_str())))
}

/// Closes what nobody agreed to in time.
///
/// # Errors
/// The store's error.
pub async fn expire(work: &mut Work<'_>, recorder: &Recorder, now_us: i64) -> Result<u64, KeysError> {
    let rows = work
        .fetch_all(
            "UPDATE approval SET state = 'expired', ticket = NULL WHERE state = 'open' AND expires_at <= $1 \
             RETURNING act",
            vec![now_us.into()],
        )
        .await?;
    for row in &rows {
        let act = Act::parse(&row.text("act")?).ok_or(KeysError::Integrity)?;
        let origin = super::system();
        let _receipt = record(work, recorder, &origin, Action::KeyApprovalExpire, &act).await?;
    }
    Ok(u64::try_from(rows.len()).unwrap_or(u64::MAX))
}

/// Records a step: on the key that the act names, with the kind of act as reason.
async fn record(
    work: &mut Work<'_>,
    recorder: &Recorder,
    origin: &Origin,
    action: Action,
    act: &Act,
) -> Result<Receipt, KeysError> {
    let event = Event { reason: Reason::parse(act.kind()).ok(), ..Event::success(action, resource(act)) };
    let mut origin = origin.clone();
    if let Some(tenant) = act.tenant() {
        origin.tenant = Some(tenant.clone());
    }
    Ok(recorder.append(work, &origin, event).await?)
}

/// What an act is done to, in the log's words. A version that does not exist yet is written as 0.
pub fn resource(act: &Act) -> Resource {
    let named = |label: &hsm::KeyLabel, version| match KeyName::parse(label.as_str()) {
        Ok(label) => Resource::Key { label, version },
        Err(_) => Resource::None,
    };
    match act {
        Act::Rotate(label) => named(label, 0),
        Act::Retire(key) | Act::Destroy(key) => named(&key.label, key.version.get()),
        Act::Ceremony(transcript) => Resource::Transcript(*transcript),
        Act::ResetFactor(owner) => Resource::Credential(owner.principal.clone()),
        Act::Shred(_) | Act::Migrate(_) => Resource::None,
    }
}

fn read(row: &Row, now_us: i64) -> Result<Approval, KeysError> {
    let act = Act::parse(&row.text("act")?).ok_or(KeysError::Integrity)?;
    if row.bytes("act_hash")? != act.hash() {
        return Err(KeysError::Integrity);
    }
    let expires_at_us = row.integer("expires_at")?;
    let state = match State::from_name(&row.text("state")?).ok_or(KeysError::Integrity)? {
        State::Open if expires_at_us <= now_us => State::Expired,
        state => state,
    };
    let person = |name: String| Principal::parse(&name).map_err(|_| KeysError::Integrity);
    Ok(Approval {
        id: ApprovalId::parse(&row.text("id")?).map_err(|_| KeysError::Integrity)?,
        act,
        state,
        reason: row.text("reason")?,
        requested_by: person(row.text("requested_by")?)?,
        approved_by: row.optional_text("approved_by")?.map(person).transpose()?,
        has_ticket: row.integer("has_ticket")? == 1,
        created_at_us: row.integer("created_at")?,
        expires_at_us,
    })
}

/// Each act and its ticket, with their lengths before them.
fn pack(tickets: &Tickets) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    for part in tickets.iter().flat_map(|(act, ticket)| [act.as_bytes(), ticket.as_slice()]) {
        bytes.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    (!bytes.is_empty()).then_some(bytes)
}

fn unpack(bytes: Option<Vec<u8>>) -> Result<Tickets, KeysError> {
    let bytes = Zeroizing::new(bytes.unwrap_or_default());
    let (mut rest, mut tickets) = (bytes.as_slice(), Tickets::new());
    let mut part = || {
        let (length, more) = rest.split_first_chunk::<4>()?;
        let (part, more) = more.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        rest = more;
        Some(part.to_vec())
    };
    while let Some(act) = part() {
        let ticket = part().ok_or(KeysError::Integrity)?;
        tickets.insert(String::from_utf8(act).map_err(|_| KeysError::Integrity)?, Zeroizing::new(ticket));
    }
    Ok(tickets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_come_back_as_they_were_stored() {
        let ticket = |bytes: &[u8]| Zeroizing::new(bytes.to_vec());
        let tickets =
            Tickets::from([("rotate a".to_owned(), ticket(b"one")), ("rotate b".to_owned(), ticket(b""))]);
        let stored = pack(&tickets).map(|bytes| bytes.to_vec());
        assert_eq!(unpack(stored).unwrap(), tickets);
        assert!(pack(&Tickets::new()).is_none());
        assert!(unpack(None).unwrap().is_empty());
    }
}
