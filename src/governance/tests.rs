use super::*;
use std::process::Command;

fn shipped() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
    assert_eq!(write_missing(folder.path()).unwrap(), names);
    folder
}

fn change(folder: &Path, name: &str, change: impl FnOnce(String) -> String) {
    let file = folder.join(name);
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, change(text)).unwrap();
}

#[test]
fn the_matrix_in_the_repository_is_what_the_shipped_policy_says() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("policy/matrix.txt");
    let governance = Governance::read(shipped().path()).unwrap();
    let now = matrix(&governance.now());
    let kept = std::fs::read_to_string(file).unwrap();
    for (number, (kept, now)) in kept.lines().zip(now.lines()).enumerate() {
        assert_eq!(kept, now, "line {}; write it anew as its head says, and read the difference", number + 1);
    }
    assert_eq!(kept.lines().count(), now.lines().count());
}

#[test]
fn the_hash_is_what_anybody_computes_with_sha256sum() {
    let folder = shipped();
    std::fs::write(folder.path().join("people/anna.txt"), "anna\n").unwrap();
    std::fs::write(folder.path().join(".hidden"), "an editor's").unwrap();
    let hash = Folder::read(folder.path()).unwrap().hash();
    let command = "find * -type f -not -path '*/.*' | LC_ALL=C sort | xargs sha256sum | sha256sum";
    let output = Command::new("sh").args(["-c", command]).current_dir(folder.path()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.split_whitespace().next(), Some(folder::hex(&hash).as_str()));
}

#[test]
fn a_missing_file_says_what_to_run_and_what_is_there_is_left_alone() {
    let folder = shipped();
    std::fs::remove_file(folder.path().join("access.cedar")).unwrap();
    let faults = Governance::read(folder.path()).err().unwrap();
    let said = faults.to_string();
    assert!(said.contains("access.cedar") && said.contains("pangate policy init"), "{said}");
    change(folder.path(), "routes.toml", |text| format!("# ours\n{text}"));
    assert_eq!(write_missing(folder.path()).unwrap(), ["access.cedar"]);
    assert!(std::fs::read_to_string(folder.path().join("routes.toml")).unwrap().starts_with("# ours"));
    assert!(Governance::read(folder.path()).is_ok());
}

#[test]
fn what_is_in_force_stays_until_another_was_checked_and_enforced() {
    let folder = shipped();
    let governance = Governance::read(folder.path()).unwrap();
    let first = governance.now().hash();
    change(folder.path(), "access.cedar", |text| format!("{text}\npermit (principal, action, resource);\n"));
    let faults = governance.reread().unwrap_err();
    assert!(faults.0.iter().all(|fault| fault.line.is_some()), "{faults}");
    assert_eq!(governance.now().hash(), first);
    assert_eq!(*governance.refused(), faults.0);

    change(folder.path(), "access.cedar", |text| {
        text.replace("\npermit (principal, action, resource);\n", "\n")
    });
    let second = governance.reread().unwrap();
    assert!(governance.refused().is_empty());
    assert_eq!(governance.now().hash(), first);
    governance.enforce(second.clone());
    assert_eq!(governance.now().hash(), second.hash());
    assert_ne!(second.hash(), first);
}

#[test]
fn a_file_that_is_read_once_keeps_a_reload_out() {
    let folder = shipped();
    let governance = Governance::read(folder.path()).unwrap();
    change(folder.path(), "keys.toml", |text| format!("{text}\n"));
    let faults = governance.reread().unwrap_err();
    assert_eq!(faults.0.first().map(|fault| fault.file.as_str()), Some("keys.toml"));
}

#[test]
fn what_is_no_file_of_people_is_refused_and_not_waited_for() {
    let folder = shipped();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::write(folder.path().join("large"), vec![b'a'; 1024 * 1024 + 1]).unwrap();
    std::fs::write(folder.path().join("bytes"), [0xff, 0xfe]).unwrap();
    let faults = Folder::read(folder.path()).unwrap_err();
    let mut files: Vec<&str> = faults.0.iter().map(|fault| fault.file.as_str()).collect();
    files.sort_unstable();
    assert_eq!(files, ["bytes", "large", "pipe"]);
}
