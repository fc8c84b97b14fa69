//! Bytes in, places out: a content of any size is read through a window, judged as text, and a window that hits is
//! looked at closely to name the line. Knows nothing of files.

use std::io::{self, Read};
use sweep::{FieldContext, Hit, Verdict};
use zeroize::Zeroizing;

/// So much is judged at once.
const WINDOW: usize = 256 * 1024;
/// Windows overlap, so that a number at a border is whole in one of them. No disguise that the sweep knows is longer.
const OVERLAP: usize = 1024;
/// A longer line is looked at in pieces.
const PIECE: usize = 4096;
/// So many lines are looked at together for a number that is spread over lines.
const TOGETHER: usize = 8;
/// A text file up to this size is also read as one JSON document.
const DOCUMENT: usize = 1 << 20;

/// Takes a place and what was found there.
pub(super) type Found<'a> = dyn FnMut(String, &Hit) + 'a;

/// How bytes become characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// ASCII, UTF-8, or binary with text in it.
    Bytes,
    /// UTF-16 that says so with a byte order mark.
    Utf16 { big_endian: bool },
}

impl Reading {
    /// By the first bytes.
    pub(super) fn of(head: &[u8]) -> Reading {
        match head {
            [0xff, 0xfe, ..] => Reading::Utf16 { big_endian: false },
            [0xfe, 0xff, ..] => Reading::Utf16 { big_endian: true },
            _ => Reading::Bytes,
        }
    }
}

/// Judges one text.
pub(super) fn judge(text: &str, context: FieldContext) -> Option<Hit> {
    let judge = |text: &str| match sweep::sweep_text(text, context) {
        Verdict::Hit(hit) => Some(hit),
        Verdict::Clean => None,
    };
    // Entity declarations are refused in a message, because its reader might expand them. A file is only searched.
    match judge(text) {
        Some(hit) if gave_up(&hit) && text.contains("<!") => judge(&Zeroizing::new(text.replace("<!", "< "))),
        hit => hit,
    }
}

/// Whether the sweep gave up on the text, rather than finding something.
pub(super) fn gave_up(hit: &Hit) -> bool {
    hit.length == 0
}

/// Judges a value that stands alone, such as one of a database.
pub(super) fn judge_value(bytes: &[u8], context: FieldContext) -> Option<Hit> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => judge(text, context),
        _ => {
            let mut found = None;
            let mut reader = bytes;
            let _ = search(&mut reader, Reading::of(bytes), &mut |_, hit| {
                found.get_or_insert_with(|| hit.clone());
            });
            found
        }
    }
}

/// Searches everything that comes out of `from`, and says how many bytes that was.
///
/// # Errors
/// The reader's error; what came before it was searched.
pub(super) fn search(from: &mut dyn Read, reading: Reading, found: &mut Found<'_>) -> io::Result<u64> {
    let mut window = Zeroizing::new(Vec::with_capacity(WINDOW));
    let (mut base, mut line, mut last) = (0u64, 1u64, None);
    let (mut hits, mut whole) = (0u64, true);
    loop {
        let kept = window.len();
        let room = u64::try_from(WINDOW.saturating_sub(kept)).unwrap_or(0);
        let read = from.take(room).read_to_end(&mut window)?;
        let ended = read < WINDOW.saturating_sub(kept);
        if read > 0 || (ended && base == 0) {
            let mut each = |place: Place, hit: &Hit| {
                // The overlap is seen twice.
                if last.is_none_or(|last| place.offset > last) {
                    last = Some(place.offset);
                    hits += 1;
                    found(place.to_string(), hit);
                }
            };
            look(&window, reading, base, line, &mut each);
        }
        if ended {
            let total = base + u64::try_from(window.len()).unwrap_or(0);
            if whole && hits == 0 {
                document(&window, found);
            }
            return Ok(total);
        }
        whole = false;
        let done = window.len().saturating_sub(OVERLAP);
        line += newlines(window.get(..done).unwrap_or_default());
        base += u64::try_from(done).unwrap_or(0);
        window.drain(..done);
    }
}

/// Where something ends, from the start of the content.
struct Place {
    offset: u64,
    /// Unless it is binary.
    line: Option<u64>,
    /// Whether the line is so long that its number says little.
    long: bool,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) if self.long => write!(f, "line {line}, before byte {}", self.offset),
            Some(line) => write!(f, "line {line}"),
            None => write!(f, "before byte {}", self.offset),
        }
    }
}

/// Judges one window in every reading that makes sense for it.
fn look(window: &[u8], reading: Reading, base: u64, line: u64, found: &mut dyn FnMut(Place, &Hit)) {
    if let Reading::Utf16 { big_endian } = reading {
        let units = window
            .as_chunks::<2>()
            .0
            .iter()
            .map(|pair| if big_endian { u16::from_be_bytes(*pair) } else { u16::from_le_bytes(*pair) });
        let text: Zeroizing<String> =
            Zeroizing::new(char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')).collect());
        return text_hits(&text, &mut |at, hit| {
            let offset = base + at.before(&text).encode_utf16().map(|_| 2u64).sum::<u64>();
            found(Place { offset, line: Some(line + at.lines), long: at.long }, hit);
        });
    }
    let nulls = window.iter().filter(|byte| **byte == 0).count();
    if nulls == 0 {
        let text = same_length(window);
        return text_hits(&text, &mut |at, hit| {
            found(Place { offset: base + at.offset(), line: Some(line + at.lines), long: at.long }, hit);
        });
    }
    let binary = |offset| Place { offset, line: None, long: false };
    let printable = Zeroizing::new(window.iter().map(|byte| plain(*byte)).collect::<String>());
    let mut clean = true;
    text_hits(&printable, &mut |at, hit| {
        clean = false;
        found(binary(base + at.offset()), hit);
    });
    // Text of two bytes a character leaves a null after every digit; where it starts is not known.
    if clean && nulls > window.len() / 64 {
        for start in [0usize, 1] {
            let pairs = window.get(start..).unwrap_or_default().as_chunks::<2>().0;
            let wide: Zeroizing<String> = Zeroizing::new(
                pairs.iter().map(|[low, high]| if *high == 0 { plain(*low) } else { '\n' }).collect(),
            );
            text_hits(&wide, &mut |at, hit| found(binary(base + at.offset() * 2), hit));
        }
    }
}

/// The bytes as text in which everything keeps its place: each byte that is no UTF-8 becomes one character that is
/// neither letter nor digit.
fn same_length(bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(bytes.len()));
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '\u{1}'));
    }
    text
}

/// A byte as a character of the same place: what cannot be printed ends a word.
fn plain(byte: u8) -> char {
    if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '\n' }
}

/// Where something ends in a text.
#[derive(Clone, Copy)]
struct At {
    byte: usize,
    /// Line ends before it.
    lines: u64,
    long: bool,
}

impl At {
    fn offset(self) -> u64 {
        u64::try_from(self.byte).unwrap_or(u64::MAX)
    }

    fn before(self, text: &str) -> &str {
        text.get(..self.byte).unwrap_or(text)
    }
}

/// Gives the place and the finding of everything in `text` that hits, in order.
fn text_hits(text: &str, found: &mut dyn FnMut(At, &Hit)) {
    let Some(somewhere) = judge(text, FieldContext::Plain) else { return };
    let pieces = pieces(text);
    let mut none = true;
    for (start, piece) in &pieces {
        let mut from = 0;
        while let Some((end, hit)) = first_in(piece.get(from..).unwrap_or_default()) {
            none = false;
            found(At { byte: start.byte + from + end, ..*start }, &hit);
            if gave_up(&hit) {
                break;
            }
            from += end;
        }
    }
    // A whole window may be too much for the sweep where none of its pieces is.
    if !none || gave_up(&somewhere) {
        return;
    }
    let mut groups = pieces.windows(TOGETHER.min(pieces.len().max(1)));
    let spread = groups.find_map(|group| {
        let (start, _) = group.first()?;
        let length: usize = group.iter().map(|(_, piece)| piece.len() + 1).sum();
        let joined = text.get(start.byte..).map(|rest| rest.get(..length).unwrap_or(rest))?;
        judge(joined, FieldContext::Plain).map(|hit| (*start, hit))
    });
    let (at, hit) = spread.unwrap_or((At { byte: 0, lines: 0, long: false }, somewhere));
    found(at, &hit);
}

/// The first finding in a short text and where it ends: the shortest beginning of the text that hits.
fn first_in(text: &str) -> Option<(usize, Hit)> {
    let mut hit = judge(text, FieldContext::Plain)?;
    if gave_up(&hit) {
        return Some((text.len(), hit));
    }
    let (mut without, mut with) = (0, text.len());
    while with - without > 1 {
        let middle = boundary(text, without.midpoint(with));
        if middle <= without {
            break;
        }
        match judge(text.get(..middle).unwrap_or_default(), FieldContext::Plain) {
            Some(earlier) if !gave_up(&earlier) => (with, hit) = (middle, earlier),
            _ => without = middle,
        }
    }
    Some((with, hit))
}

/// Lines, and long lines in pieces that overlap.
fn pieces(text: &str) -> Vec<(At, &str)> {
    let mut pieces = Vec::new();
    let mut start = 0usize;
    for (lines, line) in (0u64..).zip(text.split('\n')) {
        let mut from = 0usize;
        loop {
            let rest = line.get(from..).unwrap_or_default();
            let end = boundary(rest, PIECE);
            let at = At { byte: start + from, lines, long: line.len() > PIECE };
            pieces.push((at, rest.get(..end).unwrap_or(rest)));
            if end >= rest.len() {
                break;
            }
            from += boundary(rest, PIECE - OVERLAP);
        }
        start += line.len() + 1;
    }
    pieces
}

fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

fn newlines(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.iter().filter(|byte| **byte == b'\n').count()).unwrap_or(0)
}

/// A JSON document hides numbers that its text does not show: in exponent form, in members that join up, by name.
fn document(content: &[u8], found: &mut Found<'_>) {
    let first = content.iter().find(|byte| !byte.is_ascii_whitespace());
    if content.len() > DOCUMENT || !matches!(first, Some(b'{' | b'[')) {
        return;
    }
    let limits = sweep::Limits::default();
    if let Ok(Verdict::Hit(hit)) = sweep::sweep_body(Some("application/json"), content, &limits) {
        found(format!("member {}", hit.place), &hit);
    }
}
