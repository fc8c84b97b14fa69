//! The socket and its place in the file system. A lock file beside it decides who may serve there, so that two
//! daemons that start together cannot each take the other's socket for a stale one.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Why no socket could be made.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another daemon serves there.
    #[error("another hsm-sim serves on this socket; stop it first, or choose another path")]
    Taken,
    /// Something that is no socket is in the way.
    #[error("the socket's path holds something that is no socket; move it away, or choose another path")]
    InTheWay,
    /// Others could replace the socket.
    #[error(
        "the socket's directory belongs to another user or may be changed by others; use a directory of mode 0700"
    )]
    Exposed,
    /// The path names no file in a directory.
    #[error("the socket's path has no directory or no file name")]
    Path,
    /// The operating system refused.
    #[error("cannot {act}: {source}")]
    Io {
        /// What was tried.
        act: &'static str,
        /// What it said.
        source: io::Error,
    },
}

/// A listening socket, and the lock that makes it ours. Both go when it is dropped.
pub struct Listening {
    listener: UnixListener,
    path: PathBuf,
    _lock: File,
}

impl Listening {
    /// Makes the socket (0660) in a directory of our own (made 0700 when absent), taking the place of a socket
    /// that a dead daemon left.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        Self::bind_with(path, 0o660)
    }

    /// As [`Self::bind`], for this user alone (0600).
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn bind_private(path: &Path) -> Result<Self, SocketError> {
        Self::bind_with(path, 0o600)
    }

    fn bind_with(path: &Path, mode: u32) -> Result<Self, SocketError> {
        let (parent, name) = path.parent().zip(path.file_name()).ok_or(SocketError::Path)?;
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .map_err(io("make the socket's directory"))?;
        let meta = fs::metadata(parent).map_err(io("look at the socket's directory"))?;
        if meta.uid() != rustix::process::geteuid().as_raw() || meta.mode() & 0o022 != 0 {
            return Err(SocketError::Exposed);
        }
        let mut lock_name = name.to_owned();
        lock_name.push(".lock");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let lock = options.open(parent.join(lock_name)).map_err(io("open the socket's lock file"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SocketError::Taken),
            Err(TryLockError::Error(source)) => {
                return Err(SocketError::Io { act: "lock the socket's lock file", source });
            }
        }
        // Only the holder of the lock comes here, so what lies at the path is nobody's any more.
        match fs::symlink_metadata(path) {
            Ok(meta) if meta.file_type().is_socket() => {
                fs::remove_file(path).map_err(io("remove the stale socket"))?;
            }
            Ok(_) => return Err(SocketError::InTheWay),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(SocketError::Io { act: "look at the socket's path", source }),
        }
        let listener = UnixListener::bind(path).map_err(io("make the socket"))?;
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(io("set the socket's mode"))?;
        listener.set_nonblocking(true).map_err(io("set up the socket"))?;
        Ok(Self { listener, path: path.to_owned(), _lock: lock })
    }

    /// The listener; accepting from it does not block.
    #[must_use]
    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }

    pub(super) fn close(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn io(act: &'static str) -> impl Fn(io::Error) -> SocketError {
    move |source| SocketError::Io { act, source }
}
