//! The token goes away and comes back, other processes change it, and whoever changes it is killed: the provider
//! recovers by itself, and says what is true.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "test code; a failure must stop the test"
)]

mod softhsm;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hsm::{
    Approval, Context, ErrorClass, Hsm, HsmError, HsmQueue, KeyFilter, KeyKind, KeyLabel, KeyRef, KeySpec,
    KeyStatus, KeyVersion, QueueSettings, Realm, SealedDataKey, WrapSuite,
};
use softhsm::{LABEL, alone, first};

fn context(kek: &KeyRef) -> Context {
    Context::data_key(Realm::Test, kek, WrapSuite::Aes256GcmData, [7; 16], "clinic", "card", 1).unwrap()
}

fn spec(label: KeyLabel, kind: KeyKind) -> KeySpec {
    KeySpec { label, kind, at_least: KeyVersion::FIRST }
}

#[test]
fn a_device_that_is_opened_while_the_last_one_is_let_go_works() {
    alone("a_device_that_is_opened_while_the_last_one_is_let_go_works", |softhsm| {
        let mac = first(KeyLabel::MAC_PAN);
        let expected = softhsm.prepared().session().mac(&mac, b"m").unwrap();
        for round in 0..200 {
            // The library is the process's: what the one ends must not be what the other has just begun.
            let leaving = softhsm.device(LABEL);
            assert_eq!(leaving.session().mac(&mac, b"m"), Ok(expected), "round {round}");
            let leaving = std::thread::spawn(move || drop(leaving));
            std::thread::sleep(Duration::from_micros(round * 10));
            let coming = softhsm.device(LABEL);
            assert!(coming.prepare(&[]).is_ok(), "round {round}");
            assert_eq!(coming.session().mac(&mac, b"m"), Ok(expected), "round {round}");
            leaving.join().unwrap();
        }
    });
}

#[test]
fn the_token_directory_moved_away_and_back_under_load_recovers_by_itself() {
    alone("the_token_directory_moved_away_and_back_under_load_recovers_by_itself", |softhsm| {
        let device = softhsm.prepared();
        let (mac, kek) = (first(KeyLabel::MAC_PAN), first(KeyLabel::KEK_CARD));
        let expected = device.session().mac(&mac, b"under load").unwrap();
        let (key, sealed) = device.session().new_data_key(&kek, &context(&kek)).unwrap();
        let key = *key.expose();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let queue = HsmQueue::start(QueueSettings::default(), device.clone().sessions()).unwrap();
        runtime.block_on(async {
            let stop = Arc::new(AtomicBool::new(false));
            let (served, missed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
            let callers: Vec<_> = (0..16)
                .map(|number| {
                    let (queue, stop) = (queue.clone(), Arc::clone(&stop));
                    let (served, missed) = (Arc::clone(&served), Arc::clone(&missed));
                    let (mac, kek, sealed) = (mac.clone(), kek.clone(), sealed.clone());
                    tokio::spawn(async move {
                        while !stop.load(Ordering::SeqCst) {
                            let asked = Instant::now();
                            let outcome = if number % 2 == 0 {
                                let answer = queue.mac(mac.clone(), b"under load".to_vec().into()).await;
                                answer.map(|answer| assert_eq!(answer, expected))
                            } else {
                                let opened = queue.open_data_key(sealed.clone(), context(&kek)).await;
                                opened.map(|opened| assert_eq!(*opened.expose(), key))
                            };
                            match outcome {
                                Ok(()) => drop(served.fetch_add(1, Ordering::SeqCst)),
                                Err(error) => {
                                    // Never "no such key" and never "it was altered": the device is away, no more.
                                    assert!(error.is_transient(), "{error:?}");
                                    assert_ne!(error.class(), ErrorClass::Operator, "{error:?}");
                                    missed.fetch_add(1, Ordering::SeqCst);
                                    tokio::time::sleep(Duration::from_millis(5)).await;
                                }
                            }
                            assert!(asked.elapsed() < Duration::from_secs(3), "a caller hung");
                        }
                    })
                })
                .collect();
            let mut slowest = Duration::ZERO;
            for round in 0..8 {
                tokio::time::sleep(Duration::from_millis(150)).await;
                softhsm.take_away();
                tokio::time::sleep(Duration::from_millis(if round % 2 == 0 { 30 } else { 600 })).await;
                softhsm.bring_back();
                let back = Instant::now();
                while queue.mac(mac.clone(), b"under load".to_vec().into()).await != Ok(expected) {
                    assert!(
                        back.elapsed() < Duration::from_secs(2),
                        "round {round}: not back within two seconds"
                    );
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                slowest = slowest.max(back.elapsed());
            }
            stop.store(true, Ordering::SeqCst);
            for caller in callers {
                caller.await.unwrap();
            }
            let (served, missed) = (served.load(Ordering::SeqCst), missed.load(Ordering::SeqCst));
            println!("{served} served, {missed} missed over 8 outages; slowest recovery {slowest:?}");
            assert!(served > 1000 && missed > 0, "{served} served, {missed} missed");
        });
    });
}

#[test]
fn while_the_token_is_away_nothing_is_said_to_be_missing_or_altered() {
    alone("while_the_token_is_away_nothing_is_said_to_be_missing_or_altered", |softhsm| {
        let device = softhsm.prepared();
        let session = device.session();
        let kek = first(KeyLabel::KEK_CARD);
        let (_, sealed) = session.new_data_key(&kek, &context(&kek)).unwrap();
        softhsm.take_away();
        for _ in 0..3 {
            assert_eq!(session.keys(&KeyFilter::default()), Err(HsmError::NeedsReinit));
            assert_eq!(session.mac(&first(KeyLabel::MAC_PAN), b"m"), Err(HsmError::NeedsReinit));
            assert_eq!(session.open_data_key(&sealed, &context(&kek)).err(), Some(HsmError::NeedsReinit));
            assert_eq!(session.health(), Err(HsmError::NeedsReinit));
            let rotated = session.rotate_key(&spec(KeyLabel::KEK_CARD, KeyKind::Kek256), &Approval::Caller);
            assert_eq!(rotated.err(), Some(HsmError::NeedsReinit));
            let fresh = device.session();
            assert_eq!(fresh.mac(&first(KeyLabel::MAC_PAN), b"m"), Err(HsmError::NeedsReinit));
        }
        softhsm.bring_back();
        let back = Instant::now();
        while session.open_data_key(&sealed, &context(&kek)).is_err() {
            assert!(back.elapsed() < Duration::from_secs(2), "not back");
        }
        assert_eq!(session.keys(&KeyFilter::default()).unwrap().len(), 4);
    });
}

#[test]
fn a_token_that_is_not_there_yet_is_waited_for() {
    alone("a_token_that_is_not_there_yet_is_waited_for", |softhsm| {
        drop(softhsm.prepared());
        softhsm.take_away();
        let session = softhsm.device(LABEL).session();
        assert_eq!(session.mac(&first(KeyLabel::MAC_PAN), b"m"), Err(HsmError::NeedsReinit));
        softhsm.bring_back();
        let back = Instant::now();
        while session.mac(&first(KeyLabel::MAC_PAN), b"m").is_err() {
            assert!(back.elapsed() < Duration::from_secs(2), "not back");
        }
    });
}

#[test]
fn a_key_that_another_process_deletes_is_not_found_and_the_others_go_on() {
    alone("a_key_that_another_process_deletes_is_not_found_and_the_others_go_on", |softhsm| {
        let session = softhsm.prepared().session();
        let (pan, request) = (first(KeyLabel::MAC_PAN), first(KeyLabel::MAC_REQUEST));
        session.mac(&pan, b"m").unwrap();
        let before = session.mac(&request, b"m").unwrap();
        let id: String = b"mac/pan#00000001".iter().map(|byte| format!("{byte:02x}")).collect();
        softhsm.tool(&["--delete-object", "--type", "secrkey", "--id", &id]);
        assert_eq!(session.mac(&pan, b"m"), Err(HsmError::KeyNotFound));
        assert_eq!(session.mac(&request, b"m"), Ok(before));
    });
}

#[test]
fn a_fence_raised_by_another_process_holds_here_at_once() {
    alone("a_fence_raised_by_another_process_holds_here_at_once", |softhsm| {
        let role = std::env::var("PANGATE_TEST_ROLE").ok();
        if role.is_some() {
            let session = softhsm.device(LABEL).session();
            let made =
                session.rotate_key(&spec(KeyLabel::KEK_CARD, KeyKind::Kek256), &Approval::Caller).unwrap();
            assert_eq!(made.key.version.get(), 2);
            return;
        }
        let session = softhsm.prepared().session();
        let kek = first(KeyLabel::KEK_CARD);
        let (key, sealed) = session.new_data_key(&kek, &context(&kek)).unwrap();
        let other = myself("a_fence_raised_by_another_process_holds_here_at_once").output().unwrap();
        assert!(other.status.success(), "{}", String::from_utf8_lossy(&other.stderr));
        let refusal = session.new_data_key(&kek, &context(&kek)).err();
        assert_eq!(
            refusal,
            Some(HsmError::KeyStatus { have: KeyStatus::Deactivated, need: KeyStatus::Active })
        );
        assert_eq!(session.open_data_key(&sealed, &context(&kek)).unwrap().expose(), key.expose());
        let next = KeyLabel::KEK_CARD.at(KeyVersion::new(2).unwrap());
        assert!(session.new_data_key(&next, &context(&next)).is_ok());
    });
}

/// This test again, in another process on the same token, in the second role.
fn myself(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture"]).env("PANGATE_TEST_ROLE", "second");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn a_rotation_killed_anywhere_leaves_one_active_version_and_loses_no_key() {
    alone("a_rotation_killed_anywhere_leaves_one_active_version_and_loses_no_key", |softhsm| {
        if std::env::var_os("PANGATE_TEST_ROLE").is_some() {
            rotate_and_seal_for_ever(&softhsm.device(LABEL).session());
        }
        let device = softhsm.prepared();
        let began = Instant::now();
        device.session().rotate_key(&spec(KeyLabel::KEK_CARD, KeyKind::Kek256), &Approval::Caller).unwrap();
        let one_rotation = began.elapsed();
        drop(device);
        let (mut acknowledged, mut last) = (Vec::new(), 0);
        for round in 0_u32..24 {
            let mut child = myself("a_rotation_killed_anywhere_leaves_one_active_version_and_loses_no_key");
            let mut child = child.spawn().unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
            // SoftHSM2 rewrites the token's own file at every login, and killed in that moment leaves it empty.
            assert!(lines.any(|line| line == "logged in"), "the second process did not start");
            let (tell, told) = std::sync::mpsc::channel();
            let reader = std::thread::spawn(move || lines.for_each(|line| tell.send(line).unwrap()));
            // In the first rotation, or in one after an acknowledged one; from its first step to its last.
            let mut said = Vec::new();
            if round % 3 == 2 {
                said.push(told.recv_timeout(Duration::from_secs(20)).unwrap());
            }
            std::thread::sleep(one_rotation * round / 12);
            child.kill().unwrap();
            child.wait().unwrap();
            reader.join().unwrap();
            said.extend(told.try_iter());
            let sealed: Vec<SealedDataKey> = said.iter().filter_map(|line| unhex(line)).collect();
            acknowledged.extend(sealed);
            let session = softhsm.device(LABEL).session();
            let keks = session.keys(&KeyFilter { label: None, kind: Some(KeyKind::Kek256) });
            let keks = keks.unwrap_or_else(|error| panic!("round {round}: {error:?}"));
            let active: Vec<_> = keks.iter().filter(|info| info.status == KeyStatus::Active).collect();
            assert_eq!(active.len(), 1, "round {round}: {keks:?}");
            let newest = active[0].key.version.get();
            assert!(newest >= last, "round {round}: the newest version went away");
            last = newest;
            for sealed in &acknowledged {
                session.open_data_key(sealed, &context(&sealed.kek)).unwrap();
            }
            session.new_data_key(&active[0].key, &context(&active[0].key)).unwrap();
        }
        // And the next rotation goes through.
        let session = softhsm.device(LABEL).session();
        session.rotate_key(&spec(KeyLabel::KEK_CARD, KeyKind::Kek256), &Approval::Caller).unwrap();
        println!("{} data keys sealed under {last} versions", acknowledged.len());
        assert!(last > 5 && acknowledged.len() > 5, "{last} versions, {} keys", acknowledged.len());
    });
}

fn rotate_and_seal_for_ever(session: &dyn Hsm) -> ! {
    session.random(&mut [0; 8]).unwrap();
    println!("logged in");
    loop {
        let made = session.rotate_key(&spec(KeyLabel::KEK_CARD, KeyKind::Kek256), &Approval::Caller).unwrap();
        let (_, sealed) = session.new_data_key(&made.key, &context(&made.key)).unwrap();
        println!("sealed {}", hex(&sealed));
    }
}

fn hex(sealed: &SealedDataKey) -> String {
    sealed.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(line: &str) -> Option<SealedDataKey> {
    let text = line.strip_prefix("sealed ")?;
    let byte = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(byte).collect();
    SealedDataKey::from_bytes(&bytes?).ok()
}
