//! A clock for the gateway that a test moves: Debian's libfaketime before the process's own calls. Only the wall clock
//! moves; what the process waits for does not.

use super::System;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// How far the gateway's clock is ahead of the machine's.
pub struct Clock {
    file: PathBuf,
    ahead: AtomicI64,
}

impl Clock {
    /// Puts the gateway of that system on a clock of its own, which begins with the machine's time.
    pub async fn of(system: &mut System) -> Clock {
        let clock = Clock { file: system.path("clock"), ahead: AtomicI64::new(0) };
        clock.write();
        let folders = std::fs::read_dir("/usr/lib").expect("there is /usr/lib").flatten();
        let library = folders.map(|folder| folder.path().join(LIBRARY)).find(|path| path.exists());
        let library = library.expect("Debian's package libfaketime is installed");
        system.gateway().terminate();
        system.environment = vec![
            ("LD_PRELOAD", library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", clock.file.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        system.start_gateway();
        system.wait_ready().await;
        clock
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        let seconds = i64::try_from(by.as_secs()).expect("a short time");
        self.ahead.fetch_add(seconds, Ordering::SeqCst);
        self.write();
    }

    /// From now on it is so far from the machine's, in the words of faketime(1): `+40d`.
    pub fn step(&self, offset: &str) {
        self.set(offset);
    }

    /// Its time, in seconds since 1970.
    pub fn now(&self) -> i64 {
        now() + self.ahead.load(Ordering::SeqCst)
    }

    fn write(&self) {
        self.set(&format!("+{}", self.ahead.load(Ordering::SeqCst)));
    }

    /// In one step, so that nobody reads half of it.
    fn set(&self, offset: &str) {
        let new = self.file.with_extension("new");
        std::fs::write(&new, offset).expect("the clock is set");
        std::fs::rename(&new, &self.file).expect("the clock is set");
    }
}

/// The machine's time, in seconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    i64::try_from(since).expect("before the end of time")
}
