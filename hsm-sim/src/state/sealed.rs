//! The state as bytes: a header in clear, then the whole table under AES-256-GCM with the header as associated
//! data, so that no byte of the file can change, go or be swapped unnoticed. Kept out: files.
//!
//! Header: magic (8), format (u16), guarded (u8: 1 when the generation is kept in a second place), serial (16),
//! generation (u64), salt (32), IV (12). The table's key is
//! HKDF-SHA-256 of the root key with this salt, fresh for every write.

use zeroize::Zeroizing;

use super::{RootKey, State, StateError, table};
use crate::device::primitives;
use crate::protocol::codec::{Malformed, Reader};

const MAGIC: &[u8; 8] = b"PGHSMST\x01";
const FORMAT: u16 = 2;
const HEADER: usize = 8 + 2 + 1 + 16 + 8 + 32 + 12;
const TAG: usize = 16;
const KEY_INFO: &[u8] = b"pangate/hsm-sim/state/v1";

impl From<Malformed> for StateError {
    fn from(_: Malformed) -> Self {
        Self::Tampered
    }
}

/// The sealed form of a state.
///
/// # Errors
/// [`StateError::Device`] without random bytes.
pub fn seal(state: &State, root: &RootKey) -> Result<Vec<u8>, StateError> {
    seal_marked(state, root, false)
}

/// As [`seal`], and says in the header whether the generation is kept in a second place.
pub(super) fn seal_marked(state: &State, root: &RootKey, guarded: bool) -> Result<Vec<u8>, StateError> {
    let (mut salt, mut iv) = ([0; 32], [0; 12]);
    primitives::random(&mut salt)?;
    primitives::random(&mut iv)?;
    let mut header = Vec::with_capacity(HEADER);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&FORMAT.to_be_bytes());
    header.push(u8::from(guarded));
    header.extend_from_slice(&state.serial);
    header.extend_from_slice(&state.generation.to_be_bytes());
    header.extend_from_slice(&salt);
    header.extend_from_slice(&iv);

    let table = table::encode(state)?;
    let mut text = Zeroizing::new(table.as_slice().to_vec());
    let key = table_key(root, &salt)?;
    let tag = primitives::seal(&key, &iv, &header, &mut text)?;
    let mut out = header;
    out.extend_from_slice(&text);
    out.extend_from_slice(&tag);
    Ok(out)
}

/// Opens a sealed state.
///
/// # Errors
/// [`StateError::Foreign`], [`StateError::Version`], or [`StateError::Tampered`] for everything else that differs
/// in even one bit.
pub fn open(file: &[u8], root: &RootKey) -> Result<State, StateError> {
    open_marked(file, root).map(|(state, _)| state)
}

/// As [`open`], with what the header says about a second place.
pub(super) fn open_marked(file: &[u8], root: &RootKey) -> Result<(State, bool), StateError> {
    let (header, rest) = file.split_at_checked(HEADER).ok_or(StateError::Foreign)?;
    let mut fields = Reader::new(header);
    if fields.array::<8>()? != *MAGIC {
        return Err(StateError::Foreign);
    }
    let found = fields.u16()?;
    if found != FORMAT {
        return Err(StateError::Version { found, known: FORMAT });
    }
    let guarded = fields.u8()? != 0;
    let serial = fields.array()?;
    let generation = fields.u64()?;
    let salt = fields.array::<32>()?;
    let iv = fields.array::<12>()?;
    let (body, tag) = rest.split_last_chunk::<TAG>().ok_or(StateError::Tampered)?;
    let mut text = Zeroizing::new(body.to_vec());
    let key = table_key(root, &salt)?;
    primitives::open(&key, &iv, header, &mut text, tag).map_err(|_| StateError::Tampered)?;
    Ok((table::decode(&text, serial, generation)?, guarded))
}

fn table_key(root: &RootKey, salt: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, StateError> {
    let mut key = Zeroizing::new([0; 32]);
    primitives::hkdf_sha256(salt, root.expose(), KEY_INFO, key.as_mut_slice())?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Founding, fresh_state};
    use hsm::Realm;

    fn state() -> State {
        fresh_state(Founding::with_operator(Realm::Test, b"135790").unwrap()).unwrap()
    }

    fn root(byte: u8) -> RootKey {
        RootKey::fill_with(|bytes| -> Result<(), ()> {
            bytes.fill(byte);
            Ok(())
        })
        .unwrap()
    }

    fn sealed() -> Vec<u8> {
        seal(&state(), &root(1)).unwrap()
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let file = sealed();
        for bit in 0..file.len() * 8 {
            let mut altered = file.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&altered, &root(1)).is_err(), "bit {bit}");
        }
        for len in 0..file.len() {
            assert!(open(&file[..len], &root(1)).is_err(), "cut to {len}");
        }
        let mut longer = file.clone();
        longer.push(0);
        assert!(matches!(open(&longer, &root(1)), Err(StateError::Tampered)));
        assert!(open(&file, &root(1)).is_ok());
    }

    #[test]
    fn another_root_key_does_not_open_it() {
        assert!(matches!(open(&sealed(), &root(2)), Err(StateError::Tampered)));
    }

    #[test]
    fn no_key_shows_in_the_file_and_no_two_files_are_alike() {
        let state = state();
        let (one, two) = (seal(&state, &root(1)).unwrap(), seal(&state, &root(1)).unwrap());
        assert_ne!(one[34..], two[34..]);
        for object in &state.objects {
            assert!(!one.windows(8).any(|window| object.secret().windows(8).any(|part| part == window)));
        }
        assert_eq!(open(&one, &root(1)).unwrap().objects.len(), 4);
    }
}
