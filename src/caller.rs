//! Who calls: a role, a name and a tenant, made only from a credential that was looked up.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use tokens::{Principal, SessionId, Tenant};

/// What a credential was issued for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A patient payment portal: posts cards, never reads them back.
    Portal,
    /// Billing staff: charges and refunds by token.
    Staff,
    /// Reads the audit log and the key inventory.
    Auditor,
    /// Shreds tokens, manages credentials.
    Admin,
    /// The claims-and-statements service: charges by token.
    Companion,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 5] = [Role::Portal, Role::Staff, Role::Auditor, Role::Admin, Role::Companion];

    /// The role's name in the database and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Portal => "portal",
            Role::Staff => "staff",
            Role::Auditor => "auditor",
            Role::Admin => "admin",
            Role::Companion => "companion",
        }
    }

    /// The role of that name.
    pub fn from_name(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// The same role in the audit log's words.
    pub fn actor(self) -> audit::ActorRole {
        match self {
            Role::Portal => audit::ActorRole::Portal,
            Role::Staff => audit::ActorRole::Staff,
            Role::Auditor => audit::ActorRole::Auditor,
            Role::Admin => audit::ActorRole::Admin,
            Role::Companion => audit::ActorRole::Companion,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a person has to do before the session opens anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// The password is known to whoever made the account.
    ChangePassword,
    /// There is no second factor yet.
    EnrolFactor,
}

impl Duty {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Duty::ChangePassword => "change_password",
            Duty::EnrolFactor => "enrol_factor",
        }
    }
}

/// The session by which a person calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its name.
    pub id: SessionId,
    /// What has to be done first.
    pub duty: Option<Duty>,
}

/// An authenticated someone. Only `credential` can make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    role: Role,
    principal: Principal,
    tenant: Option<Tenant>,
    second_factor_at: Option<i64>,
    source: Option<IpAddr>,
    session: Option<Session>,
}

impl Caller {
    /// A caller whose credential was found valid; for `credential` alone.
    pub(crate) fn proven(role: Role, principal: Principal, tenant: Option<Tenant>) -> Caller {
        Caller { role, principal, tenant, second_factor_at: None, source: None, session: None }
    }

    /// The same, who showed a second factor at that time, in unix microseconds.
    #[must_use]
    pub(crate) fn with_second_factor_at(mut self, at_us: i64) -> Caller {
        self.second_factor_at = Some(at_us);
        self
    }

    /// The same, who calls from there.
    #[must_use]
    pub(crate) fn with_source(mut self, source: IpAddr) -> Caller {
        self.source = Some(source);
        self
    }

    /// The same, by a session.
    #[must_use]
    pub(crate) fn with_session(mut self, session: Session) -> Caller {
        self.session = Some(session);
        self
    }

    /// The role.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The name in the audit log.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The tenant that the credential is bound to; `None` is the whole installation.
    pub fn tenant(&self) -> Option<&Tenant> {
        self.tenant.as_ref()
    }

    /// When a second factor was shown, in unix microseconds; never by an API key.
    pub fn second_factor_at(&self) -> Option<i64> {
        self.second_factor_at
    }

    /// The network address that the call came from.
    pub fn source(&self) -> Option<IpAddr> {
        self.source
    }

    /// The session of a person; none of an API key.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }
}
