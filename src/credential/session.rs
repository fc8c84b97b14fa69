//! Sessions of people: a bearer token for a time, stored as a hash. One dies when it lies idle, when its day is over,
//! when it or its owner's account is ended, and whenever password or factor change.

use super::hash;
use crate::caller::{Caller, Duty, Role, Session};
use crate::record::now_us;
use secrecy::{ExposeSecret, SecretString};
use store::{Fetch, Row, Store, StoreError, Work};
use tokens::{Principal, Realm, SessionId, Tenant};

/// A session that was not used for so long is over (PCI DSS 8.2.8).
pub const IDLE_US: i64 = 15 * 60 * 1_000_000;
/// However much it is used, a session ends after so long.
pub const LONGEST_US: i64 = 12 * 3600 * 1_000_000;
/// How far `last_seen` may lag behind: it is written at most so often, and a session ends that much early at worst.
const SEEN_EVERY_US: i64 = 60 * 1_000_000;
/// How long ended sessions are kept for whoever asks what was open when.
const KEPT_US: i64 = 30 * 24 * 3600 * 1_000_000;
const LETTERS: usize = 40;

/// A new session with the token that opens it, which is shown this once.
pub struct Opened {
    /// What opens it.
    pub token: SecretString,
    /// Its name.
    pub id: SessionId,
    /// Unix microseconds.
    pub expires_at_us: i64,
}

/// Opens a session inside `work`.
///
/// # Errors
/// The store's error, or [`StoreError::Unavailable`] when the system gives no random bytes.
pub async fn open(
    work: &mut Work<'_>,
    realm: Realm,
    principal: &Principal,
    second_factor_at_us: Option<i64>,
) -> Result<Opened, StoreError> {
    let letters = tokens::random_letters(LETTERS).map_err(|_| StoreError::Unavailable)?;
    let token = SecretString::from(format!("pgs_{}_{letters}", realm.as_str()));
    let id = SessionId::mint().map_err(|_| StoreError::Unavailable)?;
    let now = now_us();
    let expires_at_us = now.saturating_add(LONGEST_US);
    work.execute(
        "INSERT INTO session (id, principal, hash, created_at, last_seen, expires_at, second_factor_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        vec![
            id.as_str().into(),
            principal.as_str().into(),
            hash(token.expose_secret()).to_vec().into(),
            now.into(),
            now.into(),
            expires_at_us.into(),
            second_factor_at_us.into(),
        ],
    )
    .await?;
    Ok(Opened { token, id, expires_at_us })
}

/// Ends one session inside `work`; says whether it was open.
///
/// # Errors
/// The store's error.
pub async fn end(work: &mut Work<'_>, id: &SessionId) -> Result<bool, StoreError> {
    let ended = work
        .execute(
            "UPDATE session SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL",
            vec![id.as_str().into(), now_us().into()],
        )
        .await?;
    Ok(ended > 0)
}

/// Ends every session of a person inside `work`; says how many were open.
///
/// # Errors
/// The store's error.
pub async fn end_all(work: &mut Work<'_>, principal: &Principal) -> Result<u64, StoreError> {
    work.execute(
        "UPDATE session SET ended_at = $2 WHERE principal = $1 AND ended_at IS NULL AND expires_at > $2",
        vec![principal.as_str().into(), now_us().into()],
    )
    .await
}

/// Forgets sessions that ended long ago.
///
/// # Errors
/// The store's error.
pub async fn forget(work: &mut Work<'_>) -> Result<u64, StoreError> {
    let before = now_us().saturating_sub(KEPT_US);
    work.execute("DELETE FROM session WHERE expires_at < $1", vec![before.into()]).await
}

/// Whose session a token opens now. Using it keeps it from lying idle.
pub(super) async fn look_up(store: &Store, hash: &[u8; 32]) -> Result<Option<Caller>, StoreError> {
    let now = now_us();
    let row = store
        .look(
            "SELECT session.id, session.last_seen, session.second_factor_at, person.principal, person.role, \
             person.tenant, person.must_change, person.factor IS NOT NULL AS has_factor \
             FROM session JOIN person ON person.principal = session.principal \
             WHERE session.hash = $1 AND session.ended_at IS NULL AND session.expires_at > $2 \
             AND session.last_seen > $3 AND person.state = 'active' \
             AND (person.setup_until IS NULL OR person.setup_until > $2)",
            vec![hash.to_vec().into(), now.into(), now.saturating_sub(IDLE_US).into()],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let Some((caller, id)) = read(&row)? else { return Ok(None) };
    if now.saturating_sub(row.integer("last_seen")?) > SEEN_EVERY_US {
        seen(store, id, now).await;
    }
    Ok(Some(caller))
}

/// Lost when the database is busy: then the session ends a little early.
async fn seen(store: &Store, id: SessionId, now_us: i64) {
    let written: Result<u64, StoreError> = store
        .commit(move |work| {
            Box::pin(async move {
                work.execute(
                    "UPDATE session SET last_seen = $2 WHERE id = $1 AND last_seen < $2 AND ended_at IS NULL",
                    vec![id.as_str().into(), now_us.into()],
                )
                .await
            })
        })
        .await;
    if let Err(error) = written {
        tracing::warn!(%error, "that a session was used could not be noted");
    }
}

fn read(row: &Row) -> Result<Option<(Caller, SessionId)>, StoreError> {
    let (role, principal, tenant) = owner(row)?;
    let id = SessionId::parse(&row.text("id")?).map_err(|_| StoreError::Corrupt { column: "id" })?;
    let proven_at = row.optional_integer("second_factor_at")?;
    let duty = match (row.integer("must_change")? == 1, row.integer("has_factor")? == 1) {
        (true, _) => Some(Duty::ChangePassword),
        (false, false) => Some(Duty::EnrolFactor),
        // Opened by one factor before there was a second.
        (false, true) if proven_at.is_none() => return Ok(None),
        (false, true) => None,
    };
    let caller = Caller::proven(role, principal, tenant).with_session(Session { id: id.clone(), duty });
    let caller = match proven_at {
        Some(at) => caller.with_second_factor_at(at),
        None => caller,
    };
    Ok(Some((caller, id)))
}

/// `role, principal, tenant` of a row.
pub(super) fn owner(row: &Row) -> Result<(Role, Principal, Option<Tenant>), StoreError> {
    let role = Role::from_name(&row.text("role")?).ok_or(StoreError::Corrupt { column: "role" })?;
    let principal =
        Principal::parse(&row.text("principal")?).map_err(|_| StoreError::Corrupt { column: "principal" })?;
    let tenant = match row.optional_text("tenant")? {
        Some(name) => Some(Tenant::parse(&name).map_err(|_| StoreError::Corrupt { column: "tenant" })?),
        None => None,
    };
    Ok((role, principal, tenant))
}

/// The role of a person whose account is open and whole at this moment, if there is one of that name.
pub(super) async fn live_role(
    from: &mut impl Fetch,
    principal: &Principal,
) -> Result<Option<Role>, StoreError> {
    let row = from
        .fetch_optional(
            "SELECT role FROM person WHERE principal = $1 AND state = 'active' AND must_change = 0 \
             AND factor IS NOT NULL",
            vec![principal.as_str().into()],
        )
        .await?;
    row.map(|row| Role::from_name(&row.text("role")?).ok_or(StoreError::Corrupt { column: "role" }))
        .transpose()
}
