//! Promises about who may do what, over the real daemon: the table of commands is asked of every role, line by line.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code; a failure must stop the test"
)]

mod daemon_process;
mod wire;

use std::os::unix::net::UnixStream;
use std::time::Duration;

use daemon_process::{AUDITOR, Daemon, OFFICERS, PIN, mac_key};
use hsm::{Approval, Hsm, HsmError, KeyKind, KeyLabel, KeySpec, KeyVersion};
use hsm_sim::client::{AccountName, PinState, SimClient};
use hsm_sim::device::{RULES, Role};
use hsm_sim::log::{Actor, Entry, Event};
use secrecy::SecretString;
use wire::{VERSION, exchange, frame, login_body};

/// The status byte of a reply that carries an error, and the number of "denied" and "session lost".
const ERROR: u8 = 1;
const DENIED: u8 = 5;
const SESSION_LOST: u8 = 10;

fn account(role: Role) -> (&'static str, String) {
    match role {
        Role::Officer => (OFFICERS[0], format!("{}-pin", OFFICERS[0])),
        Role::Operator => ("operator", PIN.to_owned()),
        Role::Auditor => (AUDITOR, format!("{AUDITOR}-pin")),
    }
}

#[test]
fn a_session_without_login_gets_nothing() {
    let daemon = Daemon::fresh(&[]);
    for rule in RULES.iter().filter(|rule| !rule.roles.is_empty()) {
        let mut stream = UnixStream::connect(&daemon.socket).unwrap();
        let reply = exchange(&mut stream, &frame(VERSION, 7, rule.code, &minimal_body(rule.code)));
        assert_eq!(reply[5..8], [ERROR, SESSION_LOST, 0], "{} was answered", rule.name);
    }
}

#[test]
fn every_role_may_what_the_table_says_and_nothing_else() {
    let daemon = Daemon::fresh(&[]);
    let mut asked = 0;
    for role in Role::ALL {
        let (name, pin) = account(role);
        let mut stream = UnixStream::connect(&daemon.socket).unwrap();
        let welcome = exchange(&mut stream, &frame(VERSION, 1, 2, &login_body(name, &pin)));
        assert_eq!(welcome[5], 0, "{name} cannot log in");
        for rule in RULES.iter().filter(|rule| !rule.roles.is_empty() && rule.name != "change_pin") {
            let reply = exchange(&mut stream, &frame(VERSION, 9, rule.code, &minimal_body(rule.code)));
            let denied = reply[5..].starts_with(&[ERROR, DENIED]);
            // Without tickets the control plane is denied to everybody; that is judged below.
            let needs_tickets = (13..=16).contains(&rule.code);
            let may = rule.roles.contains(&role) && !needs_tickets;
            assert_eq!(denied, !may, "{} as {}: {reply:?}", rule.name, role.as_str());
            asked += 1;
        }
    }
    assert_eq!(asked, 3 * 19);
}

#[test]
fn every_denial_of_the_table_is_in_the_log_with_who_and_what() {
    let daemon = Daemon::fresh(&[]);
    let officer = daemon.person(OFFICERS[0]);
    assert_eq!(officer.mac(&mac_key(), b"4242424242424242"), Err(HsmError::Denied));
    let auditor = daemon.person(AUDITOR);
    assert_eq!(auditor.approve("rotate kek/card", Duration::from_secs(9)).err(), Some(HsmError::Denied));
    let page = auditor.drain_log(0, 100).unwrap();
    let entries: Vec<_> = page.entries.iter().map(|bytes| Entry::decode(bytes).unwrap()).collect();
    for (name, role, event, subject) in [
        (OFFICERS[0], Role::Officer, "mac", "mac/pan#1"),
        (AUDITOR, Role::Auditor, "approve", "rotate kek/card"),
    ] {
        let who = Actor::Account(AccountName::new(name).unwrap(), role);
        let found = entries.iter().any(|entry| {
            entry.actor == who
                && entry.event.as_str() == event
                && entry.subject == subject
                && entry.refused == Some(HsmError::Denied)
        });
        assert!(found, "{name} and {event} are not in the log");
    }
    assert!(page.entries.iter().all(|bytes| !bytes.windows(6).any(|window| window == b"424242")));
}

#[test]
fn the_control_plane_needs_two_officers_tickets_from_whomever_it_comes() {
    let daemon = Daemon::fresh(&[]);
    let spec = KeySpec { label: KeyLabel::KEK_CARD, kind: KeyKind::Kek256, at_least: KeyVersion::FIRST };
    let (operator, officer, auditor) = (daemon.client(), daemon.person(OFFICERS[0]), daemon.person(AUDITOR));
    for client in [&operator, &officer, &auditor] {
        assert_eq!(client.rotate_key(&spec, &Approval::Caller), Err(HsmError::Denied));
    }
    let act = "rotate kek/card";
    // One officer twice is one officer.
    let alone = || officer.approve(act, Duration::from_secs(900)).unwrap();
    let twice = Approval::Tickets { first: alone(), second: alone() };
    assert_eq!(operator.rotate_key(&spec, &twice), Err(HsmError::Denied));
    // The auditor has nothing to do with keys, whoever agrees.
    assert_eq!(auditor.rotate_key(&spec, &daemon.agreed(act)), Err(HsmError::Denied));
    assert_eq!(operator.rotate_key(&spec, &daemon.agreed(act)).unwrap().key.version.get(), 2);
    assert_eq!(officer.rotate_key(&spec, &daemon.agreed(act)).unwrap().key.version.get(), 3);
}

#[test]
fn officers_see_how_near_an_account_is_to_being_locked_and_unlock_the_operator() {
    let daemon = Daemon::fresh(&[]);
    let officer = daemon.person(OFFICERS[0]);
    let state = || {
        let accounts = officer.accounts().unwrap();
        accounts.into_iter().find(|info| info.role == Role::Operator).unwrap().pin_state()
    };
    let guess = || SimClient::connect(&daemon.socket, SecretString::from("000000")).describe();
    for wrong in 1..=10 {
        let outcome = guess();
        let expected = match wrong {
            1..=6 => PinState::Good,
            7 | 8 => PinState::CountLow,
            9 => PinState::FinalTry,
            10 => PinState::Locked,
            _ => panic!("no more guesses than ten"),
        };
        assert_eq!(state(), expected, "after {wrong}: {outcome:?}");
    }
    assert_eq!(daemon.client().describe().err(), Some(HsmError::AuthLocked));
    officer.unlock(&AccountName::operator()).unwrap();
    assert!(daemon.client().describe().is_ok());
    // An officer who locked needs a ceremony, not a friend.
    let grace = AccountName::new(OFFICERS[1]).unwrap();
    assert_eq!(officer.unlock(&grace), Err(HsmError::Denied));
    assert_eq!(daemon.client().unlock(&AccountName::operator()), Err(HsmError::Denied));
}

/// The daemon is killed the moment the try is on disk, while the slow comparison still runs.
#[test]
fn killed_between_the_count_and_the_comparison_a_guess_is_spent() {
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;
    let mut daemon = Daemon::fresh(&[]);
    let inode =
        |daemon: &Daemon| std::fs::metadata(daemon.state.join("state.bin")).map_or(0, |meta| meta.ino());
    for spent in 1..=10_u8 {
        let before = inode(&daemon);
        let mut stream = UnixStream::connect(&daemon.socket).unwrap();
        stream.write_all(&frame(VERSION, 1, 2, &login_body("operator", "000000"))).unwrap();
        while inode(&daemon) == before {
            std::hint::spin_loop();
        }
        daemon.kill();
        daemon.start();
        let accounts = daemon.person(AUDITOR).accounts().unwrap();
        let operator = accounts.into_iter().find(|info| info.role == Role::Operator).unwrap();
        assert_eq!(operator.tries_left, 10 - spent, "a guess was free");
    }
    assert_eq!(daemon.client().describe().err(), Some(HsmError::AuthLocked));
    let page = daemon.person(AUDITOR).drain_log(0, 200).unwrap();
    let boots = page.entries.iter().filter(|bytes| Entry::decode(bytes).unwrap().event == Event::Boot);
    assert_eq!(boots.count(), 11);
}

#[test]
fn a_changed_pin_holds_for_the_next_session() {
    let daemon = Daemon::fresh(&[]);
    let officer = daemon.person(OFFICERS[0]);
    let (old, new) = (SecretString::from("ada-pin"), SecretString::from("another-pin"));
    officer.change_pin(&old, &new).unwrap();
    assert_eq!(daemon.person(OFFICERS[0]).describe().err(), Some(HsmError::AuthFailed { left: Some(9) }));
    assert!(SimClient::officer(&daemon.socket, OFFICERS[0], new).unwrap().describe().is_ok());
}

/// The shortest body that decodes for each command, so that only the missing login can be why it is refused.
fn minimal_body(code: u8) -> Vec<u8> {
    let key = [&[0, 1, b'k', 0, 0, 0, 1][..]].concat();
    let context = [&[2, 1][..], &key, &[0; 16], &[0, 1, b't', 0, 1, b'c'], &[0, 0, 0, 1]].concat();
    let mut sealed = vec![0, 68, 1, 1, 1, b'k', 0, 0, 0, 1];
    sealed.extend_from_slice(&[9; 60]);
    match code {
        3 | 4 => Vec::new(),
        5 => vec![0, 1],
        6 => vec![0, 0, 0],
        7 => [key, context].concat(),
        8 => [sealed, context].concat(),
        9 => [sealed, context.clone(), key, context].concat(),
        10 | 12 => [&key[..], &[0, 1, b'm']].concat(),
        11 => [&key[..], &[0, 1, 0, 1, b'm']].concat(),
        13 | 14 => [&key[..3], &[1, 0, 0, 0, 1, 0]].concat(),
        15 => [&key[..], &[4, 0]].concat(),
        16 => [&key[..], &[0]].concat(),
        17 => [&[0, 13][..], b"export-shares", &[0, 0, 0, 9]].concat(),
        18 => vec![0; 10],
        19 | 22 => Vec::new(),
        20 => [&[0, 8][..], b"operator"].concat(),
        21 => vec![0, 0, 0, 0],
        _ => panic!("no such command"),
    }
}
