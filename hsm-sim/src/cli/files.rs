//! Small secret files that commands read: PINs, shares, tickets. In memory that is wiped.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use hsm_sim::ceremony::{Share, read_share};
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::Failure;

/// Reads a PIN from a file: at most 130 bytes, one trailing line end not counted.
pub(super) fn read_pin(path: &Path) -> Result<SecretString, Failure> {
    let bytes = read_small(path, "PIN", 130)?;
    let text = std::str::from_utf8(&bytes);
    let text = text.map_err(|_| Failure::new("the PIN file is not text; write the PIN alone into it"))?;
    Ok(SecretString::from(text.strip_suffix('\n').unwrap_or(text)))
}

/// Reads a custodian's share.
pub(super) fn read_share_file(path: &Path) -> Result<Share, Failure> {
    let bytes = read_small(path, "share", 8192)?;
    parse_share(&bytes).map_err(|Failure(why)| Failure::new(format!("{}: {why}", path.display())))
}

/// Reads a share as it was typed.
pub(super) fn parse_share(bytes: &[u8]) -> Result<Share, Failure> {
    let text = std::str::from_utf8(bytes).map_err(|_| Failure::new("this is no text of a share"))?;
    read_share(text).map_err(Failure::new)
}

/// Reads an officer's ticket: one line of hexadecimal.
pub(super) fn read_ticket(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let bytes = read_small(path, "ticket", 512)?;
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let (pairs, rest) = bytes.trim_ascii().as_chunks::<2>();
    let mut ticket = Zeroizing::new(Vec::with_capacity(pairs.len()));
    for &[high, low] in pairs {
        ticket.extend(digit(high).zip(digit(low)).map(|(high, low)| high << 4 | low));
    }
    let whole = rest.is_empty() && ticket.len() == pairs.len() && !ticket.is_empty();
    whole.then_some(ticket).ok_or_else(|| {
        Failure::new(format!("{}: this is no ticket; `hsm-sim approve` prints one", path.display()))
    })
}

/// Reads at most `most` bytes; a longer file is refused.
pub(super) fn read_small(path: &Path, what: &str, most: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |error: io::Error| Failure::new(format!("cannot read the {what} file: {error}"));
    let mut file = File::open(path).map_err(failed)?;
    let mut bytes = Zeroizing::new(vec![0; most + 1]);
    let mut filled = 0;
    while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read(room).map_err(failed)? {
            0 => break,
            count => filled += count,
        }
    }
    if filled > most {
        return Err(Failure::new(format!("the {what} file is too long to hold a {what} alone")));
    }
    bytes.truncate(filled);
    Ok(bytes)
}
