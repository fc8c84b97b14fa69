//! Our own programs as child processes. A missing one is built, never skipped.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A program that runs; dropping it ends it.
pub struct Process {
    name: &'static str,
    child: Child,
}

/// The program's path, beside the gateway's; built when it is not there.
pub fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_pangate")).with_file_name(name);
    if !path.is_file() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--package", name, "--bin", name]);
        if path.parent().is_some_and(|folder| folder.ends_with("release")) {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo runs").success(), "{name} does not build");
    }
    path
}

/// Runs a program to its end and gives what it printed.
pub fn run(name: &str, arguments: &[&str]) -> String {
    let output = Command::new(program(name)).args(arguments).output().expect("the program starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} {arguments:?} failed: {stderr}");
    stdout.into_owned()
}

/// Runs a program to its end and gives its exit status, and what it printed on either output.
pub fn tried(name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
    let output = Command::new(program(name)).args(arguments).envs(environment.iter().copied()).output();
    let output = output.expect("the program starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap_or(-1), format!("{stdout}{stderr}"))
}

/// Ends a process of ours at once while its [`Process`] is lent elsewhere; that still has to collect it.
pub fn kill_9_by_id(id: u32) {
    let sent = Command::new("kill").args(["-KILL", &id.to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "the process could not be killed");
}

impl Process {
    /// Starts a program and waits for the line that says that it is ready. Its log goes to `log`.
    pub fn start(name: &'static str, arguments: &[&str], log: &Path) -> Process {
        Process::start_in(name, arguments, log, &[])
    }

    /// The same, with more variables in its environment.
    pub fn start_in(
        name: &'static str,
        arguments: &[&str],
        log: &Path,
        environment: &[(&str, String)],
    ) -> Process {
        let log_file = std::fs::OpenOptions::new().create(true).append(true).open(log).expect("log opens");
        let mut child = Command::new(program(name))
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log_file)
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("stdout is piped"));
        output.read_line(&mut line).expect("stdout is text");
        if !line.contains("\"ready\":true") {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{name} did not become ready: {line}{}", std::fs::read_to_string(log).unwrap_or_default());
        }
        // The rest of what it prints is nobody's concern, but the pipe must not fill.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        Process { name, child }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as a power cut would.
    pub fn kill_9(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to stop and waits; gives whether it ended well.
    pub fn terminate(&mut self) -> bool {
        self.signal("TERM");
        self.child.wait().expect("the program ends").success()
    }

    /// Sends a signal by name, for instance `STOP` and `CONT`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "{} could not be sent {name}", self.name);
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_9();
    }
}
