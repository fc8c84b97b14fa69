//! What the records of people and vendors have in common: TOML with the line of every fault, whole days, hashes.

use policy::{Fault, line_of};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use time::{Date, Month, OffsetDateTime};

/// What to do about a hash that is none.
pub(super) const SHA256: &str = "write the 64 hexadecimal digits that sha256sum prints, in small letters";

/// A whole day, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Day(pub(super) Date);

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Day, D::Error> {
        let wrong = || D::Error::custom("a day is written as 2027-11-02, without quotes or a time");
        let written = toml::value::Datetime::deserialize(from).map_err(|_| wrong())?;
        let date = match (written.date, written.time) {
            (Some(date), None) => date,
            _ => return Err(wrong()),
        };
        let month = Month::try_from(date.month).map_err(|_| wrong())?;
        Date::from_calendar_date(date.year.into(), month, date.day).map(Day).map_err(|_| wrong())
    }
}

/// The day of a time in unix seconds, in UTC.
pub(super) fn day_of(seconds: i64) -> Date {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH).date()
}

/// Reads a file of the folder.
///
/// # Errors
/// The fault, with its line.
pub(super) fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Fault> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| line_of(text, span.start));
        Fault::new(file, error.message(), "correct the line; policy/README.md shows a record").at(line)
    })
}

/// Whether it is written as a SHA-256.
pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}
