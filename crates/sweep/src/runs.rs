//! Judges runs of digits in one normalised view: which groups belong together, and is the whole a card number.
//!
//! Whole runs are judged, not windows: windows over long numbers hit by chance (standards §7.3). Separators join
//! groups only in the groupings in which cards are written, or lists of codes and phone numbers would hit (§7.4).

use crate::FieldContext;
use crate::pan;
use crate::verdict::Kind;
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
/// More groups than any card number has: looking further from every group of a long list would cost its square.
const MOST_GROUPS: usize = 20;

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
}

#[derive(Clone, Copy)]
struct Group {
    start: usize,
    length: usize,
    /// The one separator before it, or NUL for none or several.
    before: char,
}

impl Chain {
    fn new(context: FieldContext) -> Chain {
        Chain {
            context,
            digits: Zeroizing::new(Vec::with_capacity(64)),
            groups: vec![],
            gap: 0,
            separator: '\0',
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
        self.gap = 0;
        self.digits.push(u8::try_from(c).unwrap_or(b'0'));
    }

    fn gap(&mut self, c: char) -> Option<Found> {
        self.gap += 1;
        self.separator = c;
        if self.gap > WIDEST_GAP { self.end() } else { None }
    }

    fn end(&mut self) -> Option<Found> {
        let found = if self.digits.len() < 12 { None } else { self.judge() };
        self.digits.clear();
        self.groups.clear();
        self.gap = 0;
        found
    }

    fn judge(&self) -> Option<Found> {
        let whole = |digits: &[u8]| whole_number(digits, self.context);
        if let Some(found) = self.groups.iter().find_map(|group| whole(self.slice(group.start, group.length)))
        {
            return Some(found);
        }
        if self.groups.len() > 1 {
            for place in 0..self.groups.len() {
                let Some(ahead) = self.groups.get(place..) else { break };
                let before = place.checked_sub(1).and_then(|p| self.groups.get(p)).copied();
                for count in card_grouping(ahead, before).into_iter().flatten() {
                    let digits: usize = ahead.iter().take(count).map(|group| group.length).sum();
                    let start = ahead.first().map_or(0, |group| group.start);
                    if let Some(found) = whole(self.slice(start, digits)) {
                        return Some(found);
                    }
                }
            }
        }
        if self.context == FieldContext::Card {
            whole(&self.digits).or_else(|| windows(&self.digits))
        } else {
            None
        }
    }

    fn slice(&self, start: usize, length: usize) -> &[u8] {
        self.digits.get(start..start + length).unwrap_or_default()
    }
}

/// The groupings that start at the first of `groups` and are written for cards: how many groups each takes.
fn card_grouping(groups: &[Group], before: Option<Group>) -> [Option<usize>; 3] {
    let lengths = |count: usize| groups.get(..count).map(|some| some.iter().map(|group| group.length));
    let shaped = |shape: &[usize]| lengths(shape.len()).is_some_and(|some| some.eq(shape.iter().copied()));
    let first = groups.first().map_or(0, |group| group.length);
    let equal = groups.iter().take(MOST_GROUPS).take_while(|group| group.length == first).count();
    let starts_equal = before.is_none_or(|group| group.length != first);
    let mut counts = [None; 3];
    let [printed, even, commas] = &mut counts;
    // As printed on cards, and what follows them (a fourth group, a tail of one to three digits).
    *printed = if shaped(&[4, 4, 4, 4]) && in_short_list(equal) {
        let tail = groups.get(4).map(|group| group.length).filter(|length| *length < 4 && starts_equal);
        // The shorter number is tried as an even grouping below.
        tail.map(|_| 5).or(Some(4))
    } else if shaped(&[4, 6, 5]) || shaped(&[4, 6, 4]) || shaped(&[4, 4, 5]) || shaped(&[4, 4, 4, 3]) {
        Some(if shaped(&[4, 4, 4, 3]) { 4 } else { 3 })
    } else if shaped(&[4, 4, 4, 2]) {
        Some(4)
    } else if shaped(&[8, 8]) || shaped(&[4, 12]) || shaped(&[12, 4]) || shaped(&[6, 13]) {
        Some(2)
    } else if shaped(&[4, 4, 8]) || shaped(&[4, 8, 4]) || shaped(&[8, 4, 4]) {
        // Typed with a space or two left out.
        Some(3)
    } else {
        None
    };
    // The same length throughout. Five is left out: lists of CPT codes and postal codes are groups of five.
    *even = match first {
        4 if shaped(&[4, 4, 4, 4]) && in_short_list(equal) => Some(4),
        1 | 2 | 3 | 6 if starts_equal && (12..=19).contains(&(first * equal)) => Some(equal),
        _ => None,
    };
    // Thousands: one separator throughout, up to three digits and then threes.
    let separator = groups.get(1).map_or('\0', |group| group.before);
    let threes = groups
        .iter()
        .skip(1)
        .take(MOST_GROUPS)
        .take_while(|group| group.length == 3 && group.before == separator)
        .count();
    let thousands = first <= 3 && separator != '\0' && before.is_none_or(|group| group.length > 3);
    *commas = (thousands && (13..=19).contains(&(first + threes * 3))).then_some(threes + 1);
    counts
}

/// Long lists of four-digit numbers (years, times, revenue codes) are lists.
fn in_short_list(equal: usize) -> bool {
    equal <= 8
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
