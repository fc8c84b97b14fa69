//! The state as bytes: a header in clear, then the whole table under AES-256-GCM with the header as associated
//! data, so that no byte of the file can change, go or be swapped unnoticed. Kept out: files.
//!
//! Header: magic (8), format (u16), serial (16), generation (u64), salt (32), IV (12). The table's key is
//! HKDF-SHA-256 of the root key with this salt, fresh for every write.

use hsm::{KeyKind, KeyLabel, KeyStatus, KeyVersion, Realm};
use zeroize::Zeroizing;

use super::{RootKey, State, StateError};
use crate::device::keys::KeyObject;
use crate::device::{PinVerifier, primitives};
use crate::protocol::codec::{Malformed, Reader, Writer};

const MAGIC: &[u8; 8] = b"PGHSMST\x01";
const FORMAT: u16 = 1;
const HEADER: usize = 8 + 2 + 16 + 8 + 32 + 12;
const TAG: usize = 16;
const KEY_INFO: &[u8] = b"pangate/hsm-sim/state/v1";
/// More keys than this are no state of ours.
const MAX_OBJECTS: u16 = 4096;

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
    let (mut salt, mut iv) = ([0; 32], [0; 12]);
    primitives::random(&mut salt)?;
    primitives::random(&mut iv)?;
    let mut header = Vec::with_capacity(HEADER);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&FORMAT.to_be_bytes());
    header.extend_from_slice(&state.serial);
    header.extend_from_slice(&state.generation.to_be_bytes());
    header.extend_from_slice(&salt);
    header.extend_from_slice(&iv);

    let table = encode(state)?;
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
    let (header, rest) = file.split_at_checked(HEADER).ok_or(StateError::Foreign)?;
    let mut fields = Reader::new(header);
    if fields.array::<8>()? != *MAGIC {
        return Err(StateError::Foreign);
    }
    let found = fields.u16()?;
    if found != FORMAT {
        return Err(StateError::Version { found, known: FORMAT });
    }
    let serial = fields.array()?;
    let generation = fields.u64()?;
    let salt = fields.array::<32>()?;
    let iv = fields.array::<12>()?;
    let (body, tag) = rest.split_last_chunk::<TAG>().ok_or(StateError::Tampered)?;
    let mut text = Zeroizing::new(body.to_vec());
    let key = table_key(root, &salt)?;
    primitives::open(&key, &iv, header, &mut text, tag).map_err(|_| StateError::Tampered)?;
    decode(&text, serial, generation)
}

fn table_key(root: &RootKey, salt: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, StateError> {
    let mut key = Zeroizing::new([0; 32]);
    primitives::hkdf_sha256(salt, root.expose(), KEY_INFO, key.as_mut_slice())?;
    Ok(key)
}

fn encode(state: &State) -> Result<Writer, Malformed> {
    let mut out = Writer::with_capacity(256 + state.objects.len() * 128);
    out.u8(state.realm.code());
    out.u8(state.tries_left);
    out.u32(state.pin.memory_kib);
    out.u32(state.pin.passes);
    out.raw(&state.pin.salt);
    out.raw(&state.pin.hash);
    out.u16(u16::try_from(state.objects.len()).map_err(|_| Malformed)?);
    for object in &state.objects {
        out.bytes(object.key.label.as_str().as_bytes())?;
        out.u32(object.key.version.get());
        out.u8(object.kind.code());
        out.u8(object.status.code());
        out.u64(object.created);
        out.raw(&object.kcv().0);
        out.raw(object.secret());
    }
    Ok(out)
}

fn decode(table: &[u8], serial: [u8; 16], generation: u64) -> Result<State, StateError> {
    let mut from = Reader::new(table);
    let realm = Realm::from_code(from.u8()?).ok_or(Malformed)?;
    let tries_left = from.u8()?;
    let pin = PinVerifier {
        memory_kib: from.u32()?,
        passes: from.u32()?,
        salt: from.array()?,
        hash: from.array()?,
    };
    let count = from.u16()?;
    if count > MAX_OBJECTS {
        return Err(StateError::Tampered);
    }
    let objects = (0..count).map(|_| object(&mut from)).collect::<Result<Vec<_>, _>>()?;
    from.finish()?;
    Ok(State { serial, generation, realm, pin, tries_left, objects })
}

fn object(from: &mut Reader<'_>) -> Result<KeyObject, StateError> {
    let label = KeyLabel::new(from.text()?).map_err(|_| Malformed)?;
    let version = KeyVersion::new(from.u32()?).ok_or(Malformed)?;
    let kind = KeyKind::from_code(from.u8()?).ok_or(Malformed)?;
    let status = KeyStatus::from_code(from.u8()?).ok_or(Malformed)?;
    let created = from.u64()?;
    let kcv = from.array::<5>()?;
    let secret = from.slice::<32>()?;
    let read = KeyObject::fill_with(label.at(version), kind, status, created, |bytes| {
        bytes.copy_from_slice(secret);
        Ok(())
    })?;
    // The seal already vouches for the bytes; the check value vouches for the code that wrote them.
    if read.kcv().0 == kcv { Ok(read) } else { Err(StateError::Tampered) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::fresh_state;

    fn root(byte: u8) -> RootKey {
        RootKey::fill_with(|bytes| -> Result<(), ()> {
            bytes.fill(byte);
            Ok(())
        })
        .unwrap()
    }

    fn sealed() -> Vec<u8> {
        let pin = PinVerifier::of(b"135790").unwrap();
        seal(&fresh_state(Realm::Test, pin).unwrap(), &root(1)).unwrap()
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
        let pin = PinVerifier::of(b"135790").unwrap();
        let state = fresh_state(Realm::Test, pin).unwrap();
        let (one, two) = (seal(&state, &root(1)).unwrap(), seal(&state, &root(1)).unwrap());
        assert_ne!(one[34..], two[34..]);
        for object in &state.objects {
            assert!(!one.windows(8).any(|window| object.secret().windows(8).any(|part| part == window)));
        }
        assert_eq!(open(&one, &root(1)).unwrap().objects.len(), 4);
    }
}
