//! How much one sweep may do. Every byte of every view of every value counts, over the whole of a body: a body built to
//! make the search expensive is refused, not searched for ever.

use crate::Undecidable;
use std::cell::Cell;

/// Bytes of views that each byte of a value brings along.
const FACTOR: usize = 32;
/// Bytes of views that every sweep may look at, for bodies that are short.
const FLOOR: usize = 64 * 1024;

/// What a view costs at least: the readers have to be asked however short it is.
const VIEW: usize = 64;

/// What is left to one sweep, and what it took.
pub(crate) struct Work {
    left: Cell<usize>,
    done: Cell<usize>,
}

impl Work {
    /// For one body, head, line or text, whose values add to it as they are met.
    pub(crate) fn new() -> Work {
        Work { left: Cell::new(FLOOR), done: Cell::new(0) }
    }

    /// For a first look at a body of that length, after which all may be done once more.
    pub(crate) fn first_look(length: usize) -> Work {
        Work { left: Cell::new(length.saturating_mul(4).saturating_add(FLOOR / 4)), done: Cell::new(0) }
    }

    /// Adds what a value of the body, `length` bytes long, brings along.
    pub(crate) fn allow(&self, length: usize) {
        self.left.set(self.left.get().saturating_add(length.saturating_mul(FACTOR)));
    }

    /// Takes a view of so many bytes off.
    ///
    /// # Errors
    /// [`Undecidable::TooEntangled`] when that is more than is left.
    pub(crate) fn spend(&self, bytes: usize) -> Result<(), Undecidable> {
        let bytes = bytes.max(VIEW);
        self.left.set(self.left.get().checked_sub(bytes).ok_or(Undecidable::TooEntangled)?);
        self.done.set(self.done.get().saturating_add(bytes));
        Ok(())
    }

    /// Bytes of views looked at so far.
    #[cfg(test)]
    pub(crate) fn done(&self) -> usize {
        self.done.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::sweep_typed;
    use crate::{Limits, Verdict};

    const BODY: usize = 256 * 1024;

    /// Bodies of one size, each built of one hostile piece: small values that are all disguise, and one large one.
    fn hostile() -> Vec<(&'static str, String)> {
        let pieces = [
            "%25&#37;\\\\x25=25<b>",
            "&amp;#52;%2534=3D34\\\\u0034 MTEx",
            "<i>4</i>&lt;b&gt;1&lt;/b&gt;%3Cb%3E1%3C/b%3E",
            "NDExMTExMTExMTExMTExMQ==%4E%44",
            "4\u{301}1\u{200b}1\u{ff11}%34",
            "=?utf-8?Q?=34=31?= =?utf-8?B?NDEx?=",
            "0x34 0x31 31 %33%31",
        ];
        let list =
            |piece: &str| format!("[{}]", vec![format!("\"{piece}\""); BODY / (piece.len() + 3)].join(","));
        let long = |piece: &str| format!("\"{}\"", piece.repeat(BODY / piece.len() - 1));
        let nested =
            |_: &str| format!("[{}]", vec![r#""{\"a\":\"%3422 {\\\"b\\\":1}\"}""#; BODY / 40].join(","));
        pieces
            .iter()
            .flat_map(|piece| [list(piece), long(piece)].map(|body| (*piece, body)))
            .chain([("nested", nested(""))])
            .collect()
    }

    #[test]
    fn no_body_takes_more_than_its_length_brings_along() {
        let limits = Limits::default();
        let mut refused = 0;
        for (piece, body) in hostile() {
            let work = Work::new();
            let verdict = sweep_typed(Some("application/json"), body.as_bytes(), &limits, &[], &work);
            assert!(work.done() <= FLOOR + FACTOR * body.len(), "{piece}: {} of {}", work.done(), body.len());
            assert!(
                matches!(verdict, Ok(Verdict::Clean | Verdict::Hit(_)) | Err(Undecidable::TooEntangled)),
                "{piece}: {verdict:?}"
            );
            refused += usize::from(verdict.is_err());
        }
        assert!(refused > 0, "the bound is never met");
    }

    #[test]
    fn an_honest_body_takes_a_small_part_of_it() {
        let note = "Caf\u{e9} visit &amp; follow-up: <b>no fever</b>, 100% better, see https://clinic.example/a?b=c%20d";
        let body = format!("[{}]", vec![format!("{{\"note\":\"{note}\"}}"); 1000].join(","));
        let work = Work::new();
        let verdict = sweep_typed(Some("application/json"), body.as_bytes(), &Limits::default(), &[], &work);
        assert_eq!(verdict, Ok(Verdict::Clean));
        assert!(work.done() < body.len() * 12, "{} of {}", work.done(), body.len());
    }
}
