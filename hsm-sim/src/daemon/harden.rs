//! Keeps the process's memory to itself: not dumpable (so no core file, and no tracing by its own user), no core
//! size, locked into memory (so no key is swapped out), no new privileges, private files by default. Best effort:
//! what the system refuses is reported, not fatal.

use rustix::fs::Mode;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit, umask,
};
use serde::Serialize;

/// What took hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Hardening {
    /// No core file, whatever the system's settings.
    pub no_core: bool,
    /// Not dumpable: other processes of the same user cannot read its memory.
    pub not_dumpable: bool,
    /// Its memory is never written to swap.
    pub locked: bool,
    /// Nothing it starts can gain privileges.
    pub no_new_privileges: bool,
}

impl Hardening {
    /// Did all that keeps memory from files take hold? Locking needs a privilege that containers often lack, and is
    /// reported apart.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.no_core && self.not_dumpable && self.no_new_privileges
    }
}

/// Hardens this process; says what took hold.
pub fn harden_process() -> Hardening {
    umask(Mode::from_raw_mode(0o077));
    let nothing = Rlimit { current: Some(0), maximum: Some(0) };
    Hardening {
        no_core: setrlimit(Resource::Core, nothing).is_ok(),
        not_dumpable: set_dumpable_behavior(DumpableBehavior::NotDumpable).is_ok(),
        // Only without a limit: under one, every later allocation beyond it would fail.
        locked: may_lock_everything()
            && mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT).is_ok(),
        no_new_privileges: rustix::thread::set_no_new_privs(true).is_ok(),
    }
}

/// Bytes of stack that a request may have used: signing goes deepest, above all in an unoptimised build.
const DEPTH: usize = if cfg!(debug_assertions) { 128 } else { 32 } * 1024;

/// Overwrites the part of this thread's stack below the caller, where finished calls left copies of what they worked
/// on: key schedules, padded keys, blocks of plaintext. Types that wipe themselves on drop do not reach what the
/// compiler moved. To be called after work on secrets, at no greater depth than that work.
#[inline(never)]
pub fn scrub_stack() {
    let mut below = [0_u8; DEPTH];
    std::hint::black_box(&mut below);
}

fn may_lock_everything() -> bool {
    const CAP_IPC_LOCK: u32 = 14;
    let unlimited = getrlimit(Resource::Memlock).current.is_none();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    unlimited || bits >> CAP_IPC_LOCK & 1 == 1
}
