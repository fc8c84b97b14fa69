//! The three processes: started one after the other, each awaited until it says that it is ready, stopped in the
//! opposite order, each asked first and killed only when it does not listen.

use super::folder::Folder;
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const READY_WITHIN: Duration = Duration::from_secs(30);
/// Longer than the gateway's own drain.
const STOPPED_WITHIN: Duration = Duration::from_secs(15);

/// The running ones, in the order of their start.
#[derive(Default)]
pub(super) struct Processes(Vec<Running>);

struct Running {
    name: &'static str,
    child: Child,
}

impl Processes {
    /// Starts a program and waits for its `{"ready":true,…}`, which is given back.
    pub(super) async fn start(
        &mut self,
        name: &'static str,
        program: &Path,
        arguments: &[&OsStr],
        folder: &Folder,
    ) -> Result<serde_json::Value, String> {
        let log = folder.logs().join(format!("{name}.log"));
        let mut child = command(program, arguments)
            // Standard input is not read; it keeps the folder locked for as long as this child lives.
            .and_then(|mut command| command.stdin(folder.lock()?).stderr(new_log(&log)?).spawn())
            .map_err(|error| format!("{name} does not start: {error}"))?;
        let stdout = child.stdout.take().ok_or("a child without standard output")?;
        self.0.push(Running { name, child });
        let mut lines = BufReader::new(stdout).lines();
        let ready = tokio::time::timeout(READY_WITHIN, ready(&mut lines)).await.ok().flatten();
        let ready =
            ready.ok_or_else(|| format!("{name} did not become ready; it says: {}", last_line(&log)))?;
        // A pipe that nobody reads would stop the child in the end.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(ready)
    }

    /// Waits until one of them ends, and says which.
    pub(super) async fn any_ends(&mut self) -> &'static str {
        loop {
            for running in &mut self.0 {
                if running.child.try_wait().is_ok_and(|status| status.is_some()) {
                    return running.name;
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Stops them, last started first: the gateway drains while its HSM and its companion are still there.
    pub(super) async fn stop(&mut self) {
        while let Some(mut running) = self.0.pop() {
            ask(&running.child);
            if tokio::time::timeout(STOPPED_WITHIN, running.child.wait()).await.is_err() {
                let _ = running.child.kill().await;
            }
        }
    }
}

/// Runs a program to its end and gives its standard output.
pub(super) async fn run(name: &str, program: &Path, arguments: &[&OsStr]) -> Result<String, String> {
    let mut command = Command::new(program);
    let output = own_settings(&mut command).args(arguments).stdin(Stdio::null()).output().await;
    let output = output.map_err(|error| format!("{name} does not start: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{name} failed: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

fn command(program: &Path, arguments: &[&OsStr]) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    let own_id = OsString::from(std::process::id().to_string());
    command.args([
        OsStr::new("demo"),
        OsStr::new("--attached-to"),
        &own_id,
        OsStr::new("--"),
        program.as_os_str(),
    ]);
    own_settings(&mut command)
        .args(arguments)
        .stdout(Stdio::piped())
        // Apart from the terminal's group: an interrupt is for the demo, which stops them in order.
        .process_group(0)
        .kill_on_drop(true);
    Ok(command)
}

/// Variables of the caller's shell that would override the demo's settings files are kept out.
fn own_settings(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("PANGATE_") || name.starts_with("CLAIMS_")) {
            command.env_remove(name);
        }
    }
    command
}

async fn ready(lines: &mut Lines<BufReader<ChildStdout>>) -> Option<serde_json::Value> {
    while let Ok(Some(line)) = lines.next_line().await {
        let said: Option<serde_json::Value> = serde_json::from_str(&line).ok();
        if let Some(said) = said.filter(|said| said.get("ready") == Some(&serde_json::Value::Bool(true))) {
            return Some(said);
        }
    }
    None
}

fn ask(child: &Child) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

fn new_log(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().last().unwrap_or("nothing").to_owned()
}
