//! The demo's folder: whose it is, that only its owner may enter it, and what is where in it.

use crate::cli::setup;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Lies in a folder that a demo made, and is locked while that demo runs.
const MARKER: &str = ".pangate-demo";
/// The name of a Unix socket has 108 bytes at most, its final zero included.
const LONGEST_SOCKET: usize = 100;

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum FolderError {
    /// Something else lives there.
    #[error("{0} is not empty and was not made by `pangate demo`; name another folder with --dir")]
    Foreign(PathBuf),
    /// A demo lives there.
    #[error("another demo is running in {0}; stop it first, or name another folder with --dir")]
    Running(PathBuf),
    /// The system.
    #[error("{0}: {1}")]
    System(PathBuf, io::Error),
}

/// The folder, held by this demo.
pub(super) struct Folder {
    root: PathBuf,
    socket: PathBuf,
    /// A folder outside, made because the socket's name would be too long here.
    socket_folder: Option<PathBuf>,
    /// Holds the lock.
    marker: File,
}

impl Folder {
    /// Makes the folder, or empties one of an earlier demo.
    pub(super) fn prepare(dir: &Path) -> Result<Folder, FolderError> {
        let system = |error| FolderError::System(dir.to_owned(), error);
        setup::private_folder(dir).map_err(system)?;
        let root = dir.canonicalize().map_err(system)?;
        let marker = root.join(MARKER);
        let empty = fs::read_dir(&root).map_err(system)?.next().is_none();
        if !empty && !marker.is_file() {
            return Err(FolderError::Foreign(root));
        }
        let marker = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&marker)
            .map_err(system)?;
        if !lock(&marker) {
            return Err(FolderError::Running(root));
        }
        fs::set_permissions(&root, Permissions::from_mode(0o700)).map_err(system)?;
        clear(&root).map_err(system)?;
        for folder in ["logs", "tls", "policy"] {
            setup::private_folder(&root.join(folder)).map_err(system)?;
        }
        let (socket, socket_folder) = socket(&root).map_err(system)?;
        Ok(Folder { root, socket, socket_folder, marker })
    }

    /// A path inside.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The folder itself, absolute.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the three processes log.
    pub(super) fn logs(&self) -> PathBuf {
        self.path("logs")
    }

    /// The file of variables.
    pub(super) fn env(&self) -> PathBuf {
        self.path("demo.env")
    }

    /// The lock, for a child to hold too: an open file that is locked as long as anybody has it open.
    pub(super) fn lock(&self) -> io::Result<File> {
        self.marker.try_clone()
    }

    /// Where hsm-sim listens.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(folder) = &self.socket_folder {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// Takes the lock. The processes of a demo that was just killed hold it until they have drained.
fn lock(marker: &File) -> bool {
    const ATTEMPTS: u32 = 40;
    (0..ATTEMPTS).any(|attempt| {
        if attempt > 0 {
            std::thread::sleep(Duration::from_millis(50));
        }
        marker.try_lock().is_ok()
    })
}

fn clear(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if entry.file_name() == MARKER {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?
        } else {
            fs::remove_file(entry.path())?
        }
    }
    Ok(())
}

fn socket(root: &Path) -> io::Result<(PathBuf, Option<PathBuf>)> {
    let near = root.join("hsm.sock");
    if near.as_os_str().len() <= LONGEST_SOCKET {
        return Ok((near, None));
    }
    let name = tokens::random_letters(16).map_err(io::Error::other)?;
    let folder = std::env::temp_dir().join(format!("pangate-demo-{name}"));
    setup::private_folder(&folder)?;
    Ok((folder.join("hsm.sock"), Some(folder)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_folder_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
        assert!(matches!(Folder::prepare(folder.path()), Err(FolderError::Foreign(_))));
        assert!(folder.path().join("thesis.txt").is_file());
    }

    #[test]
    fn a_folder_of_an_earlier_demo_is_emptied_but_not_that_of_a_running_one() {
        let folder = tempfile::tempdir().unwrap();
        let first = Folder::prepare(folder.path()).unwrap();
        fs::write(first.path("pangate.db"), "old").unwrap();
        assert!(matches!(Folder::prepare(folder.path()), Err(FolderError::Running(_))));
        assert!(first.path("pangate.db").is_file());
        drop(first);
        let second = Folder::prepare(folder.path()).unwrap();
        assert!(!second.path("pangate.db").exists());
        let mode = fs::metadata(second.root()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_socket_whose_name_is_too_long_gets_a_private_folder_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("d".repeat(60)).join("e".repeat(60));
        let made = Folder::prepare(&deep).unwrap();
        let outside = made.socket().parent().unwrap().to_owned();
        assert!(made.socket().as_os_str().len() <= LONGEST_SOCKET);
        assert_eq!(fs::metadata(&outside).unwrap().permissions().mode() & 0o777, 0o700);
        drop(made);
        assert!(!outside.exists());
    }
}
