//! A device whose root key is split among five custodians, for tests of what that promises.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::daemon_process::{Daemon, OFFICERS};

pub(crate) const PEOPLE: [&str; 5] = ["anna", "ben", "carla", "dora", "emil"];

pub(crate) fn hsm_sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hsm-sim")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

pub(crate) fn works(output: Output) -> String {
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

pub(crate) fn fails(output: Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    said(&output)
}

/// `ceremony split` of 3 of 5 with these words more.
pub(crate) fn split_command(state: &Path, out: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hsm-sim"));
    command.args(["ceremony", "split", "--threshold", "3", "--shares", "5", "--state"]).arg(state);
    command.arg("--out").arg(out).args(more).stdin(Stdio::null());
    PEOPLE.iter().for_each(|name| {
        command.args(["--custodian", name]);
    });
    command
}

pub(crate) fn by_pin(dir: &Path) -> Vec<String> {
    let flag = |name: &str| {
        ["--officer".to_owned(), format!("{name}={}", dir.join(format!("{name}.pin")).display())]
    };
    OFFICERS.iter().flat_map(|name| flag(name)).collect()
}

/// A device whose root key was split; its daemon is stopped.
pub(crate) fn split() -> (Daemon, PathBuf) {
    let mut daemon = Daemon::fresh(&[]);
    daemon.kill();
    let out = daemon.dir.path().join("shares");
    let officers = by_pin(daemon.dir.path());
    let words: Vec<&str> = officers.iter().map(String::as_str).collect();
    works(split_command(&daemon.state, &out, &words).output().unwrap());
    (daemon, out)
}

pub(crate) fn unlock(daemon: &Daemon, share: &Path) -> Output {
    hsm_sim(&["unlock", "--socket", daemon.socket.to_str().unwrap(), "--share-file", share.to_str().unwrap()])
}

pub(crate) fn file(out: &Path, name: &str) -> PathBuf {
    out.join(format!("share-{name}.txt"))
}
