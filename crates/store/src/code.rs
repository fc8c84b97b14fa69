//! A database's own code of an error, in whichever form that database has them.

use std::fmt;

/// SQLite's result code (sqlite.org/rescode.html) or PostgreSQL's SQLSTATE (its manual, appendix A). Shows as `787` or
/// as `42P01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlCode(Form);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Form {
    Number(i32),
    State([u8; 5]),
}

impl SqlCode {
    /// The driver refused before asking the database.
    pub(crate) const NONE: SqlCode = SqlCode(Form::Number(0));

    pub(crate) fn number(code: i32) -> SqlCode {
        SqlCode(Form::Number(code))
    }

    pub(crate) fn state(state: &str) -> SqlCode {
        let mut form = *b"?????";
        for (to, from) in form.iter_mut().zip(state.bytes().filter(u8::is_ascii_alphanumeric)) {
            *to = from;
        }
        SqlCode(Form::State(form))
    }
}

impl fmt::Display for SqlCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Form::Number(code) => write!(out, "{code}"),
            Form::State(state) => out.write_str(std::str::from_utf8(&state).unwrap_or("?????")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_shows_as_its_database_writes_it() {
        assert_eq!(SqlCode::number(787).to_string(), "787");
        assert_eq!(SqlCode::state("42P01").to_string(), "42P01");
        assert_eq!(SqlCode::state("4111 1111 1111").to_string(), "41111");
        assert_eq!(SqlCode::state("").to_string(), "?????");
    }
}
