//! The ticket into an action. Deny is the default; the table below is the whole policy of who may do what.
//!
//! An action takes its `Permit` by value, so a forgotten check is a missing argument, not a hole.

mod act;

pub use act::{
    Act, Charge, Installation, ListKeys, ListPeople, ManageKeys, ManagePeople, OneTenant, OwnAccount, Pass,
    ReadAudit, ReadCharge, ReadDeviceLog, ReadToken, Refund, Scope, Shred, Tokenize,
};

use crate::caller::{Caller, Role};
use std::marker::PhantomData;
use tokens::Tenant;

/// Permission for one act of kind `A`, by one caller, spent by use.
///
/// ```compile_fail
/// // A permit cannot be made outside this module.
/// let forged = pangate::permit::Permit::<pangate::permit::Refund> { caller: todo!(), scope: todo!(), act: todo!() };
/// ```
#[derive(Debug)]
pub struct Permit<A: Act> {
    caller: Caller,
    scope: A::Scope,
    act: PhantomData<A>,
}

/// Why there is no permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The role may not.
    #[error(
        "the credential's role may not do this; ask an administrator for a credential of a role that may"
    )]
    Role,
    /// The act concerns one tenant and the credential is bound to none.
    #[error("this act concerns one tenant; use a credential that is bound to it")]
    NoTenant,
}

/// Asks the policy.
///
/// # Errors
/// [`Denied`] when no rule allows it.
pub fn ask<A: Act>(caller: &Caller) -> Result<Permit<A>, Denied> {
    if !allowed(caller.role(), A::NAME) {
        return Err(Denied::Role);
    }
    let scope = A::Scope::of(caller).ok_or(Denied::NoTenant)?;
    Ok(Permit { caller: caller.clone(), scope, act: PhantomData })
}

/// Whether credentials of that role may do acts of this kind at all.
pub fn may<A: Act>(role: Role) -> bool {
    allowed(role, A::NAME)
}

/// Role by role, what it may do. Everything else is refused.
fn allowed(role: Role, act: &str) -> bool {
    let acts: &[&str] = match role {
        Role::Portal => &["tokenize", "read_token", "pass"],
        Role::Staff => &["read_token", "charge", "read_charge", "refund", "own_account"],
        Role::Companion => &["read_token", "charge", "read_charge"],
        Role::Auditor => &[
            "read_audit",
            "read_device_log",
            "list_keys",
            "manage_keys",
            "read_charge",
            "own_account",
            "list_people",
        ],
        Role::Admin => &[
            "shred",
            "read_device_log",
            "list_keys",
            "manage_keys",
            "own_account",
            "list_people",
            "manage_people",
        ],
    };
    acts.contains(&act)
}

impl<A: Act> Permit<A> {
    /// Who was permitted.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What it reaches.
    pub fn scope(&self) -> &A::Scope {
        &self.scope
    }
}

impl<A: Act<Scope = OneTenant>> Permit<A> {
    /// The tenant whose data the act may touch: every query takes it from here.
    pub fn tenant(&self) -> &Tenant {
        self.scope.tenant()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokens::Principal;

    /// The policy as a picture: a rule change shows its effect here.
    const MATRIX: &str = "\
           tokenize read_token pass charge read_charge refund shred read_audit read_device_log list_keys manage_keys own_account list_people manage_people
portal        ✔         ✔       ✔     ✘         ✘        ✘     ✘       ✘             ✘            ✘          ✘          ✘           ✘            ✘
staff         ✘         ✔       ✘     ✔         ✔        ✔     ✘       ✘             ✘            ✘          ✘          ✔           ✘            ✘
auditor       ✘         ✘       ✘     ✘         ✔        ✘     ✘       ✔             ✔            ✔          ✔          ✔           ✔            ✘
admin         ✘         ✘       ✘     ✘         ✘        ✘     ✔       ✘             ✔            ✔          ✔          ✔           ✔            ✔
companion     ✘         ✔       ✘     ✔         ✔        ✘     ✘       ✘             ✘            ✘          ✘          ✘           ✘            ✘";

    #[test]
    fn the_matrix_is_the_policy() {
        let mut lines = MATRIX.lines();
        let acts: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
        for (line, role) in lines.zip(Role::ALL) {
            let mut cells = line.split_whitespace();
            assert_eq!(cells.next(), Some(role.as_str()));
            for (act, cell) in acts.iter().zip(cells) {
                assert_eq!(allowed(role, act), cell == "✔", "{role} {act}");
            }
        }
    }

    #[test]
    fn an_act_on_one_tenant_needs_a_credential_of_that_tenant() {
        let name = Principal::parse("anna").unwrap();
        let nowhere = Caller::proven(Role::Staff, name.clone(), None);
        assert_eq!(ask::<Refund>(&nowhere).err(), Some(Denied::NoTenant));
        let tenant = Tenant::parse("north").unwrap();
        let staff = Caller::proven(Role::Staff, name, Some(tenant.clone()));
        assert_eq!(ask::<Refund>(&staff).unwrap().tenant(), &tenant);
        assert_eq!(ask::<Tokenize>(&staff).err(), Some(Denied::Role));
    }
}
