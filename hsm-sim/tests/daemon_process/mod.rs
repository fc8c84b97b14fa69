//! A real `hsm-sim` daemon for a test: made in a fresh directory, started, killed, ended with the test.
#![expect(dead_code, reason = "each test binary uses its own part")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use hsm::conformance::TestKeys;
use hsm::{Approval, KeyLabel, KeyRef, KeyVersion, Realm};
use hsm_sim::client::SimClient;
use secrecy::SecretString;

/// The PIN of every test device's operator.
pub(crate) const PIN: &str = "135790";
/// Its officers and its auditor; the PIN of each is the name and `-pin`.
pub(crate) const OFFICERS: [&str; 2] = ["ada", "grace"];
/// Its auditor.
pub(crate) const AUDITOR: &str = "audrey";
const PROGRAM: &str = env!("CARGO_BIN_EXE_hsm-sim");

/// A device in its own directory, and its daemon while it runs.
pub(crate) struct Daemon {
    /// The directory of everything.
    pub(crate) dir: tempfile::TempDir,
    /// The state directory.
    pub(crate) state: PathBuf,
    /// The socket.
    pub(crate) socket: PathBuf,
    flags: Vec<String>,
    child: Option<Child>,
}

impl Daemon {
    /// Makes a device and starts its daemon.
    pub(crate) fn fresh(flags: &[&str]) -> Self {
        Self::made_with(&[], flags)
    }

    /// Makes a device with more words for `init`, and starts its daemon with these for `serve`.
    pub(crate) fn made_with(init: &[&str], flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let output = init_command(&state, dir.path()).args(init).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let socket = dir.path().join("run/hsm.sock");
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        let mut daemon = Self { dir, state, socket, flags, child: None };
        daemon.start();
        daemon
    }

    /// Starts the daemon and waits until it serves.
    pub(crate) fn start(&mut self) {
        let mut child = serve(&self.state, &self.socket, &self.flags).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(ready.get("ready"), Some(&serde_json::Value::Bool(true)), "{line}");
        self.child = Some(child);
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM, and how the daemon ended.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        child.wait().unwrap()
    }

    /// The daemon's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// A client with the right PIN.
    pub(crate) fn client(&self) -> SimClient {
        SimClient::connect(&self.socket, SecretString::from(PIN))
    }

    /// A client as one of the people.
    pub(crate) fn person(&self, name: &str) -> SimClient {
        SimClient::officer(&self.socket, name, SecretString::from(format!("{name}-pin"))).unwrap()
    }

    /// Two officers agree to an act.
    pub(crate) fn agreed(&self, act: &str) -> Approval {
        agreement(&OFFICERS.map(|name| self.person(name)), act)
    }

    /// Starts another daemon that must not come up: its exit code and what it said.
    pub(crate) fn try_second(&self, state: &Path, socket: &Path) -> (Option<i32>, String) {
        let output = serve(state, socket, &[]).stderr(Stdio::piped()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// These officers agree to an act.
pub(crate) fn agreement(officers: &[SimClient; 2], act: &str) -> Approval {
    let [first, second] =
        officers.each_ref().map(|officer| officer.approve(act, Duration::from_secs(900)).unwrap());
    Approval::Tickets { first, second }
}

/// Makes a device with the test PIN.
pub(crate) fn init(state: &Path, scratch: &Path) {
    let output = init_command(state, scratch).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The command that makes a device.
pub(crate) fn init_command(state: &Path, scratch: &Path) -> Command {
    let pin = scratch.join("pin");
    std::fs::write(&pin, format!("{PIN}\n")).unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["init", "--realm", "test", "--state"]).arg(state).arg("--pin-file").arg(pin);
    for (flag, name) in [("--officer", OFFICERS[0]), ("--officer", OFFICERS[1]), ("--auditor", AUDITOR)] {
        let file = scratch.join(format!("{name}.pin"));
        std::fs::write(&file, format!("{name}-pin\n")).unwrap();
        command.arg(flag).arg(format!("{name}={}", file.display()));
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// The command that serves a device.
pub(crate) fn serve(state: &Path, socket: &Path, flags: &[String]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["serve", "--state"]).arg(state).arg("--socket").arg(socket).args(flags);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// The command that asks a daemon how it is.
pub(crate) fn status_command(socket: &Path, pin_file: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["status", "--socket"]).arg(socket).arg("--pin-file").arg(pin_file);
    command
}

/// The command that gives a locked device its PIN tries back.
pub(crate) fn unlock_command(state: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["unlock", "--state"]).arg(state);
    command
}

/// Version 1 of the card fingerprint key.
pub(crate) fn mac_key() -> KeyRef {
    KeyLabel::MAC_PAN.at(KeyVersion::FIRST)
}

/// The four keys, as the conformance suite wants them.
pub(crate) fn conformance_keys() -> TestKeys {
    TestKeys {
        realm: Realm::Test,
        kek: KeyLabel::KEK_CARD.at(KeyVersion::FIRST),
        mac: mac_key(),
        other_mac: KeyLabel::MAC_REQUEST.at(KeyVersion::FIRST),
        sign: KeyLabel::SIGN_AUDIT.at(KeyVersion::FIRST),
    }
}
