//! Promises about faults on order, through the control handle of a real daemon: they strike what was named, a caller
//! that does as the contract says is never misled by them, and a live device has no handle.
#![expect(clippy::unwrap_used, reason = "test code; a failure must stop the test")]

mod daemon_process;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use daemon_process::{Daemon, conformance_keys, mac_key};
use hsm::{Hsm, HsmError, KeyFilter, KeyKind, KeyLabel, KeySpec, KeyStatus, KeyVersion};
use hsm_sim::fault::{Answer, Order, Personality, Script, ask};

struct Faulty {
    daemon: Daemon,
    control: PathBuf,
    _dir: tempfile::TempDir,
}

fn faulty() -> Faulty {
    let dir = tempfile::tempdir().unwrap();
    let control = dir.path().join("control.sock");
    let daemon = Daemon::fresh(&["--control", control.to_str().unwrap()]);
    Faulty { daemon, control, _dir: dir }
}

impl Faulty {
    fn order(&self, order: &Order) -> Answer {
        let answer = ask(&self.control, order).unwrap();
        assert!(answer.done, "{answer:?}");
        answer
    }

    fn script(&self, rules: &str) {
        let script: Script = serde_json::from_str(&format!(r#"{{"seed":1,"rules":[{rules}]}}"#)).unwrap();
        self.order(&Order::Script(script));
    }
}

fn hsm_sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hsm-sim")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn rotation() -> KeySpec {
    KeySpec { label: KeyLabel::KEK_CARD, kind: KeyKind::Kek256, at_least: KeyVersion::FIRST }
}

#[test]
fn without_orders_a_daemon_with_a_handle_is_like_any_other() {
    let faulty = faulty();
    let officers = daemon_process::OFFICERS.map(|name| faulty.daemon.person(name));
    let report = hsm::conformance::run_all(
        &|| Ok(Box::new(faulty.daemon.client())),
        &conformance_keys(),
        &|act: &str| daemon_process::agreement(&officers, act),
    );
    assert!(report.holds() && report.skipped.is_empty(), "{report:?}");
    let mode = std::fs::metadata(&faulty.control).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_rotation_whose_reply_is_lost_is_found_in_the_list_and_not_done_twice() {
    let faulty = faulty();
    let client = faulty.daemon.client();
    let approval = faulty.daemon.agreed("rotate kek/card");
    let second = faulty.daemon.agreed("rotate kek/card");
    faulty.script(r#"{"on":"rotate_key","times":1,"do":"drop_reply"}"#);
    // The client does not ask again by itself: whether it was done is unknown.
    assert_eq!(client.rotate_key(&rotation(), &approval), Err(HsmError::Timeout));
    let filter = KeyFilter { label: Some(KeyLabel::KEK_CARD), kind: None };
    let keys = client.keys(&filter).unwrap();
    let versions: Vec<_> = keys.iter().map(|info| (info.key.version.get(), info.status)).collect();
    // The contract: list first. The new version is there, so nothing is left to do.
    assert_eq!(versions, [(1, KeyStatus::Deactivated), (2, KeyStatus::Active)]);
    // And who asks again all the same with the same tickets is refused, not obeyed twice.
    assert_eq!(client.rotate_key(&rotation(), &approval), Err(HsmError::Denied));
    assert_eq!(client.keys(&filter).unwrap().len(), 2);
    assert_eq!(client.rotate_key(&rotation(), &second).unwrap().key.version.get(), 3);
    assert_eq!(faulty.order(&Order::Show).struck, [1]);
}

#[test]
fn a_rotation_that_never_reached_the_device_is_not_in_the_list_and_can_be_asked_again() {
    let faulty = faulty();
    let client = faulty.daemon.client();
    let approval = faulty.daemon.agreed("rotate kek/card");
    faulty.script(r#"{"on":"rotate_key","times":1,"do":"disconnect"}"#);
    assert_eq!(client.rotate_key(&rotation(), &approval), Err(HsmError::Timeout));
    let filter = KeyFilter { label: Some(KeyLabel::KEK_CARD), kind: None };
    assert_eq!(client.keys(&filter).unwrap().len(), 1);
    assert_eq!(client.rotate_key(&rotation(), &approval).unwrap().key.version.get(), 2);
}

#[test]
fn lost_sessions_and_lost_connections_are_survived_without_the_callers_help() {
    let faulty = faulty();
    let client = faulty.daemon.client();
    let mac = client.mac(&mac_key(), b"m").unwrap();
    faulty.script(
        r#"{"on":"mac","first":2,"every":4,"do":"lose_session"},{"on":"mac","first":4,"every":4,"do":"disconnect"}"#,
    );
    for round in 0..20 {
        assert_eq!(client.mac(&mac_key(), b"m"), Ok(mac), "round {round}");
    }
    let struck = faulty.order(&Order::Show).struck;
    assert!(struck.iter().all(|&times| times >= 4), "{struck:?}");
}

#[test]
fn an_ordered_error_reaches_the_caller_as_it_is_and_only_as_often_as_ordered() {
    let faulty = faulty();
    let client = faulty.daemon.client();
    faulty.script(r#"{"on":"mac","first":2,"times":2,"do":{"error":{"code":"overloaded"}}}"#);
    let answers: Vec<_> = (0..5).map(|_| client.mac(&mac_key(), b"m").err()).collect();
    assert_eq!(answers, [None, Some(HsmError::Overloaded), Some(HsmError::Overloaded), None, None]);
    assert!(client.sign(&conformance_keys().sign, b"m").is_ok(), "another command is not meant");
}

#[test]
fn a_held_reply_times_out_and_the_late_one_is_not_taken_for_the_next() {
    let faulty = faulty();
    let client = faulty.daemon.client();
    let other = client.mac(&mac_key(), b"other").unwrap();
    faulty.script(r#"{"on":"mac","times":1,"do":"hold_reply"}"#);
    assert_eq!(client.mac(&mac_key(), b"m"), Err(HsmError::Timeout));
    assert_eq!(client.mac(&mac_key(), b"other"), Ok(other));
}

#[test]
fn a_slow_generator_slows_what_needs_random_bytes_and_nothing_else() {
    let faulty = faulty();
    let client = faulty.daemon.client();
    client.hello().unwrap();
    client.mac(&mac_key(), b"m").unwrap();
    faulty.script(r#"{"on":"random","do":{"delay":{"min_us":150000,"max_us":200000}}}"#);
    let begun = Instant::now();
    client.random(&mut [0; 16]).unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(150));
    let begun = Instant::now();
    client.mac(&mac_key(), b"m").unwrap();
    assert!(begun.elapsed() < Duration::from_millis(140));
}

#[test]
fn a_device_with_few_places_turns_the_rest_away_until_the_order_is_taken_back() {
    let faulty = faulty();
    faulty.order(&Order::Script(serde_json::from_str(r#"{"capacity":2}"#).unwrap()));
    let held = [faulty.daemon.client(), faulty.daemon.client()];
    held.iter().for_each(|client| client.hello().unwrap());
    assert_eq!(faulty.daemon.client().mac(&mac_key(), b"m"), Err(HsmError::Overloaded));
    faulty.order(&Order::Clear);
    assert!(faulty.daemon.client().mac(&mac_key(), b"m").is_ok());
}

#[test]
fn a_usb_token_does_one_operation_after_the_other() {
    let faulty = faulty();
    let clients: Vec<_> = (0..4).map(|_| faulty.daemon.client()).collect();
    let mac = |client: &hsm_sim::client::SimClient| assert!(client.mac(&mac_key(), b"m").is_ok());
    clients.iter().for_each(mac);
    faulty.order(&Order::Personality(Personality::Usb));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for client in &clients {
            scope.spawn(move || (0..5).for_each(|_| mac(client)));
        }
    });
    // Twenty operations at 33 a second, whoever asks: 570 ms and the latency of the last.
    let usb = begun.elapsed();
    assert!(usb >= Duration::from_millis(570), "{usb:?}");
    faulty.order(&Order::Personality(Personality::NetworkHsm));
    let begun = Instant::now();
    (0..20).for_each(|_| mac(&clients[0]));
    let network = begun.elapsed();
    assert!(network >= Duration::from_millis(30) && network < usb, "{network:?}");
}

#[test]
fn a_wrong_clock_is_what_the_device_goes_by() {
    let faulty = faulty();
    let client = faulty.daemon.client();
    let approval = faulty.daemon.agreed("rotate kek/card");
    // Sixteen minutes later, tickets of fifteen are void.
    faulty.order(&Order::Skew(16 * 60));
    assert_eq!(client.rotate_key(&rotation(), &approval), Err(HsmError::Denied));
    faulty.order(&Order::Clear);
    assert!(client.rotate_key(&rotation(), &approval).is_ok());
}

#[test]
fn the_handle_opens_the_case_and_refuses_what_is_no_order() {
    let faulty = faulty();
    let script: Script = serde_json::from_str(r#"{"rules":[{"on":"nonsense","do":"disconnect"}]}"#).unwrap();
    let answer = ask(&faulty.control, &Order::Script(script)).unwrap();
    assert!(!answer.done && answer.why.unwrap().contains("rule 1"));
    faulty.order(&Order::Tamper);
    assert_eq!(faulty.daemon.client().mac(&mac_key(), b"m"), Err(HsmError::Tampered));
}

#[test]
fn the_command_line_gives_the_same_orders() {
    let faulty = faulty();
    let control = faulty.control.to_str().unwrap();
    let script = faulty._dir.path().join("script.json");
    std::fs::write(&script, r#"{"rules":[{"on":"mac","times":1,"do":{"error":{"code":"timeout"}}}]}"#)
        .unwrap();
    let done = hsm_sim(&["fault", "--control", control, "--script", script.to_str().unwrap()]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(faulty.daemon.client().mac(&mac_key(), b"m"), Err(HsmError::Timeout));
    let shown = hsm_sim(&["fault", "--control", control, "--show", "--format", "json"]);
    let shown: Answer = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown.struck, [1]);
    assert_eq!(hsm_sim(&["fault", "--control", control]).status.code(), Some(2));
    std::fs::write(&script, r#"{"rules":[{"on":"mac"}]}"#).unwrap();
    let bad = hsm_sim(&["fault", "--control", control, "--script", script.to_str().unwrap()]);
    assert_eq!(bad.status.code(), Some(1));
}

#[test]
fn live_and_test_never_mix() {
    let dir = tempfile::tempdir().unwrap();
    let (state, socket) = (dir.path().join("state"), dir.path().join("s"));
    let mut command = daemon_process::init_command(&state, dir.path());
    let arguments: Vec<_> =
        command.get_args().map(|word| if word == "test" { "live".into() } else { word.to_owned() }).collect();
    command = Command::new(env!("CARGO_BIN_EXE_hsm-sim"));
    assert!(command.args(arguments).output().unwrap().status.success());
    let refused = |flags: &[&str]| {
        let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        let output = daemon_process::serve(&state, &socket, &flags).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let handle = dir.path().join("control");
    assert!(refused(&["--control", handle.to_str().unwrap()]).contains("test realm only"));
    assert!(!handle.exists());
    assert!(refused(&["--realm", "test"]).contains("other realm"));
    let daemon = Daemon::fresh(&["--realm", "test"]);
    assert!(daemon.client().mac(&mac_key(), b"m").is_ok());
    let (code, said) = {
        let other = Path::new(&daemon.state);
        let flags = ["--realm".to_owned(), "live".to_owned()];
        let copy = dir.path().join("copy");
        copy_private(other, &copy);
        let output = daemon_process::serve(&copy, &socket, &flags).stderr(Stdio::piped()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert!(code == Some(1) && said.contains("other realm"), "{said}");
}

fn copy_private(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o700)).unwrap();
    for name in ["state.bin", "root.key"] {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
}
