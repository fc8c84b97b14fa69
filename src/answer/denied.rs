//! What a caller is told whom the policy denied something: which rule it was, and what would satisfy it.

use super::problem::Missing;
use super::{Code, Problem};
use crate::governance::Ineffective;
use crate::permit::Denied;

/// The problem of a denial.
pub fn denied_problem(denied: &Denied) -> Problem {
    let code = match denied.because() {
        Some(Ineffective::TrainingExpired { .. }) => Code::TrainingExpired,
        Some(_) => Code::RoleNotEffective,
        None => Code::Forbidden,
    };
    let problem = Problem::new(code, sentence(&denied.remedy())).by_rule(denied.rule());
    match denied.because() {
        Some(why) => problem.because(Missing {
            reason: why.code(),
            course: why.course().map(str::to_owned),
            expired: why.expired().map(|day| day.to_string()),
            renew: why.renew().map(str::to_owned),
        }),
        None => problem,
    }
}

/// With a capital, as details begin.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}
