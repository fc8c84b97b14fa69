//! expect: E0616
//! What was gathered is drafted or given back swept; nobody reads it in between.

fn peek(intake: &vault::Intake) -> &[u8] {
    &intake.body
}

fn main() {}
