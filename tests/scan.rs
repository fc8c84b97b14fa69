//! `pangate scan` as an auditor runs it: what is planted is found wherever it hides, nothing of it is printed, and an
//! honest tree is clean. Only published test card numbers are planted.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its stage fails")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const VISA: &str = "4111111111111111";
const AMEX: &str = "378282246310005";

fn scan(arguments: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pangate")).arg("scan").args(arguments).output().unwrap()
}

struct Outcome {
    status: i32,
    findings: Vec<serde_json::Value>,
    summary: serde_json::Value,
    text: String,
}

fn scan_json(target: &Path) -> Outcome {
    let output = Command::new(env!("CARGO_BIN_EXE_pangate"))
        .args(["--format", "json", "scan"])
        .arg(target)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (last, findings) = lines.split_last().unwrap();
    Outcome {
        status: output.status.code().unwrap(),
        findings: findings.iter().map(|line| line["finding"].clone()).collect(),
        summary: last["summary"].clone(),
        text,
    }
}

/// Whether the text holds six digits in a row of the number.
fn repeats(text: &str, number: &str) -> bool {
    number.as_bytes().windows(6).any(|run| text.contains(std::str::from_utf8(run).unwrap()))
}

/// Plants `content` in a fresh folder, finds it, and gives the places.
fn places_of(name: &str, content: &[u8]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    fs::write(&file, content).unwrap();
    let outcome = scan_json(folder.path());
    assert_eq!(outcome.status, 1, "{name}: {}", outcome.text);
    assert!(!repeats(&outcome.text, VISA), "{name}");
    outcome
        .findings
        .iter()
        .map(|finding| {
            assert_eq!(finding["path"], file.to_str().unwrap(), "{name}");
            finding["place"].as_str().unwrap().to_owned()
        })
        .collect()
}

#[test]
fn a_planted_number_is_found_in_every_kind_of_file() {
    assert_eq!(places_of("notes.txt", format!("one\ntwo\npaid with {VISA}\nfour").as_bytes()), ["line 3"]);
    assert_eq!(places_of("grouped.md", b"call back 4111 1111 1111 1111 tomorrow"), ["line 1"]);
    assert_eq!(places_of("spread.txt", b"4111\n1111\n1111\n1111\n"), ["line 1"]);
    assert_eq!(
        places_of("body.json", format!("{{\n \"a\": {{\"n\": \"{VISA}\"}}\n}}").as_bytes()),
        ["line 2"]
    );
    assert_eq!(places_of("exponent.json", b"{\"n\": 4.111111111111111E15}").len(), 1);
    assert_eq!(places_of("encoded.txt", b"x=NDExMTExMTExMTExMTExMQ==").len(), 1);
    assert_eq!(
        places_of("two.txt", format!("{VISA} and then {AMEX}\n{VISA}").as_bytes()),
        ["line 1", "line 1", "line 2"]
    );
    assert_eq!(places_of("entities.xml", format!("<!ENTITY a \"b\">\n<n>{VISA}</n>").as_bytes()), ["line 2"]);
    assert_eq!(places_of("crlf.csv", format!("a,b\r\n1,{AMEX}\r\n").as_bytes()), ["line 2"]);
}

#[test]
fn a_planted_number_is_found_in_binary_and_wide_text() {
    let mut binary = vec![0u8, 1, 2, 0xff, 0xfe, 0x80];
    binary.extend_from_slice(VISA.as_bytes());
    binary.extend_from_slice(&[0, 0, 7]);
    assert_eq!(places_of("core.bin", &binary).len(), 1);

    let text = format!("first\npaid with {VISA}\n");
    let wide: Vec<u8> =
        [0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    assert_eq!(places_of("marked.txt", &wide), ["line 2"]);
    let bare: Vec<u8> =
        format!("paid with 4111 1111 1111 1111, {text}").encode_utf16().flat_map(u16::to_be_bytes).collect();
    assert!(!places_of("bare.txt", &bare).is_empty());
}

#[test]
fn a_number_far_into_a_large_file_or_across_a_window_is_found_once() {
    let line = "nothing to see here, move along please, the quick brown fox\n";
    let mut text = line.repeat(20_000);
    text.push_str(VISA);
    text.push('\n');
    assert_eq!(places_of("large.log", text.as_bytes()), ["line 20001"]);

    // Around the first window's end, wherever that is: the number starts at every offset near it.
    for before in [262_136usize, 262_140, 262_143, 261_120, 261_125] {
        let mut text = "z".repeat(before - 1);
        text.push(' ');
        text.push_str(VISA);
        text.push_str(&" y".repeat(3000));
        assert_eq!(places_of("border.txt", text.as_bytes()).len(), 1, "{before}");
    }
}

#[test]
fn a_file_name_is_searched_and_masked() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(format!("receipt-{VISA}.txt")), "empty").unwrap();
    let outcome = scan_json(folder.path());
    assert_eq!(outcome.status, 1);
    assert_eq!(outcome.findings[0]["place"], "file name");
    assert!(!repeats(&outcome.text, VISA), "{}", outcome.text);
}

#[test]
fn packed_files_are_opened_and_archives_that_are_not_are_named() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.log.gz");
    let mut child = Command::new("gzip")
        .arg("-c")
        .stdin(std::process::Stdio::piped())
        .stdout(fs::File::create(&path).unwrap())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(format!("a\nb {VISA}\n").as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    let outcome = scan_json(folder.path());
    assert_eq!(outcome.findings[0]["place"], "inside gzip, line 2");

    fs::write(&path, b"PK\x03\x04 whatever").unwrap();
    let outcome = scan_json(folder.path());
    assert_eq!(outcome.status, 1, "what was not opened must not look clean");
    assert!(outcome.findings.is_empty());
    assert_eq!(outcome.summary["unsearched"][0]["path"], path.to_str().unwrap());
}

async fn database(path: &Path, note: &str) -> store::Store {
    let store =
        store::Store::open(&format!("sqlite:{}", path.display()), store::Settings::default()).await.unwrap();
    let note = note.to_owned();
    let done: Result<u64, store::StoreError> = store
        .commit(move |work| {
            Box::pin(async move {
                work.execute("INSERT INTO setting (name, value) VALUES ('note', $1)", vec![note.into()]).await
            })
        })
        .await;
    assert_eq!(done.unwrap(), 1);
    store
}

#[tokio::test]
async fn a_number_in_a_column_is_found_by_table_column_and_row_also_while_the_log_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.db");
    let store = database(&path, &format!("card {VISA}")).await;

    // Still open: the row stands in the write-ahead log alone.
    let url = format!("sqlite:{}", path.display());
    let open = scan_json(Path::new(&url));
    assert_eq!(open.status, 1);
    let places: Vec<&str> = open.findings.iter().map(|f| f["place"].as_str().unwrap()).collect();
    assert!(places.contains(&"table setting.value, row 1"), "{places:?}");
    assert!(open.findings.iter().any(|f| f["path"].as_str().unwrap().ends_with("-wal")), "the raw log too");
    assert!(!repeats(&open.text, VISA));

    store.close().await;
    let closed = scan_json(folder.path());
    assert_eq!(closed.status, 1);
    assert!(closed.findings.iter().any(|f| f["place"] == "table setting.value, row 1"));
}

#[tokio::test]
async fn an_honest_tree_is_clean() {
    let folder = tempfile::tempdir().unwrap();
    let store = database(&folder.path().join("t.db"), "tok_test_abcdefghijklmnopqrstuvwxyzab").await;
    store.close().await;
    fs::write(folder.path().join("claims.x12"), "REF*F8*94060555410000~NM1*85*2*CLINIC*****XX*1234567893~")
        .unwrap();
    fs::write(folder.path().join("times.log"), "2026-11-23T23:37:22.123456Z 1790000000000000 took 1234 us\n")
        .unwrap();
    fs::write(folder.path().join("codes.txt"), "99213 99214 99215 99203 99204 99205\n+1 415 555 1234\n")
        .unwrap();
    fs::write(folder.path().join("masked.txt"), "4532 XXXX XXXX 0366 and 411111******1111\n").unwrap();
    fs::write(folder.path().join("bad.txt"), "4111111111111112 4242424242424241\n").unwrap();
    fs::write(folder.path().join("entities.dtd"), "<!ENTITY amp \"&#38;\"> <!ENTITY lt \"&#60;\">\n")
        .unwrap();
    fs::create_dir_all(folder.path().join("deep/er")).unwrap();
    fs::write(folder.path().join("deep/er/empty"), "").unwrap();
    let outcome = scan_json(folder.path());
    assert_eq!(outcome.status, 0, "{}", outcome.text);
    assert_eq!(outcome.summary["files"], 8);
    assert!(outcome.summary["values"].as_u64().unwrap() > 0);
}

#[test]
fn links_are_not_followed_and_counted() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret.txt"), VISA).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), folder.path().join("out")).unwrap();
    let outcome = scan_json(folder.path());
    assert_eq!(outcome.status, 0);
    assert_eq!(outcome.summary["passed_by"], 1);
}

#[test]
fn misuse_is_told_apart_from_a_finding() {
    let missing = scan(&[Path::new("/nowhere/at/all")]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/nowhere/at/all"));
    let postgres = scan(&[Path::new("postgres://localhost/x")]);
    assert_eq!(postgres.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&postgres.stderr).contains("postgres"));
    assert_eq!(scan(&[]).status.code(), Some(2));
}
