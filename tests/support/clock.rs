//! A clock of the gateway's own that a test can step; the machine's is let alone.

use super::System;
use std::path::PathBuf;

/// Debian's library that shows a program another clock.
const OTHER_CLOCK: &str = "faketime/libfaketimeMT.so.1";

/// The gateway's clock.
pub struct Clock(PathBuf);

impl Clock {
    /// Starts the gateway again with a clock that can be stepped.
    pub async fn of(system: &mut System) -> Clock {
        let folders = std::fs::read_dir("/usr/lib").unwrap().flatten();
        let library = folders.map(|folder| folder.path().join(OTHER_CLOCK)).find(|path| path.exists());
        let library = library.expect("Debian's package libfaketime is installed");
        let clock = Clock(system.path("clock"));
        clock.step("+0");
        system.gateway().terminate();
        system.environment = vec![
            ("LD_PRELOAD", library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", clock.0.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        system.start_gateway();
        system.wait_ready().await;
        clock
    }

    /// From now on the gateway's clock is so far from the machine's, for instance `+40d`.
    pub fn step(&self, offset: &str) {
        // Replaced in one step, so that nobody reads half of it.
        std::fs::write(self.0.with_extension("new"), offset).unwrap();
        std::fs::rename(self.0.with_extension("new"), &self.0).unwrap();
    }
}
