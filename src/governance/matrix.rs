//! The policy as a picture: every kind of caller, every act, every way to stand to a tenant.

use super::Bundle;
use crate::act;
use crate::caller::Role;
use policy::{Circumstances, Decision, Relation, Why};
use std::fmt::Write as _;

const HEAD: &str = "\
# Who may do what: a caller's kind, an act, and for each tenant relation the answer and the rule that gives it.
#   own    the tenant that the credential is bound to
#   other  another tenant
#   none   a credential of the whole installation
# Asked with an effective role, no second factor, no amount and nobody's approval. Written by:
#   pangate policy matrix --dir policy > policy/matrix.txt
";

/// One line for each kind and act.
pub fn matrix(bundle: &Bundle) -> String {
    let mut text = HEAD.to_owned();
    for role in Role::ALL {
        text.push('\n');
        for (action, _) in act::ALL {
            let _ = write!(text, "{:<10}{action:<16}", role.as_str());
            for relation in Relation::ALL {
                let answer =
                    match bundle.ask(role, "somebody", action, relation, &Circumstances::at(0)).decision {
                        Decision::Allowed { by } => format!("✔ {}", by.join(" ")),
                        Decision::Denied(denial) => match denial.why {
                            Why::Forbidden { rule } => format!("✘ {rule}"),
                            Why::NotAllowed => "✘ -".to_owned(),
                            Why::NotEvaluated { .. } => "✘ (not evaluated)".to_owned(),
                        },
                    };
                let _ = write!(text, "{} {answer:<35}", relation.as_str());
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
    }
    text
}
