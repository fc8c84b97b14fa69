//! The generation of the state in a second place, meant for another mount, so that a state directory that was set
//! back to yesterday is noticed: the two are written in turn, state first, and so may differ by one write and never
//! by more. Set back both, and nothing here can tell; the heads of the device's log that auditors took away can.
//!
//! The file: magic (8), serial (16), generation (u64), HMAC-SHA-256 of these (32) under a key from the device's own
//! secret, which is in the sealed state and does not change with the root key.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{State, StateError, files};
use crate::device::primitives;
use crate::protocol::codec::{Malformed, Reader, Writer};

const MAGIC: &[u8; 8] = b"PGHSMNV\x01";
const KEY_INFO: &[u8] = b"pangate/hsm-sim/nv/v1";
const NAME: &str = "the generation file (--nv)";
const LEN: usize = 8 + 16 + 8 + 32;

/// Where the generation is kept a second time.
pub(super) struct Nv(PathBuf);

/// What the two places say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The same, or a crash came between the two writes.
    Current,
    /// The state is older than what was acknowledged.
    StateIsOld,
    /// The second place is older than any crash leaves it.
    NvIsOld,
}

impl Nv {
    pub(super) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The generation in the second place; `None` when there is none yet.
    pub(super) fn read(&self, state: &State) -> Result<Option<u64>, StateError> {
        let Some(bytes) = files::read(&self.0, NAME, LEN)? else { return Ok(None) };
        files::private(&self.0, NAME)?;
        let fields = |bytes: &[u8]| -> Result<(u64, [u8; 32]), Malformed> {
            let mut from = Reader::new(bytes);
            let (magic, serial) = (from.array::<8>()?, from.array::<16>()?);
            let read = (from.u64()?, from.array()?);
            from.finish()?;
            if magic == *MAGIC && serial == state.serial { Ok(read) } else { Err(Malformed) }
        };
        let (generation, code) = fields(&bytes).map_err(|_| StateError::NvAltered)?;
        let same = subtle::ConstantTimeEq::ct_eq(&code_for(state, generation)?[..], &code[..]);
        if bool::from(same) { Ok(Some(generation)) } else { Err(StateError::NvAltered) }
    }

    /// Writes the state's generation; it is on disk when this returns.
    pub(super) fn write(&self, state: &State) -> Result<(), StateError> {
        let mut out = head(state, state.generation);
        out.raw(&code_for(state, state.generation)?);
        let fresh = self.0.with_added_extension("new");
        files::write_new(&fresh, NAME, out.as_slice())?;
        std::fs::rename(&fresh, &self.0).map_err(files::io("rename", NAME))?;
        let parent = self.0.parent().filter(|parent| !parent.as_os_str().is_empty());
        files::sync_dir(parent.unwrap_or(Path::new(".")))
    }
}

/// Compares the two places.
pub(super) fn judge(state: u64, nv: u64) -> Verdict {
    match state.checked_sub(nv) {
        Some(0 | 1) => Verdict::Current,
        Some(_) => Verdict::NvIsOld,
        None => Verdict::StateIsOld,
    }
}

fn head(state: &State, generation: u64) -> Writer {
    let mut out = Writer::with_capacity(LEN);
    out.raw(MAGIC);
    out.raw(&state.serial);
    out.u64(generation);
    out
}

fn code_for(state: &State, generation: u64) -> Result<[u8; 32], StateError> {
    let mut key = Zeroizing::new([0; 32]);
    primitives::hkdf_sha256(&state.serial, state.secrets.identity.expose(), KEY_INFO, key.as_mut_slice())?;
    Ok(primitives::hmac_sha256(key.as_slice(), head(state, generation).as_slice())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_write_apart_is_a_crash_and_more_is_not() {
        for (state, nv, verdict) in [
            (5, 5, Verdict::Current),
            (6, 5, Verdict::Current),
            (7, 5, Verdict::NvIsOld),
            (4, 5, Verdict::StateIsOld),
            (0, u64::MAX, Verdict::StateIsOld),
            (u64::MAX, 0, Verdict::NvIsOld),
        ] {
            assert_eq!(judge(state, nv), verdict, "{state} {nv}");
        }
    }
}
