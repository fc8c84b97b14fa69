//! The HSM writes down what is done to it, and stops when nobody takes that away: the gateway takes it, keeps it, and
//! notices when it does not fit.
#![expect(clippy::unwrap_used, reason = "test code; a failure must stop the test")]

#[path = "keys_device_log/another_device.rs"]
mod another_device;
mod support;

use another_device::AnotherDevice;
use audit::Action;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hsm::Hsm;
use hsm_sim::client::{SignedHead, SimClient, Start, to_hex, verify, verify_head};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use store::Row;
use support::process::{Process, program};
use support::{System, cards};

/// The smallest log that a device can have.
const ROOM: u16 = 62;
const PATIENCE: Duration = Duration::from_secs(30);

fn pin(system: &System) -> String {
    std::fs::read_to_string(system.path("hsm.pin")).unwrap().trim().to_owned()
}

/// Each login of an operator is an entry.
fn logins(socket: &Path, pin: &str, entries: u16) {
    for _ in 0..entries {
        // The log may be full for as long as the gateway needs to take it.
        let until = Instant::now() + PATIENCE;
        while let Err(error) = SimClient::connect(socket, pin.into()).random(&mut [0; 8]) {
            assert!(Instant::now() < until, "{error}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn fill(system: &System, entries: u16) {
    tokio::task::block_in_place(|| logins(&system.socket(), &pin(system), entries));
}

/// Waits until that holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let patience = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < patience, "{what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The device's log so far, as it says itself.
fn last_entry(socket: &Path, pin: &str) -> SignedHead {
    tokio::task::block_in_place(|| SimClient::connect(socket, pin.into()).log_head().unwrap())
}

fn bytes(rows: &[Row]) -> Vec<(i64, Vec<u8>)> {
    rows.iter().map(|row| (row.integer("seq").unwrap(), row.bytes("entry").unwrap())).collect()
}

/// The first timeline of one device: its numbers and entries.
async fn stored(system: &System, serial: &[u8; 16]) -> Vec<(i64, Vec<u8>)> {
    let device = to_hex(serial);
    let sql = "SELECT seq, entry FROM device_log WHERE device = $1 AND timeline = 1 ORDER BY seq";
    bytes(&system.rows(sql, vec![device.into()]).await)
}

/// Requires the stored log of that device to be whole up to at least that entry.
async fn whole_up_to(system: &System, head: &SignedHead) -> Vec<Vec<u8>> {
    let wanted = usize::try_from(head.counts.last).unwrap();
    let mut entries = Vec::new();
    until("too little was stored", async || {
        entries = stored(system, &head.serial).await;
        entries.len() >= wanted
    })
    .await;
    assert!(entries.iter().map(|(seq, _)| *seq).eq(1..=i64::try_from(entries.len()).unwrap()));
    let entries: Vec<Vec<u8>> = entries.into_iter().map(|(_, entry)| entry).collect();
    verify(&head.serial, Start::of_device(&head.serial), &entries).unwrap();
    entries
}

async fn pays(system: &System, number: u64) {
    let card = json!({ "number": cards::generated(number), "exp_month": 12, "exp_year": 2034 });
    let answer = system.post("portal", "/v1/tokens", &json!({ "card": card })).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
}

async fn ops(system: &System, path: &str) -> String {
    let client = support::wire::plain_client();
    client.get(format!("{}{path}", system.ops)).send().await.unwrap().text().await.unwrap()
}

async fn warned(system: &System, code: &str) -> bool {
    ops(system, "/readyz").await.contains(code)
}

/// How often that is in the audit log.
async fn recorded(system: &System, action: Action) -> usize {
    let rows = system.rows("SELECT leaf FROM audit_entry", Vec::new()).await;
    let told = rows.iter().map(|row| audit::parse(&row.bytes("leaf").unwrap()).unwrap());
    told.filter(|entry| entry.action == action).count()
}

async fn nothing_was_found(system: &System) {
    for action in [Action::DeviceLogGap, Action::DeviceLogBroken, Action::DeviceLogSetBack] {
        assert_eq!(recorded(system, action).await, 0, "{action}");
    }
    assert!(!warned(system, "device_log").await);
}

/// `pangate keys device-log`, as the auditor.
fn device_log(system: &System, more: &[&str]) -> Output {
    let mut command = Command::new(program("pangate"));
    command.args(["keys", "device-log", "--url", &system.url, "--ca"]).arg(system.path("tls/ca.pem"));
    command.args(more).env("PANGATE_AUDITOR_TOKEN", system.key("auditor"));
    tokio::task::block_in_place(|| command.output().unwrap())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hsms_log_never_fills_up_and_is_kept_whole() {
    let mut system = System::start_with_device_log(ROOM).await;
    // What else the gateway looks after is slow: that is nothing to the log.
    system.companion().signal("STOP");
    for round in 0..4 {
        fill(&system, ROOM);
        pays(&system, 40 + round).await;
    }
    system.companion().signal("CONT");
    let head = last_entry(&system.socket(), &pin(&system));
    let mut entries = whole_up_to(&system, &head).await;
    assert!(entries.len() > 4 * usize::from(ROOM));
    nothing_was_found(&system).await;
    let taken = ops(&system, "/metrics").await;
    let counted =
        taken.lines().find_map(|line| line.strip_prefix("pangate_device_log_taken_total ")).unwrap();
    assert!(counted.parse::<usize>().unwrap() > 4 * usize::from(ROOM), "{counted}");
    // What is taken out of the table is missed.
    entries.remove(20);
    assert!(verify(&head.serial, Start::of_device(&head.serial), &entries).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_does_not_follow_what_was_stored_is_told_and_stops_nobody() {
    let system = System::start_with_device_log(ROOM).await;
    fill(&system, 3);
    let head = last_entry(&system.socket(), &pin(&system));
    whole_up_to(&system, &head).await;
    // Somebody with the database changes the last entry that was stored.
    let change = "UPDATE device_log SET entry = (SELECT entry FROM device_log WHERE seq = 1) \
                  WHERE seq = (SELECT MAX(seq) FROM device_log)";
    system.change(change, Vec::new()).await;
    fill(&system, 3);
    until("readiness does not tell", async || warned(&system, "device_log_broken").await).await;
    assert_eq!(recorded(&system, Action::DeviceLogBroken).await, 1);
    pays(&system, 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_was_set_back_is_noticed_recorded_and_told_and_its_log_is_taken_on() {
    let mut system = System::start_with_device_log(ROOM).await;
    fill(&system, 3);
    // A copy of the device's state, guard and all.
    system.hsm().kill_9();
    let (state, copy) = (system.path("hsm"), system.path("hsm-copy"));
    copy_folder(&state, &copy);
    system.start_hsm();
    fill(&system, 40);
    let head = last_entry(&system.socket(), &pin(&system));
    whole_up_to(&system, &head).await;
    assert!(!warned(&system, "device_log").await);

    system.hsm().kill_9();
    std::fs::remove_dir_all(&state).unwrap();
    copy_folder(&copy, &state);
    system.start_hsm();
    until("readiness does not tell", async || warned(&system, "device_log_set_back").await).await;
    system.wait_ready().await;
    // The gauge follows when the round is over.
    let gauge = "pangate_device_log_troubles{code=\"device_log_set_back\"} 1";
    until("the metrics do not tell", async || ops(&system, "/metrics").await.contains(gauge)).await;
    let log = system.gateway_log();
    assert!(log.lines().any(|line| line.contains("ERROR") && line.contains("set back")), "{log}");

    // Both accounts are kept, and what the device writes from now on is taken: it never stops.
    for round in 0..2 {
        fill(&system, ROOM);
        pays(&system, 60 + round).await;
    }
    let head = last_entry(&system.socket(), &pin(&system));
    let later = "SELECT COALESCE(MAX(seq), 0) AS n FROM device_log WHERE timeline = 2";
    until("the log is not taken on", async || {
        u64::try_from(system.count(later).await).unwrap() >= head.counts.last
    })
    .await;
    assert!(stored(&system, &head.serial).await.len() > 40);
    assert_eq!(recorded(&system, Action::DeviceLogSetBack).await, 1);
    assert_eq!(recorded(&system, Action::DeviceLogBroken).await, 0);
    let output = device_log(&system, &["--no-entries"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("left its earlier timeline behind (set_back)"), "{}", said(&output));
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        if entry.path().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_on_one_database_find_nothing_wrong_with_one_log() {
    let system = System::start_with_device_log(ROOM).await;
    let [listen, ops_listen] = [support::free_port(), support::free_port()];
    let settings = std::fs::read_to_string(system.path("pangate.toml")).unwrap();
    let port = |url: &str| url.rsplit_once(':').unwrap().1.to_owned();
    let other = settings
        .replace(
            &format!("listen = \"127.0.0.1:{}\"", port(&system.url)),
            &format!("listen = \"127.0.0.1:{listen}\""),
        )
        .replace(&format!("127.0.0.1:{}", port(&system.ops)), &format!("127.0.0.1:{ops_listen}"))
        .replace("log = \"pangate-test\"", "log = \"pangate-other\"");
    std::fs::write(system.path("other.toml"), other).unwrap();
    let config = system.path("other.toml").display().to_string();
    let mut second =
        Process::start("pangate", &["serve", "--config", &config], &system.path("logs/other.log"));
    for round in 0..6 {
        fill(&system, ROOM);
        pays(&system, 80 + round).await;
    }
    let head = last_entry(&system.socket(), &pin(&system));
    whole_up_to(&system, &head).await;
    nothing_was_found(&system).await;
    let client = support::wire::plain_client();
    let ready = client.get(format!("http://127.0.0.1:{ops_listen}/readyz")).send().await.unwrap();
    let ready = ready.text().await.unwrap();
    assert!(ready.contains("\"ready\":true") && !ready.contains("device_log"), "{ready}");
    // Both took part.
    let shared = client.get(format!("http://127.0.0.1:{ops_listen}/metrics")).send().await.unwrap();
    assert!(!shared.text().await.unwrap().contains("pangate_device_log_taken_total 0"));
    assert!(!ops(&system, "/metrics").await.contains("pangate_device_log_taken_total 0"));
    assert!(second.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_keys_move_the_logs_of_both_devices_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, pin_file) = (folder.path().join("hsm.sock"), folder.path().join("hsm.pin"));
    let system = System::start_with(|settings| {
        let target = format!(
            "[hsm.target]\nprovider = \"simulator\"\nsocket = \"{}\"\npin_file = \"{}\"\n[companion]",
            socket.display(),
            pin_file.display()
        );
        *settings = settings.replace("[companion]", &target);
    })
    .await;
    let other = AnotherDevice::start(folder, ROOM);
    for number in 0..10 {
        pays(&system, 700 + number).await;
    }
    let ask = json!({ "to": "simulator", "device_tickets": other.tickets("ada") });
    let asked = system.post("auditor", "/v1/keys/migrations", &ask).await;
    assert_eq!(asked.status, 202, "{}", asked.text);
    let approval = format!("/v1/approvals/{}/approve", asked.json()["id"].as_str().unwrap());
    let begun = system.post("admin", &approval, &json!({ "device_tickets": other.tickets("otto") })).await;
    assert_eq!(begun.status, 200, "{}", begun.text);
    // More than the new device's log has room for: it would stop if nobody took it.
    tokio::task::block_in_place(|| logins(&other.socket, &other.pin(), 3 * ROOM));
    fill(&system, 10);
    system.job_done(begun.json()["id"].as_str().unwrap()).await;
    pays(&system, 720).await;
    let heads = [last_entry(&system.socket(), &pin(&system)), last_entry(&other.socket, &other.pin())];
    assert_ne!(heads[0].serial, heads[1].serial);
    for head in &heads {
        whole_up_to(&system, head).await;
    }
    nothing_was_found(&system).await;
    let output = device_log(&system, &["--no-entries", "--format", "json"]);
    assert!(output.status.success(), "{}", said(&output));
    let told: Value = serde_json::from_str(said(&output).trim()).unwrap();
    assert_eq!(told["checked"].as_array().unwrap().len(), 2, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_reads_the_log_page_by_page_and_checks_it_against_the_devices_signature() {
    let system = System::start_with_device_log(ROOM).await;
    fill(&system, 20);
    let head = last_entry(&system.socket(), &pin(&system));
    whole_up_to(&system, &head).await;
    let signed = "SELECT COUNT(*) AS n FROM device_log_timeline \
                  WHERE head_seq = (SELECT MAX(seq) FROM device_log)";
    until("no head was kept", async || system.count(signed).await == 1).await;
    let device = to_hex(&head.serial);

    let (mut entries, mut after) = (Vec::new(), String::new());
    let timelines = loop {
        let short = device.get(..8).unwrap();
        let page = system.get("admin", &format!("/v1/device-log?limit=7&device={short}{after}")).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let page = page.json();
        let data = page["data"].as_array().unwrap();
        assert!(!data.is_empty() && data.len() <= 7);
        entries.extend(data.iter().cloned());
        match page["next"].as_str() {
            Some(next) => {
                assert_eq!(page["has_more"], true);
                after = format!("&after={next}");
            }
            None => break page["timelines"].clone(),
        }
    };
    let raw: Vec<Vec<u8>> =
        entries.iter().map(|entry| STANDARD.decode(entry["entry"].as_str().unwrap()).unwrap()).collect();
    let checked = verify(&head.serial, Start::of_device(&head.serial), &raw).unwrap();
    for (shown, read) in entries.iter().zip(&checked.entries) {
        assert_eq!(
            (shown["seq"].as_u64(), shown["prev"].as_str()),
            (Some(read.seq), Some(&*to_hex(&read.prev)))
        );
        assert_eq!(shown["event"], read.event.as_str());
        assert_eq!(shown["device"], *device);
    }
    assert!(entries.windows(2).all(|two| two[1]["prev"] == two[0]["hash"]));
    let login = entries.iter().rfind(|entry| entry["event"] == "login").unwrap();
    assert_eq!(
        (&login["role"], &login["account"], &login["outcome"]),
        (&json!("operator"), &json!("operator"), &json!("done"))
    );
    let kept = &timelines[0]["head"];
    let signed = SignedHead::decode(&STANDARD.decode(kept["signed"].as_str().unwrap()).unwrap()).unwrap();
    verify_head(checked.end, &signed, &head.public).unwrap();
    assert_eq!(kept["public_key"], to_hex(&head.public));
    assert!(recorded(&system, Action::DeviceLogRead).await > 3);

    // The command checks the same, against the key that was noted when the device was made.
    let short = device.get(..12).unwrap();
    let key = to_hex(&head.public);
    let good = device_log(&system, &["--device", short, "--device-key", &key]);
    assert!(good.status.success(), "{}", said(&good));
    assert!(
        said(&good).contains("whole, signed by") && said(&good).contains("operator login"),
        "{}",
        said(&good)
    );
    let strange = device_log(&system, &["--device", short, "--device-key", &"5".repeat(64), "--no-entries"]);
    assert_eq!(strange.status.code(), Some(1));
    assert!(said(&strange).contains("the signature does not fit"), "{}", said(&strange));

    // What is cut off at the end, altered or left out is found.
    let cases = [
        ("DELETE FROM device_log WHERE seq = (SELECT MAX(seq) FROM device_log)", "is not stored"),
        (
            "UPDATE device_log SET entry = (SELECT entry FROM device_log WHERE seq = 2) WHERE seq = 4",
            "stands in its place",
        ),
        ("DELETE FROM device_log WHERE seq = 9", "entries 9 to 9 are not stored"),
    ];
    for (change, word) in cases {
        assert_eq!(system.change(change, Vec::new()).await, 1, "{change}");
        let bad = device_log(&system, &["--no-entries"]);
        assert_eq!(bad.status.code(), Some(1), "{}", said(&bad));
        assert!(said(&bad).contains(word), "{word}: {}", said(&bad));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_taken_to_the_end_when_the_gateway_stops_and_a_silent_device_does_not_hold_it_up() {
    let mut system = System::start_with_device_log(ROOM).await;
    fill(&system, 5);
    assert!(tokio::task::block_in_place(|| system.gateway().terminate()));
    let head = last_entry(&system.socket(), &pin(&system));
    let last = u64::try_from(system.count("SELECT MAX(seq) AS n FROM device_log").await).unwrap();
    // The one entry that is not there is the login of whoever asked for the head.
    assert_eq!(last + 1, head.counts.last);

    system.start_gateway();
    system.wait_ready().await;
    system.hsm().signal("STOP");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let asked = Instant::now();
    assert!(tokio::task::block_in_place(|| system.gateway().terminate()));
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    system.hsm().signal("CONT");
}
