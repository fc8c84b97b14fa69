//! Resources, sources and times as texts in which no scanner can find a card number.
//!
//! Three kinds of fact are rich in digits and chosen by strangers or clocks: addresses, card-shaped tokens and
//! times. An IPv6 host part may spell `4111:1111:1111:1111`. So IPv6 groups are joined by the letter `z`
//! (at most 4 digits in a row; an IPv4 address has 12 digits at most and begins with 0, 1 or 2), card-shaped tokens and data-key identifiers are spelt in letters, and times keep
//! RFC 3339, whose letter `T` parts eight digits from the rest.

use crate::{KeyName, LogName, Resource, RouteName, Source};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime, PrimitiveDateTime, Time};
use tokens::{ChargeId, Principal, RefundId, Token};

/// Appends `kind:value`.
pub(crate) fn write_resource(text: &mut String, resource: &Resource) {
    match resource {
        Resource::None => text.push_str("none"),
        Resource::Token(token) if token.realm().is_none() => {
            text.push_str("card_shaped:");
            text.extend(token.as_str().bytes().map(|digit| letter(digit.wrapping_sub(b'0'))));
        }
        Resource::Token(token) => append(text, "token:", token.as_str()),
        Resource::Charge(charge) => append(text, "charge:", charge.as_str()),
        Resource::Refund(refund) => append(text, "refund:", refund.as_str()),
        Resource::Credential(principal) => append(text, "credential:", principal.as_str()),
        Resource::Key { label, version } => {
            append(text, "key:", label.as_str());
            let _ = write!(text, ":v{version}");
        }
        Resource::DestroyedKey { label, version, evidence } => {
            append(text, "destroyed_key:", label.as_str());
            let _ = write!(text, ":v{version}:");
            text.extend(evidence.iter().flat_map(|byte| [letter(byte >> 4), letter(byte & 15)]));
        }
        Resource::SigningKey { label, version, public } => {
            append(text, "signing_key:", label.as_str());
            let _ = write!(text, ":v{version}:");
            text.extend(public.iter().flat_map(|byte| [letter(byte >> 4), letter(byte & 15)]));
        }
        Resource::Transcript(hash) => {
            text.push_str("transcript:");
            text.extend(hash.iter().flat_map(|byte| [letter(byte >> 4), letter(byte & 15)]));
        }
        Resource::DataKey(id) => {
            text.push_str("data_key:");
            text.extend(id.iter().flat_map(|byte| [letter(byte >> 4), letter(byte & 15)]));
        }
        Resource::Route(route) => append(text, "route:", route.as_str()),
        Resource::Rule(rule) => append(text, "rule:", rule.as_str()),
        Resource::Policy(hash) => {
            text.push_str("policy:");
            text.extend(hash.iter().flat_map(|byte| [letter(byte >> 4), letter(byte & 15)]));
        }
        Resource::Log(log) => append(text, "log:", log.as_str()),
    }
}

pub(crate) fn read_resource(text: &str) -> Option<Resource> {
    let Some((kind, value)) = text.split_once(':') else {
        return (text == "none").then_some(Resource::None);
    };
    Some(match kind {
        "token" => Resource::Token(Token::parse(value).ok()?),
        "card_shaped" => {
            let digits: Option<String> = value
                .bytes()
                .map(|byte| number(byte).filter(|n| *n < 10).map(|n| char::from(b'0' + n)))
                .collect();
            Resource::Token(Token::parse(&digits?).ok()?)
        }
        "charge" => Resource::Charge(ChargeId::parse(value).ok()?),
        "refund" => Resource::Refund(RefundId::parse(value).ok()?),
        "credential" => Resource::Credential(Principal::parse(value).ok()?),
        "key" => {
            let (label, version) = value.split_once(":v")?;
            Resource::Key { label: KeyName::parse(label).ok()?, version: version.parse().ok()? }
        }
        "destroyed_key" => {
            let (label, rest) = value.split_once(":v")?;
            let (version, evidence) = rest.split_once(':')?;
            Resource::DestroyedKey {
                label: KeyName::parse(label).ok()?,
                version: version.parse().ok()?,
                evidence: read_identifier(evidence)?,
            }
        }
        "signing_key" => {
            let (label, rest) = value.split_once(":v")?;
            let (version, public) = rest.split_once(':')?;
            Resource::SigningKey {
                label: KeyName::parse(label).ok()?,
                version: version.parse().ok()?,
                public: read_identifier(public)?,
            }
        }
        "transcript" => Resource::Transcript(read_identifier(value)?),
        "data_key" => Resource::DataKey(read_identifier(value)?),
        "route" => Resource::Route(RouteName::parse(value).ok()?),
        "rule" => Resource::Rule(RouteName::parse(value).ok()?),
        "policy" => Resource::Policy(read_identifier(value)?),
        "log" => Resource::Log(LogName::parse(value).ok()?),
        _ => return None,
    })
}

/// Appends `ip:…`, `console` or `internal`.
pub(crate) fn write_source(text: &mut String, source: Source) {
    match source {
        Source::Ip(IpAddr::V4(address)) => {
            let _ = write!(text, "ip:{address}");
        }
        Source::Ip(IpAddr::V6(address)) => {
            let [a, b, c, d, e, f, g, h] = address.segments();
            let _ = write!(text, "ip:{a:x}z{b:x}z{c:x}z{d:x}z{e:x}z{f:x}z{g:x}z{h:x}");
        }
        Source::Console => text.push_str("console"),
        Source::Internal => text.push_str("internal"),
    }
}

pub(crate) fn read_source(text: &str) -> Option<Source> {
    match text {
        "console" => return Some(Source::Console),
        "internal" => return Some(Source::Internal),
        _ => {}
    }
    let address = text.strip_prefix("ip:")?;
    if let Ok(address) = address.parse::<Ipv4Addr>() {
        return Some(Source::Ip(address.into()));
    }
    let groups: Vec<&str> = address.split('z').collect();
    let segments = <[&str; 8]>::try_from(groups.as_slice()).ok()?;
    let [a, b, c, d, e, f, g, h] = segments.map(|segment| u16::from_str_radix(segment, 16).ok());
    Some(Source::Ip(Ipv6Addr::new(a?, b?, c?, d?, e?, f?, g?, h?).into()))
}

/// Appends RFC 3339 in UTC with six decimals.
pub(crate) fn write_time(text: &mut String, time_us: i64) {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(clamp(time_us)) * 1_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    let (hour, minute, second, micro) = (at.hour(), at.minute(), at.second(), at.microsecond());
    let _ = write!(text, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micro:06}Z");
}

/// Reads any RFC 3339 time; that it is spelt as [`write_time`] spells it is the leaf's to check.
pub(crate) fn read_time(text: &str) -> Option<i64> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(at.unix_timestamp_nanos().div_euclid(1_000)).ok()
}

/// The nearest time whose year has four digits.
fn clamp(time_us: i64) -> i64 {
    let edge = |year, ordinal, time| {
        Date::from_ordinal_date(year, ordinal).map_or(0, |date| {
            let nanos = PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp_nanos();
            i64::try_from(nanos.div_euclid(1_000)).unwrap_or(0)
        })
    };
    time_us.clamp(edge(0, 1, Time::MIDNIGHT), edge(9999, 365, Time::MAX))
}

fn append(text: &mut String, kind: &str, value: &str) {
    text.push_str(kind);
    text.push_str(value);
}

/// The letter for a number below 16: `a` for 0 to `p` for 15.
fn letter(number: u8) -> char {
    char::from(b'a' + (number & 15))
}

fn number(letter: u8) -> Option<u8> {
    letter.checked_sub(b'a').filter(|n| *n < 16)
}

fn read_identifier<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    let numbers: Vec<u8> = text.bytes().map(number).collect::<Option<_>>()?;
    let (pairs, rest) = numbers.as_chunks::<2>();
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    if rest.is_empty() { bytes.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_spells_a_card_number_is_broken_up() {
        let address: IpAddr = "2001:db8::4111:1111:1111:1111".parse().unwrap();
        let mut text = String::new();
        write_source(&mut text, Source::Ip(address));
        assert_eq!(text, "ip:2001zdb8z0z0z4111z1111z1111z1111");
        assert_eq!(read_source(&text), Some(Source::Ip(address)));
    }

    #[test]
    fn times_are_rfc_3339_and_end_at_the_year_9999() {
        let spelt = |time_us| {
            let mut text = String::new();
            write_time(&mut text, time_us);
            text
        };
        assert_eq!(spelt(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(spelt(1_795_476_492_123_456), "2026-11-23T23:28:12.123456Z");
        assert_eq!(spelt(-1), "1969-12-31T23:59:59.999999Z");
        assert_eq!(spelt(i64::MAX), "9999-12-31T23:59:59.999999Z");
        assert_eq!(spelt(i64::MIN), "0000-01-01T00:00:00.000000Z");
        assert_eq!(read_time("2026-11-23T23:28:12.123456Z"), Some(1_795_476_492_123_456));
    }
}
