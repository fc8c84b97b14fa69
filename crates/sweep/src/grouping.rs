//! The groupings in which card numbers are written, and the lists that only look like one.

/// More groups than any card number has: looking further from every group of a long list would cost its square.
const MOST_GROUPS: usize = 20;
/// More four-digit numbers in a row than these (years, times, invoice and revenue codes) are a list.
const SHORT_LIST: usize = 8;

/// Digits with nothing between them.
#[derive(Clone, Copy)]
pub(crate) struct Group {
    pub(crate) start: usize,
    pub(crate) length: usize,
    /// The one separator before it, or NUL for none or several.
    pub(crate) before: char,
}

/// The groupings that start at that place and are written for cards: how many groups each takes. `run` is where
/// groups of the same length begin.
pub(crate) fn starting(all: &[Group], place: usize, run: usize) -> [Option<usize>; 3] {
    let groups = all.get(place..).unwrap_or_default();
    let before = place.checked_sub(1).and_then(|at| all.get(at));
    let lengths = |count: usize| groups.get(..count).map(|some| some.iter().map(|group| group.length));
    let shaped = |shape: &[usize]| lengths(shape.len()).is_some_and(|some| some.eq(shape.iter().copied()));
    let first = groups.first().map_or(0, |group| group.length);
    let equal = groups.iter().take(MOST_GROUPS).take_while(|group| group.length == first).count();
    let starts_equal = run == place;
    let fours = shaped(&[4, 4, 4]) && !is_listed(all, place, 4, run);
    let mut counts = [None; 3];
    let [printed, even, commas] = &mut counts;
    // As printed on cards, and what follows them (a fourth group, a tail of one to three digits).
    *printed = if shaped(&[4, 4, 4, 4]) {
        let tail = groups.get(4).map(|group| group.length).filter(|length| *length < 4 && starts_equal);
        // The shorter number is tried as an even grouping below.
        fours.then_some(if tail.is_some() { 5 } else { 4 })
    } else if shaped(&[4, 4, 4, 3]) || shaped(&[4, 4, 4, 2]) {
        fours.then_some(4)
    } else if shaped(&[4, 6, 5]) || shaped(&[4, 6, 4]) || shaped(&[4, 4, 5]) {
        Some(3)
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
        4 if shaped(&[4, 4, 4, 4]) && fours => Some(4),
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

/// Whether `count` groups from that place on are part of a long list of four-digit numbers, which begins at `run`, and
/// no separator of another kind sets them apart from it.
pub(crate) fn is_listed(all: &[Group], place: usize, count: usize, run: usize) -> bool {
    let ahead = || all.iter().skip(place).take(MOST_GROUPS).take_while(|group| group.length == 4).count();
    if all.get(place).is_none_or(|group| group.length != 4) || place - run.min(place) + ahead() <= SHORT_LIST
    {
        return false;
    }
    let separator = all.get(place + 1).map_or('\0', |group| group.before);
    let as_inside =
        |at: usize| all.get(at).is_some_and(|group| group.length == 4 && group.before == separator);
    let uniform = (place + 2..place + count).all(|at| all.get(at).is_some_and(|g| g.before == separator));
    let apart = (place == run || !as_inside(place)) && !as_inside(place + count);
    !(uniform && apart)
}
