//! One consistent reading of the folder.

use super::folder::{Folder, hex};
use super::people::{Ineffective, Notice, People};
use super::vendors::{Egress, NoEgress, Vendors};
use super::{Faults, record};
use crate::act;
use crate::caller::{Caller, Role};
use policy::{Circumstances, Decision, Policy, Question, Relation, Words};
use std::net::IpAddr;

/// Files that the gateway reads once, when it starts.
const FIXED: [&str; 2] = ["routes.toml", "keys.toml"];

/// What is in force, as one value.
#[derive(Debug)]
pub struct Bundle {
    policy: Policy,
    people: People,
    vendors: Vendors,
    hash: [u8; 32],
    fixed: Vec<(&'static str, String)>,
}

impl Bundle {
    /// Checks the folder's texts.
    ///
    /// # Errors
    /// Every fault that was found.
    pub fn of(folder: &Folder) -> Result<Bundle, Faults> {
        let mut faults = Vec::new();
        let policy = match (folder.text(Policy::RULES), folder.text(Policy::SCHEMA)) {
            (Ok(rules), Ok(schema)) => parse(rules, schema).map_err(|found| faults.extend(found)).ok(),
            (rules, schema) => {
                faults.extend([rules.err(), schema.err()].into_iter().flatten());
                None
            }
        };
        let people = People::of(folder).map_err(|found| faults.extend(found)).ok();
        let vendors = Vendors::of(folder).map_err(|found| faults.extend(found)).ok();
        let fixed = |name: &&'static str| (*name, folder.text(name).unwrap_or_default().to_owned());
        match (policy, people, vendors) {
            (Some(policy), Some(people), Some(vendors)) if faults.is_empty() => Ok(Bundle {
                policy,
                people,
                vendors,
                hash: folder.hash(),
                fixed: FIXED.iter().map(fixed).collect(),
            }),
            _ => Err(Faults(faults)),
        }
    }

    /// SHA-256 of the whole folder; [`Folder::hash`] says how to repeat it.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// The same in hexadecimal, as `sha256sum` prints it.
    pub fn hash_text(&self) -> String {
        hex(&self.hash)
    }

    /// The files that differ in `other`, of those which a running gateway does not read again.
    pub(super) fn fixed_files_that_differ(&self, other: &Bundle) -> Vec<&'static str> {
        let pairs = self.fixed.iter().zip(&other.fixed);
        pairs.filter(|(one, two)| one != two).map(|((name, _), _)| *name).collect()
    }

    /// Asks the policy whether a caller may do an act.
    pub fn decide(
        &self,
        caller: &Caller,
        action: &str,
        relation: Relation,
        circumstances: &Circumstances,
    ) -> Decided {
        let tenant = caller.tenant().map(tokens::Tenant::as_str);
        self.judge(caller.role(), caller.principal().as_str(), action, (tenant, relation), circumstances)
    }

    /// Asks the policy about somebody who does not call.
    pub fn ask(
        &self,
        role: Role,
        name: &str,
        action: &str,
        relation: Relation,
        circumstances: &Circumstances,
    ) -> Decided {
        let tenant = match relation {
            Relation::Own | Relation::Other => Some("a-tenant"),
            Relation::None => None,
        };
        self.judge(role, name, action, (tenant, relation), circumstances)
    }

    /// Whether data of those classes may go to a host at that time in unix seconds: by its name, or at the addresses to
    /// which the name led.
    ///
    /// # Errors
    /// [`NoEgress`], which says what to do.
    pub fn egress(
        &self,
        host: &str,
        addresses: Option<&[IpAddr]>,
        classes: &[Egress],
        time: i64,
    ) -> Result<(), NoEgress> {
        let today = record::day_of(time);
        match addresses {
            Some(addresses) => self.vendors.permits_at(host, addresses, classes, today),
            None => self.vendors.permits(host, classes, today),
        }
    }

    /// What is due about people and vendors, at that time in unix seconds.
    pub fn notices(&self, time: i64) -> Vec<Notice> {
        let today = record::day_of(time);
        let mut notices = self.people.notices(today);
        notices.extend(self.vendors.notices(today, self.people.warn_before_days()));
        notices
    }

    fn judge(
        &self,
        role: Role,
        name: &str,
        action: &str,
        (tenant, relation): (Option<&str>, Relation),
        circumstances: &Circumstances,
    ) -> Decided {
        let ask = |circumstances: &Circumstances| {
            let kind = role.as_str();
            self.policy.decide(&Question { kind, name, action, tenant, relation, circumstances })
        };
        let Some(why) = self.people.ineffective(role, name, record::day_of(circumstances.time)) else {
            return Decided { decision: ask(circumstances), because: None };
        };
        let decision = ask(&Circumstances { ineffective: Some(why.code()), ..circumstances.clone() });
        // Whether that is what stands in the way, the policy alone knows.
        let matters = !decision.is_allowed() && ask(circumstances).is_allowed();
        Decided { decision, because: matters.then_some(why) }
    }
}

/// A decision, and what keeps the role from being effective where that is what denied it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// The policy's answer.
    pub decision: Decision,
    /// Why the role is not effective, when the act would be allowed if it were.
    pub because: Option<Ineffective>,
}

fn parse(rules: &str, schema: &str) -> Result<Policy, Vec<policy::Fault>> {
    let kinds = Role::ALL.map(Role::as_str);
    let acts = |one_tenant: bool| -> Vec<&str> {
        act::ALL.iter().filter(|(_, one)| *one == one_tenant).map(|(name, _)| *name).collect()
    };
    let (on_one_tenant, on_the_installation) = (acts(true), acts(false));
    let words =
        Words { kinds: &kinds, on_one_tenant: &on_one_tenant, on_the_installation: &on_the_installation };
    Policy::parse(rules, schema, &words)
}
