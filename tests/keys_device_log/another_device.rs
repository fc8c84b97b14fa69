//! A second simulated HSM beside the system's own, with officers of the same names.

use crate::support::process::{self, Process};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hsm_sim::client::SimClient;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// It runs; dropping it ends it and removes its folder.
pub(crate) struct AnotherDevice {
    _process: Process,
    _folder: tempfile::TempDir,
    /// Its socket.
    pub(crate) socket: PathBuf,
    pins: PathBuf,
}

impl AnotherDevice {
    /// Makes and starts it in that folder, with a log of so many entries.
    pub(crate) fn start(folder: tempfile::TempDir, room: u16) -> AnotherDevice {
        let path = |name: &str| folder.path().join(name);
        for name in ["hsm.pin", "ada.pin", "otto.pin"] {
            let pin = pangate::cli::setup::random_secret().unwrap();
            pangate::cli::setup::write_secret(&path(name), &pin).unwrap();
        }
        let (state, pin) = (path("hsm").display().to_string(), path("hsm.pin").display().to_string());
        let officer = |name: &str| format!("{name}={}", path(&format!("{name}.pin")).display());
        let (ada, otto, room) = (officer("ada"), officer("otto"), room.to_string());
        let made = ["init", "--state", &state, "--pin-file", &pin, "--realm", "test", "--log-entries", &room];
        process::run("hsm-sim", &[&made[..], &["--officer", &ada, "--officer", &otto]].concat());
        let socket = path("hsm.sock");
        let serve = ["serve", "--state", &state, "--socket", &socket.display().to_string()];
        let process = Process::start("hsm-sim", &serve, &path("hsm.log"));
        AnotherDevice { _process: process, pins: folder.path().to_owned(), _folder: folder, socket }
    }

    /// The operator's PIN.
    pub(crate) fn pin(&self) -> String {
        std::fs::read_to_string(self.pins.join("hsm.pin")).unwrap().trim().to_owned()
    }

    /// That officer's tickets for the acts of a move, as the calls take them.
    pub(crate) fn tickets(&self, officer: &str) -> Value {
        let pin = std::fs::read_to_string(self.pins.join(format!("{officer}.pin"))).unwrap();
        let client = SimClient::officer(&self.socket, officer, pin.trim().into()).unwrap();
        let acts = ["sign/audit", "mac/request", "mac/pan", "kek/card"].map(|name| format!("rotate {name}"));
        let ticket = |act: &String| client.approve(act, Duration::from_secs(900)).unwrap();
        acts.iter().map(|act| (act.clone(), json!(URL_SAFE_NO_PAD.encode(&*ticket(act))))).collect()
    }
}
