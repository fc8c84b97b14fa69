//! Promises about the state on disk: killed at any instant it is the old or the new one, altered or cut anywhere it
//! is refused with words that help, and no key shows in it.
#![expect(clippy::unwrap_used, reason = "test code; a failure must stop the test")]

mod daemon_process;

use std::fs;
use std::path::Path;
use std::time::Duration;

use daemon_process::{Daemon, PIN, init_command, mac_key, status_command, unlock_command};
use hsm::{Hsm, HsmError, KeyLabel};
use hsm_sim::client::SimClient;
use hsm_sim::state::{CURRENT_FILE, Home, PREVIOUS_FILE, ROOT_KEY_FILE, State, StateError};
use secrecy::SecretString;

fn load(state: &Path) -> Result<State, StateError> {
    let home = Home::open(state)?;
    let root = home.root_key()?;
    home.load(&root)
}

#[test]
fn killed_while_writing_the_state_is_the_old_or_the_new_one() {
    let mut daemon = Daemon::fresh(&[]);
    let mac = daemon.client().mac(&mac_key(), b"m").unwrap();
    let mut generation = 0;
    for round in 0..20_u64 {
        // Every login writes the state twice; three threads log in as fast as they can.
        let socket = daemon.socket.clone();
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let acknowledged = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..3)
                .map(|_| {
                    let (socket, stop) = (socket.clone(), std::sync::Arc::clone(&stop));
                    scope.spawn(move || {
                        let mut seen = 0;
                        while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                            let client = SimClient::connect(&socket, SecretString::from(PIN));
                            if let Ok(health) = client.health() {
                                seen = seen.max(health.generation);
                            }
                        }
                        seen
                    })
                })
                .collect();
            std::thread::sleep(Duration::from_millis(60 + round * 7 % 50));
            daemon.kill();
            stop.store(true, std::sync::atomic::Ordering::SeqCst);
            workers.into_iter().map(|worker| worker.join().unwrap()).max().unwrap()
        });
        let state = load(&daemon.state).unwrap();
        assert!(
            state.generation >= acknowledged.max(generation),
            "round {round}: an acknowledged write is gone"
        );
        assert_eq!(state.objects.len(), 4);
        generation = state.generation;
        daemon.start();
        assert_eq!(daemon.client().mac(&mac_key(), b"m"), Ok(mac), "round {round}");
    }
    assert!(generation > 20, "the rounds wrote nothing: {generation}");
}

#[test]
fn an_init_that_is_killed_can_be_run_again_and_never_leaves_half_a_device() {
    let mut torn = 0;
    for round in 0..20_u64 {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let mut child = init_command(&state, dir.path()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(500 + round * 2500));
        child.kill().unwrap();
        child.wait().unwrap();
        if state.join(CURRENT_FILE).exists() {
            assert_eq!(load(&state).unwrap().objects.len(), 4, "round {round}");
        } else {
            torn += 1;
            daemon_process::init(&state, dir.path());
            assert_eq!(load(&state).unwrap().objects.len(), 4, "round {round}");
        }
    }
    assert!(torn > 0, "no round was killed before the end, so nothing was tried");
}

#[test]
fn a_state_with_any_byte_altered_or_cut_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    daemon_process::init(&state, dir.path());
    let file = state.join(CURRENT_FILE);
    let good = fs::read(&file).unwrap();
    for at in 0..good.len() {
        let mut altered = good.clone();
        altered[at] ^= 0x41;
        fs::write(&file, &altered).unwrap();
        assert!(load(&state).is_err(), "byte {at}");
        fs::write(&file, &good[..at]).unwrap();
        assert!(load(&state).is_err(), "cut to {at}");
    }
    fs::write(&file, &good).unwrap();
    assert!(load(&state).is_ok());
}

#[test]
fn a_daemon_refuses_a_tampered_state_in_words_that_help_and_never_falls_back_silently() {
    let mut daemon = Daemon::fresh(&[]);
    daemon.client().mac(&mac_key(), b"m").unwrap();
    daemon.kill();
    assert!(daemon.state.join(PREVIOUS_FILE).exists());
    let file = daemon.state.join(CURRENT_FILE);
    let good = fs::read(&file).unwrap();

    let mut altered = good.clone();
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    fs::write(&file, &altered).unwrap();
    let (code, said) = daemon.try_second(&daemon.state, &daemon.socket);
    assert_eq!(code, Some(1));
    assert!(said.contains("altered") && said.contains("backup"), "{said}");

    fs::remove_file(&file).unwrap();
    let (code, said) = daemon.try_second(&daemon.state, &daemon.socket);
    assert_eq!(code, Some(1));
    assert!(said.contains("rename state.prev to state.bin"), "{said}");

    // What the message advises works, and is a person's decision.
    fs::rename(daemon.state.join(PREVIOUS_FILE), &file).unwrap();
    daemon.start();
    assert!(daemon.client().mac(&mac_key(), b"m").is_ok());
}

#[test]
fn a_root_key_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    daemon_process::init(&state, dir.path());
    fs::set_permissions(state.join(ROOT_KEY_FILE), fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(load(&state), Err(StateError::Exposed(ROOT_KEY_FILE))));
}

#[test]
fn a_device_is_not_made_over_another() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    daemon_process::init(&state, dir.path());
    let before = fs::read(state.join(CURRENT_FILE)).unwrap();
    let output = init_command(&state, dir.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("already holds a device"));
    assert_eq!(fs::read(state.join(CURRENT_FILE)).unwrap(), before);
}

#[test]
fn wrong_pins_lock_the_daemon_across_restarts() {
    let mut daemon = Daemon::fresh(&[]);
    let guess = |daemon: &Daemon| SimClient::connect(&daemon.socket, SecretString::from("246802")).describe();
    for left in (1..10).rev() {
        assert_eq!(guess(&daemon), Err(HsmError::AuthFailed { left: Some(left) }));
        if left == 5 {
            daemon.kill();
            daemon.start();
        }
    }
    assert_eq!(guess(&daemon), Err(HsmError::AuthLocked));
    assert_eq!(daemon.client().describe(), Err(HsmError::AuthLocked));

    // Its operator, at the host and with the daemon stopped, can bring it back.
    assert_eq!(unlock_command(&daemon.state).output().unwrap().status.code(), Some(1));
    daemon.kill();
    assert_eq!(unlock_command(&daemon.state).output().unwrap().status.code(), Some(0));
    daemon.start();
    assert!(daemon.client().describe().is_ok());
}

#[test]
fn no_key_is_in_this_process_after_it_used_every_key() {
    let mut daemon = Daemon::fresh(&[]);
    let client = daemon.client();
    let report =
        hsm::conformance::run(&|| Ok(Box::new(daemon.client())), &daemon_process::conformance_keys());
    assert!(report.holds());
    let spec = hsm::KeySpec {
        label: KeyLabel::KEK_CARD,
        kind: hsm::KeyKind::Kek256,
        at_least: hsm::KeyVersion::FIRST,
    };
    client.rotate_key(&spec, &daemon.agreed("rotate kek/card")).unwrap();
    let auditor = daemon.person(daemon_process::AUDITOR);
    auditor.drain_log(0, u16::MAX).unwrap();
    auditor.log_head().unwrap();
    drop(client);
    // Searched from another process's point of view: `status` prints all that the protocol tells about keys.
    let output =
        status_command(&daemon.socket, &daemon.dir.path().join("pin")).arg("--format=json").output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    daemon.kill();
    // Taken before the keys are read from the file, which brings them here.
    let memory = own_memory();
    let state = load(&daemon.state).unwrap();
    let canary = Box::new(*b"a canary that the search must find 0xC0FFEE");
    assert!(found(&own_memory(), &canary[..]), "the search finds nothing at all");
    for secret in [&state.secrets.tickets, &state.secrets.identity] {
        assert!(!found(&memory, secret.expose()), "a secret of the device is in the client's memory");
    }
    for object in &state.objects {
        assert!(!found(&memory, object.secret()), "{} is in the client's memory", object.facts.key);
        let hex: String = object.secret().iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(!text.contains(&hex));
    }
    assert!(state.objects.iter().any(|object| object.facts.key.label == KeyLabel::KEK_CARD));
}

/// Every writable page of this process.
fn own_memory() -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let memory = fs::File::open("/proc/self/mem").unwrap();
    let mut all = Vec::new();
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (range, flags) = (fields.next().unwrap(), fields.next().unwrap());
        if !flags.starts_with("rw") || line.ends_with("[vvar]") {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let (start, end) = (u64::from_str_radix(start, 16).unwrap(), u64::from_str_radix(end, 16).unwrap());
        let mut page = vec![0; 4096];
        for at in (start..end).step_by(4096) {
            if memory.read_exact_at(&mut page, at).is_ok() {
                all.extend_from_slice(&page);
            }
        }
    }
    all
}

fn found(memory: &[u8], wanted: &[u8]) -> bool {
    memory.windows(wanted.len()).any(|window| window == wanted)
}
