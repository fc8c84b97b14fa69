//! Who calls: a role, a name and a tenant, made only from a credential that was looked up.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use tokens::{Principal, Tenant};

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

/// An authenticated someone. Only `credential` can make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    role: Role,
    principal: Principal,
    tenant: Option<Tenant>,
    second_factor_at: Option<i64>,
    source: Option<IpAddr>,
}

impl Caller {
    /// A caller whose credential was found valid; for `credential` alone.
    pub(crate) fn proven(role: Role, principal: Principal, tenant: Option<Tenant>) -> Caller {
        Caller { role, principal, tenant, second_factor_at: None, source: None }
    }

    /// The same caller, whose second factor was proven at that time (unix µs); for whoever proved it alone.
    #[must_use]
    pub fn with_second_factor_at(self, time_us: i64) -> Caller {
        Caller { second_factor_at: Some(time_us), ..self }
    }

    /// The same caller, calling from that network address.
    #[must_use]
    pub(crate) fn calling_from(self, source: IpAddr) -> Caller {
        Caller { source: Some(source), ..self }
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

    /// When the caller's second factor was proven, in unix microseconds; `None` of an API key, which has none.
    pub fn second_factor_at(&self) -> Option<i64> {
        self.second_factor_at
    }

    /// The network address that the request came from; `None` on the command line.
    pub fn source(&self) -> Option<IpAddr> {
        self.source
    }
}
