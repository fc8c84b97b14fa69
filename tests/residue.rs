//! What is left of a card after its request: nothing, in any file of the three processes and in no memory that
//! somebody could read; and no key of the HSM outside the HSM (P1, P3, P6). Needs root, as an intruder would.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot be set up must fail")]

mod support;

use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use store::Value as Column;
use support::needles::{Needles, cvc_contexts, grouped};
use support::wire::{Answer, raw_tls};
use support::{OTHER, System, TENANT, cards, memory};
use tokio::io::AsyncWriteExt;

/// Numbers that no program of ours contains: what is found of them was left by a request.
fn unpublished() -> Vec<String> {
    (700_000_001..700_000_021).map(cards::generated).collect()
}

fn every_number() -> Vec<String> {
    let published = cards::PUBLISHED.iter().map(|number| (*number).to_owned());
    published.chain(cards::BAD.iter().map(|number| (*number).to_owned())).chain(unpublished()).collect()
}

fn needles() -> Needles {
    let numbers = every_number();
    let mut needles = Needles::of_pans(numbers.iter().map(String::as_str));
    for cvc in ["737", "7373"] {
        cvc_contexts(&mut needles, cvc);
    }
    needles
}

fn card(number: &str) -> Value {
    json!({ "number": number, "exp_month": 12, "exp_year": 2034, "cvc": cards::cvc_for(number), "holder": "A Patient" })
}

/// The payment as a form has it.
fn fields(payment: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut fields = Vec::new();
    for (name, value) in payment.as_object().unwrap() {
        match value.as_object() {
            Some(card) => {
                fields.extend(card.iter().map(|(inner, value)| (format!("{name}[{inner}]"), text(value))))
            }
            None => fields.push((name.clone(), text(value))),
        }
    }
    fields
}

/// Sends every number by every way that takes one, and a good many ways that do not, over HTTP/2 and HTTP/1.1. The
/// clients that come back still hold their connections open.
async fn send_every_number(system: &System) -> [reqwest::Client; 2] {
    let clients = [system.client(), support::wire::client_http1(&system.path("tls/ca.pem"))];
    for (turn, number) in every_number().iter().enumerate() {
        send_one(system, &clients[turn % 2], number).await;
    }
    clients
}

async fn send_one(system: &System, client: &reqwest::Client, number: &str) {
    let good = !cards::BAD.contains(&number);
    let post = |path: &str| client.post(format!("{}{path}", system.url)).bearer_auth(system.key("portal"));
    let mut payment = system.payment(number, "0.10");
    let spaced = String::from_utf8(grouped(number, " ")).unwrap();
    let form = fields(&payment)
        .into_iter()
        .fold(reqwest::multipart::Form::new(), |form, (name, value)| form.text(name, value));
    let mut answers = vec![
        Answer::of(post("/portal/payments").json(&payment)).await,
        Answer::of(post("/portal/payments").form(&fields(&payment))).await,
        Answer::of(post("/portal/payments").multipart(form)).await,
    ];
    payment["card"]["number"] = json!(spaced);
    answers.push(
        Answer::of(
            post("/portal/payments").header("Idempotency-Key", format!("k{}", uuid_letters())).json(&payment),
        )
        .await,
    );
    let kept = Answer::of(post("/v1/tokens").json(&json!({ "card": card(number) }))).await;
    let batch = json!({ "cards": [card(number), card(&spaced)] });
    answers.push(Answer::of(post("/v1/tokens/batch").json(&batch)).await);
    if good {
        assert_eq!(kept.status, 201, "{}", kept.text);
        let charge = json!({ "token": kept.json()["id"], "amount": "1.00", "currency": "USD" });
        let request = client.post(format!("{}/v1/charges", system.url)).bearer_auth(system.key("staff"));
        let charged = Answer::of(request.header("Idempotency-Key", uuid_letters()).json(&charge)).await;
        assert_eq!(charged.status, 201, "{}", charged.text);
    }
    // Where none belongs: refused, and just as little may be left of it. Thirteen and fourteen digits alone in a free
    // text are as often something else and pass (SECURITY.md names them), as do numbers that fail their check digit.
    if !good || number.len() < 15 {
        assert!(answers.iter().all(|answer| !answer.text.contains(number)));
        return;
    }
    payment["note"] = json!(format!("please use {number}"));
    answers.push(Answer::of(post("/portal/payments").json(&payment)).await);
    assert_eq!(answers.last().unwrap().status, 400, "a stray {}-digit number is not refused", number.len());
    answers.push(Answer::of(post(&format!("/portal/{number}")).json(&json!({}))).await);
    answers.push(Answer::of(post("/v1/tokens").header("X-Card", number).json(&json!({}))).await);
    answers
        .push(Answer::of(post("/v1/tokens").body(format!("{{\"card\": {{\"number\": \"{number}\", "))).await);
    for answer in answers {
        assert!(!answer.text.contains(number), "an answer repeats a card number");
        assert!(!answer.status.is_server_error(), "{}", answer.text);
    }
}

fn uuid_letters() -> String {
    tokens::random_letters(20).unwrap()
}

fn hits_in_files(system: &System, needles: &Needles) -> Vec<String> {
    let mut hits = Vec::new();
    for file in system.files() {
        let name = file.strip_prefix(system.dir.path()).unwrap().display().to_string();
        let found = needles.find(&std::fs::read(&file).unwrap());
        hits.extend(found.into_iter().map(|found| format!("{} in {name}+{}", found.name, found.offset)));
    }
    hits
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_p3_nothing_of_a_card_is_left_in_any_file_or_memory() {
    let mut system = System::start().await;
    let connections = send_every_number(&system).await;
    let needles = needles();
    tokio::time::sleep(Duration::from_secs(1)).await;

    assert_eq!(hits_in_files(&system, &needles), Vec::<String>::new());
    for name in ["pangate.db", "pangate.db-wal", "claims.db", "logs/pangate.log", "hsm/state.bin"] {
        assert!(
            system.path(name).metadata().unwrap().len() > 0,
            "{name} was not written, so its search shows nothing"
        );
    }
    let gateway = system.gateway().id();
    assert_eq!(
        memory::search(gateway, &needles),
        Vec::<String>::new(),
        "in the gateway, connections open but idle"
    );
    drop(connections);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (companion, hsm) = (system.companion().id(), system.hsm().id());
    for (name, pid) in [("gateway", gateway), ("companion", companion), ("HSM", hsm)] {
        assert_eq!(memory::search(pid, &needles), Vec::<String>::new(), "in the memory of the {name}");
    }
    let pages = std::fs::read_to_string(format!("/proc/{gateway}/limits")).unwrap();
    let core = pages.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "a core file would hold cards: {core}");
    the_searches_find_what_is_there(&mut system, &needles).await;
}

/// The same searches, with something there to be found.
async fn the_searches_find_what_is_there(system: &mut System, needles: &Needles) {
    let planted = &unpublished()[7];
    for (name, bytes) in [
        ("text", planted.clone().into_bytes()),
        ("dashes", grouped(planted, "-")),
        ("packed", planted.as_bytes().chunks(2).map(|two| (two[0] - b'0') << 4 | (two[1] - b'0')).collect()),
        ("utf16", planted.bytes().flat_map(|digit| [digit, 0]).collect()),
        ("base64", base64_of(&format!("ab{planted}c")).into_bytes()),
    ] {
        let file = system.path(&format!("logs/canary-{name}"));
        std::fs::write(&file, [b"before ".as_slice(), &bytes, b" after"].concat()).unwrap();
        assert_eq!(hits_in_files(system, needles).len(), 1, "a number as {name} is not found");
        std::fs::remove_file(file).unwrap();
    }
    // A request that is half sent is held in memory, and with it the card. It goes when the connection goes.
    let gateway = system.gateway().id();
    let mut stream = raw_tls(&system.url, &system.path("tls/ca.pem"), &[b"http/1.1"]).await;
    let head = format!(
        "POST /v1/tokens HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: 500\r\n\r\n{{\"card\":{{\"number\":\"{planted}\",",
        system.key("portal")
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!memory::search(gateway, needles).is_empty(), "a card that is in memory is not found");
    drop(stream);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        memory::search(gateway, needles),
        Vec::<String>::new(),
        "a request that broke off left its card"
    );
}

fn base64_of(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn p6_the_keys_of_the_hsm_are_in_its_memory_and_in_no_other() {
    let mut system = System::start().await;
    // Every key has work: fingerprints, data keys, idempotency.
    for number in unpublished().iter().take(4) {
        let body = json!({ "card": card(number), "reuse": true });
        let post =
            system.client().post(format!("{}/v1/tokens", system.url)).bearer_auth(system.key("portal"));
        let answer = Answer::of(post.header("Idempotency-Key", uuid_letters()).json(&body)).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
    }
    let (keys, names) = keys_of_the_hsm(&system.path("hsm"));
    for (name, pid) in [("gateway", system.gateway().id()), ("companion", system.companion().id())] {
        assert_eq!(memory::search(pid, &keys), Vec::<String>::new(), "in the memory of the {name}");
    }
    let held = memory::search(system.hsm().id(), &keys);
    for name in names {
        assert!(
            held.iter().any(|place| place.starts_with(&name)),
            "{name} is not found where it must be: {held:?}"
        );
    }
    assert_eq!(hits_in_files(&system, &keys), Vec::<String>::new());
}

/// The keys of the device, read from a copy of its state: the device itself holds its folder.
fn keys_of_the_hsm(state: &Path) -> (Needles, Vec<String>) {
    use std::os::unix::fs::PermissionsExt;
    let copy = tempfile::tempdir().unwrap();
    std::fs::set_permissions(copy.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    for name in ["state.bin", "root.key"] {
        std::fs::copy(state.join(name), copy.path().join(name)).unwrap();
    }
    let home = hsm_sim::state::Home::open(copy.path()).unwrap();
    let root = home.root_key().unwrap();
    let state = home.load(&root).unwrap();
    let (mut needles, mut names) = (Needles::none(), Vec::new());
    for object in &state.objects {
        let name = format!("key {:?}", object.facts.kind);
        needles.add(name.clone(), object.secret().to_vec());
        names.push(name.clone());
        needles.add(
            format!("{name} as hex"),
            object.secret().iter().flat_map(|b| format!("{b:02x}").into_bytes()).collect(),
        );
    }
    assert_eq!(names.len(), 4, "the device has other keys than this test knows");
    (needles, names)
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_a_row_moved_between_tenants_does_not_open() {
    let mut system = System::start().await;
    let make = async |key: &str, number: &str| {
        let answer = system.post(key, "/v1/tokens", &json!({ "card": card(number) })).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json()["id"].as_str().unwrap().to_owned()
    };
    let moved = make("portal", "4242424242424242").await;
    // The other tenant has a card and so a data key of its own.
    let own = make("other-portal", "5555555555554444").await;
    assert!(system.gateway().terminate(), "the gateway did not stop well");
    // The consent to charge it stands in the same row.
    let row = "UPDATE card SET tenant = $1 WHERE token = $2";
    assert_eq!(system.change(row, vec![Column::from(OTHER), Column::from(moved.as_str())]).await, 1);
    system.start_gateway();
    system.wait_ready().await;

    charge(&system, &moved, "moved").await.is_problem(500, "integrity");
    // Nor does it open with the row of the data key moved along.
    let to_other = "UPDATE data_key SET tenant = $1, epoch = epoch + 1 WHERE tenant = $2";
    assert_eq!(system.change(to_other, vec![Column::from(OTHER), Column::from(TENANT)]).await, 1);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    charge(&system, &moved, "moved-with-its-key").await.is_problem(500, "integrity");

    assert_eq!(charge(&system, &own, "own").await.status, 201, "the tenant's own card opens as before");
    assert_eq!(
        system.count("SELECT COUNT(*) AS n FROM sandbox_book").await,
        1,
        "only the tenant's own card was charged"
    );
    assert_eq!(system.count("SELECT COUNT(*) AS n FROM charge WHERE status = 'succeeded'").await, 1);
    let leaves =
        system.rows("SELECT leaf FROM audit_entry WHERE tenant = $1", vec![Column::from(OTHER)]).await;
    let entries = leaves.iter().map(|row| audit::parse(&row.bytes("leaf").unwrap()).unwrap());
    let recorded = entries.filter(|entry| {
        entry.outcome == audit::Outcome::Failed
            && entry.reason.as_ref().is_some_and(|reason| reason.as_str() == "integrity")
            && entry.action == audit::Action::ChargeCreate
    });
    assert_eq!(recorded.count(), 2, "each attempt is in the log");
    system.audit_log_is_whole();
}

async fn charge(system: &System, token: &str, key: &str) -> Answer {
    let body = json!({ "token": token, "amount": "1.00", "currency": "USD" });
    let request =
        system.client().post(format!("{}/v1/charges", system.url)).bearer_auth(system.key("other-staff"));
    Answer::of(request.header("Idempotency-Key", key).json(&body)).await
}
