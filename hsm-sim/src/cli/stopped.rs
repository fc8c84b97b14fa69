//! A device that does not run, opened by a command: its directory, its second place, and, when its root key is split,
//! the shares of its custodians.

use std::path::{Path, PathBuf};

use hsm_sim::ceremony::Gathering;
use hsm_sim::firmware::Firmware;
use hsm_sim::state::{Home, RootKey, StateError};

use super::firmware::running;
use super::{Failure, read_share_file};

/// Takes hold of a stopped device.
pub(super) fn take(state: &Path, nv: Option<&Path>, share_files: &[PathBuf]) -> Result<Home, Failure> {
    take_for(Some(running()?), state, nv, share_files)
}

/// As [`take`], for that program, or for any.
pub(super) fn take_for(
    program: Option<Firmware>,
    state: &Path,
    nv: Option<&Path>,
    share_files: &[PathBuf],
) -> Result<Home, Failure> {
    take_by(program, state, nv, share_files, Home::entrust)
}

/// As [`take`], of one whose state was set back.
pub(super) fn take_old(state: &Path, nv: Option<&Path>, share_files: &[PathBuf]) -> Result<Home, Failure> {
    take_by(Some(running()?), state, nv, share_files, Home::entrust_unjudged)
}

fn take_by(
    program: Option<Firmware>,
    state: &Path,
    nv: Option<&Path>,
    share_files: &[PathBuf],
    entrust: impl Fn(&mut Home, RootKey) -> Result<(), StateError>,
) -> Result<Home, Failure> {
    let mut home = Home::open(state)?;
    if let Some(program) = program {
        home = home.opened_by(program);
    }
    if let Some(nv) = nv {
        home = home.guarded_by(nv);
    }
    if home.is_sealed() {
        let mut gathering = Gathering::new(home.custody()?);
        for file in share_files {
            if let Some(root) = gathering.enter(read_share_file(file)?).map_err(Failure::new)? {
                entrust(&mut home, root)?;
                return Ok(home);
            }
        }
        let progress = gathering.progress();
        return Err(Failure::new(format!(
            "this device is sealed: {} of {} shares were given; name the files with --share-file",
            progress.entered, progress.needed
        )));
    }
    Ok(home)
}
