use super::*;
use crate::governance::{Bundle, Faults, write_missing};
use time::macros::date;

const ANNA: &str = "principal = \"anna\"\nroles = [\"staff\"]\n\
    [[training]]\ncourse = \"hipaa-privacy\"\ncompleted = 2026-01-10\nexpires = 2027-01-10\n\
    [[training]]\ncourse = \"card-security\"\ncompleted = 2026-03-01\nexpires = 2027-03-01\n\
    [review]\nby = \"otto\"\non = 2026-09-01\n";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_missing(folder.path()).unwrap();
    folder
}

fn write(folder: &tempfile::TempDir, name: &str, text: &str) {
    std::fs::write(folder.path().join(name), text).unwrap();
}

fn read(folder: &tempfile::TempDir) -> Result<People, Vec<Fault>> {
    People::of(&Folder::read(folder.path()).unwrap())
}

fn with(anna: &str) -> People {
    let folder = folder();
    write(&folder, "people/anna.toml", anna);
    read(&folder).unwrap()
}

fn code(people: &People, today: Date) -> Option<&'static str> {
    people.ineffective(Role::Staff, "anna", today).map(|why| why.code())
}

#[test]
fn a_role_is_effective_until_the_last_day_of_its_first_training_to_run_out() {
    let people = with(ANNA);
    assert_eq!(code(&people, date!(2027 - 01 - 10)), None);
    let why = people.ineffective(Role::Staff, "anna", date!(2027 - 01 - 11)).unwrap();
    assert_eq!((why.code(), why.course()), ("training_expired", Some("hipaa-privacy")));
    assert_eq!(why.expired(), Some(date!(2027 - 01 - 10)));
    assert!(why.renew().is_some_and(|renew| renew.contains("privacy officer")), "{why}");
    let renewed =
        "\n[[training]]\ncourse = \"hipaa-privacy\"\ncompleted = 2027-01-05\nexpires = 2028-01-05\n";
    let people = with(&format!("{ANNA}{renewed}"));
    assert_eq!(code(&people, date!(2027 - 01 - 11)), None);
    assert_eq!(code(&people, date!(2027 - 03 - 02)), Some("training_expired"));
}

#[test]
fn what_a_file_does_not_grant_is_not_effective() {
    let people = with(ANNA);
    let today = date!(2026 - 12 - 01);
    let admin = people.ineffective(Role::Admin, "anna", today).unwrap();
    assert_eq!(admin.code(), "role_not_granted");
    assert_eq!(people.ineffective(Role::Staff, "ben", today), None);
    assert_eq!(code(&with(&ANNA.replace("card-security", "hipaa-privacy")), today), Some("training_missing"));
    let suspended =
        ANNA.replace("[[training]]\ncourse = \"h", "suspended = \"leave\"\n[[training]]\ncourse = \"h");
    assert_eq!(code(&with(&suspended), today), Some("suspended"));

    let folder = folder();
    let file = folder.path().join(REQUIREMENTS);
    let text = std::fs::read_to_string(file).unwrap();
    write(&folder, REQUIREMENTS, &text.replace("must_be_listed = false", "must_be_listed = true"));
    let people = read(&folder).unwrap();
    assert_eq!(people.ineffective(Role::Staff, "ben", today), Some(Ineffective::NotListed));
    assert_eq!(people.ineffective(Role::Portal, "portal", today), None);
}

#[test]
fn a_text_that_changed_has_to_be_read_again() {
    let folder = folder();
    let requirements = std::fs::read_to_string(folder.path().join(REQUIREMENTS)).unwrap();
    let requirements = requirements.replacen("texts = []", "texts = [\"acceptable-use\"]", 1)
        + "\n[text.acceptable-use]\nfile = \"people/acceptable-use.md\"\n";
    write(&folder, REQUIREMENTS, &requirements);
    write(&folder, "people/acceptable-use.md", "be careful\n");
    write(&folder, "people/anna.toml", ANNA);
    let today = date!(2026 - 12 - 01);
    assert_eq!(code(&read(&folder).unwrap(), today), Some("attestation_missing"));
    // printf 'be careful\n' | sha256sum
    let signed = "[[attestation]]\ntext = \"acceptable-use\"\nsigned = 2026-11-01\n\
                  sha256 = \"HASH\"\n";
    let hash = crate::governance::folder::hex(&<sha2::Sha256 as sha2::Digest>::digest(b"be careful\n"));
    write(&folder, "people/anna.toml", &format!("{ANNA}{}", signed.replace("HASH", &hash)));
    assert_eq!(code(&read(&folder).unwrap(), today), None);
    write(&folder, "people/acceptable-use.md", "be careful!\n");
    assert_eq!(code(&read(&folder).unwrap(), today), Some("attestation_stale"));
}

#[test]
fn what_is_due_is_told_in_time() {
    let people = with(ANNA);
    let codes = |today| people.notices(today).into_iter().map(|notice| notice.code).collect::<Vec<_>>();
    assert_eq!(codes(date!(2026 - 12 - 01)), Vec::<&str>::new());
    assert_eq!(codes(date!(2026 - 12 - 11)), ["training_expires"]);
    assert_eq!(codes(date!(2027 - 01 - 11)), ["training_expired"]);
    // Half a year after the review.
    assert_eq!(codes(date!(2027 - 03 - 03)), ["training_expired"]);
    assert_eq!(codes(date!(2027 - 03 - 04)), ["training_expired", "recertification_overdue"]);
    let never = with(ANNA.split("[review]").next().unwrap());
    assert_eq!(
        never.notices(date!(2026 - 12 - 01)).first().map(|notice| notice.code),
        Some("recertification_overdue")
    );
}

#[test]
fn a_bad_record_is_refused_with_its_file_and_line() {
    for (from, to, line, said) in [
        ("principal = \"anna\"", "principal = \"An na\"", 1, "principal"),
        ("roles = [\"staff\"]", "roles = [\"nurse\"]", 2, "nurse"),
        ("roles = [\"staff\"]", "rolls = [\"staff\"]", 2, "rolls"),
        ("course = \"hipaa-privacy\"", "course = \"hipa\"", 4, "hipa"),
        ("expires = 2027-01-10", "expires = 2025-01-10", 6, "before"),
        ("expires = 2027-01-10", "expires = \"2027-01-10\"", 6, "a day"),
        ("expires = 2027-01-10", "expires = 2027-02-30", 6, ""),
        ("by = \"otto\"", "by = \"anna\"", 12, "their own"),
    ] {
        let folder = folder();
        let text = ANNA.replacen(from, to, 1);
        assert_ne!(text, ANNA);
        write(&folder, "people/anna.toml", &text);
        let faults = read(&folder).unwrap_err();
        let named = faults.iter().any(|fault| {
            fault.file == "people/anna.toml"
                && fault.line == Some(line)
                && fault.problem.contains(said)
                && !fault.remedy.is_empty()
        });
        assert!(named, "{to}: {faults:#?}");
    }
    let folder = folder();
    write(&folder, "people/anna.toml", ANNA);
    write(&folder, "people/double.toml", ANNA);
    let Err(Faults(faults)) = Bundle::of(&Folder::read(folder.path()).unwrap()) else { panic!("taken") };
    assert_eq!(faults.first().map(|fault| fault.file.as_str()), Some("people/double.toml"));
}
