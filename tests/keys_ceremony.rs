//! A key ceremony at the device, and what the gateway keeps of it: the signed transcript's hash, in the log under the
//! names of two people who each brought a copy.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail")]

mod support;

use audit::{Action, Outcome, Resource};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::{System, process};

const CUSTODIANS: [&str; 5] = ["anna", "ben", "carla", "dora", "emil"];

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// `hsm-sim ceremony split` of 3 of 5, ordered by ada and otto, at a device that does not run; gives the transcript.
fn split(system: &System, state: &str, out: &str) -> PathBuf {
    let (state, out) = (system.path(state), system.path(out));
    let officers =
        ["ada", "otto"].map(|name| format!("{name}={}", text(&system.path(&format!("{name}.pin")))));
    let mut words = vec!["ceremony".to_owned(), "split".to_owned(), "--threshold".to_owned(), "3".to_owned()];
    words.extend(["--state".to_owned(), text(&state), "--out".to_owned(), text(&out)]);
    words.extend(CUSTODIANS.iter().flat_map(|name| ["--custodian".to_owned(), (*name).to_owned()]));
    words.extend(officers.into_iter().flat_map(|officer| ["--officer".to_owned(), officer]));
    process::run("hsm-sim", &words.iter().map(String::as_str).collect::<Vec<_>>());
    out.join("transcript.txt")
}

/// `pangate keys` as that person.
fn keys(system: &System, who: &str, words: &[&str]) -> Output {
    let file = system.path(&format!("{who}.key"));
    if !file.exists() {
        pangate::cli::setup::write_secret(&file, system.key(who)).unwrap();
    }
    let mut command = Command::new(process::program("pangate"));
    command.arg("keys").args(words).args(["--url", &system.url, "--ca", &text(&system.path("tls/ca.pem"))]);
    command.arg("--token-file").arg(file).output().unwrap()
}

fn works(output: Output) -> String {
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// What it says when it is refused, which is exit code 1.
fn refused(output: Output) -> String {
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

/// What the log says about transcripts: what was done, by whom, how it ended, and the transcript.
async fn recorded(system: &System) -> Vec<(Action, Option<String>, Outcome, [u8; 32])> {
    let rows = system.rows("SELECT leaf FROM audit_entry ORDER BY position", Vec::new()).await;
    let entries = rows.iter().map(|row| audit::parse(&row.bytes("leaf").unwrap()).unwrap());
    entries
        .filter_map(|entry| match entry.resource {
            Resource::Transcript(hash) => {
                let who = entry.actor.principal.map(|name| name.as_str().to_owned());
                Some((entry.action, who, entry.outcome, hash))
            }
            _ => None,
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ceremonys_transcript_is_in_the_log_under_the_names_of_two_people() {
    let mut system = System::start().await;
    assert!(system.hsm().terminate());
    let transcript = split(&system, "hsm", "shares");
    system.start_hsm();
    for name in CUSTODIANS.iter().take(3) {
        let share = text(&system.path(&format!("shares/share-{name}.txt")));
        process::run("hsm-sim", &["unlock", "--socket", &text(&system.socket()), "--share-file", &share]);
    }
    system.wait_ready().await;
    let file = text(&transcript);
    let record = ["ceremony", "--transcript", &file, "--reason", "the yearly ceremony"];

    // The device's own program checks it, started by ours.
    let checked = works(
        Command::new(process::program("pangate"))
            .args(["keys", "ceremony", "--", "verify", "--transcript", &file])
            .output()
            .unwrap(),
    );
    assert!(checked.contains("threshold 3 of 5"), "{checked}");

    // An altered copy does not leave the command line; one of another device is refused by the gateway.
    let whole = std::fs::read_to_string(&transcript).unwrap();
    let altered = system.path("altered.txt");
    std::fs::write(&altered, whole.replace("share 4 dora", "share 4 eve")).unwrap();
    assert!(
        refused(keys(&system, "auditor", &["ceremony", "--transcript", &text(&altered)])).contains("altered")
    );
    let (state, pin) = (text(&system.path("hsm-other")), text(&system.path("hsm.pin")));
    let officers =
        ["ada", "otto"].map(|name| format!("{name}={}", text(&system.path(&format!("{name}.pin")))));
    let [ada, otto] = officers.each_ref();
    let init = ["init", "--state", &state, "--pin-file", &pin, "--realm", "test"];
    process::run("hsm-sim", &[&init[..], &["--officer", ada, "--officer", otto]].concat());
    let foreign = text(&split(&system, "hsm-other", "foreign"));
    let said = refused(keys(&system, "auditor", &["ceremony", "--transcript", &foreign]));
    assert!(said.contains("invalid_field") && said.contains("another key"), "{said}");

    // One asks; whoever asked cannot agree, and nobody agrees without a copy of the same transcript.
    let asked = works(keys(&system, "auditor", &record));
    assert!(asked.contains("officer ada") && asked.contains("officer otto"), "{asked}");
    let id = asked.split_whitespace().find(|word| word.starts_with("apr_")).unwrap();
    let agree = ["approve", id, "--transcript", &file];
    assert!(refused(keys(&system, "auditor", &agree)).contains("second_person_required"));
    assert!(refused(keys(&system, "admin", &["approve", id])).contains("missing_field"));
    refused(keys(&system, "admin", &["approve", id, "--transcript", &foreign]));
    assert!(refused(keys(&system, "portal", &record)).contains("forbidden"));
    let agreed = works(keys(&system, "admin", &agree));
    assert!(CUSTODIANS.iter().all(|name| agreed.contains(name)), "{agreed}");

    let hash: [u8; 32] = Sha256::digest(&whole).into();
    let log = recorded(&system).await;
    let by = |action: Action, who: Option<&str>, outcome: Outcome| {
        let entry = (action, who.map(str::to_owned), outcome, hash);
        log.iter().filter(|other| **other == entry).count()
    };
    assert_eq!(by(Action::KeyApprovalOpen, Some("auditor"), Outcome::Success), 1, "{log:?}");
    assert_eq!(by(Action::KeyApprove, Some("admin"), Outcome::Success), 1, "{log:?}");
    assert_eq!(by(Action::KeyApprove, Some("auditor"), Outcome::Refused), 1, "{log:?}");
    assert_eq!(by(Action::KeyCeremony, None, Outcome::Success), 1, "{log:?}");

    // Once.
    assert!(refused(keys(&system, "admin", &record)).contains("key_state"));
    system.audit_log_is_whole();
}
