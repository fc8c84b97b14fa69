//! One consistent reading of the folder.

use super::Faults;
use super::folder::{Folder, hex};
use crate::act;
use crate::caller::{Caller, Role};
use policy::{Circumstances, Decision, Policy, Question, Relation, Words};

/// Files that the gateway reads once, when it starts.
const FIXED: [&str; 2] = ["routes.toml", "keys.toml"];

/// What is in force, as one value.
#[derive(Debug)]
pub struct Bundle {
    policy: Policy,
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
        let fixed = |name: &&'static str| (*name, folder.text(name).unwrap_or_default().to_owned());
        match policy {
            Some(policy) if faults.is_empty() => {
                Ok(Bundle { policy, hash: folder.hash(), fixed: FIXED.iter().map(fixed).collect() })
            }
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
    ) -> Decision {
        self.policy.decide(&Question {
            kind: caller.role().as_str(),
            name: caller.principal().as_str(),
            action,
            tenant: caller.tenant().map(tokens::Tenant::as_str),
            relation,
            circumstances,
        })
    }

    /// Asks the policy about somebody who does not call.
    pub fn ask(
        &self,
        role: Role,
        name: &str,
        action: &str,
        relation: Relation,
        circumstances: &Circumstances,
    ) -> Decision {
        let tenant = match relation {
            Relation::Own | Relation::Other => Some("a-tenant"),
            Relation::None => None,
        };
        self.policy.decide(&Question { kind: role.as_str(), name, action, tenant, relation, circumstances })
    }
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
