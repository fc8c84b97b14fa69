//! Promises about the life of keys over the real daemon: every step is whole or not at all wherever the daemon is
//! killed, and what was answered stays.
#![expect(clippy::unwrap_used, reason = "test code; a failure must stop the test")]

mod daemon_process;

use std::time::{Duration, Instant};

use daemon_process::{AUDITOR, Daemon, OFFICERS, mac_key};
use hsm::{
    Approval, Context, Hsm, HsmError, KeyFilter, KeyInfo, KeyKind, KeyLabel, KeySpec, KeyStatus, KeyVersion,
    Realm, WrapSuite,
};
use hsm_sim::client::{Start, verify, verify_destruction, verify_head};
use zeroize::Zeroizing;

fn kek() -> KeySpec {
    KeySpec { label: KeyLabel::KEK_CARD, kind: KeyKind::Kek256, at_least: KeyVersion::FIRST }
}

fn keks(daemon: &Daemon) -> Vec<KeyInfo> {
    daemon.client().keys(&KeyFilter { label: Some(KeyLabel::KEK_CARD), kind: None }).unwrap()
}

fn context(info: &KeyInfo) -> Context {
    Context::data_key(Realm::Test, &info.key, WrapSuite::Aes256GcmData, [1; 16], "clinic", "card", 1).unwrap()
}

#[test]
fn killed_during_a_rotation_the_fence_is_up_or_nothing_has_happened() {
    let mut daemon = Daemon::made_with(&["--log-entries", "4096"], &[]);
    let (client, approval) = (daemon.client(), daemon.agreed("rotate kek/card"));
    client.describe().unwrap();
    let begun = Instant::now();
    client.rotate_key(&kek(), &approval).unwrap();
    let whole = begun.elapsed();
    let (mut done, mut lost, mut versions) = (0, 0, 2);
    // The kill closes in on the commit from both sides, however fast the host is and however long the state has grown.
    let mut delay = whole;
    for round in 0..40_u32 {
        let approval = daemon.agreed("rotate kek/card");
        let Approval::Tickets { first, second } = &approval else { return };
        let again = || Approval::Tickets {
            first: Zeroizing::new(first.to_vec()),
            second: Zeroizing::new(second.to_vec()),
        };
        let client = daemon.client();
        client.describe().unwrap();
        let ask = again();
        let asking = std::thread::spawn(move || client.rotate_key(&kek(), &ask));
        std::thread::sleep(delay);
        daemon.kill();
        let answered = asking.join().unwrap();
        daemon.start();
        let list = keks(&daemon);
        let active = list.iter().filter(|info| info.status == KeyStatus::Active).count();
        assert_eq!(active, 1, "round {round}: two versions seal at once");
        let happened = list.len() == versions + 1;
        assert!(happened || list.len() == versions, "round {round}: {} versions", list.len());
        if let Ok(info) = &answered {
            assert!(
                happened && list.iter().any(|other| other.key == info.key),
                "round {round}: it was answered"
            );
        }
        match answered {
            // Nothing was sent, or it is unknown what became of it; never anything that sounds final.
            Err(HsmError::NeedsReinit) => {
                assert!(!happened, "round {round}: it happened without being asked")
            }
            Err(error) => assert_eq!(error, HsmError::Timeout, "round {round}"),
            Ok(_) => {}
        }
        // Ticket and key go together: used up if it happened, good if it did not.
        let second_time = daemon.client().rotate_key(&kek(), &again());
        assert_eq!(second_time.is_err(), happened, "round {round}: {second_time:?}");
        versions = keks(&daemon).len();
        if happened {
            done += 1;
            delay = delay * 3 / 4;
        } else {
            lost += 1;
            delay = delay * 5 / 4 + Duration::from_micros(50);
        }
    }
    assert!(done > 0 && lost > 0, "the rounds tried one side only: {done} done, {lost} not");
}

#[test]
fn a_change_asked_on_a_connection_that_died_long_ago_is_asked_once_on_a_new_one() {
    let mut daemon = Daemon::fresh(&[]);
    let client = daemon.client();
    client.describe().unwrap();
    let approval = daemon.agreed("rotate kek/card");
    daemon.kill();
    daemon.start();
    assert_eq!(client.rotate_key(&kek(), &approval).unwrap().key.version.get(), 2);
    assert_eq!(keks(&daemon).len(), 2);
}

#[test]
fn killed_after_uses_the_count_is_never_too_small() {
    let mut daemon = Daemon::fresh(&[]);
    let info = keks(&daemon).remove(0);
    let mut sealed = 0_u64;
    for round in 0..4_u64 {
        for _ in 0..300 * (round + 1) {
            daemon_seal(&daemon, &info);
            sealed += 1;
        }
        daemon.kill();
        daemon.start();
        let counted = keks(&daemon).remove(0).uses.unwrap();
        assert!(counted >= sealed, "round {round}: {counted} counted of {sealed}");
    }
}

fn daemon_seal(daemon: &Daemon, info: &KeyInfo) {
    thread_local! {
        static CLIENT: std::cell::RefCell<Option<(std::path::PathBuf, u32, hsm_sim::client::SimClient)>> =
            const { std::cell::RefCell::new(None) };
    }
    // One session a daemon: logging in is slow on purpose.
    CLIENT.with_borrow_mut(|slot| {
        let fits = slot.as_ref().is_some_and(|(path, pid, _)| *path == daemon.socket && *pid == daemon.pid());
        if !fits {
            *slot = Some((daemon.socket.clone(), daemon.pid(), daemon.client()));
        }
        let (_, _, client) = slot.as_ref().unwrap();
        client.new_data_key(&info.key, &context(info)).unwrap();
    });
}

#[test]
fn a_key_is_made_activated_retired_and_destroyed_and_every_step_is_proven() {
    let daemon = Daemon::fresh(&[]);
    let client = daemon.client();
    let made = client.create_key(&kek(), &daemon.agreed("create kek/card")).unwrap();
    assert_eq!(made.status, KeyStatus::PreActive);
    let refused = client.new_data_key(&made.key, &context(&made)).err();
    assert_eq!(refused, Some(HsmError::KeyStatus { have: KeyStatus::PreActive, need: KeyStatus::Active }));
    client.set_status(&made.key, KeyStatus::Active, &daemon.agreed("status kek/card#2 active")).unwrap();
    let (key, sealed) = client.new_data_key(&made.key, &context(&made)).unwrap();
    client
        .set_status(&made.key, KeyStatus::Deactivated, &daemon.agreed("status kek/card#2 deactivated"))
        .unwrap();
    assert_eq!(client.open_data_key(&sealed, &context(&made)).unwrap().expose(), key.expose());
    let record = client.destroy_key(&made.key, &daemon.agreed("destroy kek/card#2")).unwrap();
    let gone = HsmError::KeyStatus { have: KeyStatus::Destroyed, need: KeyStatus::Active };
    assert_eq!(client.open_data_key(&sealed, &context(&made)).err(), Some(gone));
    let tomb = keks(&daemon).into_iter().find(|info| info.key == made.key).unwrap();
    assert_eq!((tomb.status, tomb.kcv), (KeyStatus::Destroyed, made.kcv));

    // What an auditor has afterwards: the record and the log, both checked without the device.
    let auditor = daemon.person(AUDITOR);
    let head = auditor.log_head().unwrap();
    let signer = KeyFilter { label: Some(KeyLabel::SIGN_AUDIT), kind: None };
    let public = auditor.keys(&signer).unwrap().remove(0).public.unwrap().try_into().unwrap();
    assert!(verify_destruction(&public, &record));
    let page = auditor.drain_log(0, u16::MAX).unwrap();
    let checked = verify(&head.serial, Start::of_device(&head.serial), &page.entries).unwrap();
    assert_eq!(verify_head(checked.end, &auditor.log_head().unwrap(), &head.public), Ok(()));
    let told: Vec<String> = checked.entries.iter().map(ToString::to_string).collect();
    for act in
        ["create kek/card", "status kek/card#2 active", "status kek/card#2 deactivated", "destroy kek/card#2"]
    {
        for officer in OFFICERS {
            let line = format!("officer {officer} approve [{act}] done");
            assert!(told.iter().any(|entry| entry.contains(&line)), "{line}");
        }
        assert!(told.iter().any(|entry| entry.contains("operator operator") && entry.contains(act)), "{act}");
    }
}

#[test]
fn the_periods_chosen_at_init_are_those_of_the_keys_also_of_the_next_ones() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let daemon = Daemon::made_with(&["--kek-days", "10", "--mac-days", "0", "--sign-days", "20"], &[]);
    daemon.client().rotate_key(&kek(), &daemon.agreed("rotate kek/card")).unwrap();
    for info in daemon.client().keys(&KeyFilter::default()).unwrap() {
        let expected = match info.kind {
            KeyKind::Kek256 => Some(info.created + 10 * DAY),
            KeyKind::Mac256 => None,
            KeyKind::SignEd25519 => Some(info.created + 20 * DAY),
        };
        assert_eq!(info.expires, expected, "{}", info.key);
        assert_eq!(info.deactivated.is_some(), info.status == KeyStatus::Deactivated, "{}", info.key);
    }
}

#[test]
fn a_full_log_stops_the_data_plane_too_until_somebody_takes_it_away() {
    let daemon = Daemon::made_with(&["--log-entries", "62", "--log-auditor-only"], &[]);
    let (client, officer) = (daemon.client(), daemon.person(OFFICERS[0]));
    client.mac(&mac_key(), b"m").unwrap();
    let mut approved = 0;
    while officer.approve("rotate kek/card", Duration::from_secs(9)).is_ok() {
        approved += 1;
        assert!(approved < 62, "the log is never full");
    }
    assert_eq!(client.mac(&mac_key(), b"m"), Err(HsmError::LogFull));
    assert_eq!(client.drain_log(0, 10), Err(HsmError::Denied));
    assert!(client.health().is_ok() && client.keys(&KeyFilter::default()).is_ok());
    let auditor = daemon.person(AUDITOR);
    let page = auditor.drain_log(0, u16::MAX).unwrap();
    assert_eq!(client.mac(&mac_key(), b"m"), Err(HsmError::LogFull), "reading is not taking away");
    auditor.drain_log(page.last, 1).unwrap();
    assert!(client.mac(&mac_key(), b"m").is_ok());
    let head = auditor.log_head().unwrap();
    assert_eq!((head.counts.acknowledged, head.counts.unlogged_events), (62, 2), "a denial and a login");
}

#[test]
fn requests_sent_together_are_answered_one_after_the_other_in_their_order() {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    let daemon = Daemon::fresh(&[]);
    let mut stream = UnixStream::connect(&daemon.socket).unwrap();
    wire::exchange(
        &mut stream,
        &wire::frame(wire::VERSION, 1, 2, &wire::login_body("operator", daemon_process::PIN)),
    );
    let ids = 2..40_u32;
    let all: Vec<u8> = ids.clone().flat_map(|id| wire::frame(wire::VERSION, id, 5, &[0, 8])).collect();
    stream.write_all(&all).unwrap();
    for id in ids {
        let reply = wire::exchange(&mut stream, &[]);
        assert_eq!((&reply[1..5], reply[5]), (&id.to_be_bytes()[..], 0));
    }
}

mod wire;
