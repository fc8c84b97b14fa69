//! What the policy answers. A denial always says which rule it comes from and what would satisfy it.

/// An answer of the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Allowed, by these rules.
    Allowed {
        /// The `@id` of each rule that allowed it, in order.
        by: Vec<String>,
    },
    /// Denied.
    Denied(Denial),
}

/// Why something is denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// What kind of denial it is.
    pub why: Why,
    /// What would satisfy the policy.
    pub remedy: String,
}

/// The kinds of denial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// A rule forbids it.
    Forbidden {
        /// The rule's `@id`.
        rule: String,
    },
    /// No rule allows it.
    NotAllowed,
    /// A rule could not be evaluated, and so nothing can be allowed.
    NotEvaluated {
        /// The rule's `@id`, where it is known.
        rule: Option<String>,
    },
}

impl Decision {
    /// Whether it is allowed.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Decision::Allowed { .. })
    }
}

impl Denial {
    /// The rule at work, where it is one.
    pub fn rule(&self) -> Option<&str> {
        match &self.why {
            Why::Forbidden { rule } => Some(rule),
            Why::NotAllowed => None,
            Why::NotEvaluated { rule } => rule.as_deref(),
        }
    }
}
