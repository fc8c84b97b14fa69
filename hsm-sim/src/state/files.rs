//! Files that survive a crash whole: written beside, synced, renamed, and the directory synced. And files that end:
//! overwritten before they are unlinked. Kept out: what is in them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use super::StateError;
use crate::device::primitives;

/// Writes a private file (0600) whole and durable under `fresh`, then gives it the name `name`.
pub(super) fn replace(
    dir: &Path,
    fresh: &'static str,
    name: &'static str,
    bytes: &[u8],
) -> Result<(), StateError> {
    write_new(&dir.join(fresh), fresh, bytes)?;
    fs::rename(dir.join(fresh), dir.join(name)).map_err(io("rename", name))?;
    sync_dir(dir)
}

/// Writes a private file (0600) and waits until it is on disk.
pub(super) fn write_new(path: &Path, name: &'static str, bytes: &[u8]) -> Result<(), StateError> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true).mode(0o600);
    let mut file = options.open(path).map_err(io("create", name))?;
    file.write_all(bytes).map_err(io("write", name))?;
    file.sync_all().map_err(io("sync", name))
}

/// Waits until the names in a directory are on disk.
pub(super) fn sync_dir(dir: &Path) -> Result<(), StateError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io("sync", "the state directory"))
}

/// Reads a file of at most `most` bytes into memory that is wiped; `None` when there is no such file.
pub(super) fn read(
    path: &Path,
    name: &'static str,
    most: usize,
) -> Result<Option<Zeroizing<Vec<u8>>>, StateError> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(io("open", name))?,
    };
    let len = file.metadata().map_err(io("look at", name))?.len();
    let len = usize::try_from(len).ok().filter(|&len| len <= most).ok_or(StateError::TooLong(name))?;
    // One byte more than the file has, so that the buffer never moves while it fills.
    let mut bytes = Zeroizing::new(vec![0; len + 1]);
    let mut filled = 0;
    while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read(room).map_err(io("read", name))? {
            0 => break,
            count => filled += count,
        }
    }
    if filled > len {
        return Err(StateError::TooLong(name));
    }
    bytes.truncate(filled);
    Ok(Some(bytes))
}

/// Overwrites a file with random bytes, waits until they are on disk, and unlinks it. On media that write elsewhere
/// (flash, copy-on-write) the old bytes may stay; so what it held must be worthless without a key that goes too.
pub(super) fn erase(path: &Path, name: &'static str) -> Result<(), StateError> {
    let mut file = match OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(io("open", name))?,
    };
    let len = file.metadata().map_err(io("look at", name))?.len();
    let mut left = usize::try_from(len).unwrap_or(usize::MAX);
    let mut noise = [0; 4096];
    while left > 0 {
        let step = left.min(noise.len());
        let chunk = noise.get_mut(..step).unwrap_or_default();
        primitives::random(chunk)?;
        file.write_all(chunk).map_err(io("overwrite", name))?;
        left -= step;
    }
    file.sync_all().map_err(io("sync", name))?;
    fs::remove_file(path).map_err(io("remove", name))
}

/// Nobody else may read or change it.
pub(super) fn private(path: &Path, name: &'static str) -> Result<(), StateError> {
    let meta = fs::metadata(path).map_err(io("look at", name))?;
    let ours = meta.uid() == rustix::process::geteuid().as_raw();
    if ours && meta.mode() & 0o077 == 0 { Ok(()) } else { Err(StateError::Exposed(name)) }
}

pub(super) fn io(act: &'static str, file: &'static str) -> impl Fn(io::Error) -> StateError {
    move |source| StateError::Io { act, file, source }
}
