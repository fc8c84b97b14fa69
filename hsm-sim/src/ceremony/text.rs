//! A share on paper: lines of Crockford's base 32 (no I, L, O, U), each with two Reed-Solomon check characters, so
//! that any one or two wrong characters in a line, and any two swapped ones, are found and the line is named while
//! the custodian still has the paper in hand. A checksum over the whole finds lines left out or swapped.

use zeroize::Zeroizing;

use super::Share;

/// Characters of data on a line.
const WIDTH: usize = 20;
/// More lines than this are no share.
const MAX_LINES: usize = 24;
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const BEGIN: &str = "BEGIN HSM-SIM SHARE";
const END: &str = "END HSM-SIM SHARE";

/// Why a text is no share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareTextError {
    /// The check characters of a line do not fit.
    #[error("line {0} has a wrong character; compare it with the paper")]
    Line(usize),
    /// A line is missing, twice there, or cut.
    #[error("line {0} is missing, out of order, or too short or long; every line begins with its number")]
    Order(usize),
    /// Every line is right and the whole is not.
    #[error("the lines do not make a share; they come from different papers, or one is left out")]
    Whole,
}

/// The share as text for its custodian, in memory that is wiped.
#[must_use]
pub fn write_share(share: &Share) -> Zeroizing<String> {
    let bytes = share.encode();
    let symbols = to_symbols(bytes.as_slice());
    // Sized for the longest share, so that it never moves.
    let mut out = Zeroizing::new(String::with_capacity(2048));
    let set = share.set();
    let facts = format!(
        "{BEGIN}\ncustodian  {}\nshare      {} of {}; any {} open the device\nrealm      {}\ndevice     {}\n\
         set        {}\ncheck      {}\n\n",
        share.custodian(),
        share.id(),
        set.count,
        set.threshold,
        set.realm.as_str(),
        super::to_hex(&set.serial),
        super::to_hex(&set.id),
        share.check_value().map_or_else(|_| "unknown".to_owned(), |kcv| kcv.to_string()),
    );
    out.push_str(&facts);
    for (number, line) in (1_usize..).zip(symbols.chunks(WIDTH)) {
        let [a, b] = check_symbols(number, line);
        out.push_str(&format!("{number:2} "));
        for (at, &symbol) in line.iter().chain([&a, &b]).enumerate() {
            if at % 4 == 0 || at == line.len() {
                out.push(' ');
            }
            out.push(character(symbol));
        }
        out.push('\n');
    }
    out.push_str(END);
    out.push('\n');
    out
}

/// Reads a share as its custodian typed it: numbered lines; case, spaces, hyphens and everything around them do not
/// matter, and O, I, L are read as 0, 1, 1.
///
/// # Errors
/// [`ShareTextError`], which names the line that is wrong.
pub fn read_share(text: &str) -> Result<Share, ShareTextError> {
    let mut symbols = Zeroizing::new(Vec::with_capacity(WIDTH * MAX_LINES));
    let mut short = false;
    let numbered =
        text.lines().map(str::trim_start).filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
    for (expected, line) in (1..).zip(numbered) {
        let (number, rest) = line.split_once([' ', '\t']).ok_or(ShareTextError::Order(expected))?;
        if number.parse() != Ok(expected) || expected > MAX_LINES || short {
            return Err(ShareTextError::Order(expected));
        }
        let typed = rest.chars().filter(|c| !c.is_whitespace() && *c != '-');
        let typed = typed.map(|c| symbol(c).ok_or(ShareTextError::Line(expected)));
        let typed = Zeroizing::new(typed.collect::<Result<Vec<u8>, _>>()?);
        let (data, check) = typed.split_last_chunk::<2>().ok_or(ShareTextError::Order(expected))?;
        if data.is_empty() || data.len() > WIDTH {
            return Err(ShareTextError::Order(expected));
        }
        if check_symbols(expected, data) != *check {
            return Err(ShareTextError::Line(expected));
        }
        // Only the last line is shorter than the others.
        short = data.len() < WIDTH;
        symbols.extend_from_slice(data);
    }
    let bytes = to_bytes(&symbols).ok_or(ShareTextError::Whole)?;
    Share::decode(&bytes).map_err(|_| ShareTextError::Whole)
}

fn character(symbol: u8) -> char {
    ALPHABET.get(usize::from(symbol)).map_or('?', |&byte| char::from(byte))
}

fn symbol(typed: char) -> Option<u8> {
    let plain = match typed.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    ALPHABET.iter().position(|&byte| char::from(byte) == plain).and_then(|at| u8::try_from(at).ok())
}

/// Eight bits at a time to five at a time, the last filled with zeroes.
fn to_symbols(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(bytes.len() * 8 / 5 + 1));
    let (mut held, mut bits) = (0_u32, 0_u32);
    for &byte in bytes {
        held = (held & 0xFF) << 8 | u32::from(byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            out.push(low_five(held >> bits));
        }
    }
    if bits > 0 {
        out.push(low_five(held << (5 - bits)));
    }
    out
}

/// The reverse; `None` when the filling is not zero, since that would be a second spelling.
fn to_bytes(symbols: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut out = Zeroizing::new(Vec::with_capacity(symbols.len() * 5 / 8 + 1));
    let (mut held, mut bits) = (0_u32, 0_u32);
    for &symbol in symbols {
        held = (held & 0xFF) << 5 | u32::from(symbol);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from(held >> bits & 0xFF).unwrap_or_default());
        }
    }
    (bits < 5 && held & ((1 << bits) - 1) == 0).then_some(out)
}

fn low_five(value: u32) -> u8 {
    u8::try_from(value & 31).unwrap_or_default()
}

/// Two check symbols of a Reed-Solomon code over GF(32): the sum, and the sum weighted by powers of the generator,
/// of the line's number and its symbols. Distance 3 for up to 31 symbols in all.
fn check_symbols(number: usize, line: &[u8]) -> [u8; 2] {
    let number = u8::try_from(number % 32).unwrap_or_default();
    let (mut sum, mut weighted) = (0, 0);
    for &symbol in std::iter::once(&number).chain(line) {
        sum ^= symbol;
        weighted = double(weighted) ^ symbol;
    }
    [sum, double(weighted)]
}

/// Times the generator in GF(32) with x^5 + x^2 + 1.
fn double(symbol: u8) -> u8 {
    let shifted = symbol << 1;
    if shifted & 32 == 0 { shifted } else { (shifted ^ 0b10_0101) & 31 }
}

#[cfg(test)]
mod laws;
