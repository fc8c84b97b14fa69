//! Which program this is: the SHA-256 of the executable that runs. The device notes it and does not open for another
//! program until an officer accepts that one. It finds a program that was replaced unnoticed; one that was made to lie
//! says whatever it likes, as only hardware that measures its own start could prevent.

use std::fs::File;
use std::io::{self, Read};

use sha2::{Digest, Sha256};

use crate::ceremony::to_hex;

/// What the kernel runs, also when the file that it was started from has been replaced since.
const RUNNING: &str = "/proc/self/exe";

/// The SHA-256 of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Firmware(pub [u8; 32]);

impl Firmware {
    /// The program that runs.
    ///
    /// # Errors
    /// That of the operating system, when the program cannot be read.
    pub fn running() -> io::Result<Self> {
        let mut file = File::open(RUNNING)?;
        let (mut hash, mut piece) = (Sha256::new(), vec![0; 64 * 1024]);
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(Self(hash.finalize().into())),
                count => hash.update(piece.get(..count).unwrap_or_default()),
            }
        }
    }
}

impl std::fmt::Display for Firmware {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}
