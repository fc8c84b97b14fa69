//! One account as its row, and the changes that a transaction makes to it.

use super::{LOCKED_US, SETUP_US, TRIES, password};
use crate::caller::Role;
use crate::credential::session;
use crate::record::{Event, Origin, Recorder};
use audit::{Action, Actor, Reason, Resource};
use store::{Fetch, Row, StoreError, Work};
use tokens::{Principal, Tenant};

/// An account.
#[derive(Clone)]
pub struct Account {
    /// Whose.
    pub principal: Principal,
    /// In what capacity.
    pub role: Role,
    /// For which tenant; none is the whole installation.
    pub tenant: Option<Tenant>,
    pub(super) active: bool,
    pub(super) password_hash: String,
    pub(super) password_former: String,
    pub(super) must_change: bool,
    pub(super) setup_until: Option<i64>,
    pub(super) factor: Option<Vec<u8>>,
    pub(super) factor_pending: Option<Vec<u8>>,
    pub(super) factor_step: Option<i64>,
    pub(super) failures: i64,
    pub(super) locked_until: Option<i64>,
}

macro_rules! columns {
    () => {
        "principal, role, tenant, state, password_hash, password_former, must_change, setup_until, factor, \
         factor_pending, factor_step, failures, locked_until"
    };
}

impl Account {
    fn read(row: &Row) -> Result<Account, StoreError> {
        let corrupt = |column| StoreError::Corrupt { column };
        let tenant = row.optional_text("tenant")?.map(|name| Tenant::parse(&name));
        Ok(Account {
            principal: Principal::parse(&row.text("principal")?).map_err(|_| corrupt("principal"))?,
            role: Role::from_name(&row.text("role")?).ok_or(corrupt("role"))?,
            tenant: tenant.transpose().map_err(|_| corrupt("tenant"))?,
            active: row.text("state")? == "active",
            password_hash: row.text("password_hash")?,
            password_former: row.text("password_former")?,
            must_change: row.integer("must_change")? == 1,
            setup_until: row.optional_integer("setup_until")?,
            factor: row.optional_bytes("factor")?,
            factor_pending: row.optional_bytes("factor_pending")?,
            factor_step: row.optional_integer("factor_step")?,
            failures: row.integer("failures")?,
            locked_until: row.optional_integer("locked_until")?,
        })
    }

    /// Whether it can be used at that time, if what is shown is right.
    pub(super) fn is_open(&self, now_us: i64) -> bool {
        self.active && self.setup_until.is_none_or(|until| until > now_us)
    }

    /// The hashes of its last passwords, the present one first.
    pub(super) fn former(&self) -> Vec<String> {
        let present = std::iter::once(self.password_hash.as_str());
        let hashes = present.chain(self.password_former.lines()).filter(|line| !line.is_empty());
        hashes.take(password::REMEMBERED).map(str::to_owned).collect()
    }

    /// Whether there is a second factor.
    pub fn has_factor(&self) -> bool {
        self.factor.is_some()
    }

    /// What is done on behalf of its owner, as the log names it.
    pub(super) fn origin(&self, origin: &Origin) -> Origin {
        Origin {
            actor: Actor { role: self.role.actor(), principal: Some(self.principal.clone()) },
            tenant: self.tenant.clone(),
            ..origin.clone()
        }
    }
}

/// The account of that name, if there is one.
///
/// # Errors
/// The store's error.
pub async fn find(from: &mut impl Fetch, principal: &Principal) -> Result<Option<Account>, StoreError> {
    let sql = concat!("SELECT ", columns!(), " FROM person WHERE principal = $1");
    let row = from.fetch_optional(sql, vec![principal.as_str().into()]).await?;
    row.map(|row| Account::read(&row)).transpose()
}

/// Counts a try before anything is compared. Gives the account, and whether this try may be compared at all.
pub(super) async fn try_once(
    work: &mut Work<'_>,
    recorder: &Recorder,
    origin: &Origin,
    principal: &Principal,
    now_us: i64,
) -> Result<Option<(Account, bool)>, StoreError> {
    // The row is this transaction's from here on: of many that try at once each is counted.
    let sql =
        concat!("UPDATE person SET failures = failures + 1 WHERE principal = $1 RETURNING ", columns!());
    let Some(row) = work.fetch_optional(sql, vec![principal.as_str().into()]).await? else { return Ok(None) };
    let account = Account::read(&row)?;
    let (failures, locked_until) = match account.locked_until {
        Some(until) if until > now_us => (account.failures.saturating_sub(1), Some(until)),
        Some(_) => (1, None),
        None if account.failures >= TRIES => (account.failures, Some(now_us.saturating_add(LOCKED_US))),
        None => (account.failures, None),
    };
    let locked_before = account.locked_until.is_some_and(|until| until > now_us);
    work.execute(
        "UPDATE person SET failures = $2, locked_until = $3 WHERE principal = $1",
        vec![principal.as_str().into(), failures.into(), locked_until.into()],
    )
    .await?;
    if locked_until.is_some() && !locked_before {
        let event = Event::refused(
            Action::CredentialChange,
            Resource::Credential(principal.clone()),
            "locked_after_failed_tries",
        );
        let mut origin = origin.clone();
        origin.tenant = account.tenant.clone();
        let _receipt = recorder.append(work, &origin, event).await?;
    }
    Ok(Some((account, !locked_before)))
}

/// Notes that all was right, once: `false` when the code of that step was used meanwhile, or password, factor or state
/// are not any more what was compared.
pub(super) async fn succeed(
    work: &mut Work<'_>,
    account: &Account,
    step: Option<i64>,
    now_us: i64,
) -> Result<bool, StoreError> {
    let mut args =
        vec![account.principal.as_str().into(), account.password_hash.as_str().into(), now_us.into()];
    let changed = match step {
        Some(step) => {
            args.push(step.into());
            let sql = "UPDATE person SET failures = 0, locked_until = NULL, last_login_at = $3, factor_step = $4 \
                       WHERE principal = $1 AND password_hash = $2 AND state = 'active' AND factor IS NOT NULL \
                       AND (factor_step IS NULL OR factor_step < $4)";
            work.execute(sql, args).await?
        }
        None => {
            let sql = "UPDATE person SET failures = 0, locked_until = NULL, last_login_at = $3 \
                       WHERE principal = $1 AND password_hash = $2 AND state = 'active' AND factor IS NULL";
            work.execute(sql, args).await?
        }
    };
    Ok(changed == 1)
}

/// Puts a new account down, with a password that has to be changed.
///
/// # Errors
/// The store's error; `false` when the name is taken.
pub(super) async fn create(
    work: &mut Work<'_>,
    (principal, role, tenant): (&Principal, Role, Option<&Tenant>),
    password_hash: &str,
    now_us: i64,
) -> Result<bool, StoreError> {
    // An API key of the same name is the same person's, so it has to be of the same tenant.
    let stranger = work
        .fetch_optional(
            "SELECT 1 AS n FROM credential WHERE principal = $1 AND COALESCE(tenant, '') <> COALESCE($2, '') LIMIT 1",
            vec![principal.as_str().into(), tenant.map(Tenant::as_str).into()],
        )
        .await?;
    if stranger.is_some() {
        return Ok(false);
    }
    let added = work
        .execute(
            "INSERT INTO person (principal, role, tenant, state, password_hash, password_former, must_change, \
             setup_until, created_at, password_changed_at) VALUES ($1, $2, $3, 'active', $4, '', 1, $5, $6, $7) \
             ON CONFLICT DO NOTHING",
            vec![
                principal.as_str().into(),
                role.as_str().into(),
                tenant.map(Tenant::as_str).into(),
                password_hash.into(),
                now_us.saturating_add(SETUP_US).into(),
                now_us.into(),
                now_us.into(),
            ],
        )
        .await?;
    Ok(added == 1)
}

/// Takes the second factor away and ends every session: the owner has three days to enrol another. `false` when there
/// is no such account, or nothing to take away.
///
/// # Errors
/// The store's error.
pub async fn reset_factor(
    work: &mut Work<'_>,
    recorder: &Recorder,
    origin: &Origin,
    principal: &Principal,
    now_us: i64,
) -> Result<bool, StoreError> {
    let row = work
        .fetch_optional(
            "UPDATE person SET factor = NULL, factor_kek_version = NULL, factor_since = NULL, factor_pending = NULL, \
             failures = 0, locked_until = NULL, setup_until = $2 WHERE principal = $1 AND factor IS NOT NULL \
             RETURNING tenant",
            vec![principal.as_str().into(), now_us.saturating_add(SETUP_US).into()],
        )
        .await?;
    let Some(row) = row else { return Ok(false) };
    session::end_all(work, principal).await?;
    let tenant = row.optional_text("tenant")?.and_then(|name| Tenant::parse(&name).ok());
    let owner = (principal, tenant);
    let _receipt = record(work, recorder, origin, owner, Action::CredentialChange, "factor_reset").await?;
    Ok(true)
}

/// Records what was done to an account, with the reason in a word.
pub(super) async fn record(
    work: &mut Work<'_>,
    recorder: &Recorder,
    origin: &Origin,
    (principal, tenant): (&Principal, Option<Tenant>),
    action: Action,
    reason: &str,
) -> Result<crate::record::Receipt, StoreError> {
    let resource = Resource::Credential(principal.clone());
    let event = Event { reason: Reason::parse(reason).ok(), ..Event::success(action, resource) };
    let origin = Origin { tenant, ..origin.clone() };
    recorder.append(work, &origin, event).await
}
