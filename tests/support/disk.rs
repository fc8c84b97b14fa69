//! A disk that can be filled and emptied again, for the gateway's database.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system of its own. Dropping it unmounts it.
pub struct SmallDisk {
    place: PathBuf,
}

impl SmallDisk {
    /// Mounts one of that many bytes at `place`, which must be an empty folder.
    pub fn mount(place: &Path, bytes: u32) -> SmallDisk {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes},mode=0700"), "pangate-test"])
            .arg(place)
            .status();
        assert!(
            mounted.is_ok_and(|status| status.success()),
            "no tmpfs could be mounted: run the tests as root, in a container with --cap-add SYS_ADMIN"
        );
        SmallDisk { place: place.to_owned() }
    }

    /// Writes until nothing more fits.
    pub fn fill(&self) {
        let mut ballast = std::fs::File::create(self.ballast()).expect("a file can be made");
        for size in [64 * 1024, 4096, 1] {
            while ballast.write_all(&vec![b'x'; size]).is_ok() {}
        }
    }

    /// Gives the space back.
    pub fn empty(&self) {
        std::fs::remove_file(self.ballast()).expect("it was filled");
    }

    fn ballast(&self) -> PathBuf {
        self.place.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.place).status();
    }
}
