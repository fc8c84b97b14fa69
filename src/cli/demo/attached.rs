//! A child that must not outlive the demo: the demo starts itself, asks the system for a signal at the demo's death,
//! and then becomes the program. So a demo that is killed leaves nothing behind.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Becomes the program. Comes back only with the reason why that failed.
pub(super) fn become_program(parent: i32, program: &[OsString]) -> String {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))
    {
        return format!("cannot follow the demo: {error}");
    }
    // The demo may have ended before the signal was asked for.
    if rustix::process::getppid().map(rustix::process::Pid::as_raw_pid) != Some(parent) {
        return "the demo that started this is gone".to_owned();
    }
    let Some((name, arguments)) = program.split_first() else { return "no program was named".to_owned() };
    let error = Command::new(name).args(arguments).exec();
    format!("cannot start {}: {error}", name.display())
}
