//! Promises about tampering: the keys are in the daemon's memory before and in no place after, and the device never
//! works again, whatever is restarted.
#![expect(clippy::unwrap_used, reason = "test code; a failure must stop the test")]

mod daemon_process;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use daemon_process::{AUDITOR, Daemon, mac_key, status_command};
use hsm::{Hsm, HsmError, KeyFilter};
use hsm_sim::state::{CURRENT_FILE, Home, PREVIOUS_FILE, ROOT_KEY_FILE};

fn tamper(state: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hsm-sim"));
    command.args(["tamper", "--destroy-keys", "--state"]).arg(state);
    command.stdin(Stdio::null()).output().unwrap()
}

/// Every secret in a copy of the device's files, with its name.
fn secrets(state: &Path) -> Vec<(String, [u8; 32])> {
    use std::os::unix::fs::PermissionsExt;
    let copy = tempfile::tempdir().unwrap();
    fs::set_permissions(copy.path(), fs::Permissions::from_mode(0o700)).unwrap();
    for name in [CURRENT_FILE, ROOT_KEY_FILE] {
        fs::copy(state.join(name), copy.path().join(name)).unwrap();
    }
    let home = Home::open(copy.path()).unwrap();
    let state = home.load(&home.root_key().unwrap()).unwrap();
    let keys = state.objects.iter().map(|object| (object.facts.key.to_string(), *object.secret()));
    let own = [("tickets", *state.secrets.tickets.expose()), ("identity", *state.secrets.identity.expose())];
    keys.chain(own.map(|(name, secret)| (name.to_owned(), secret))).collect()
}

/// Which of these secrets, by name, lie in the writable memory of a process.
fn in_memory(pid: u32, secrets: &[(String, [u8; 32])]) -> Vec<String> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut found = Vec::new();
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (range, flags) = (fields.next().unwrap(), fields.next().unwrap());
        if !flags.starts_with("rw") || line.ends_with("[vvar]") {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let (start, end) = (u64::from_str_radix(start, 16).unwrap(), u64::from_str_radix(end, 16).unwrap());
        let mut area = vec![0; usize::try_from(end - start).unwrap()];
        for (at, page) in area.chunks_mut(4096).enumerate() {
            let _ = memory.read_exact_at(page, start + 4096 * at as u64);
        }
        for (name, secret) in secrets {
            if area.windows(16).any(|window| window == &secret[..16] || window == &secret[16..]) {
                found.push(name.clone());
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

fn within(limit: Duration, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < limit, "not within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Tampered it is, to everybody, and for everything but status and log.
fn is_latched(daemon: &Daemon) {
    let client = daemon.client();
    assert_eq!(client.mac(&mac_key(), b"m"), Err(HsmError::Tampered));
    assert_eq!(client.random(&mut [0; 8]), Err(HsmError::Tampered));
    assert_eq!(client.keys(&KeyFilter::default()).unwrap_or_default().len(), 0);
    let officer = daemon.person(daemon_process::OFFICERS[0]);
    assert_eq!(officer.approve("rotate kek/card", Duration::from_secs(60)).err(), Some(HsmError::Tampered));
    assert_eq!(client.health().unwrap().latched, Some(HsmError::Tampered));
    let auditor = daemon.person(AUDITOR);
    let page = auditor.drain_log(0, 256).unwrap();
    let log: Vec<String> =
        page.entries.iter().map(|entry| hsm_sim::log::Entry::decode(entry).unwrap().to_string()).collect();
    assert!(log.iter().any(|entry| entry.contains("latched")), "{log:?}");
}

#[test]
fn opening_the_case_wipes_memory_and_disk_and_latches_for_good() {
    let mut daemon = Daemon::fresh(&[]);
    daemon.client().mac(&mac_key(), b"m").unwrap();
    let secrets = secrets(&daemon.state);
    let before = in_memory(daemon.pid(), &secrets);
    assert_eq!(before.len(), secrets.len(), "found only {before:?}; the search proves nothing");
    let old_root = fs::read(daemon.state.join(ROOT_KEY_FILE)).unwrap();

    let output = tamper(&daemon.state);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(in_memory(daemon.pid(), &secrets), Vec::<String>::new());
    is_latched(&daemon);
    assert!(
        !status_command(&daemon.socket, &daemon.dir.path().join("pin")).output().unwrap().status.success()
    );

    // The disk holds nothing that the old root key opens, and no key.
    assert_ne!(fs::read(daemon.state.join(ROOT_KEY_FILE)).unwrap(), old_root);
    daemon.kill();
    let home = Home::open(&daemon.state).unwrap();
    let state = home.load(&home.root_key().unwrap()).unwrap();
    assert!(state.objects.is_empty() && state.latched == Some(HsmError::Tampered));
    let old_root = std::str::from_utf8(&old_root).unwrap().trim();
    let root = hsm_sim::state::RootKey::fill_with(|out| -> Result<(), ()> {
        out.copy_from_slice(&hsm_sim::ceremony::from_hex::<32>(old_root).unwrap());
        Ok(())
    })
    .unwrap();
    for name in [CURRENT_FILE, PREVIOUS_FILE] {
        if let Ok(file) = fs::read(daemon.state.join(name)) {
            assert!(hsm_sim::state::open(&file, &root).is_err(), "{name} opens under the old root key");
        }
    }
    drop(home);
    daemon.start();
    is_latched(&daemon);
}

#[test]
fn whoever_changes_the_state_file_while_the_device_runs_has_opened_the_case() {
    for change in ["altered", "older"] {
        let daemon = Daemon::fresh(&[]);
        let file = daemon.state.join(CURRENT_FILE);
        let mut bytes = fs::read(&file).unwrap();
        daemon.client().mac(&mac_key(), b"m").unwrap();
        if change == "altered" {
            bytes = fs::read(&file).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
        fs::write(&file, &bytes).unwrap();
        within(Duration::from_secs(10), || {
            daemon.client().health().is_ok_and(|health| health.latched.is_some())
        });
        is_latched(&daemon);
    }
}

#[test]
fn a_device_that_is_off_or_sealed_is_destroyed_all_the_same() {
    let mut daemon = Daemon::fresh(&[]);
    daemon.kill();
    assert!(tamper(&daemon.state).status.success());
    daemon.start();
    is_latched(&daemon);
    daemon.kill();
    // Twice is not more.
    assert!(tamper(&daemon.state).status.success());
    daemon.start();
    is_latched(&daemon);

    let nothing = tempfile::tempdir().unwrap();
    let output = tamper(&nothing.path().join("state"));
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no device"));
    let meant =
        Command::new(env!("CARGO_BIN_EXE_hsm-sim")).args(["tamper", "--state"]).arg(&daemon.state).output();
    assert_eq!(meant.unwrap().status.code(), Some(2), "without --destroy-keys it is misuse");
}

#[test]
fn a_zeroised_directory_takes_no_new_device() {
    let mut daemon = Daemon::fresh(&[]);
    daemon.kill();
    assert!(tamper(&daemon.state).status.success());
    let output = daemon_process::init_command(&daemon.state, daemon.dir.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    for name in [CURRENT_FILE, PREVIOUS_FILE] {
        let _ = fs::remove_file(daemon.state.join(name));
    }
    let output = daemon_process::init_command(&daemon.state, daemon.dir.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "removing the rest does not make it new");
}
