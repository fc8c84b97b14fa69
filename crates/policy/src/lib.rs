//! Who may do what, as two files that people write: `access.cedar` holds the rules, `schema.cedarschema` the words
//! that they may use. The engine is Cedar, named in this crate alone.
//!
//! Denied is what no rule allows; a rule that forbids wins over every one that allows; and a rule that cannot be
//! evaluated denies, whatever the others say (Cedar itself would skip it, a forbidding one too).

mod decision;
mod fault;
mod question;
mod rules;

pub use decision::{Decision, Denial, Why};
pub use fault::{Fault, line_of};
pub use question::{Circumstances, Question, Relation};
pub use rules::{Policy, Words};
