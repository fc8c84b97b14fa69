//! What is wrong with a file of the policy folder, where, and what to do.

use std::fmt;

/// One fault. Its texts are the file's own words and ours; no request reaches them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file's name in the policy folder.
    pub file: String,
    /// The line, counted from 1, where one can be named.
    pub line: Option<usize>,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl Fault {
    /// A fault of a file as a whole.
    pub fn new(file: &str, problem: impl Into<String>, remedy: impl Into<String>) -> Fault {
        Fault { file: file.to_owned(), line: None, problem: problem.into(), remedy: remedy.into() }
    }

    /// At that line, counted from 1.
    #[must_use]
    pub fn at(mut self, line: impl Into<Option<usize>>) -> Fault {
        self.line = line.into();
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        write!(f, ": {}; {}", self.problem, self.remedy)
    }
}

impl std::error::Error for Fault {}

/// The line of a byte's place, counted from 1.
pub fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}
