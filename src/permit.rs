//! The ticket into an action. Deny is the default; the policy folder is the whole policy of who may do what.
//!
//! An action takes its `Permit` by value, so a forgotten check is a missing argument, not a hole.

pub use crate::act::{
    Act, Charge, Installation, ListKeys, ListPeople, ManageKeys, ManagePeople, OneTenant, OwnAccount, Pass,
    ReadAudit, ReadCharge, ReadDeviceLog, ReadToken, Refund, Scope, Shred, Tokenize,
};

use crate::caller::{Caller, Role};
use crate::governance::{Bundle, Ineffective};
use policy::{Circumstances, Decision, Denial, Relation};
use std::marker::PhantomData;
use std::sync::Arc;
use tokens::{Money, Principal, Tenant};

/// Permission for one act of kind `A`, by one caller, spent by use.
///
/// ```compile_fail
/// // A permit cannot be made outside this module.
/// let forged = pangate::permit::Permit::<pangate::permit::Refund> { scope: todo!(), judge: todo!(), act: todo!() };
/// ```
#[derive(Debug)]
pub struct Permit<A: Act> {
    scope: A::Scope,
    judge: Judge,
    act: PhantomData<A>,
}

/// Why there is no permit: the rule that stands in the way, and what would satisfy it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.remedy())]
pub struct Denied {
    denial: Denial,
    because: Option<Ineffective>,
}

impl Denied {
    /// The `@id` of the rule that forbids it, or that cannot be evaluated; `None` when no rule allows it.
    pub fn rule(&self) -> Option<&str> {
        self.denial.rule()
    }

    /// What would satisfy the policy.
    pub fn remedy(&self) -> String {
        self.because.as_ref().map_or_else(|| self.denial.remedy.clone(), Ineffective::to_string)
    }

    /// Why the role is not effective, where that alone is in the way.
    pub fn because(&self) -> Option<&Ineffective> {
        self.because.as_ref()
    }
}

/// Who asked for what under which policy: asked again once the amount of the act is known.
#[derive(Debug, Clone)]
pub struct Judge {
    bundle: Arc<Bundle>,
    caller: Caller,
    act: &'static str,
    now_us: i64,
}

/// Asks the policy, at that time (unix µs).
///
/// # Errors
/// [`Denied`] when no rule allows it, or one forbids it.
pub fn ask<A: Act>(bundle: &Arc<Bundle>, caller: &Caller, now_us: i64) -> Result<Permit<A>, Denied> {
    let judge = Judge { bundle: bundle.clone(), caller: caller.clone(), act: A::NAME, now_us };
    judge.decide(&judge.circumstances())?;
    let scope = A::Scope::of(caller).ok_or_else(no_tenant)?;
    Ok(Permit { scope, judge, act: PhantomData })
}

/// Whether somebody of that name and role may do acts of this kind at that time (unix µs), with a second factor just
/// proven and another person's agreement: as far as that can be told of somebody who does not call.
pub fn may<A: Act>(bundle: &Bundle, name: &Principal, role: Role, now_us: i64) -> bool {
    let somebody = Caller::proven(role, name.clone(), None);
    let best = Circumstances { mfa_age: Some(0), approvals: 1, ..Circumstances::at(seconds(now_us)) };
    bundle.decide(&somebody, A::NAME, Relation::Own, &best).decision.is_allowed()
}

/// A policy that lets an act on one tenant through without one does not make one.
fn no_tenant() -> Denied {
    let remedy = "this act concerns one tenant; use a credential that is bound to it".to_owned();
    Denied { denial: Denial { why: policy::Why::NotAllowed, remedy }, because: None }
}

fn seconds(time_us: i64) -> i64 {
    time_us.div_euclid(1_000_000)
}

impl Judge {
    /// Whether the act may move that much.
    ///
    /// # Errors
    /// [`Denied`] when a rule forbids it.
    pub fn allows(&self, amount: Money) -> Result<(), Denied> {
        let amount = Some((amount.minor(), amount.currency().to_string()));
        self.decide(&Circumstances { amount, ..self.circumstances() })
    }

    /// Whether the act may move that much, now that so many other people agreed to it.
    ///
    /// # Errors
    /// [`Denied`] when a rule forbids it.
    pub fn allows_approved(&self, amount: Money, approvals: u32) -> Result<(), Denied> {
        let amount = Some((amount.minor(), amount.currency().to_string()));
        self.decide(&Circumstances { amount, approvals: approvals.into(), ..self.circumstances() })
    }

    fn circumstances(&self) -> Circumstances {
        let proven = self.caller.second_factor_at();
        Circumstances {
            mfa_age: proven.map(|at| seconds(self.now_us.saturating_sub(at))),
            source: self.caller.source(),
            ..Circumstances::at(seconds(self.now_us))
        }
    }

    fn decide(&self, circumstances: &Circumstances) -> Result<(), Denied> {
        let relation = if self.caller.tenant().is_some() { Relation::Own } else { Relation::None };
        let decided = self.bundle.decide(&self.caller, self.act, relation, circumstances);
        match decided.decision {
            Decision::Allowed { .. } => Ok(()),
            Decision::Denied(denial) => Err(Denied { denial, because: decided.because }),
        }
    }
}

impl<A: Act> Permit<A> {
    /// Who was permitted.
    pub fn caller(&self) -> &Caller {
        &self.judge.caller
    }

    /// What it reaches.
    pub fn scope(&self) -> &A::Scope {
        &self.scope
    }

    /// For whoever finds out how much money the act moves.
    pub fn judge(&self) -> Judge {
        self.judge.clone()
    }
}

impl<A: Act<Scope = OneTenant>> Permit<A> {
    /// The tenant whose data the act may touch: every query takes it from here.
    pub fn tenant(&self) -> &Tenant {
        self.scope.tenant()
    }
}

#[cfg(test)]
pub(crate) mod tests;
