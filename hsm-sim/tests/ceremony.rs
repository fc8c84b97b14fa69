//! Promises about the key ceremony, over real processes: the root key leaves the disk, custodians together bring it
//! back and fewer cannot, officers answer for it, and the transcript proves it.
#![expect(clippy::unwrap_used, reason = "test code; a failure must stop the test")]

mod daemon_process;
mod split_device;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use daemon_process::{Daemon, OFFICERS, mac_key, status_command};
use hsm::{Hsm, HsmError};
use hsm_sim::state::{CUSTODY_FILE, Home, ROOT_KEY_FILE, StateError};
use split_device::{PEOPLE, by_pin, fails, file, hsm_sim, split, split_command, unlock, works};

#[test]
fn custodians_open_a_sealed_device_one_after_the_other() {
    let mut daemon = Daemon::fresh(&[]);
    let mac = daemon.client().mac(&mac_key(), b"m").unwrap();
    daemon.kill();
    let old_root = fs::read(daemon.state.join(ROOT_KEY_FILE)).unwrap();
    let out = daemon.dir.path().join("shares");
    let officers = by_pin(daemon.dir.path());
    let words: Vec<&str> = officers.iter().map(String::as_str).collect();
    works(split_command(&daemon.state, &out, &words).output().unwrap());

    assert!(!daemon.state.join(ROOT_KEY_FILE).exists());
    for name in PEOPLE {
        let mode = fs::metadata(file(&out, name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    daemon.start();
    let client = daemon.client();
    assert_eq!(client.mac(&mac_key(), b"m"), Err(HsmError::NeedsReinit), "a sealed device is away");
    let pin = daemon.dir.path().join("pin");
    let status = status_command(&daemon.socket, &pin).arg("--format=json").output().unwrap();
    assert_eq!(status.status.code(), Some(1));
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!((&status["sealed"], &status["shares_needed"]), (&true.into(), &3.into()));

    works(unlock(&daemon, &file(&out, "emil")));
    assert!(fails(unlock(&daemon, &file(&out, "emil"))).contains("entered a share already"));
    assert!(works(unlock(&daemon, &file(&out, "anna"))).contains("2 of 3"));
    assert_eq!(client.mac(&mac_key(), b"m"), Err(HsmError::NeedsReinit), "two of three open nothing");
    assert!(works(unlock(&daemon, &file(&out, "carla"))).contains("open"));
    assert_eq!(client.mac(&mac_key(), b"m"), Ok(mac), "the same client, the same key");
    assert!(fails(unlock(&daemon, &file(&out, "ben"))).contains("wants no shares"));
    let page = daemon.person(daemon_process::AUDITOR).drain_log(0, 256).unwrap();
    let log = page.entries.iter().map(|entry| hsm_sim::log::Entry::decode(entry).unwrap().to_string());
    let log: Vec<String> = log.filter(|entry| entry.contains("ceremony")).collect();
    assert!(log.iter().any(|entry| entry.contains("split 3 of 5")), "{log:?}");
    assert!(log.iter().any(|entry| entry.contains("opened by shares 5 1 3")), "{log:?}");
    assert!(status_command(&daemon.socket, &pin).output().unwrap().status.success());

    // A copy of the old key that somebody kept opens nothing that was written since.
    daemon.kill();
    fs::write(daemon.state.join(ROOT_KEY_FILE), &old_root).unwrap();
    fs::set_permissions(daemon.state.join(ROOT_KEY_FILE), fs::Permissions::from_mode(0o600)).unwrap();
    let home = Home::open(&daemon.state).unwrap();
    assert!(home.is_sealed());
    assert!(matches!(home.load(&home.root_key().unwrap()), Err(StateError::Tampered)));
}

#[test]
fn share_files_open_a_device_at_its_start() {
    let (daemon, out) = split();
    let flags: Vec<String> = ["ben", "dora", "emil"]
        .iter()
        .flat_map(|name| ["--share-file".to_owned(), file(&out, name).display().to_string()])
        .collect();
    let mut child = daemon_process::serve(&daemon.state, &daemon.socket, &flags).spawn().unwrap();
    let client = daemon.client();
    let begun = std::time::Instant::now();
    while client.mac(&mac_key(), b"m").is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20), "not open");
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_typed_share_with_a_slip_is_sent_back_with_the_line() {
    let (mut daemon, out) = split();
    daemon.start();
    let paper = fs::read_to_string(file(&out, "ben")).unwrap();
    let line = paper.lines().find(|line| line.starts_with(" 4")).unwrap();
    let last = line.chars().last().unwrap();
    let slip = paper.replace(line, &line.replace(last, if last == '7' { "8" } else { "7" }));
    let typed = |text: &str| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hsm-sim"))
            .args(["unlock", "--socket", daemon.socket.to_str().unwrap()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    assert!(fails(typed(&slip)).contains("line 4"));
    assert!(works(typed(&paper)).contains("1 of 3"));
    // Called off: what was entered is wiped.
    let off = hsm_sim(&["unlock", "--socket", daemon.socket.to_str().unwrap(), "--call-off"]);
    assert!(works(off).contains("0 of 3"));
}

#[test]
fn shares_of_another_device_or_an_earlier_ceremony_are_refused_by_name() {
    let (mut daemon, out) = split();
    let (_other, foreign) = split();
    // A second ceremony over the first: three custodians open, the new set replaces the old.
    let again = daemon.dir.path().join("again");
    let officers = by_pin(daemon.dir.path());
    let files: Vec<String> =
        ["anna", "ben", "carla"].iter().map(|name| file(&out, name).display().to_string()).collect();
    let mut words: Vec<&str> = officers.iter().map(String::as_str).collect();
    files.iter().for_each(|file| words.extend(["--share-file", file]));
    assert!(fails(split_command(&daemon.state, &again, &words[..8]).output().unwrap()).contains("sealed"));
    works(split_command(&daemon.state, &again, &words).output().unwrap());
    daemon.start();
    assert!(fails(unlock(&daemon, &file(&foreign, "anna"))).contains("another device"));
    assert!(fails(unlock(&daemon, &file(&out, "anna"))).contains("another ceremony"));
    for name in ["dora", "emil", "ben"] {
        works(unlock(&daemon, &file(&again, name)));
    }
    assert!(daemon.client().mac(&mac_key(), b"m").is_ok());
}

#[test]
fn without_two_distinct_officers_no_share_is_made() {
    let mut daemon = Daemon::fresh(&[]);
    daemon.kill();
    let dir = daemon.dir.path().to_owned();
    let out = dir.join("shares");
    let pin = |name: &str| format!("{name}={}", dir.join(format!("{name}.pin")).display());
    let (first, second) = (pin(OFFICERS[0]), pin(OFFICERS[1]));
    let wrong = format!("{}={}", OFFICERS[1], dir.join("pin").display());
    let operator = format!("operator={}", dir.join("pin").display());
    let attempts: [&[&str]; 5] = [
        &[],
        &["--officer", &first],
        &["--officer", &first, "--officer", &first],
        &["--officer", &first, "--officer", &operator],
        &["--officer", &first, "--officer", &wrong],
    ];
    for words in attempts {
        assert!(fails(split_command(&daemon.state, &out, words).output().unwrap()).contains("officers"));
        assert!(!out.exists() && daemon.state.join(ROOT_KEY_FILE).exists(), "{words:?}");
    }
    // The wrong PIN cost a try, on disk.
    let home = Home::open(&daemon.state).unwrap();
    let state = home.load(&home.root_key().unwrap()).unwrap();
    let tries =
        |name: &str| state.accounts.iter().find(|account| account.name.as_str() == name).unwrap().tries_left;
    assert_eq!((tries(OFFICERS[0]), tries(OFFICERS[1])), (10, 9));
    drop(home);
    works(split_command(&daemon.state, &out, &["--officer", &first, "--officer", &second]).output().unwrap());
}

#[test]
fn tickets_that_two_officers_got_from_the_running_device_order_a_split_once() {
    let mut daemon = Daemon::fresh(&[]);
    let dir = daemon.dir.path().to_owned();
    let ticket = |name: &str, act: &str| {
        let path = dir.join(format!("{name}.{}.ticket", act.len()));
        let officer = format!("{name}={}", dir.join(format!("{name}.pin")).display());
        let words =
            ["approve", "--socket", daemon.socket.to_str().unwrap(), "--officer", &officer, "--act", act];
        works(hsm_sim(&[&words[..], &["--out", path.to_str().unwrap()]].concat()));
        path.display().to_string()
    };
    let (one, two) = (ticket(OFFICERS[0], "export-shares"), ticket(OFFICERS[1], "export-shares"));
    let other = ticket(OFFICERS[1], "rotate kek/card");
    daemon.kill();
    let out = dir.join("shares");
    let with = |a: &str, b: &str, out: &Path| {
        split_command(&daemon.state, out, &["--ticket", a, "--ticket", b]).output().unwrap()
    };
    fails(with(&one, &other, &out));
    fails(with(&one, &one, &out));
    assert!(!out.exists());
    works(with(&one, &two, &out));
    let transcript = fs::read_to_string(out.join("transcript.txt")).unwrap();
    assert!(OFFICERS.iter().all(|name| transcript.contains(&format!("officer {name}"))), "{transcript}");
    // Spent, also for the state that was sealed anew.
    let again = dir.join("again");
    let shares: Vec<String> = PEOPLE[..3].iter().map(|name| file(&out, name).display().to_string()).collect();
    let words: Vec<&str> = shares.iter().flat_map(|share| ["--share-file", share]).collect();
    let words = [&["--ticket", one.as_str(), "--ticket", two.as_str()][..], &words].concat();
    assert!(fails(split_command(&daemon.state, &again, &words).output().unwrap()).contains("officers"));
}

#[test]
fn the_transcript_proves_itself_and_every_share() {
    let (mut daemon, out) = split();
    let transcript = out.join("transcript.txt");
    let verify = |path: &Path, more: &[&str]| {
        hsm_sim(&[&["ceremony", "verify", "--transcript", path.to_str().unwrap()][..], more].concat())
    };
    let share = file(&out, "dora");
    daemon.start();
    for name in ["anna", "ben", "carla"] {
        works(unlock(&daemon, &file(&out, name)));
    }
    let key: String = daemon
        .person(daemon_process::AUDITOR)
        .log_head()
        .unwrap()
        .public
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let text = works(verify(&transcript, &["--key", &key, "--share-file", share.to_str().unwrap()]));
    assert!(
        text.contains("dora is the one named here") && text.contains("signed by the key that was given"),
        "{text}"
    );
    assert!(fails(verify(&transcript, &["--key", &"0".repeat(64)])).contains("another key"));
    let altered = out.join("altered.txt");
    fs::write(&altered, fs::read_to_string(&transcript).unwrap().replace("share 4 dora", "share 4 eve"))
        .unwrap();
    assert!(fails(verify(&altered, &[])).contains("altered"));
    let (_other, foreign) = split();
    assert!(
        fails(verify(&transcript, &["--share-file", file(&foreign, "dora").to_str().unwrap()]))
            .contains("not the one")
    );
    // No share and no key is in it, nor in what stays beside the state.
    let part = fs::read_to_string(&share).unwrap();
    let secret: Vec<&str> =
        part.lines().filter(|line| line.starts_with(" 5") || line.starts_with(" 6")).collect();
    for path in [transcript, daemon.state.join(CUSTODY_FILE)] {
        let kept = fs::read_to_string(path).unwrap();
        assert!(secret.iter().all(|line| !kept.contains(line.split_at(4).1)));
    }
}

#[test]
fn on_the_screen_every_custodian_comes_alone_and_an_end_before_the_last_changes_nothing() {
    let mut daemon = Daemon::fresh(&[]);
    daemon.kill();
    let officers = by_pin(daemon.dir.path());
    let show = |answers: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hsm-sim"));
        command.args(["ceremony", "split", "--threshold", "2", "--state"]).arg(&daemon.state).args(&officers);
        command.args(["--custodian", "anna", "--custodian", "ben", "--custodian", "carla"]);
        command.arg("--transcript").arg(daemon.dir.path().join("transcript"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(answers.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    assert!(fails(show("\n\n\n")).contains("nothing was changed"));
    assert!(daemon.state.join(ROOT_KEY_FILE).exists() && !daemon.state.join(CUSTODY_FILE).exists());
    let screen = works(show("\n\n\n\n\n\n"));
    let pages: Vec<&str> = screen.split("\u{1b}[H").collect();
    assert_eq!(pages.len(), 4, "the screen is cleared after each of three");
    let shares: Vec<_> =
        pages.iter().take(3).map(|page| hsm_sim::ceremony::read_share(page).unwrap()).collect();
    let mut home = Home::open(&daemon.state).unwrap();
    home.entrust(hsm_sim::ceremony::combine(&shares[1..]).unwrap()).unwrap();
}
