//! What a card number looks like wherever it could be left behind, and a search for all of it in any bytes.
#![expect(clippy::indexing_slicing, reason = "a search that goes wrong must fail the test")]

use base64::Engine;
use std::collections::{BTreeSet, HashMap};

/// One byte string that must not be found, and what it is a form of.
struct Needle {
    name: String,
    bytes: Vec<u8>,
}

/// Byte strings to look for, all at once.
pub struct Needles {
    all: Vec<Needle>,
    by_head: HashMap<[u8; 4], Vec<usize>>,
    heads: Vec<bool>,
}

/// A place where a needle was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which needle, in which form.
    pub name: String,
    /// Where it starts in what was searched.
    pub offset: usize,
}

impl Needles {
    /// Every form of every number.
    pub fn of_pans<'a>(numbers: impl IntoIterator<Item = &'a str>) -> Needles {
        let mut needles = Needles::none();
        for number in numbers {
            for (form, bytes) in forms(number) {
                needles.add(format!("{number} {form}"), bytes);
            }
        }
        needles
    }

    /// Nothing yet.
    pub fn none() -> Needles {
        Needles { all: Vec::new(), by_head: HashMap::new(), heads: vec![false; 1 << 16] }
    }

    /// One more; four bytes at least.
    pub fn add(&mut self, name: impl Into<String>, bytes: Vec<u8>) {
        let head = *bytes.first_chunk::<4>().expect("a needle has four bytes");
        self.heads[pair(head[0], head[1])] = true;
        self.by_head.entry(head).or_default().push(self.all.len());
        self.all.push(Needle { name: name.into(), bytes });
    }

    /// The longest one, so that a search in pieces can let them overlap.
    pub fn longest(&self) -> usize {
        self.all.iter().map(|needle| needle.bytes.len()).max().unwrap_or(0)
    }

    /// Every place where one stands.
    pub fn find(&self, hay: &[u8]) -> Vec<Found> {
        let mut found = Vec::new();
        for (offset, window) in hay.windows(4).enumerate() {
            if !self.heads[pair(window[0], window[1])] {
                continue;
            }
            let Some(candidates) = self.by_head.get(window) else { continue };
            for needle in candidates.iter().map(|index| &self.all[*index]) {
                if hay[offset..].starts_with(&needle.bytes) {
                    found.push(Found { name: needle.name.clone(), offset });
                }
            }
        }
        found
    }
}

fn pair(first: u8, second: u8) -> usize {
    usize::from(first) << 8 | usize::from(second)
}

/// The forms of one number. One of few different digits or of many zeros is not looked for as bare bytes: 5, 4, 5, 4 …
/// stands in tables, and a few set bytes between zeros in every memory.
fn forms(number: &str) -> Vec<(String, Vec<u8>)> {
    let ascii = number.as_bytes();
    let digits: Vec<u8> = ascii.iter().map(|digit| digit - b'0').collect();
    let mut forms = vec![
        ("as text".to_owned(), ascii.to_vec()),
        ("with spaces".to_owned(), grouped(number, " ")),
        ("with dashes".to_owned(), grouped(number, "-")),
        ("as form text with spaces".to_owned(), grouped(number, "+")),
        ("as hex".to_owned(), ascii.iter().flat_map(|digit| format!("{digit:02x}").into_bytes()).collect()),
        // Without the outermost zero bytes, so that one string stands for both byte orders.
        ("as UTF-16".to_owned(), spread(ascii, 2)),
        ("as UTF-32".to_owned(), spread(ascii, 4)),
    ];
    for shift in 0..3 {
        forms.push((format!("as base64, shifted by {shift}"), base64_core(ascii, shift)));
    }
    let different = digits.iter().collect::<BTreeSet<_>>().len();
    if different >= 4 && digits.iter().filter(|digit| **digit != 0).count() >= 8 {
        let packed =
            |digits: &[u8]| digits.chunks_exact(2).map(|two| two[0] << 4 | two[1]).collect::<Vec<u8>>();
        forms.push(("packed".to_owned(), packed(&digits)));
        forms.push(("packed after a half byte".to_owned(), packed(&digits[1..])));
        forms.push(("as digit values".to_owned(), digits));
        let integer: u64 = number.parse().expect("nineteen digits fit");
        forms.push(("as an integer".to_owned(), integer.to_le_bytes().to_vec()));
        forms.push(("as an integer, network order".to_owned(), integer.to_be_bytes().to_vec()));
    }
    forms
}

/// As it is printed on the card: 4-6-5 and 4-6-4 for the short ones, fours otherwise.
pub fn grouped(number: &str, separator: &str) -> Vec<u8> {
    let cuts: &[usize] = match number.len() {
        14 | 15 => &[4, 10],
        _ => &[4, 8, 12, 16],
    };
    let mut text = String::new();
    for (place, digit) in number.chars().enumerate() {
        if cuts.contains(&place) {
            text.push_str(separator);
        }
        text.push(digit);
    }
    text.into_bytes()
}

fn spread(ascii: &[u8], width: usize) -> Vec<u8> {
    let mut wide: Vec<u8> =
        ascii.iter().flat_map(|digit| std::iter::once(*digit).chain(vec![0; width - 1])).collect();
    wide.truncate(wide.len() - (width - 1));
    wide
}

/// The characters that depend on the number alone, when `shift` bytes stand before it in its group of three.
fn base64_core(ascii: &[u8], shift: usize) -> Vec<u8> {
    let shifted: Vec<u8> = vec![0; shift].into_iter().chain(ascii.iter().copied()).collect();
    let encoded = base64::engine::general_purpose::STANDARD_NO_PAD.encode(&shifted).into_bytes();
    let (first, end) = ((shift * 8).div_ceil(6), shifted.len() * 8 / 6);
    encoded[first..end].to_vec()
}

/// The three shapes in which a verification code travels with its field's name.
pub fn cvc_contexts(needles: &mut Needles, cvc: &str) {
    for context in [
        format!("\"cvc\":\"{cvc}\""),
        format!("\"cvc\": \"{cvc}\""),
        format!("\"cvc\":{cvc}"),
        format!("cvc]={cvc}"),
        format!("cvc%5D={cvc}"),
        format!("cvc={cvc}"),
        format!("cvc]\"\r\n\r\n{cvc}"),
    ] {
        needles.add(format!("code in {context:?}"), context.into_bytes());
    }
}
