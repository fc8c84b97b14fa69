//! One normal form for all scripts: every digit ASCII, nothing invisible, compatibility characters folded.

use super::unicode_tables::{INVISIBLE, OTHER_DIGITS, ZEROS};
use std::borrow::Cow;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use zeroize::Zeroizing;

/// `text` with every decimal digit in ASCII (NFKC, UAX #15, and all of category Nd), without format controls,
/// variation selectors and combining marks. ASCII text is given back as it is.
pub(crate) fn normalise(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut normal = Zeroizing::new(String::with_capacity(text.len()));
    let mut rest = text;
    while let Some(first) = rest.bytes().position(|byte| !byte.is_ascii()) {
        // What stands before stays as it is, but for the last character, which a mark may belong to.
        let (plain, foreign) = rest.split_at_checked(first.saturating_sub(1)).unwrap_or((rest, ""));
        normal.push_str(plain);
        let length = foreign.bytes().skip(1).position(|byte| byte.is_ascii()).map(|at| at + 1);
        let (foreign, after) =
            foreign.split_at_checked(length.unwrap_or(foreign.len())).unwrap_or((foreign, ""));
        for c in foreign.chars().filter(|c| !is_invisible(*c)).map(digit).nfkc() {
            if !is_combining_mark(c) && !is_invisible(c) {
                normal.push(digit(c));
            }
        }
        rest = after;
    }
    normal.push_str(rest);
    Cow::Owned(std::mem::take(&mut *normal))
}

fn is_invisible(c: char) -> bool {
    let code = u32::from(c);
    !c.is_ascii() && INVISIBLE.iter().any(|(first, last)| (*first..=*last).contains(&code))
}

/// The ASCII digit of the same value, or the character itself.
fn digit(c: char) -> char {
    let code = u32::from(c);
    if code < 0x80 {
        return c;
    }
    let before = ZEROS.partition_point(|zero| *zero <= code);
    let decimal = before
        .checked_sub(1)
        .and_then(|at| ZEROS.get(at))
        .map(|zero| code - zero)
        .filter(|value| *value < 10);
    let other = || {
        OTHER_DIGITS
            .iter()
            .find(|(first, last, _)| (*first..=*last).contains(&code))
            .map(|(first, _, value)| code - first + value)
    };
    decimal.or_else(other).and_then(|value| char::from_digit(value, 10)).unwrap_or(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn digits_of_every_script_become_ascii() {
        for text in [
            "４１１１",
            "٤١١١",
            "۴۱۱۱",
            "४१११",
            "৪১১১",
            "๔๑๑๑",
            "៤១១១",
            "၄၁၁၁",
            "᠔᠑᠑᠑",
            "߄߁߁߁",
            "༤༡༡༡",
            "𝟒𝟏𝟏𝟏",
            "𝟜𝟙𝟙𝟙",
            "⁴¹¹¹",
            "₄₁₁₁",
            "④①①①",
            "❹❶❶❶",
            "➃➀➀➀",
            "፬፩፩፩",
            "\u{10a43}\u{10a40}\u{10a40}\u{10a40}",
            "\u{10e63}\u{10e60}\u{10e60}\u{10e60}",
            "\u{11055}\u{11052}\u{11052}\u{19da}",
            "4\u{ad}1\u{200b}1\u{202e}1",
            "4\u{fe0f}\u{20e3}1\u{301}11",
            "４١१1",
        ] {
            assert_eq!(normalise(text), "4111", "{text}");
        }
        assert!(std::char::from_u32(0x1D7CE).is_some_and(|c| digit(c) == '0'));
    }

    proptest! {
        #[test]
        fn what_is_normal_in_pieces_is_normal_as_a_whole(text in "([ -~]{0,3}[à-ÿ\u{300}-\u{310}\u{200b}٤１④ﬁ가ㄱ]{0,3}){0,6}") {
            let visible = text.chars().filter(|c| !is_invisible(*c)).map(digit).nfkc();
            let whole: String =
                visible.filter(|c| !is_combining_mark(*c) && !is_invisible(*c)).map(digit).collect();
            prop_assert_eq!(normalise(&text), whole);
        }
    }

    #[test]
    fn every_numeric_decimal_of_the_standard_library_is_known() {
        let missing: Vec<u32> = (0x80..0x11_0000u32)
            .filter_map(char::from_u32)
            .filter(|c| ZEROS.contains(&u32::from(*c)) && !c.is_numeric())
            .map(u32::from)
            .filter(|code| !matches!(code, 0x10D40 | 0x116D0 | 0x116DA | 0x11BF0 | 0x1CCF0 | 0x1E5F1))
            .collect();
        assert_eq!(missing, Vec::<u32>::new());
    }
}
