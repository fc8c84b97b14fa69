//! What a scan reports: places and kinds, never a digit of what was found.

use serde::Serialize;
use std::fmt;
use std::path::Path;
use sweep::{FieldContext, Hit};

/// One place where a card number stands. The same number twice is two places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file; a name that itself holds a card number is masked.
    pub path: String,
    /// Line, offset, or table, column and row.
    pub place: String,
    /// `pan`, `unmasked_pan` or `verification_code`.
    pub kind: &'static str,
    /// The network, where one is known.
    pub brand: Option<&'static str>,
    /// How many digits.
    pub digits: u8,
    /// In which reading of the content it became visible: `raw`, `base64`, …
    pub view: &'static str,
    /// As many stars as there are digits.
    pub masked: String,
}

impl Finding {
    pub(super) fn new(path: &Path, place: String, hit: &Hit) -> Finding {
        Finding {
            path: shown(path),
            place,
            kind: hit.kind.code(),
            brand: hit.brand.map(tokens::Brand::as_str),
            digits: hit.length,
            view: hit.view,
            masked: "*".repeat(usize::from(hit.length)),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { path, place, kind, digits, view, masked, .. } = self;
        let brand = self.brand.unwrap_or("unknown brand");
        write!(f, "{path}: {place}: {kind}, {brand}, {digits} digits {masked}, read as {view}")
    }
}

/// Something that could not be searched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unsearched {
    /// The file or folder.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// What a whole search came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Places where a card number stands.
    pub findings: u64,
    /// Files searched.
    pub files: u64,
    /// Values of databases searched, besides the files' bytes.
    pub values: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Symbolic links, sockets, pipes and devices passed by.
    pub passed_by: u64,
    /// What could not be searched.
    pub unsearched: Vec<Unsearched>,
}

impl Summary {
    /// Whether everything was searched and nothing found.
    pub fn is_clean(&self) -> bool {
        self.findings == 0 && self.unsearched.is_empty()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { findings, files, values, bytes, passed_by, unsearched } = self;
        write!(
            f,
            "{findings} place(s) with a card number; searched {files} file(s), {bytes} bytes, {values} database \
             value(s); {} not searched, {passed_by} link(s) or special file(s) passed by",
            unsearched.len()
        )
    }
}

/// A path as it may be printed: when its text holds a card number, its digits are masked; and a name that was made to
/// write on the terminal does not.
pub(super) fn shown(path: &Path) -> String {
    let text = path.to_string_lossy();
    let masked = super::content::judge(&text, FieldContext::Plain).is_some();
    let show = |c: char| match c {
        _ if c.is_control() => '?',
        _ if masked && c.is_numeric() => '*',
        _ => c,
    };
    text.chars().map(show).collect()
}
