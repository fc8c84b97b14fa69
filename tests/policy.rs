//! The policy folder governs a running gateway: what it says is what happens, a bad one changes nothing, and the log
//! holds the hash of what was in force.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot be set up must fail")]

mod support;

use pangate::governance;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::{System, process};

/// The gateway's own word on what is in force, and what it warns of.
async fn ready(system: &System) -> Value {
    let answer = support::wire::plain_client().get(format!("{}/readyz", system.ops)).send().await.unwrap();
    answer.json().await.unwrap()
}

/// Waits until `/readyz` says so.
async fn until(system: &System, what: &str, so: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let said = ready(system).await;
        if so(&said) {
            return said;
        }
        assert!(Instant::now() < deadline, "{what}: {said}\n{}", system.gateway_log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn change(system: &System, name: &str, change: impl FnOnce(String) -> String) {
    let file = system.path("policy").join(name);
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, change(text)).unwrap();
}

fn hash(system: &System) -> String {
    let said = process::run("pangate", &["policy", "check", "--dir", &dir(system), "--format", "json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    said["sha256"].as_str().unwrap().to_owned()
}

fn dir(system: &System) -> String {
    system.path("policy").display().to_string()
}

/// The hash as the log spells it, in letters: `a` for 0 to `p` for 15.
fn in_letters(hash: &str) -> String {
    let letter = |digit: char| char::from(b'a' + u8::try_from(digit.to_digit(16).unwrap()).unwrap());
    hash.chars().map(letter).collect()
}

/// The log's entries of changes of the policy, newest last: resource and outcome.
async fn changes(system: &System) -> Vec<(String, String)> {
    let answer = system.get("chief-auditor", "/v1/audit/entries?limit=500").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let entries = answer.json()["data"].as_array().unwrap().clone();
    let mut found: Vec<(i64, String, String)> = entries
        .iter()
        .filter(|line| line["entry"]["action"] == "policy_change")
        .map(|line| {
            let text = |name: &str| line["entry"][name].as_str().unwrap().to_owned();
            (line["position"].as_i64().unwrap(), text("resource"), text("outcome"))
        })
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, resource, outcome)| (resource, outcome)).collect()
}

const NO_LARGE_REFUND: &str = "
@id(\"large-refunds\")
@remedy(\"prove your second factor again\")
forbid (principal, action == Action::\"refund\", resource)
when { context has amount && context.amount > 10000 }
unless { context has mfa_age && context.mfa_age <= 300 };
";

#[tokio::test(flavor = "multi_thread")]
async fn a_reloaded_policy_is_in_force_a_bad_one_changes_nothing_and_the_log_holds_the_hashes() {
    let mut system = System::start().await;
    let first = hash(&system);
    assert_eq!(ready(&system).await["policy_sha256"], first);
    assert_eq!(changes(&system).await, [(format!("policy:{}", in_letters(&first)), "success".to_owned())]);
    assert_eq!(system.get("staff", "/v1/charges").await.status, 200);

    // A rule that would open everything, with a mistake beside it: neither is in force.
    change(&system, "access.cedar", |text| format!("{text}\npermit (principal, action, resource);\n"));
    system.gateway().signal("HUP");
    let warned = |said: &Value| said["warnings"].to_string().contains("policy_refused");
    let said = until(&system, "the bad policy is refused", warned).await;
    assert_eq!(said["policy_sha256"], first);
    assert!(said["warnings"].to_string().contains("access.cedar, line "), "{said}");
    system.get("portal", "/v1/charges").await.is_problem(403, "forbidden");

    // Repaired, with a rule of its own.
    change(&system, "access.cedar", |text| {
        text.replace("\npermit (principal, action, resource);\n", "")
            + "\n@id(\"nobody-lists\")\n@remedy(\"ask for one charge by its id\")\n\
               forbid (principal, action == Action::\"read_charge\", resource);\n"
    });
    let second = hash(&system);
    // What is only on the disk governs nobody.
    assert_eq!(system.get("staff", "/v1/charges").await.status, 200);
    system.gateway().signal("HUP");
    until(&system, "the new policy is in force", |said| said["policy_sha256"] == second && !warned(said))
        .await;
    let denied = system.get("staff", "/v1/charges").await;
    denied.is_problem(403, "forbidden");
    assert_eq!(denied.json()["rule"], "nobody-lists");
    assert_eq!(denied.json()["detail"], "Ask for one charge by its id");

    let told = changes(&system).await;
    let expected = [
        (format!("policy:{}", in_letters(&first)), "success"),
        ("none".to_owned(), "refused"),
        (format!("policy:{}", in_letters(&second)), "success"),
    ];
    assert_eq!(told, expected.map(|(resource, outcome)| (resource, outcome.to_owned())));
    let entries = system.get("chief-auditor", "/v1/audit/entries?limit=500").await.text;
    assert!(entries.contains("rule:nobody-lists"), "{entries}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_names_its_rule_or_that_there_is_none_and_what_would_satisfy_it() {
    let system = System::start().await;
    let denied = system.post("staff", "/v1/tokens", &json!({})).await;
    denied.is_problem(403, "forbidden");
    assert_eq!(denied.json()["rule"], Value::Null);
    let detail = denied.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("`tokenize`") && detail.ends_with("may: portal"), "{detail}");
    let denied = system.get("chief-auditor", "/v1/charges").await;
    denied.is_problem(403, "forbidden");
    assert_eq!(denied.json()["rule"], "one-tenant-needs-its-credential");
}

/// The amount is judged in the transaction that finds it out: leaving it out of the request gets nobody past a rule.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_on_amounts_holds_for_a_refund_that_names_none() {
    let mut system = System::start().await;
    let charge = system.paid("150.00").await;
    change(&system, "access.cedar", |text| text + NO_LARGE_REFUND);
    let hash = hash(&system);
    system.gateway().signal("HUP");
    until(&system, "the rule is in force", |said| said["policy_sha256"] == hash).await;
    for amount in [None, Some("150.00"), Some("100.01")] {
        let mut body = json!({ "charge": charge, "reason": "duplicate" });
        if let Some(amount) = amount {
            body["amount"] = json!(amount);
        }
        let denied = system.refund(&body).await;
        denied.is_problem(403, "forbidden");
        assert_eq!(denied.json()["rule"], "large-refunds", "{amount:?}");
    }
    let body = json!({ "charge": charge, "reason": "duplicate", "amount": "100.00" });
    let given = system.refund(&body).await;
    assert_eq!(given.status, 201, "{}", given.text);
}

/// The record is asked before every request, so a connection that is there already carries nothing either.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_to_a_companion_whose_record_ran_out_until_it_is_renewed() {
    let mut system = System::start().await;
    let record = system.path("policy/vendors/companion.toml");
    let kept = std::fs::read_to_string(&record).unwrap();
    system.paid("10.00").await;
    let expired = kept.replace("ours = true\n", "")
        + "[approved]\nby = [\"ada\", \"otto\"]\non = 2020-01-01\n\
           [baa]\nsigned = 2020-01-01\nexpires = 2020-12-31\n";
    for (text, code) in [(Some(expired), "vendor_expired"), (None, "vendor_unlisted")] {
        match text {
            Some(text) => std::fs::write(&record, text).unwrap(),
            None => std::fs::remove_file(&record).unwrap(),
        }
        let in_force = hash(&system);
        system.gateway().signal("HUP");
        until(&system, code, |said| said["policy_sha256"] == in_force).await;
        // One report is put together while time goes on; the next begins under the new record.
        let said = ready(&system).await;
        let companion =
            said["parts"].as_array().unwrap().iter().find(|part| part["part"] == "companion").unwrap();
        assert_eq!((&companion["ok"], &companion["code"]), (&json!(false), &json!(code)), "{said}");
        system.pay("one-more", "20.00").await.is_problem(503, code);
        let entries = system.get("chief-auditor", "/v1/audit/entries?limit=500").await.text;
        assert!(entries.contains(&format!("\"{code}\"")), "{entries}");
    }
    std::fs::write(&record, kept).unwrap();
    let in_force = hash(&system);
    system.gateway().signal("HUP");
    until(&system, "the record is back", |said| said["policy_sha256"] == in_force).await;
    // Nothing was sent before, so the same order goes through now, once.
    let paid = system.pay("one-more", "20.00").await;
    assert_eq!(paid.status, 201, "{}", paid.text);
}

impl System {
    async fn pay(&self, key: &str, amount: &str) -> support::wire::Answer {
        let request = self.client().post(format!("{}/portal/payments", self.url));
        let request = request.bearer_auth(self.key("portal")).header("Idempotency-Key", key);
        support::wire::Answer::of(request.json(&self.payment("4242424242424242", amount))).await
    }

    /// A charge of that amount.
    async fn paid(&self, amount: &str) -> String {
        let paid = self.pay("one-payment", amount).await;
        assert_eq!(paid.status, 201, "{}", paid.text);
        paid.json()["charge"].as_str().unwrap().to_owned()
    }

    async fn refund(&self, body: &Value) -> support::wire::Answer {
        let request = self.client().post(format!("{}/v1/refunds", self.url));
        let key = format!("refund-{}", body["amount"].as_str().unwrap_or("all"));
        support::wire::Answer::of(
            request.bearer_auth(self.key("staff")).header("Idempotency-Key", key).json(body),
        )
        .await
    }
}

#[test]
fn check_names_file_and_line_of_every_fault_and_init_writes_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().display().to_string();
    let (status, said) = process::tried("pangate", &["policy", "check", "--dir", &dir], &[]);
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("access.cedar") && said.contains("pangate policy init"), "{said}");
    process::run("pangate", &["policy", "init", "--dir", &dir]);
    let (status, said) = process::tried("pangate", &["policy", "check", "--dir", &dir], &[]);
    assert_eq!(status, 0, "{said}");
    assert!(said.starts_with("in order; sha256 "), "{said}");

    let anna = "principal = \"anna\"\nroles = [\"staff\"]\n";
    std::fs::write(folder.path().join("people/anna.toml"), anna).unwrap();
    let (status, said) = process::tried("pangate", &["policy", "check", "--dir", &dir], &[]);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("due: anna (people/anna.toml): the role staff is not effective"), "{said}");
    for (name, from, to) in [
        ("people/anna.toml", "\"staff\"", "\"stuff\""),
        ("access.cedar", "principal is Staff", "principal is Stuff"),
        ("routes.toml", "method = \"POST\"", "metod = \"POST\""),
        ("keys.toml", "batch_rows = 100", "batch_rows = 0"),
    ] {
        let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(text.contains(from), "{name}");
        std::fs::write(folder.path().join(name), text.replacen(from, to, 1)).unwrap();
    }
    let arguments = ["policy", "check", "--dir", &dir, "--format", "json"];
    let (status, said) = process::tried("pangate", &arguments, &[]);
    assert_eq!(status, 1, "{said}");
    let said: Value = serde_json::from_str(&said).unwrap();
    for (name, word) in [
        ("people/anna.toml", "stuff"),
        ("access.cedar", "Stuff"),
        ("routes.toml", "metod"),
        ("keys.toml", "batch_rows = 0"),
    ] {
        let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
        let line = text.lines().position(|line| line.contains(word)).unwrap() + 1;
        let named = said["faults"].as_array().unwrap().iter().any(|fault| {
            fault["file"] == name && fault["line"] == line && !fault["remedy"].as_str().unwrap().is_empty()
        });
        assert!(named, "{name}, line {line}: {said}");
    }
}

#[test]
fn explain_says_what_is_decided_by_which_rule_and_what_would_satisfy_it() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().display().to_string();
    governance::write_missing(folder.path()).unwrap();
    let explain = |more: &[&str]| {
        let arguments = [&["policy", "explain", "--dir", &dir, "--format", "json"], more].concat();
        let (status, said) = process::tried("pangate", &arguments, &[]);
        (status, serde_json::from_str::<Value>(&said).unwrap_or_else(|_| panic!("{said}")))
    };
    let (status, said) = explain(&["--as", "staff:anna", "--action", "refund", "--amount", "125.40"]);
    assert_eq!((status, &said["allowed"], &said["rules"][0]), (0, &json!(true), &json!("staff-moves-money")));
    let (status, said) = explain(&["--as", "companion", "--action", "refund"]);
    assert_eq!((status, &said["why"]), (1, &json!("not_allowed")));
    assert!(said["remedy"].as_str().unwrap().ends_with("staff"), "{said}");
    let (status, said) = explain(&["--as", "staff", "--action", "refund", "--tenant", "other"]);
    assert_eq!((status, &said["rules"][0]), (1, &json!("tenants-are-walls")));
    for wrong in [["--as", "nurse", "--action", "refund"], ["--as", "staff", "--action", "fly"]] {
        let (status, said) = explain(&wrong);
        assert_eq!(status, 2, "{said}");
        assert!(said["error"].as_str().unwrap().contains("use one of"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_without_its_rules_stops_the_start_and_says_what_to_run() {
    let mut system = System::start().await;
    system.gateway().terminate();
    std::fs::remove_file(system.path("policy/access.cedar")).unwrap();
    let config = system.path("pangate.toml").display().to_string();
    let (status, said) = process::tried("pangate", &["serve", "--config", &config], &[]);
    assert_eq!(status, 2, "{said}");
    assert!(said.contains("access.cedar") && said.contains("pangate policy init"), "{said}");
    process::run("pangate", &["policy", "init", "--config", &config]);
    system.start_gateway();
    system.wait_ready().await;
}
