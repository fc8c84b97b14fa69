//! A device opens for the program that it knows and for no other, until an officer accepts that one; its log says who.
#![expect(clippy::unwrap_used, reason = "test code; a failure must stop the test")]

mod daemon_process;
mod split_device;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use daemon_process::{AUDITOR, Daemon, OFFICERS, mac_key};
use hsm::Hsm;
use hsm_sim::state::Home;
use split_device::{fails, file, said, split, unlock, works};

/// Another program that does the same: a copy of this one with a byte more.
fn another_program(dir: &Path) -> PathBuf {
    let copy = dir.join("hsm-sim-new");
    fs::copy(env!("CARGO_BIN_EXE_hsm-sim"), &copy).unwrap();
    fs::OpenOptions::new().append(true).open(&copy).unwrap().write_all(b"\n").unwrap();
    copy
}

fn sha256_of(program: &Path) -> String {
    let shown = works(Command::new(program).args(["firmware", "show"]).output().unwrap());
    let known = Command::new("sha256sum").arg(program).output().unwrap();
    let known = String::from_utf8(known.stdout).unwrap();
    assert_eq!(known.split_whitespace().next(), Some(shown.trim()), "as any other program computes it");
    shown.trim().to_owned()
}

/// `serve` by that program; its output when it refuses to start, none when it serves.
fn refuses(program: &Path, daemon: &Daemon) -> Option<String> {
    let mut command = Command::new(program);
    command.arg("serve").arg("--state").arg(&daemon.state).arg("--socket").arg(&daemon.socket);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    if line.contains("\"ready\":true") {
        child.kill().unwrap();
        child.wait().unwrap();
        return None;
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    Some(said(&output))
}

fn accept(program: &Path, daemon: &Daemon, name: &str, pin: &str, more: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(["firmware", "accept", "--state"]).arg(&daemon.state).args(more);
    command.arg("--officer").arg(format!("{name}={}", daemon.dir.path().join(pin).display()));
    command.output().unwrap()
}

/// What the device's log says of programs.
fn logged(daemon: &Daemon) -> Vec<String> {
    let page = daemon.person(AUDITOR).drain_log(0, 256).unwrap();
    let entries = page.entries.iter().map(|entry| hsm_sim::log::Entry::decode(entry).unwrap().to_string());
    entries.filter(|entry| entry.contains("firmware")).collect()
}

#[test]
fn another_program_does_not_serve_until_an_officer_accepts_it() {
    let mut daemon = Daemon::fresh(&[]);
    let mac = daemon.client().mac(&mac_key(), b"m").unwrap();
    daemon.kill();
    let old = Path::new(env!("CARGO_BIN_EXE_hsm-sim"));
    let new = another_program(daemon.dir.path());
    let (old_sum, new_sum) = (sha256_of(old), sha256_of(&new));

    let why = refuses(&new, &daemon).unwrap();
    assert!(why.contains(&old_sum) && why.contains(&new_sum) && why.contains("firmware accept"), "{why}");
    assert_eq!(refuses(old, &daemon), None, "the program that it knows serves");
    let state = daemon.state.to_str().unwrap();
    let other_work = ["ceremony", "split", "--state", state, "--custodian", "anna", "--custodian", "ben"];
    assert!(fails(Command::new(&new).args(other_work).output().unwrap()).contains("another program"));

    // Whoever is no officer, or has a wrong PIN, accepts nothing; the wrong PIN costs a try, on disk.
    let officer = OFFICERS[0];
    let pin = format!("{officer}.pin");
    for (name, pin) in [("operator", "pin"), (AUDITOR, "audrey.pin"), ("nobody", "pin"), (officer, "pin")] {
        assert!(fails(accept(&new, &daemon, name, pin, &[])).contains("officer"), "{name}");
    }
    let home = Home::open(&daemon.state).unwrap();
    let state = home.load(&home.root_key().unwrap()).unwrap();
    let account = state.accounts.iter().find(|account| account.name.as_str() == officer).unwrap();
    assert_eq!(account.tries_left, 9);
    drop(home);
    assert!(refuses(&new, &daemon).is_some());

    let told = works(accept(&new, &daemon, officer, &pin, &[]));
    assert!(told.contains(&format!("accepted {new_sum}")) && told.contains(&old_sum), "{told}");
    assert!(fails(accept(&new, &daemon, officer, &pin, &[])).contains("nothing was changed"));
    assert_eq!(refuses(&new, &daemon), None);
    assert!(refuses(old, &daemon).is_some(), "one program at a time: the way back needs an officer too");
    works(accept(old, &daemon, officer, &pin, &[]));
    daemon.start();
    assert_eq!(daemon.client().mac(&mac_key(), b"m"), Ok(mac), "no key was harmed");
    let log = logged(&daemon);
    assert_eq!(log.len(), 2, "{log:?}");
    for (entry, sum) in log.iter().zip([&new_sum, &old_sum]) {
        assert!(entry.contains(officer) && entry.contains(&format!("accepted {sum}")), "{entry}");
    }
}

#[test]
fn a_device_that_knows_no_program_notes_the_first_that_opens_it() {
    let mut daemon = Daemon::fresh(&[]);
    daemon.kill();
    // As a device that was made before programs were noted.
    let home = Home::open(&daemon.state).unwrap();
    let root = home.root_key().unwrap();
    let mut state = home.load(&root).unwrap();
    state.firmware = None;
    state.generation += 1;
    home.save(&state, &root).unwrap();
    drop(home);
    daemon.start();
    let log = logged(&daemon);
    let sum = sha256_of(Path::new(env!("CARGO_BIN_EXE_hsm-sim")));
    assert!(log.len() == 1 && log.iter().all(|entry| entry.contains(&format!("noted {sum}"))), "{log:?}");
    daemon.kill();
    assert!(refuses(&another_program(daemon.dir.path()), &daemon).is_some());
}

#[test]
fn a_sealed_device_tells_its_custodians_and_opens_once_the_program_is_accepted() {
    let (mut daemon, out) = split();
    let new = another_program(daemon.dir.path());
    let mut command = Command::new(&new);
    command.arg("serve").arg("--state").arg(&daemon.state).arg("--socket").arg(&daemon.socket);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("\"ready\":true"), "{line}");
    works(unlock(&daemon, &file(&out, "anna")));
    works(unlock(&daemon, &file(&out, "ben")));
    assert!(fails(unlock(&daemon, &file(&out, "carla"))).contains("another program"));
    child.kill().unwrap();
    child.wait().unwrap();

    let shares: Vec<String> =
        ["anna", "ben", "carla"].iter().map(|name| file(&out, name).display().to_string()).collect();
    let words: Vec<&str> = shares.iter().flat_map(|share| ["--share-file", share.as_str()]).collect();
    let pin = format!("{}.pin", OFFICERS[0]);
    assert!(fails(accept(&new, &daemon, OFFICERS[0], &pin, &words[..4])).contains("sealed"));
    works(accept(&new, &daemon, OFFICERS[0], &pin, &words));
    works(accept(Path::new(env!("CARGO_BIN_EXE_hsm-sim")), &daemon, OFFICERS[0], &pin, &words));
    daemon.start();
    for name in ["carla", "dora", "emil"] {
        works(unlock(&daemon, &file(&out, name)));
    }
    assert!(daemon.client().mac(&mac_key(), b"m").is_ok());
}
