//! What a caller is told whom the policy denied something: which rule it was, and what would satisfy it.

use super::{Code, Problem};
use crate::permit::Denied;

/// The problem of a denial.
pub fn denied_problem(denied: &Denied) -> Problem {
    Problem::new(Code::Forbidden, sentence(denied.remedy())).by_rule(denied.rule())
}

/// With a capital, as details begin.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}
