//! Judges runs of digits in one normalised view: which groups belong together, and is the whole a card number.
//!
//! Whole runs are judged, not windows: windows over long numbers hit by chance (standards §7.3). Separators join
//! groups only in the groupings in which cards are written, or lists of codes and phone numbers would hit (§7.4).

use crate::FieldContext;
use crate::grouping::{self, Group};
use crate::verdict::Kind;
use crate::{pan, snomed};
use tokens::Brand;
use zeroize::Zeroizing;

/// A finding in one view, before it is given its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) kind: Kind,
    pub(crate) brand: Option<Brand>,
    pub(crate) length: u8,
}

impl Found {
    pub(crate) fn new(kind: Kind, brand: Option<Brand>, length: usize) -> Found {
        Found { kind, brand, length: u8::try_from(length).unwrap_or(u8::MAX) }
    }
}

/// So many characters that are neither digit nor letter may stand between two groups.
const WIDEST_GAP: usize = 3;
/// So many when all of them are blank.
pub(crate) const WIDEST_BLANK: usize = 8;

/// The first card number in `text`, in which digits are already ASCII.
pub(crate) fn find(text: &str, context: FieldContext) -> Option<Found> {
    let mut chain = Chain::new(context);
    for c in text.chars() {
        if c.is_ascii_digit() {
            chain.digit(c);
        } else if c.is_alphanumeric() {
            if let Some(found) = chain.end() {
                return Some(found);
            }
        } else if let Some(found) = chain.gap(c) {
            return Some(found);
        }
    }
    chain.end()
}

/// Groups of digits with only separators between them.
struct Chain {
    context: FieldContext,
    digits: Zeroizing<Vec<u8>>,
    groups: Vec<Group>,
    /// Separators since the last digit, and the first of them.
    gap: usize,
    separator: char,
    /// Whether all of them are blank.
    blank: bool,
}

impl Chain {
    fn new(context: FieldContext) -> Chain {
        Chain {
            context,
            digits: Zeroizing::new(Vec::with_capacity(64)),
            groups: vec![],
            gap: 0,
            separator: '\0',
            blank: true,
        }
    }

    fn digit(&mut self, c: char) {
        match self.groups.last_mut() {
            Some(group) if self.gap == 0 => group.length += 1,
            _ => {
                let before = if self.gap == 1 { self.separator } else { '\0' };
                self.groups.push(Group { start: self.digits.len(), length: 1, before });
            }
        }
        (self.gap, self.blank) = (0, true);
        self.digits.push(u8::try_from(c).unwrap_or(b'0'));
    }

    fn gap(&mut self, c: char) -> Option<Found> {
        self.gap += 1;
        self.separator = c;
        self.blank &= c.is_whitespace();
        if self.gap > if self.blank { WIDEST_BLANK } else { WIDEST_GAP } { self.end() } else { None }
    }

    fn end(&mut self) -> Option<Found> {
        let found = if self.digits.len() < 12 { None } else { self.judge() };
        self.digits.clear();
        self.groups.clear();
        (self.gap, self.blank) = (0, true);
        found
    }

    fn judge(&self) -> Option<Found> {
        let whole = |digits: &[u8]| whole_number(digits, self.context);
        if let Some(found) = self.groups.iter().find_map(|group| whole(self.slice(group.start, group.length)))
        {
            return Some(found);
        }
        if self.groups.len() > 1 {
            let mut run = 0;
            for place in 0..self.groups.len() {
                if place > 0 && self.length(place - 1) != self.length(place) {
                    run = place;
                }
                let some = grouping::starting(&self.groups, place, run).into_iter().flatten();
                if let Some(found) = some.into_iter().find_map(|count| self.together(place, count)) {
                    return Some(found);
                }
                // In a long list one number is chance, two in a row are a list of card numbers.
                if grouping::is_listed(&self.groups, place, 4, run)
                    && let Some(found) = self.together(place, 4)
                    && self.together(place + 4, 4).is_some()
                {
                    return Some(found);
                }
            }
        }
        if let Some(found) = self.character_codes() {
            return Some(found);
        }
        if self.context == FieldContext::Card {
            whole(&self.digits).or_else(|| windows(&self.digits))
        } else {
            None
        }
    }

    fn length(&self, place: usize) -> usize {
        self.groups.get(place).map_or(0, |group| group.length)
    }

    /// Judges so many groups from that place on as one number.
    fn together(&self, place: usize, count: usize) -> Option<Found> {
        let groups = self.groups.get(place..place + count)?;
        let start = groups.first()?.start;
        let digits = groups.iter().map(|group| group.length).sum();
        let concepts =
            || groups.iter().all(|group| snomed::is_concept(self.slice(group.start, group.length)));
        whole_number(self.slice(start, digits), self.context).filter(|_| count == 1 || !concepts())
    }

    /// Digits written as their character codes, 48 to 57, a dozen of them or more in a row.
    fn character_codes(&self) -> Option<Found> {
        if self.groups.len() < 12 {
            return None;
        }
        let code = |group: &Group| match (group.length, self.slice(group.start, group.length)) {
            (2, [tens, ones]) | (3, [b'0', tens, ones]) => {
                Some((tens - b'0') * 10 + (ones - b'0')).filter(u8::is_ascii_digit)
            }
            _ => None,
        };
        let codes: Zeroizing<Vec<Option<u8>>> = Zeroizing::new(self.groups.iter().map(code).collect());
        codes.split(Option::is_none).filter(|row| row.len() >= 12).find_map(|row| {
            let digits: Zeroizing<Vec<u8>> = Zeroizing::new(row.iter().copied().flatten().collect());
            whole_number(&digits, self.context)
        })
    }

    fn slice(&self, start: usize, length: usize) -> &[u8] {
        self.digits.get(start..start + length).unwrap_or_default()
    }
}

/// Judges one number as a whole, with what may be glued to it.
fn whole_number(digits: &[u8], context: FieldContext) -> Option<Found> {
    let judge = |digits: &[u8]| {
        let brand = match context {
            FieldContext::Card => pan::judge_in_card_field(digits),
            _ => pan::judge(digits),
        };
        brand.map(|brand| Found::new(Kind::Pan, Some(brand), digits.len()))
    };
    if digits.len() < 12 {
        return None;
    }
    if let Some(found) = judge(digits) {
        return Some(found);
    }
    let zeros = digits.iter().take_while(|b| **b == b'0').count();
    let significant = digits.get(zeros..).unwrap_or_default();
    if zeros > 0
        && significant.len() >= if context == FieldContext::Card { 12 } else { 15 }
        && let Some(found) = judge(significant).or_else(|| with_expiry(significant))
    {
        return Some(found);
    }
    with_expiry(digits).or_else(|| match context {
        FieldContext::Plain | FieldContext::VerificationCode => None,
        FieldContext::FreeText => filled_up(digits),
        FieldContext::Card => windows(digits),
    })
}

/// Card number, expiry as MMYY, YYMM, MMYYYY or YYYYMM, and perhaps a code, in one run (as on magnetic stripes).
fn with_expiry(digits: &[u8]) -> Option<Found> {
    [16usize, 15, 19].into_iter().find_map(|length| {
        let (number, rest) = digits.split_at_checked(length)?;
        let plausible = match rest.len() {
            4 | 7 | 8 => expiry4(rest),
            6 => expiry6(rest),
            9 | 10 => expiry6(rest),
            _ => false,
        };
        let brand = pan::judge(number).filter(|_| plausible)?;
        Some(Found::new(Kind::Pan, Some(brand), length))
    })
}

fn expiry4(rest: &[u8]) -> bool {
    let (first, second) = (two(rest, 0), two(rest, 2));
    let month = |n: Option<u8>| n.is_some_and(|n| (1..=12).contains(&n));
    let year = |n: Option<u8>| n.is_some_and(|n| (15..=50).contains(&n));
    (month(first) && year(second)) || (year(first) && month(second))
}

fn expiry6(rest: &[u8]) -> bool {
    let month = |n: Option<u8>| n.is_some_and(|n| (1..=12).contains(&n));
    (two(rest, 0) == Some(20) && month(two(rest, 4))) || (month(two(rest, 0)) && two(rest, 2) == Some(20))
}

fn two(digits: &[u8], at: usize) -> Option<u8> {
    let (tens, ones) = (digits.get(at)?, digits.get(at + 1)?);
    Some(tens.checked_sub(b'0')? * 10 + ones.checked_sub(b'0')?)
}

/// A card number filled up at the end with one repeated digit.
fn filled_up(digits: &[u8]) -> Option<Found> {
    [16usize, 15].into_iter().find_map(|length| {
        let (number, fill) = digits.split_at_checked(length)?;
        let repeated = fill.len() >= 2 && fill.iter().all(|b| Some(b) == fill.first());
        let brand = pan::judge(number).filter(|_| repeated)?;
        Some(Found::new(Kind::Pan, Some(brand), length))
    })
}

/// Any 15 or 16 digits in a row: only where the name says card.
fn windows(digits: &[u8]) -> Option<Found> {
    [16usize, 15].into_iter().find_map(|length| {
        digits.windows(length).find_map(pan::judge).map(|brand| Found::new(Kind::Pan, Some(brand), length))
    })
}

/// A masked number that shows more than ten of its digits (PCI DSS 3.4.1 lets first six and last four be seen).
pub(crate) fn unmasked(text: &str) -> Option<Found> {
    let mut shown: Zeroizing<Vec<u8>> = Zeroizing::new(vec![]);
    let (mut masked, mut first_part, mut gap, mut blocks) = (0usize, 0usize, 0usize, 0usize);
    let mut in_mask = false;
    for c in text.chars().chain(['\n', '\n', '\n']) {
        if c.is_ascii_digit() {
            shown.push(u8::try_from(c).unwrap_or(b'0'));
            (in_mask, gap) = (false, 0);
        } else if matches!(c, '*' | 'x' | 'X' | '#' | '•' | '·' | '●' | '∗' | '…') {
            if !in_mask {
                blocks += 1;
                if blocks == 1 {
                    first_part = shown.len();
                }
            }
            masked += 1;
            (in_mask, gap) = (true, 0);
        } else {
            gap += 1;
            if gap > 1 || !matches!(c, ' ' | '-' | '.' | '\u{a0}' | '_') {
                let total = shown.len() + masked;
                let head = shown.get(..first_part).unwrap_or_default();
                if masked > 0
                    && shown.len() > 10
                    && first_part >= 4
                    && pan::known_issuer(head, total)
                    && total >= 15
                {
                    return Some(Found::new(Kind::Unmasked, None, total));
                }
                shown.clear();
                (masked, first_part, gap, blocks, in_mask) = (0, 0, 0, 0, false);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(text: &str) -> bool {
        find(text, FieldContext::Plain).is_some()
    }

    #[test]
    fn groupings_of_cards_are_found() {
        for text in [
            "4111111111111111",
            "4111 1111 1111 1111",
            "4111-1111-1111-1111",
            "4111--1111--1111--1111",
            "4111 1111-1111.1111",
            "4111\r\n1111\r\n1111\r\n1111",
            "3782 822463 10005",
            "3622 720627 1667",
            "41111111 11111111",
            "4111 1111 11111111",
            "4111 11111111-1111",
            "41111111 1111 1111",
            "4111 111111111111",
            "411111111111 1111",
            "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
            "$4,111,111,111,111,111",
            "+4111111111111111",
            "-4111111111111111",
            "XXXX4111111111111111XXXX",
            "test_value_4111111111111111",
            "0000004111111111111111",
            "41111111111111112512123",
            "4111111111111111=25121010000",
            "6205 5000 0000 0000 004",
            "4111 1111 1111 1111 1225 123",
            "code 99213 4111 1111 1111 1111",
            "4111    1111    1111    1111",
            "4111        1111\t \t \t \t1111 \r\n  1111",
            "52 50 52 50 52 50 52 50 52 50 52 50 52 50 52 50",
            "052, 050, 052, 050, 052, 050, 052, 050, 052, 050, 052, 050, 052, 050, 052, 050",
            "codes 7 52 50 52 50 52 50 52 50 52 50 52 50 52 50 52 50 7",
            "2019, 2020, 2021, 2022, 2023, 2024, 4111 1111 1111 1111",
            "4111 1111 1111 1111\n5555 5555 5555 4444\n4242 4242 4242 4242",
            "4111 1111 1111 1111 5555 5555 5555 4444 4242 4242 4242 4242",
        ] {
            assert!(hit(text), "{text}");
        }
    }

    #[test]
    fn honest_numbers_are_left_alone() {
        for text in [
            "94060555410000",
            "99213 99214 99215 99203",
            "37220 37221 37222",
            "+1 415 555 1234, +1 415 555 1235, +1 415 555 1236",
            "123-45-6789 12-3456789",
            "1790000000000 1790000000000000000",
            "2026-10-03 2026-10-05",
            "4111111111111112",
            "9999999999999995",
            "0000000000000000",
            "2019 2020 2021 2022 2023 2024",
            "4222222222222",
            "411111111111111100000",
            "1204 1877 1999 1302 1745 4242 4242 4242 4242",
            "1204 4242 4242 4242 4242 1877 1999 1302 1745 1746",
            "1204 1877 1999 1302 1745 1811 3782 8224 6310 005",
            "SNOMED 44054006 38341003 195967001",
            "4111         1111         1111         1111",
            "4111   -   1111   -   1111   -   1111",
            "50 51 52 53 54 55 56 57 50 51 52 53 54 55",
        ] {
            assert!(!hit(text), "{text}");
        }
    }

    #[test]
    fn a_card_field_is_judged_more_strictly_than_free_text_and_that_more_than_others() {
        assert!(find("4222222222222", FieldContext::Card).is_some());
        assert!(find("9411111111111111119", FieldContext::Card).is_some());
        assert!(find("411111111111111100000", FieldContext::FreeText).is_some());
        assert!(find("9411111111111111119", FieldContext::FreeText).is_none());
    }

    #[test]
    fn masks_may_show_ten_digits() {
        for text in ["4532 XXXX XXXX 0366", "411111******1111", "4111-11**-****-1111", "**** **** **** 1111"]
        {
            assert_eq!(unmasked(text), None, "{text}");
        }
        for text in ["41111111****1111", "4111 1111 XXXX 1111", "411111111111111*"] {
            assert!(unmasked(text).is_some(), "{text}");
        }
    }
}
