//! `pangate demo` as a newcomer runs it: real processes, a real journey, and nothing left behind but what it says.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot set its stage fails"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The demo finds its neighbours beside itself; Cargo builds only this package's for a test.
fn neighbours() {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--package", "hsm-sim", "--package", "claims"]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        assert!(cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
    });
}

fn demo(dir: &Path, more: &[&str]) -> Command {
    neighbours();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pangate"));
    command.args(["--format", "json", "demo", "--listen", "127.0.0.1:0", "--dir"]).arg(dir).args(more);
    command
}

fn variables(dir: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(dir.join("demo.env")).unwrap();
    text.lines()
        .map(|line| line.split_once('=').unwrap())
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Reads the demo's lines until it serves.
fn until_serving(child: &mut Child) -> serde_json::Value {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in lines {
        let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        if line.get("serving").is_some() {
            return line;
        }
        assert_eq!(line["held"], true, "{line}");
    }
    panic!("the demo ended before it served");
}

fn is_listening(url: &str) -> bool {
    let address = url.split_once("://").unwrap().1;
    std::net::TcpStream::connect(address).is_ok()
}

#[test]
fn every_step_of_the_journey_holds_and_no_file_keeps_the_card() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("demo");
    let output = demo(&dir, &["--once"]).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));

    let steps: Vec<serde_json::Value> =
        told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(steps.len(), 8, "{told}");
    assert!(steps.iter().all(|step| step["held"] == true), "{told}");

    let variables = variables(&dir);
    for name in [
        "PANGATE_URL",
        "PANGATE_CA",
        "PANGATE_CONFIG",
        "PANGATE_PORTAL_KEY",
        "PANGATE_STAFF_TOKEN",
        "PANGATE_SECOND_STAFF_TOKEN",
        "PANGATE_AUDITOR_TOKEN",
        "PANGATE_ADMIN_TOKEN",
        "CLAIMS_URL",
        "CLAIMS_TOKEN",
        "PANGATE_DB",
        "CLAIMS_DB",
        "PANGATE_AUDIT_VKEY",
        "PANGATE_OPS_URL",
        "DEMO_ACCOUNT",
        "DEMO_STATEMENT",
        "DEMO_CHARGE",
    ] {
        assert!(variables.get(name).is_some_and(|value| !value.is_empty()), "{name}");
    }
    assert!(!is_listening(&variables["PANGATE_URL"]) && !is_listening(&variables["CLAIMS_URL"]));

    for (name, secret) in [
        ("", 0o700),
        ("demo.env", 0o600),
        ("hsm.pin", 0o600),
        ("pangate.db", 0o600),
        ("tls/gateway.key", 0o600),
    ] {
        let mode = fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, secret, "{name}");
    }

    // The demo searched its own folder; here it is asked of the command, and a planted number shows that it can find.
    let scan = || Command::new(env!("CARGO_BIN_EXE_pangate")).arg("scan").arg(&dir).output().unwrap();
    assert_eq!(scan().status.code(), Some(0));
    fs::write(dir.join("logs/planted.log"), "{\"note\":\"4242424242424242\"}\n").unwrap();
    assert_eq!(scan().status.code(), Some(1));

    let verify = Command::new(env!("CARGO_BIN_EXE_pangate"))
        .args(["audit", "verify", "--config", &variables["PANGATE_CONFIG"]])
        .output()
        .unwrap();
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stderr));
    assert!(String::from_utf8_lossy(&verify.stdout).contains("entries, root "));
}

#[test]
fn it_serves_until_it_is_interrupted_and_takes_its_processes_along() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = demo(folder.path(), &[]).stdout(Stdio::piped()).spawn().unwrap();
    until_serving(&mut child);
    let variables = variables(folder.path());
    assert!(is_listening(&variables["PANGATE_URL"]) && is_listening(&variables["PANGATE_OPS_URL"]));

    // Nobody else may have the folder meanwhile.
    let second = demo(folder.path(), &["--once"]).output().unwrap();
    assert_eq!(second.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another demo is running"));

    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(!is_listening(&variables["PANGATE_URL"]) && !is_listening(&variables["CLAIMS_URL"]));
}

#[cfg(target_os = "linux")]
#[test]
fn a_killed_demo_leaves_no_process_behind_and_its_folder_can_be_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = demo(folder.path(), &[]).stdout(Stdio::piped()).spawn().unwrap();
    until_serving(&mut child);
    let variables = variables(folder.path());
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("gateway and companion end with the demo", || {
        !is_listening(&variables["PANGATE_URL"]) && !is_listening(&variables["CLAIMS_URL"])
    });
    let again = demo(folder.path(), &["--once"]).output().unwrap();
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
}

#[test]
fn misuse_is_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
    let foreign = demo(folder.path(), &["--once"]).output().unwrap();
    assert_eq!(foreign.status.code(), Some(2));
    assert!(folder.path().join("thesis.txt").is_file());

    let dir = folder.path().join("demo");
    let mut open = Command::new(env!("CARGO_BIN_EXE_pangate"));
    open.args(["demo", "--once", "--listen", "0.0.0.0:0", "--dir"]).arg(&dir);
    let open = open.output().unwrap();
    assert!(!open.status.success());
    assert!(String::from_utf8_lossy(&open.stderr).contains("loopback"));
}
