//! The glance at a text of any length, 64 bytes at a time. Like `glance` it may only say "certainly clean".

use crate::bits::{self, BLOCK, Bits, Window, joined, places, runs};
use crate::context::FieldContext;
use crate::views::{codec_guess, codecs, number};
use crate::{runs as digits, sad};

/// Whether no view of `text` can show anything in a field of any name but that of a verification code.
pub(crate) fn settles(text: &[u8]) -> bool {
    if matches!(text.trim_ascii_start().first(), Some(b'{' | b'[' | b'"')) {
        return false;
    }
    let mut window = Window::<false>::new(text);
    let mut walk = Walk::new(text, true);
    for at in (0..text.len()).step_by(BLOCK) {
        window.seek(at);
        let (here, next) = window.blocks();
        let clean = places(here.look).all(|place| is_idle(text, at + place))
            && !walk.code_word(at, here, next)
            && !walk.exponent(at, here, next)
            && !walk.token(at, here, next)
            && walk.stretches_are_clean(at, here);
        if !clean {
            return false;
        }
        walk.go_on(at, here);
    }
    walk.stretch_is_clean(text.len()) && walk.whole_is_clean()
}

/// What a text shows on its face: which readers and judges have anything to do.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Signs {
    /// Most digits with no letter between them but those of hex and masks.
    pub(crate) digits: u32,
    /// A word that may name a verification code.
    pub(crate) code_word: bool,
    /// A number in exponent form.
    pub(crate) exponent: bool,
    /// Base64 or base32 that may begin a text.
    pub(crate) token: bool,
}

/// Looks at a text of any alphabet whose digits are ASCII. Errs only towards yes.
pub(crate) fn signs(text: &[u8]) -> Signs {
    let mut window = Window::<false>::new(text);
    let (mut walk, mut signs) = (Walk::new(text, false), Signs::default());
    for at in (0..text.len()).step_by(BLOCK) {
        window.seek(at);
        let (here, next) = window.blocks();
        signs.code_word = signs.code_word || walk.code_word(at, here, next);
        signs.exponent = signs.exponent || walk.exponent(at, here, next);
        signs.token = signs.token || walk.token(at, here, next);
        walk.stretches_are_clean(at, here);
        walk.go_on(at, here);
    }
    walk.stretch_is_clean(text.len());
    Signs { digits: walk.longest, ..signs }
}

/// Whether a sign that begins escapes, markup or encodings begins none here, as in `a = b & c`.
fn is_idle(text: &[u8], at: usize) -> bool {
    let next = text.get(at + 1).copied().unwrap_or(b' ');
    match text.get(at) {
        Some(b'=') => !next.is_ascii_hexdigit() && !matches!(next, b'\n' | b'\r' | b'?'),
        Some(b'%') => !next.is_ascii_hexdigit() && !matches!(next, b'u' | b'U'),
        Some(b'&') => !next.is_ascii_alphanumeric() && next != b'#',
        Some(b'<') => matches!(next, b' ' | b'=' | b'<' | b'-' | b'0'..=b'9'),
        Some(b'\\') | None => false,
        Some(control) => control.is_ascii(),
    }
}

struct Walk<'a> {
    text: &'a [u8],
    /// Whether stretches are judged, or only counted.
    judges: bool,
    /// Where the first digit since the last letter stands that neither hex nor a mask has, and how many there are.
    stretch: usize,
    near: u32,
    longest: u32,
    /// Digits in all.
    digits: usize,
    /// Whether there is nothing but characters of base64, its padding and white space.
    words: bool,
    before: Bits,
}

impl<'a> Walk<'a> {
    fn new(text: &'a [u8], judges: bool) -> Walk<'a> {
        let before = Bits::default();
        Walk { text, judges, stretch: 0, near: 0, longest: 0, digits: 0, words: true, before }
    }

    fn go_on(&mut self, at: usize, here: &Bits) {
        self.digits += here.digit.count_ones() as usize;
        if self.words {
            let rest = (self.text.len() - at).min(BLOCK);
            let all = u64::MAX >> (BLOCK - rest).min(63);
            let others = all & !(here.digit | here.letter | here.sign);
            let fits = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'=';
            self.words = places(others).all(|place| self.text.get(at + place).is_some_and(fits));
        }
        self.before = *here;
    }

    fn code_word(&self, at: usize, here: &Bits, next: &Bits) -> bool {
        let starts = here.letter & !(here.letter << 1 | self.before.letter >> 63);
        let letter = joined(here.letter, next.letter);
        let short = letter & (letter >> 1) & (joined(here.digit, next.digit) >> 2);
        places(starts & bits::here(runs(letter, 3) | short))
            .any(|place| sad::begins_code_name(self.text, at + place))
    }

    fn exponent(&self, at: usize, here: &Bits, next: &Bits) -> bool {
        let beside = |bits: u64, before: u64, next: u64| (bits << 1 | before >> 63, bits >> 1 | next << 63);
        let (before, after) = beside(here.letter, self.before.letter, next.letter);
        places(here.letter & !(before | after)).any(|place| number::may_expand_at(self.text, at + place))
    }

    /// Base64 or base32 that may begin a text, or digits in base64.
    fn token(&self, at: usize, here: &Bits, next: &Bits) -> bool {
        let narrow = joined(here.digit | here.letter, next.digit | next.letter);
        let wide = narrow | joined(here.sign, next.sign);
        let eight = runs(wide, 8);
        if bits::here(eight) == 0 {
            return false;
        }
        let rest = |place: usize| self.text.get(at + place..).unwrap_or_default();
        if places(bits::here(eight)).any(|place| codecs::begins_base64_digits(rest(place))) {
            return true;
        }
        let sixteen = runs(wide, 16);
        if bits::here(sixteen) == 0 {
            return false;
        }
        let before = self.before.digit | self.before.letter;
        let begin = |starts: u128, all: u128, before: u64| {
            places(bits::here(starts & !(all << 1 | u128::from(before >> 63)))).map(rest)
        };
        begin(sixteen, wide, before | self.before.sign).any(codec_guess::starts_as_text)
            || begin(runs(narrow, 16), narrow, before).any(codec_guess::starts_as_text)
            || begin(runs(narrow, 20), narrow, before).any(codec_guess::starts_as_base32_text)
    }

    /// Digits with no letter between them but those of hex and masks, whose number may hold a card number.
    fn stretches_are_clean(&mut self, at: usize, here: &Bits) -> bool {
        let mut digit = here.digit;
        let mut from = 0u32;
        loop {
            let left = u64::MAX.checked_shl(from).unwrap_or(0);
            let end = (here.beyond & left).trailing_zeros();
            let inside = digit & !u64::MAX.checked_shl(end).unwrap_or(0);
            if inside != 0 && self.near == 0 {
                self.stretch = at + inside.trailing_zeros() as usize;
            }
            self.near = self.near.saturating_add(inside.count_ones());
            if end >= u64::BITS {
                return true;
            }
            if self.near != 0 && !self.stretch_is_clean(at + end as usize) {
                return false;
            }
            self.near = 0;
            digit &= !inside;
            if digit == 0 {
                return true;
            }
            // Straight on to the last letter before the next digit.
            let before = here.beyond & !(u64::MAX << digit.trailing_zeros());
            from = u64::BITS - before.leading_zeros();
        }
    }

    fn stretch_is_clean(&mut self, end: usize) -> bool {
        self.longest = self.longest.max(self.near);
        if self.near < 11 || !self.judges {
            return true;
        }
        let stretch = self.text.get(self.stretch..end).unwrap_or_default();
        let Ok(text) = std::str::from_utf8(stretch) else { return false };
        let masked = stretch.iter().any(|byte| matches!(byte, b'*' | b'#' | b'x' | b'X'));
        if masked && digits::unmasked(text).is_some() {
            return false;
        }
        self.near < 12
            || (digits::find(text, FieldContext::Card).is_none() && !self.may_be_hex(self.stretch, end))
    }

    /// By whole words: a word that goes on outside the stretch is no hex, and what is before it stands alone.
    fn may_be_hex(&self, start: usize, end: usize) -> bool {
        let (before, after) =
            (self.text.get(..start).unwrap_or_default(), self.text.get(end..).unwrap_or_default());
        let within = self.text.get(start..end).unwrap_or_default();
        let pairs = within.iter().filter(|byte| byte.is_ascii_alphanumeric()).count();
        // Hex letters may stand before the first digit.
        let hex = |byte: &u8| {
            byte.is_ascii_hexdigit() || !byte.is_ascii_alphanumeric() || matches!(byte, b'x' | b'X')
        };
        let lead = before.iter().rev().take_while(|byte| hex(byte)).count();
        if pairs + lead < 24 {
            return false;
        }
        let whole = self.text.get(start - lead..end).unwrap_or_default();
        let cut = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let head = if cut(before.get(..start - lead).and_then(<[u8]>::last)) {
            whole.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count()
        } else {
            0
        };
        let tail = if cut(after.first()) {
            whole.iter().rev().take_while(|byte| byte.is_ascii_alphanumeric()).count()
        } else {
            0
        };
        let words = whole.get(head..whole.len().saturating_sub(tail)).unwrap_or_default();
        codec_guess::may_be_hex(words)
    }

    /// What only the text as a whole shows.
    fn whole_is_clean(&self) -> bool {
        // A prefix of hex may be left out, and then the text is another one.
        let prefixed = memchr::memchr2_iter(b'x', b'X', self.text)
            .any(|at| at.checked_sub(1).and_then(|at| self.text.get(at)) == Some(&b'0'));
        if prefixed {
            return false;
        }
        !self.words || std::str::from_utf8(self.text).is_ok_and(|text| codecs::base64_wrapped(text).is_none())
    }
}
