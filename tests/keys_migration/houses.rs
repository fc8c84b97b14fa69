//! The houses that keys move between, and the move itself as two people do it: a target in the settings while the
//! gateway serves, one who asks, one who agrees, and the settings swapped at the end.

use crate::support::process::{self, Process};
use crate::support::wire::Answer;
use crate::support::{System, keys};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::process::Command;

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const PIN: &str = "97531864";
/// The acts of a device with officers that a move consists of.
const ACTS: [&str; 4] = ["rotate sign/audit", "rotate mac/request", "rotate mac/pan", "rotate kek/card"];

/// A SoftHSM2 token of its own below the system's folder; the gateway finds it from its next start on.
pub(crate) fn token(system: &mut System) {
    let (tokens, settings) = (system.path("tokens"), system.path("softhsm2.conf"));
    std::fs::create_dir(&tokens).unwrap();
    std::fs::write(
        &settings,
        format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display()),
    )
    .unwrap();
    let made = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", "new-house", "--so-pin", "86420", "--pin", PIN])
        .env("SOFTHSM2_CONF", &settings)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    pangate::cli::setup::write_secret(&system.path("token.pin"), PIN).unwrap();
    system.environment.push(("SOFTHSM2_CONF", settings.display().to_string()));
}

/// Ends the gateway in peace and starts it anew.
pub(crate) async fn restart(system: &mut System) {
    assert!(system.gateway().terminate(), "the gateway did not stop well");
    system.start_gateway();
    system.wait_ready().await;
}

/// The lines that name the token under `[hsm]` or `[hsm.target]`.
pub(crate) fn token_lines() -> String {
    format!(
        "provider = \"pkcs11\"\nmodule = \"{MODULE}\"\ntoken_label = \"new-house\"\npin_file = \"token.pin\"\n"
    )
}

/// Another simulator with version 1 of its own of every key, and the same two officers.
pub(crate) struct Simulator {
    _process: Process,
    sockets: tempfile::TempDir,
}

impl Simulator {
    /// Makes one below the system's folder and starts it.
    pub(crate) fn fresh(system: &System, name: &str) -> Simulator {
        let text = |path: PathBuf| path.display().to_string();
        let (state, pin) = (text(system.path(name)), text(system.path("hsm.pin")));
        let officers =
            ["ada", "otto"].map(|name| format!("{name}={}", text(system.path(&format!("{name}.pin")))));
        let [ada, otto] = officers.each_ref();
        process::run(
            "hsm-sim",
            &[
                "init",
                "--state",
                &state,
                "--pin-file",
                &pin,
                "--realm",
                "test",
                "--officer",
                ada,
                "--officer",
                otto,
            ],
        );
        let sockets = tempfile::tempdir().unwrap();
        let socket = text(sockets.path().join("hsm.sock"));
        let log = system.path(&format!("logs/{name}.log"));
        let process = Process::start("hsm-sim", &["serve", "--state", &state, "--socket", &socket], &log);
        Simulator { _process: process, sockets }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.sockets.path().join("hsm.sock")
    }

    /// The lines that name it under `[hsm]` or `[hsm.target]`.
    pub(crate) fn lines(&self) -> String {
        format!(
            "provider = \"simulator\"\nsocket = \"{}\"\npin_file = \"hsm.pin\"\n",
            self.socket().display()
        )
    }

    /// That officer's tickets for a move to this device.
    fn tickets(&self, system: &System, officer: &str) -> Value {
        let ticket = |act: &str| keys::ticket_at(&self.socket(), &pin(system, officer), officer, act);
        let tickets: Map<String, Value> =
            ACTS.iter().map(|act| ((*act).to_owned(), ticket(act).into())).collect();
        Value::Object(tickets)
    }
}

fn pin(system: &System, officer: &str) -> String {
    std::fs::read_to_string(system.path(&format!("{officer}.pin"))).unwrap().trim().to_owned()
}

fn settings(system: &System) -> String {
    std::fs::read_to_string(system.path("pangate.toml")).unwrap()
}

/// Writes `[hsm.target]` into the settings.
pub(crate) fn name_target(system: &System, lines: &str) {
    let named = settings(system).replace("[companion]", &format!("[hsm.target]\n{lines}[companion]"));
    std::fs::write(system.path("pangate.toml"), named).unwrap();
}

/// Puts what stands under `[hsm.target]` under `[hsm]`, as the job says at its end.
pub(crate) fn swap(system: &System) {
    let old = settings(system);
    let start = old.find("[hsm]\n").unwrap();
    let target = old.find("[hsm.target]\n").unwrap();
    let lines = old.get(target..).unwrap().replacen("[hsm.target]", "[hsm]", 1);
    std::fs::write(system.path("pangate.toml"), [old.get(..start).unwrap(), &lines].concat()).unwrap();
}

/// The device that keys move to.
#[derive(Clone, Copy)]
pub(crate) enum To<'a> {
    Token,
    Simulator(&'a Simulator),
}

/// The auditor asks for the move.
pub(crate) async fn ask(system: &System, to: To<'_>) -> Answer {
    let body = match to {
        To::Token => json!({ "to": "pkcs11" }),
        To::Simulator(device) => {
            json!({ "to": "simulator", "device_tickets": device.tickets(system, "ada") })
        }
    };
    system.post("auditor", "/v1/keys/migrations", &body).await
}

/// What the administrator sends to agree.
pub(crate) fn consent(system: &System, to: To<'_>) -> Value {
    match to {
        To::Token => json!({}),
        To::Simulator(device) => json!({ "device_tickets": device.tickets(system, "otto") }),
    }
}

/// Both people; gives the job's id.
pub(crate) async fn begin(system: &System, to: To<'_>) -> String {
    let asked = ask(system, to).await;
    assert_eq!(asked.status, 202, "{}", asked.text);
    let path = format!("/v1/approvals/{}/approve", asked.json()["id"].as_str().unwrap());
    let begun = system.post("admin", &path, &consent(system, to)).await;
    assert_eq!(begun.status, 200, "{}\n{}", begun.text, system.gateway_log());
    begun.json()["id"].as_str().unwrap().to_owned()
}

/// Rows that name a version below `version`: none, after a move.
pub(crate) async fn nothing_is_left_below(system: &System, version: u32) {
    for sql in [
        "SELECT COUNT(*) AS n FROM data_key WHERE status = 'active' AND kek_version < $1",
        "SELECT COUNT(*) AS n FROM card WHERE fingerprint IS NOT NULL AND fingerprint_version < $1",
        "SELECT COUNT(*) AS n FROM card WHERE data_key_id IN (SELECT data_key_id FROM data_key WHERE kek_version < $1)",
    ] {
        let rows = system.rows(sql, vec![version.into()]).await;
        assert_eq!(rows[0].integer("n").unwrap(), 0, "{sql} {version}");
    }
}
