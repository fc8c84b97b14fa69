//! The daemon's process as the kernel tells it, not as it tells itself.

use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::net::sockopt::socket_peercred;
use serde_json::{Value, json};

/// What the kernel says of the process behind a socket; `None` where it says nothing.
#[derive(Default)]
pub(super) struct Process {
    pid: Option<i32>,
    no_new_privileges: Option<bool>,
    no_core: Option<bool>,
    locked_kib: Option<u64>,
}

impl Process {
    pub(super) fn behind(socket: &Path) -> Self {
        let peer = UnixStream::connect(socket).ok().and_then(|stream| socket_peercred(&stream).ok());
        let Some(pid) = peer.map(|peer| peer.pid.as_raw_nonzero().get()) else { return Self::default() };
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let (status, limits) = (read("status"), read("limits"));
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size"));
        Self {
            pid: Some(pid),
            no_new_privileges: field("NoNewPrivs:").map(|value| value == "1"),
            no_core: core.map(|line| line.split_whitespace().take(2).all(|limit| limit == "0")),
            locked_kib: field("VmLck:").and_then(|value| value.split_whitespace().next()?.parse().ok()),
        }
    }

    pub(super) fn document(&self) -> Value {
        json!({
            "pid": self.pid, "no_new_privileges": self.no_new_privileges, "no_core": self.no_core,
            "locked_kib": self.locked_kib,
        })
    }

    pub(super) fn line(&self) -> String {
        let Some(pid) = self.pid else { return "unknown".to_owned() };
        let say = |known: Option<bool>| match known {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "unknown",
        };
        let locked = match self.locked_kib {
            None => "unknown".to_owned(),
            Some(0) => "NO (needs CAP_IPC_LOCK or an unlimited RLIMIT_MEMLOCK)".to_owned(),
            Some(kib) => format!("{kib} KiB"),
        };
        format!(
            "{pid}; no core file: {}; no new privileges: {}; memory locked: {locked}",
            say(self.no_core),
            say(self.no_new_privileges)
        )
    }
}
