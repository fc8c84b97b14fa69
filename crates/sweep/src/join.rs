//! Numbers split over neighbours: `["4111","1111","1111","1111"]`, `p1=41111111&p2=11111111`, lists of digits.

use crate::context::FieldContext;
use crate::pan;
use crate::runs::{self, Found};
use crate::verdict::Kind;
use zeroize::Zeroizing;

/// One neighbour: its text when it is digits and nothing else, or groups of them as cards show.
pub(crate) fn piece(text: &str) -> Option<&str> {
    let digits = text.trim();
    let bare = || digits.bytes().all(|b| b.is_ascii_digit());
    let whole = !digits.is_empty() && digits.len() <= MOST_DIGITS && bare();
    (whole || is_grouped(digits.as_bytes())).then_some(digits)
}

/// How many digits a piece has.
pub(crate) fn digits(piece: &str) -> usize {
    piece.bytes().filter(u8::is_ascii_digit).count()
}

/// More digits than these are a number of their own, not a piece of one.
const MOST_DIGITS: usize = 13;
/// Separators between two groups of a piece.
const WIDEST_GAP: usize = 3;

/// Part of a number in groups: fours, or a six with a four or five, at the end three to six digits. Dates, amounts and
/// telephone numbers are not grouped so.
fn is_grouped(text: &[u8]) -> bool {
    if text.len() > MOST_DIGITS + 4 * WIDEST_GAP || text.get(3).is_none_or(|byte| !byte.is_ascii_digit()) {
        return false;
    }
    let (mut rest, mut groups, mut total) = (text, 0usize, 0usize);
    loop {
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let after = rest.get(length..).unwrap_or_default();
        (groups, total) = (groups + 1, total + length);
        if after.is_empty() {
            return groups > 1 && (3..=6).contains(&length) && total <= MOST_DIGITS;
        }
        let gap = after.iter().take_while(|b| matches!(b, b' ' | b'-' | b'.' | b'/' | b'_')).count();
        if !(length == 4 || (length == 6 && groups <= 2)) || !(1..=WIDEST_GAP).contains(&gap) {
            return false;
        }
        rest = after.get(gap..).unwrap_or_default();
    }
}

/// Judges neighbours in their order; `None` stands for one that is no piece and ends a row.
pub(crate) fn find<'a>(
    neighbours: impl Iterator<Item = Option<&'a str>>,
    context: FieldContext,
) -> Option<Found> {
    let mut row: Vec<&str> = vec![];
    // The last neighbour that is shaped like a token, with the piece before it, while nothing came between.
    let mut token: Option<(&str, &str)> = None;
    for neighbour in neighbours {
        let piece = neighbour.unwrap_or_default();
        if let Some((before, token)) = token.take()
            && let Some(found) = around(before, token, piece)
        {
            return Some(found);
        }
        let shaped = is_token_shaped(piece);
        if shaped || piece.is_empty() {
            if let Some(found) = judge(&row, context) {
                return Some(found);
            }
            let before = row.last().copied().unwrap_or_default();
            token = shaped.then_some((before, piece));
            row.clear();
        } else {
            row.push(piece);
        }
    }
    token.and_then(|(before, token)| around(before, token, "")).or_else(|| judge(&row, context))
}

/// Whether a piece is a whole card-shaped token. Joined with the expiry that stands beside it, every fifth would hold a
/// card number by chance somewhere inside.
fn is_token_shaped(piece: &str) -> bool {
    piece.len() >= 12
        && digits(piece) == piece.len()
        && piece.starts_with('9')
        && !pan::luhn(piece.as_bytes())
}

/// A number that is exactly a token-shaped piece with one or both of its neighbours: one that was cut so that the
/// larger part starts with 9.
fn around(before: &str, token: &str, after: &str) -> Option<Found> {
    [[before, token, ""], ["", token, after], [before, token, after]].into_iter().find_map(|parts| {
        let whole = bare(&parts);
        pan::judge(whole.as_bytes()).map(|brand| Found::new(Kind::Pan, Some(brand), whole.len()))
    })
}

/// The digits of all pieces.
fn bare(pieces: &[&str]) -> Zeroizing<String> {
    Zeroizing::new(pieces.iter().flat_map(|piece| piece.chars()).filter(char::is_ascii_digit).collect())
}

fn judge(row: &[&str], context: FieldContext) -> Option<Found> {
    if row.len() < 2 || row.iter().map(|piece| digits(piece)).sum::<usize>() < 12 {
        return None;
    }
    // Written out with single spaces, neighbours are judged by the same groupings as groups in a text.
    let spaced = Zeroizing::new(row.join(" "));
    if let Some(found) = runs::find(&spaced, context) {
        return Some(found);
    }
    // Two to six neighbours that are the whole row: a number cut anywhere.
    let whole = bare(row);
    let cut_anywhere = context == FieldContext::Card && row.len() <= 6;
    if cut_anywhere && let Some(brand) = pan::judge_in_card_field(whole.as_bytes()) {
        return Some(Found::new(Kind::Pan, Some(brand), whole.len()));
    }
    // Character codes of digits.
    let decoded: Option<String> = row
        .iter()
        .map(|piece| {
            piece.parse::<u8>().ok().map(char::from).filter(|c| c.is_ascii_digit() || matches!(c, ' ' | '-'))
        })
        .collect();
    runs::find(&Zeroizing::new(decoded?), context)
}

/// What names of cut pieces have in common: `p` of `p1` and `p2`, `card` of `card[0]` and `card[1]`.
pub(crate) fn stem(name: &str) -> &str {
    name.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '[' | ']' | '_' | '-' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(row: &[&str]) -> bool {
        find(row.iter().map(|text| piece(text)), FieldContext::Plain).is_some()
    }

    #[test]
    fn split_numbers_are_joined() {
        assert!(hit(&["41111111", "11111111"]));
        assert!(hit(&["4111", "1111", "1111", "1111"]));
        assert!(hit(&["3782", "822463", "10005"]));
        assert!(hit(&["4111-1111", "1111-1111"]));
        assert!(hit(&["4111 1111 1111", "1111"]));
        assert!(hit(&["3782", "822463/10005"]));
        assert!(hit(&["3782--822463", "10005"]));
        assert!(hit(&["visit", "4111", "1111", "1111", "1111", "x"]));
        let digits: Vec<String> = "4111111111111111".chars().map(String::from).collect();
        assert!(hit(&digits.iter().map(String::as_str).collect::<Vec<_>>()));
        let codes: Vec<String> = "4111111111111111".bytes().map(|b| b.to_string()).collect();
        assert!(hit(&codes.iter().map(String::as_str).collect::<Vec<_>>()));
    }

    #[test]
    fn a_card_shaped_token_is_not_joined_with_the_expiry_beside_it_but_a_cut_number_is() {
        let card = |row: &[&str]| find(row.iter().map(|text| piece(text)), FieldContext::Card).is_some();
        // Joined, they hold the card number 348111111111122.
        assert!(pan::judge(b"348111111111122").is_some(), "else this test says nothing");
        assert!(!pan::luhn(b"9348111111111"));
        assert!(!card(&["9348111111111", "12", "2030"]));
        assert!(!card(&["12", "9348111111111", "12", "2030"]));
        assert!(card(&["4111", "911111111114"]), "4111911111111114");
        assert!(card(&["x", "4111", "911111111114", "12"]));
        assert!(card(&["411111111111", "1111"]));
    }

    #[test]
    fn honest_neighbours_are_not() {
        assert!(!hit(&["94107", "2026", "10", "3", "12540"]));
        assert!(!hit(&["99213", "99214", "99215"]));
        assert!(!hit(&["4155551234", "4155551235"]));
        assert!(!hit(&["4155-55-1234", "41-11", "1111-11"]));
        for other in
            ["2026-10-03", "2026-10", "125.40", "415-555-1234", "94107-1204", "12-3456789", "08:15", "-4111"]
        {
            assert_eq!(piece(other), None, "{other}");
        }
        assert!(!hit(&["4111", "x", "1111", "1111", "1111"]));
    }
}
