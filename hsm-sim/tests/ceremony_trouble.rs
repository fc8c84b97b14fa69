//! Promises about a split root key when things go wrong: killed halfway, destroyed, locked, set back.
#![expect(clippy::unwrap_used, reason = "test code; a failure must stop the test")]

mod daemon_process;
mod split_device;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use daemon_process::{Daemon, OFFICERS, mac_key};
use hsm::{Hsm, HsmError};
use hsm_sim::ceremony::{Gathering, read_share};
use hsm_sim::state::{CUSTODY_FILE, Home, ROOT_KEY_FILE};
use split_device::{by_pin, fails, file, hsm_sim, split, split_command, unlock, works};

#[test]
fn a_split_that_is_killed_anywhere_leaves_a_device_that_opens() {
    let mut daemon = Daemon::fresh(&[]);
    daemon.kill();
    let officers = by_pin(daemon.dir.path());
    let words: Vec<&str> = officers.iter().map(String::as_str).collect();
    let mut made = Home::open(&daemon.state).unwrap();
    let kek = *made.load(&made.root_key().unwrap()).unwrap().objects.first().unwrap().secret();
    let (mut by_key, mut by_shares) = (0, 0);
    // As many rounds as it takes until both sides of the commit were hit, however slow the disk is.
    for round in 0..300_u64 {
        if round >= 24 && by_key > 0 && by_shares > 0 {
            break;
        }
        let dir = tempfile::tempdir().unwrap();
        let (state, out) = (dir.path().join("state"), dir.path().join("shares"));
        fs::create_dir(&state).unwrap();
        fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
        for name in ["state.bin", ROOT_KEY_FILE] {
            fs::copy(daemon.state.join(name), state.join(name)).unwrap();
        }
        let mut child =
            split_command(&state, &out, &words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // The interesting part is short and late; its beginning shows.
        let begun = std::time::Instant::now();
        let sign = if round % 4 == 0 { "anna" } else { "emil" };
        while !file(&out, sign).exists() && begun.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_micros(100));
        }
        std::thread::sleep(Duration::from_micros(round * 300));
        child.kill().unwrap();
        child.wait().unwrap();

        made = Home::open(&state).unwrap();
        if made.is_sealed() {
            by_shares += 1;
            let mut gathering = Gathering::new(made.custody().unwrap());
            for name in ["anna", "carla", "emil"] {
                let share = read_share(&fs::read_to_string(file(&out, name)).unwrap()).unwrap();
                if let Some(root) = gathering.enter(share).unwrap() {
                    made.entrust(root).unwrap();
                }
            }
            assert!(!state.join(ROOT_KEY_FILE).exists(), "round {round}: the old key stayed");
        } else {
            by_key += 1;
        }
        let opened = made.load(&made.root_key().unwrap()).unwrap();
        assert_eq!(*opened.objects.first().unwrap().secret(), kek, "round {round}");
    }
    println!("opened by the old key {by_key} times, by the shares {by_shares} times");
    assert!(by_key > 0 && by_shares > 0, "{by_key} {by_shares}: one side of the commit was never tried");
}

#[test]
fn a_sealed_device_can_be_destroyed_and_never_opens_again() {
    let (mut daemon, out) = split();
    daemon.start();
    works(unlock(&daemon, &file(&out, "anna")));
    works(hsm_sim(&["tamper", "--destroy-keys", "--state", daemon.state.to_str().unwrap()]));
    assert_eq!(daemon.client().mac(&mac_key(), b"m"), Err(HsmError::Tampered));
    for name in ["ben", "carla"] {
        fails(unlock(&daemon, &file(&out, name)));
    }
    daemon.kill();
    daemon.start();
    assert_eq!(daemon.client().mac(&mac_key(), b"m"), Err(HsmError::Tampered));
    assert!(!daemon.state.join(CUSTODY_FILE).exists() && !daemon.state.join(ROOT_KEY_FILE).exists());
}

#[test]
fn custodians_together_give_a_locked_officer_its_tries_back() {
    let (mut daemon, out) = split();
    daemon.start();
    for name in ["anna", "ben", "carla"] {
        works(unlock(&daemon, &file(&out, name)));
    }
    let guess = || {
        let pin = secrecy::SecretString::from("000000");
        hsm_sim::client::SimClient::officer(&daemon.socket, OFFICERS[0], pin).unwrap().describe()
    };
    (0..10).for_each(|_| assert!(guess().is_err()));
    assert_eq!(daemon.person(OFFICERS[0]).describe(), Err(HsmError::AuthLocked));
    daemon.kill();
    let state = daemon.state.to_str().unwrap().to_owned();
    let shares: Vec<String> =
        ["dora", "emil", "ben"].iter().map(|name| file(&out, name).display().to_string()).collect();
    let give = |count: usize| {
        let words = shares[..count].iter().flat_map(|share| ["--share-file", share.as_str()]);
        hsm_sim(&["unlock", "--state", &state].into_iter().chain(words).collect::<Vec<_>>())
    };
    assert!(fails(give(0)).contains("0 of 3"));
    assert!(fails(give(2)).contains("2 of 3"));
    works(give(3));
    daemon.start();
    for name in ["anna", "ben", "carla"] {
        works(unlock(&daemon, &file(&out, name)));
    }
    assert!(daemon.person(OFFICERS[0]).describe().is_ok());
}

#[test]
fn a_sealed_state_that_was_set_back_stays_shut_to_its_own_custodians() {
    let mount = tempfile::tempdir().unwrap();
    let nv = mount.path().join("generation").display().to_string();
    let mut daemon = Daemon::made_with(&["--nv", &nv], &["--nv", &nv]);
    daemon.kill();
    let out = daemon.dir.path().join("shares");
    let officers = by_pin(daemon.dir.path());
    let words: Vec<&str> = officers.iter().map(String::as_str).chain(["--nv", &nv]).collect();
    works(split_command(&daemon.state, &out, &words).output().unwrap());
    let yesterday = fs::read(daemon.state.join("state.bin")).unwrap();
    daemon.start();
    for name in ["anna", "ben", "carla"] {
        works(unlock(&daemon, &file(&out, name)));
    }
    daemon.client().mac(&mac_key(), b"m").unwrap();
    daemon.kill();
    fs::write(daemon.state.join("state.bin"), yesterday).unwrap();
    daemon.start();
    for name in ["anna", "ben"] {
        works(unlock(&daemon, &file(&out, name)));
    }
    assert!(fails(unlock(&daemon, &file(&out, "carla"))).contains("set back"));
    assert_eq!(daemon.client().mac(&mac_key(), b"m"), Err(HsmError::NeedsReinit));
    daemon.kill();
    let shares: Vec<String> =
        ["anna", "ben", "dora"].iter().map(|name| file(&out, name).display().to_string()).collect();
    let state = daemon.state.to_str().unwrap().to_owned();
    let mut words = vec!["ceremony", "accept-rollback", "--state", &state, "--nv", &nv];
    words.extend(officers.iter().map(String::as_str));
    words.extend(shares.iter().flat_map(|share| ["--share-file", share.as_str()]));
    works(hsm_sim(&words));
    daemon.start();
    for name in ["emil", "ben", "carla"] {
        works(unlock(&daemon, &file(&out, name)));
    }
    assert!(daemon.client().mac(&mac_key(), b"m").is_ok());
}
