//! What administrators do with accounts: make them, list them, disable and enable them, end their sessions, give a new
//! first password. A second factor is reset by two people, as an approval.

use super::account::{self, Account};
use super::{People, PeopleError, SETUP_US, password};
use crate::caller::Role;
use crate::credential::session;
use crate::record::{Origin, Receipt, Recorder, now_us, rfc3339};
use audit::Action;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use std::sync::Arc;
use store::{Fetch, StoreError, Work};
use tokens::{Principal, Tenant};

/// Letters of a first password, beside its digits: 75 bits.
const FIRST_LETTERS: usize = 16;

/// Who is to get an account.
#[derive(Debug, Clone)]
pub struct NewPerson {
    /// Under which name; it is the person's in the audit log for ever.
    pub principal: Principal,
    /// In what capacity.
    pub role: Role,
    /// For which tenant; none is the whole installation, which only an auditor may see.
    pub tenant: Option<Tenant>,
}

impl NewPerson {
    /// That people hold roles of people, and that only auditors see the whole installation.
    ///
    /// # Errors
    /// One sentence that says what to do.
    pub fn judge(&self) -> Result<(), &'static str> {
        match (self.role, &self.tenant) {
            (Role::Portal | Role::Companion, _) => {
                Err("Portals and the companion are programs: issue an API key with `pangate user add`")
            }
            (Role::Auditor, None) | (_, Some(_)) => Ok(()),
            (_, None) => Err("Name the tenant; only an auditor may see the whole installation"),
        }
    }
}

/// An account as it is listed: nothing of password or factor.
#[derive(Debug, Serialize)]
pub struct Listed {
    /// `person`.
    pub kind: &'static str,
    /// Whose.
    pub principal: String,
    /// In what capacity.
    pub role: String,
    /// For which tenant; none is the whole installation.
    pub tenant: Option<String>,
    /// `active`, `locked` or `disabled`.
    pub state: &'static str,
    /// Whether the password has yet to be changed by its owner.
    pub must_change_password: bool,
    /// Whether there is a second factor.
    pub second_factor: bool,
    /// Until when a locked account is locked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locked_until: Option<String>,
    /// Until when a first password, or an account without a second factor, can be set up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setup_until: Option<String>,
    /// The last sign-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_login_at: Option<String>,
    /// When the account was made.
    pub created_at: String,
    /// Sessions that are open.
    pub sessions: i64,
}

/// The accounts, of one tenant or all.
///
/// # Errors
/// The store's error.
pub async fn list(from: &mut impl Fetch, tenant: Option<&Tenant>) -> Result<Vec<Listed>, StoreError> {
    let now = now_us();
    let rows = from
        .fetch_all(
            "SELECT principal, role, tenant, state, must_change, factor IS NOT NULL AS has_factor, locked_until, \
             setup_until, last_login_at, created_at, (SELECT COUNT(*) FROM session \
             WHERE session.principal = person.principal AND ended_at IS NULL AND expires_at > $2 AND last_seen > $3) AS open \
             FROM person WHERE tenant = $1 OR $1 IS NULL ORDER BY principal",
            vec![
                tenant.map(Tenant::as_str).into(),
                now.into(),
                now.saturating_sub(session::IDLE_US).into(),
            ],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let locked = row.optional_integer("locked_until")?.filter(|until| *until > now);
            Ok(Listed {
                kind: "person",
                principal: row.text("principal")?,
                role: row.text("role")?,
                tenant: row.optional_text("tenant")?,
                state: match (row.text("state")?.as_str(), locked) {
                    ("active", Some(_)) => "locked",
                    ("active", None) => "active",
                    _ => "disabled",
                },
                must_change_password: row.integer("must_change")? == 1,
                second_factor: row.integer("has_factor")? == 1,
                locked_until: locked.map(rfc3339),
                setup_until: row.optional_integer("setup_until")?.map(rfc3339),
                last_login_at: row.optional_integer("last_login_at")?.map(rfc3339),
                created_at: rfc3339(row.integer("created_at")?),
                sessions: row.integer("open")?,
            })
        })
        .collect()
}

/// What an administrator does to one account, in one transaction each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It opens nothing from now on.
    Disable,
    /// It can be used again; a lock is lifted too.
    Enable,
    /// Every session ends.
    RevokeSessions,
}

impl Change {
    fn statement(self) -> Option<&'static str> {
        match self {
            Change::Disable => Some("UPDATE person SET state = 'disabled' WHERE principal = $1"),
            Change::Enable => Some(
                "UPDATE person SET state = 'active', failures = 0, locked_until = NULL WHERE principal = $1",
            ),
            Change::RevokeSessions => None,
        }
    }

    fn recorded(self) -> (Action, &'static str) {
        match self {
            Change::Disable => (Action::CredentialRevoke, "disabled"),
            Change::Enable => (Action::CredentialChange, "enabled"),
            Change::RevokeSessions => (Action::SessionEnd, "sessions_revoked"),
        }
    }
}

/// Does it inside `work`; gives how many sessions ended.
///
/// # Errors
/// [`PeopleError::Unknown`] when the account is not there or is another tenant's, or the store's error.
pub async fn change(
    work: &mut Work<'_>,
    recorder: &Recorder,
    origin: &Origin,
    (principal, within): (&Principal, Option<&Tenant>),
    change: Change,
) -> Result<(u64, Receipt), PeopleError> {
    let account = reached(work, principal, within).await?;
    if let Some(statement) = change.statement() {
        work.execute(statement, vec![principal.as_str().into()]).await?;
    }
    let ended = match change {
        Change::Enable => 0,
        Change::Disable | Change::RevokeSessions => session::end_all(work, principal).await?,
    };
    let (action, reason) = change.recorded();
    let owner = (principal, account.tenant);
    let receipt = account::record(work, recorder, origin, owner, action, reason).await?;
    Ok((ended, receipt))
}

/// The account, if whoever is limited to `within` may know of it.
///
/// # Errors
/// [`PeopleError::Unknown`], or the store's error.
pub async fn reached(
    from: &mut impl Fetch,
    principal: &Principal,
    within: Option<&Tenant>,
) -> Result<Account, PeopleError> {
    let found = account::find(from, principal).await?;
    let own = found.filter(|account| within.is_none() || account.tenant.as_ref() == within);
    own.ok_or(PeopleError::Unknown)
}

/// Makes an account inside `work`, with the hash of a first password, which its owner has to change within three days.
///
/// # Errors
/// [`PeopleError::State`] for a role that people do not hold, [`PeopleError::Taken`], or the store's error.
pub async fn create(
    work: &mut Work<'_>,
    recorder: &Recorder,
    origin: &Origin,
    person: NewPerson,
    hash: &str,
) -> Result<Receipt, PeopleError> {
    person.judge().map_err(PeopleError::State)?;
    let NewPerson { principal, role, tenant } = person;
    if !account::create(work, (&principal, role, tenant.as_ref()), hash, now_us()).await? {
        return Err(PeopleError::Taken);
    }
    let owner = (&principal, tenant);
    Ok(account::record(work, recorder, origin, owner, Action::CredentialCreate, "account").await?)
}

/// Gives the account a new first password inside `work` and ends its sessions. A second factor stays what it is.
///
/// # Errors
/// [`PeopleError::Unknown`], or the store's error.
pub async fn reset_password(
    work: &mut Work<'_>,
    recorder: &Recorder,
    origin: &Origin,
    (principal, within): (&Principal, Option<&Tenant>),
    hash: &str,
) -> Result<Receipt, PeopleError> {
    let account = reached(work, principal, within).await?;
    let former = account.former().join("\n");
    let until = now_us().saturating_add(SETUP_US);
    work.execute(
        "UPDATE person SET password_hash = $2, password_former = $3, must_change = 1, setup_until = $4, \
         failures = 0, locked_until = NULL WHERE principal = $1",
        vec![principal.as_str().into(), hash.into(), former.into(), until.into()],
    )
    .await?;
    session::end_all(work, principal).await?;
    let owner = (principal, account.tenant);
    let changed = Action::CredentialChange;
    Ok(account::record(work, recorder, origin, owner, changed, "password_reset").await?)
}

/// Draws a first password and hashes it; nothing without random bytes. Slow on purpose.
pub fn first_password() -> Option<(SecretString, String)> {
    let letters = tokens::random_letters(FIRST_LETTERS).ok()?;
    let groups: Vec<&str> =
        letters.as_bytes().chunks(4).filter_map(|group| std::str::from_utf8(group).ok()).collect();
    // A digit, so that it is a password like any other.
    let password = SecretString::from(format!("{}-7", groups.join("-")));
    let hash = password::hash(password.expose_secret())?;
    Some((password, hash))
}

impl People {
    /// As [`create`], in a transaction of its own; gives the first password, to be shown once.
    ///
    /// # Errors
    /// As there, or a part that is away.
    pub async fn create(
        &self,
        origin: &Origin,
        person: NewPerson,
    ) -> Result<(SecretString, Receipt), PeopleError> {
        let (first, hash) = self.first_password().await?;
        let (parts, origin) = (Arc::clone(&self.0), origin.clone());
        let made = self.0.store.commit(move |work| {
            Box::pin(async move { create(work, &parts.recorder, &origin, person, &hash).await })
        });
        Ok((first, made.await?))
    }

    /// As [`reset_password`], in a transaction of its own; gives the first password, to be shown once.
    ///
    /// # Errors
    /// As there, or a part that is away.
    pub async fn reset_password(
        &self,
        origin: &Origin,
        principal: Principal,
        within: Option<Tenant>,
    ) -> Result<(SecretString, Receipt), PeopleError> {
        let (first, hash) = self.first_password().await?;
        let (parts, origin) = (Arc::clone(&self.0), origin.clone());
        let reset = self.0.store.commit(move |work| {
            Box::pin(async move {
                reset_password(work, &parts.recorder, &origin, (&principal, within.as_ref()), &hash).await
            })
        });
        Ok((first, reset.await?))
    }

    /// As [`change`], in a transaction of its own.
    ///
    /// # Errors
    /// As there.
    pub async fn change(
        &self,
        origin: &Origin,
        principal: Principal,
        within: Option<Tenant>,
        what: Change,
    ) -> Result<(u64, Receipt), PeopleError> {
        let (parts, origin) = (Arc::clone(&self.0), origin.clone());
        let changed = self.0.store.commit(move |work| {
            Box::pin(async move {
                change(work, &parts.recorder, &origin, (&principal, within.as_ref()), what).await
            })
        });
        changed.await
    }

    async fn first_password(&self) -> Result<(SecretString, String), PeopleError> {
        self.0.hasher.run(first_password).await?.ok_or(PeopleError::Overloaded)
    }
}
