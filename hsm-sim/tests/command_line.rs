//! Promises about the command line: its exit codes, its words, its JSON.
#![expect(clippy::unwrap_used, reason = "test code; a failure must stop the test")]

mod daemon_process;

use std::process::{Command, Output};

use daemon_process::{Daemon, status_command};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hsm-sim")).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn help_is_enough_to_work_from() {
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for word in ["init", "serve", "status", "--pin-file", "--realm test", "Exit codes", "no certified HSM"] {
        assert!(said(&help).contains(word), "{word}");
    }
    // Every command says what it does and what each of its words means.
    let commands = ["init", "ceremony", "serve", "status", "log", "unlock", "approve", "tamper", "fault"];
    for command in commands {
        assert!(said(&help).contains(&format!("  {command} ")), "{command} is not listed");
        let own = run(&[command, "--help"]);
        assert_eq!(own.status.code(), Some(0));
        assert!(said(&own).len() > 400, "{command}: {}", said(&own));
    }
    for act in ["split", "verify", "accept-rollback"] {
        assert_eq!(run(&["ceremony", act, "--help"]).status.code(), Some(0));
    }
}

#[test]
fn misuse_is_two_and_failure_is_one() {
    assert_eq!(run(&["nonsense"]).status.code(), Some(2));
    assert_eq!(run(&["init", "--state", "/nonexistent"]).status.code(), Some(2));
    assert_eq!(
        run(&["serve", "--state", "x", "--socket", "y", "--max-connections", "0"]).status.code(),
        Some(2)
    );
    let dir = tempfile::tempdir().unwrap();
    let (state, socket) = (dir.path().join("state"), dir.path().join("s"));
    let empty = run(&["serve", "--state", state.to_str().unwrap(), "--socket", socket.to_str().unwrap()]);
    assert_eq!(empty.status.code(), Some(1));
    assert!(said(&empty).contains("hsm-sim init"), "{}", said(&empty));
}

#[test]
fn a_short_pin_is_refused_and_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let (state, pin) = (dir.path().join("state"), dir.path().join("pin"));
    std::fs::write(&pin, "8642\n").unwrap();
    let (state, pin) = (state.to_str().unwrap(), pin.to_str().unwrap());
    let output = run(&["init", "--state", state, "--pin-file", pin, "--realm", "test"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("6 to 128") && !said(&output).contains("8642"), "{}", said(&output));
}

#[test]
fn status_tells_people_and_programs_the_same() {
    let mut daemon = Daemon::fresh(&[]);
    let pin = daemon.dir.path().join("pin");
    let text = status_command(&daemon.socket, &pin).output().unwrap();
    assert_eq!(text.status.code(), Some(0));
    let json = status_command(&daemon.socket, &pin).arg("--format=json").output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["operational"], true);
    assert_eq!(json["device"]["certified"], false);
    let keys = json["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 4);
    for key in keys {
        assert!(said(&text).contains(key["kcv"].as_str().unwrap()), "{key}");
    }
    daemon.kill();
    let away = status_command(&daemon.socket, &pin).output().unwrap();
    assert_eq!(away.status.code(), Some(1));
    assert!(said(&away).contains("away"), "{}", said(&away));
}
