//! Promises about the real daemon process on its real socket: it conforms, it refuses who and what it should, it
//! survives garbage, crowds and `kill -9`, and its client comes back by itself.
#![expect(clippy::unwrap_used, reason = "test code; a failure must stop the test")]

mod daemon_process;
mod wire;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use daemon_process::{AUDITOR, Daemon, OFFICERS, PIN, conformance_keys, mac_key};
use hsm::{Hsm, HsmError};
use hsm_sim::client::SimClient;
use secrecy::SecretString;
use wire::{VERSION, exchange, frame, login_body};

#[test]
fn the_daemon_conforms() {
    let daemon = Daemon::fresh(&[]);
    let connect = || -> Result<Box<dyn Hsm>, HsmError> { Ok(Box::new(daemon.client())) };
    let officers = OFFICERS.map(|name| daemon.person(name));
    let approve = |act: &str| daemon_process::agreement(&officers, act);
    let report = hsm::conformance::run_all(&connect, &conformance_keys(), &approve);
    println!(
        "conformance: {} passed, {} failed, {} skipped",
        report.passed.len(),
        report.failed.len(),
        report.skipped.len()
    );
    assert!(report.holds() && report.skipped.is_empty(), "{report:?}");
    assert!(report.total() > 35, "{}", report.total());
}

#[test]
fn a_user_who_is_not_allowed_is_refused() {
    let stranger = rustix::process::geteuid().as_raw() + 1;
    let daemon = Daemon::fresh(&["--allow-uid", &stranger.to_string()]);
    assert_eq!(daemon.client().mac(&mac_key(), b"m"), Err(HsmError::Denied));
    assert_eq!(daemon.client().hello(), Err(HsmError::Denied));
}

#[test]
fn a_wrong_pin_is_refused_once_and_not_tried_again() {
    let daemon = Daemon::fresh(&[]);
    let wrong = SimClient::connect(&daemon.socket, SecretString::from("999999"));
    for _ in 0..20 {
        assert_eq!(wrong.mac(&mac_key(), b"m"), Err(HsmError::AuthFailed { left: Some(9) }));
    }
    // Twenty calls cost one try: the right PIN still opens, and nine tries were left.
    assert!(daemon.client().mac(&mac_key(), b"m").is_ok());
}

#[test]
fn malformed_frames_are_answered_and_the_connection_is_closed() {
    let daemon = Daemon::fresh(&[]);
    let bad: [Vec<u8>; 6] = [
        vec![0xFF; 64],
        0_u32.to_be_bytes().to_vec(),
        frame(VERSION + 1, 1, 1, &[]),
        frame(VERSION, 1, 1, &[0]),
        frame(VERSION, 1, 99, &[]),
        frame(VERSION, 1, 2, &[0, 200]),
    ];
    for bytes in bad {
        let mut stream = UnixStream::connect(&daemon.socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        stream.write_all(&bytes).unwrap();
        let mut answer = Vec::new();
        // Closing with unread input may surface as a reset after the reply.
        let _ = stream.read_to_end(&mut answer);
        assert_eq!(answer[9..], [1, 7, 3, 0], "{bytes:?}");
    }
    assert!(daemon.client().mac(&mac_key(), b"m").is_ok());
}

#[test]
fn a_crowd_is_told_that_the_device_is_overloaded_and_the_place_is_given_back() {
    let daemon = Daemon::fresh(&["--max-connections", "8"]);
    let first = daemon.client();
    first.hello().unwrap();
    let mut held: Vec<_> =
        (0..7).map(|_| SimClient::connect(&daemon.socket, SecretString::from(PIN))).collect();
    held.iter().for_each(|client| client.hello().unwrap());
    assert_eq!(daemon.client().mac(&mac_key(), b"m"), Err(HsmError::Overloaded));
    assert_eq!(first.hello(), Ok(()));
    held.pop();
    within(Duration::from_secs(2), || daemon.client().mac(&mac_key(), b"m").is_ok());
}

#[test]
fn sixty_four_connections_are_served_and_the_sixty_fifth_is_refused() {
    let daemon = Daemon::fresh(&[]);
    let held: Vec<_> = (0..64).map(|_| daemon.client()).collect();
    held.iter().for_each(|client| client.hello().unwrap());
    assert_eq!(daemon.client().hello(), Err(HsmError::Overloaded));
    held.iter().for_each(|client| client.hello().unwrap());
}

#[test]
fn an_operator_who_takes_every_place_does_not_keep_the_auditor_out() {
    let daemon = Daemon::fresh(&["--max-connections", "6"]);
    let mut sessions: Vec<_> = (0..4).map(|_| daemon.client()).collect();
    sessions.iter().for_each(|client| assert!(client.mac(&mac_key(), b"m").is_ok()));
    assert_eq!(daemon.client().mac(&mac_key(), b"m"), Err(HsmError::Overloaded));
    assert!(daemon.person(AUDITOR).drain_log(0, 1).is_ok());
    sessions.pop();
    within(Duration::from_secs(2), || daemon.client().mac(&mac_key(), b"m").is_ok());
}

#[test]
fn a_client_recovers_when_the_daemon_is_killed_and_started_again() {
    let mut daemon = Daemon::fresh(&[]);
    let client = daemon.client();
    let before = client.mac(&mac_key(), b"m").unwrap();
    for _ in 0..3 {
        daemon.kill();
        let asked = Instant::now();
        assert_eq!(client.mac(&mac_key(), b"m"), Err(HsmError::NeedsReinit));
        assert!(asked.elapsed() < Duration::from_millis(200), "an absent device must fail fast");
        daemon.start();
        assert_eq!(client.mac(&mac_key(), b"m"), Ok(before));
    }
    // Restarted between two calls: the second call never notices.
    daemon.kill();
    daemon.start();
    assert_eq!(client.mac(&mac_key(), b"m"), Ok(before));
}

#[test]
fn an_idle_session_is_closed_and_the_client_opens_another() {
    let daemon = Daemon::fresh(&["--idle", "1"]);
    let client = daemon.client();
    let before = client.mac(&mac_key(), b"m").unwrap();
    std::thread::sleep(Duration::from_millis(2300));
    assert_eq!(client.mac(&mac_key(), b"m"), Ok(before));
}

#[test]
fn a_dripping_peer_is_cut_off_and_holds_nobody_up() {
    let daemon = Daemon::fresh(&[]);
    let mut drip = UnixStream::connect(&daemon.socket).unwrap();
    let begun = Instant::now();
    let whole = frame(VERSION, 1, 1, &[]);
    let cut = loop {
        if drip.write_all(&whole[..1]).is_err() {
            break begun.elapsed();
        }
        assert!(daemon.client().hello().is_ok());
        assert!(begun.elapsed() < Duration::from_secs(20), "a dripping peer was never cut off");
        std::thread::sleep(Duration::from_secs(1));
    };
    assert!(cut < Duration::from_secs(12), "{cut:?}");
}

#[test]
fn a_signal_ends_the_daemon_cleanly_and_the_socket_goes() {
    let mut daemon = Daemon::fresh(&[]);
    let client = daemon.client();
    client.mac(&mac_key(), b"m").unwrap();
    let status = daemon.terminate();
    assert_eq!(status.code(), Some(0));
    assert!(!daemon.socket.exists());
}

#[test]
fn one_state_and_one_socket_have_one_daemon() {
    let daemon = Daemon::fresh(&[]);
    let (code, said) = daemon.try_second(&daemon.state, &daemon.dir.path().join("run/other.sock"));
    assert_eq!(code, Some(1));
    assert!(said.contains("another hsm-sim holds"), "{said}");
    let other = daemon.dir.path().join("other");
    daemon_process::init(&other, daemon.dir.path());
    let (code, said) = daemon.try_second(&other, &daemon.socket);
    assert_eq!(code, Some(1));
    assert!(said.contains("another hsm-sim serves"), "{said}");
    assert!(daemon.client().hello().is_ok());
}

#[test]
fn the_socket_and_the_files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let daemon = Daemon::fresh(&[]);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&daemon.socket), 0o660);
    assert_eq!(mode(daemon.socket.parent().unwrap()), 0o700);
    assert_eq!(mode(&daemon.state), 0o700);
    for name in ["root.key", "state.bin", "lock"] {
        assert_eq!(mode(&daemon.state.join(name)), 0o600, "{name}");
    }
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"));
}

#[test]
fn whatever_is_sent_the_daemon_lives_and_serves() {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};
    let daemon = Daemon::fresh(&[]);
    let client = daemon.client();
    let expected = client.mac(&mac_key(), b"m").unwrap();
    let frames = proptest::collection::vec(
        (0_u8..4, any::<u32>(), 0_u8..30, proptest::collection::vec(any::<u8>(), 0..200)),
        1..6,
    );
    let mut runner = TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() });
    runner
        .run(&(frames, 0_usize..4, proptest::collection::vec(any::<u8>(), 0..64)), |(frames, who, tail)| {
            let mut stream = UnixStream::connect(&daemon.socket).unwrap();
            // A real session of every role, so that the commands behind the PIN see the garbage too.
            let people = [("operator", PIN), ("ada", "ada-pin"), ("audrey", "audrey-pin")];
            if let Some((name, pin)) = people.get(who) {
                exchange(&mut stream, &frame(VERSION, 1, 2, &login_body(name, pin)));
            }
            for (version, id, code, body) in &frames {
                // Never a PIN: random ones would lock the device, which is another promise.
                let code = if [2, 21].contains(code) { 3 } else { *code };
                let _ = stream.write_all(&frame(version.max(&VERSION).to_owned(), *id, code, body));
            }
            let _ = stream.write_all(&tail);
            drop(stream);
            prop_assert_eq!(client.mac(&mac_key(), b"m"), Ok(expected));
            Ok(())
        })
        .unwrap();
}

fn within(limit: Duration, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < limit, "not within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
