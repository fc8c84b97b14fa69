//! Promises about the daemon's process, as the kernel tells them, and about taking its log away.
#![expect(clippy::unwrap_used, reason = "test code; a failure must stop the test")]

mod daemon_process;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use daemon_process::{AUDITOR, Daemon, mac_key, serve, status_command};
use hsm::Hsm;

fn hsm_sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hsm-sim")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_process_keeps_its_memory_to_itself_and_says_truly_how_well() {
    use std::io::{BufRead, BufReader};
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let (state, socket) = (dir.path().join("state"), dir.path().join("run/s"));
    daemon_process::init(&state, dir.path());
    let mut child = serve(&state, &socket, &[]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    let pid = child.id();
    let (kernel, limits) = (
        fs::read_to_string(format!("/proc/{pid}/status")).unwrap(),
        fs::read_to_string(format!("/proc/{pid}/limits")).unwrap(),
    );
    let field =
        |name: &str| kernel.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let locked: u64 = field("VmLck:").split_whitespace().next().unwrap().parse().unwrap();
    // The files of a process that is not dumpable belong to root.
    let hidden = fs::metadata(format!("/proc/{pid}/mem")).unwrap().uid() == 0;
    let report = status_command(&socket, &dir.path().join("pin")).arg("--format=json").output().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();

    assert_eq!(field("NoNewPrivs:"), "1");
    assert_eq!(core.split_whitespace().filter(|word| *word == "0").count(), 2, "{core}");
    assert!(hidden);
    assert_eq!(ready["hardened"], true, "{ready}");
    let claims = &ready["hardening"];
    assert_eq!(claims["no_core"], true);
    assert_eq!(claims["not_dumpable"], true);
    assert_eq!(claims["no_new_privileges"], true);
    assert_eq!(claims["locked"], locked > 0, "it claims what the kernel does not say: {locked} KiB");
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!(report["process"]["no_core"], true);
    assert_eq!(report["process"]["no_new_privileges"], true);
    assert!(
        report["process"]["pid"] == pid && report["process"]["locked_kib"].as_u64().unwrap() > 0
            || locked == 0
    );
}

fn log(daemon: &Daemon, more: &[&str]) -> Output {
    let auditor = format!("{AUDITOR}={}", daemon.dir.path().join(format!("{AUDITOR}.pin")).display());
    hsm_sim(
        &[&["log", "--socket", daemon.socket.to_str().unwrap(), "--auditor", &auditor][..], more].concat(),
    )
}

fn verify(archive: &Path, key: &str) -> Output {
    hsm_sim(&["log", "--verify", archive.to_str().unwrap(), "--key", key])
}

#[test]
fn an_auditor_takes_the_log_away_piece_by_piece_and_proves_it_whole() {
    let mut daemon = Daemon::fresh(&[]);
    let archive = daemon.dir.path().join("log.jsonl");
    let path = archive.to_str().unwrap();
    daemon.client().mac(&mac_key(), b"m").unwrap();
    let shown = said(&log(&daemon, &[]));
    assert!(shown.contains("boot") && shown.contains("login") && shown.contains("whole"), "{shown}");
    let first = log(&daemon, &["--archive", path, "--format", "json"]);
    let first: serde_json::Value = serde_json::from_slice(&first.stdout).unwrap();
    let key = first["key"].as_str().unwrap().to_owned();
    assert!(verify(&archive, &key).status.success());
    daemon.kill();
    daemon.start();
    (0..3).for_each(|_| assert!(daemon.client().describe().is_ok()));
    let second = log(&daemon, &["--archive", path, "--key", &key]);
    assert!(second.status.success() && said(&second).contains("boot"), "{}", said(&second));
    let checked = verify(&archive, &key);
    assert!(checked.status.success() && said(&checked).contains("whole"), "{}", said(&checked));
    assert_eq!(verify(&archive, &"0".repeat(64)).status.code(), Some(1));

    // Any line left out, doubled or swapped, and any entry cut off at the end, is found.
    let good = fs::read_to_string(&archive).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    let broken = |lines: &[&str]| {
        fs::write(&archive, lines.join("\n") + "\n").unwrap();
        verify(&archive, &key).status.code() == Some(1)
    };
    let entries: Vec<usize> = (0..lines.len()).filter(|&at| lines[at].starts_with("{\"entry\"")).collect();
    assert!(entries.len() > 6);
    for &at in &entries[1..] {
        assert!(broken(&[&lines[..at], &lines[at + 1..]].concat()), "line {at} left out");
        assert!(broken(&[&lines[..at], &[lines[at]], &lines[at..]].concat()), "line {at} doubled");
    }
    let mut swapped = lines.clone();
    swapped.swap(entries[2], entries[3]);
    assert!(broken(&swapped));
    assert!(broken(&lines[..lines.len() - 1]), "without its head the end is not proven");
    let altered = good.replacen("\"bytes\":\"00", "\"bytes\":\"01", 1);
    fs::write(&archive, altered).unwrap();
    assert_eq!(verify(&archive, &key).status.code(), Some(1));
    fs::write(&archive, good).unwrap();
    assert!(verify(&archive, &key).status.success());
}

#[test]
fn only_the_auditor_reads_the_log_on_the_command_line() {
    let daemon = Daemon::fresh(&[]);
    let officer = daemon_process::OFFICERS[0];
    let pin = format!("{officer}={}", daemon.dir.path().join(format!("{officer}.pin")).display());
    let output = hsm_sim(&["log", "--socket", daemon.socket.to_str().unwrap(), "--auditor", &pin]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn an_officer_gives_a_locked_operator_its_tries_back_while_the_device_runs() {
    let daemon = Daemon::fresh(&[]);
    let wrong = || hsm_sim_client(&daemon, "999999").describe();
    for _ in 0..10 {
        assert!(wrong().is_err());
    }
    assert_eq!(daemon.client().describe(), Err(hsm::HsmError::AuthLocked));
    let officer = daemon_process::OFFICERS[0];
    let pin = format!("{officer}={}", daemon.dir.path().join(format!("{officer}.pin")).display());
    let socket = daemon.socket.to_str().unwrap();
    let output = hsm_sim(&["unlock", "--socket", socket, "--account", "operator", "--officer", &pin]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(daemon.client().describe().is_ok());
}

#[test]
fn init_says_what_to_note_down_and_the_running_device_says_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (state, socket) = (dir.path().join("state"), dir.path().join("run/s"));
    let mut command = daemon_process::init_command(&state, dir.path());
    let made = command.arg("--format=json").stdout(Stdio::piped()).output().unwrap();
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    let mut child = serve(&state, &socket, &[]).spawn().unwrap();
    let pin = || secrecy::SecretString::from(daemon_process::PIN);
    let begun = std::time::Instant::now();
    let head = loop {
        match hsm_sim::client::SimClient::connect(&socket, pin()).log_head() {
            Ok(head) => break head,
            Err(error) => assert!(begun.elapsed().as_secs() < 20, "{error}"),
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(made["device"], hsm_sim::ceremony::to_hex(&head.serial));
    assert_eq!(made["device_key"], hsm_sim::ceremony::to_hex(&head.public));
    assert_eq!(made["keys"].as_array().unwrap().len(), 4);
}

fn hsm_sim_client(daemon: &Daemon, pin: &str) -> hsm_sim::client::SimClient {
    hsm_sim::client::SimClient::connect(&daemon.socket, secrecy::SecretString::from(pin))
}
