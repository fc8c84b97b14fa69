//! Keeps the process's memory to itself: not dumpable (so no core file, and no tracing by its own user), no core
//! size, private files by default. Best effort: what the system refuses is reported, not fatal.

use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit, umask};

/// Hardens this process; says whether everything took hold.
#[must_use]
pub fn harden_process() -> bool {
    umask(Mode::from_raw_mode(0o077));
    let no_core = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let no_dump = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    no_core.is_ok() && no_dump.is_ok()
}
