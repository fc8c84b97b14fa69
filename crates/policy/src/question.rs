//! What the policy is asked: who, in what capacity, wants to do what to whose data, under which circumstances.

use std::net::IpAddr;

/// Whose data an act concerns, as seen from the credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relation {
    /// The tenant that the credential is bound to.
    Own,
    /// Another tenant than that.
    Other,
    /// The credential is bound to no tenant: it speaks for the installation.
    None,
}

impl Relation {
    /// Every relation.
    pub const ALL: [Relation; 3] = [Relation::Own, Relation::Other, Relation::None];

    /// The word that rules use.
    pub fn as_str(self) -> &'static str {
        match self {
            Relation::Own => "own",
            Relation::Other => "other",
            Relation::None => "none",
        }
    }

    /// The relation of that word.
    pub fn from_name(name: &str) -> Option<Relation> {
        Relation::ALL.into_iter().find(|relation| relation.as_str() == name)
    }
}

/// What else a decision may depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circumstances {
    /// Why the role is not effective now, as a stable code such as `training_expired`; `None` when it is.
    pub ineffective: Option<&'static str>,
    /// Whole seconds since the caller's second factor was proven; `None` when none was.
    pub mfa_age: Option<i64>,
    /// The amount of money in the currency's minor units, with the currency's ISO 4217 code; `None` while it is not
    /// known or where the act moves none.
    pub amount: Option<(i64, String)>,
    /// How many other people agreed to exactly this act.
    pub approvals: i64,
    /// Where the request came from; `None` for the command line.
    pub source: Option<IpAddr>,
    /// Now, in whole unix seconds.
    pub time: i64,
}

impl Circumstances {
    /// At that time (unix seconds), with an effective role and nothing else that a rule could ask for.
    pub fn at(time: i64) -> Circumstances {
        Circumstances { ineffective: None, mfa_age: None, amount: None, approvals: 0, source: None, time }
    }
}

/// One question.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// The caller's kind, for instance `staff`: an entity type of the schema, there with a capital.
    pub kind: &'a str,
    /// The caller's name.
    pub name: &'a str,
    /// The act.
    pub action: &'a str,
    /// The tenant that the act concerns; `None` is the installation.
    pub tenant: Option<&'a str>,
    /// How the credential stands to that tenant.
    pub relation: Relation,
    /// What else counts.
    pub circumstances: &'a Circumstances,
}
