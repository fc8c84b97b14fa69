//! Keys as their people handle them: two principals of the gateway who are also officers of the device, ada with the
//! auditor and otto with the administrator.

use super::System;
use super::wire::Answer;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hsm_sim::client::SimClient;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// An officer's ticket of the device at that socket.
pub fn ticket_at(socket: &Path, pin: &str, officer: &str, act: &str) -> String {
    let client = SimClient::officer(socket, officer, SecretString::from(pin)).unwrap();
    URL_SAFE_NO_PAD.encode(&*client.approve(act, Duration::from_secs(900)).unwrap())
}

impl System {
    /// That officer's ticket of the device for an act, as the calls take it.
    pub fn ticket(&self, officer: &str, act: &str) -> String {
        let pin = std::fs::read_to_string(self.path(&format!("{officer}.pin"))).unwrap();
        ticket_at(&self.socket(), pin.trim(), officer, act)
    }

    /// The auditor asks, with ada's ticket where the device wants one.
    pub async fn ask(&self, path: &str, act: &str) -> Answer {
        let body =
            if act.is_empty() { json!({}) } else { json!({ "device_ticket": self.ticket("ada", act) }) };
        self.post("auditor", path, &body).await
    }

    /// The administrator agrees, with otto's ticket where the device wants one.
    pub async fn agree(&self, approval: &str, act: &str) -> Answer {
        let body = if act.is_empty() {
            json!({})
        } else {
            json!({ "act": act, "device_ticket": self.ticket("otto", act) })
        };
        self.post("admin", &format!("/v1/approvals/{approval}/approve"), &body).await
    }

    /// Two people do an act; gives the job as it was begun.
    pub async fn two_people(&self, path: &str, act: &str) -> Value {
        let asked = self.ask(path, act).await;
        assert_eq!(asked.status, 202, "{}", asked.text);
        let asked = asked.json();
        assert_eq!(asked["status"], "pending_approval");
        let begun = self.agree(asked["id"].as_str().unwrap(), act).await;
        assert_eq!(begun.status, 200, "{}", begun.text);
        begun.json()
    }

    /// Two people rotate a key.
    pub async fn rotate(&self, name: &str) -> Value {
        self.two_people(&format!("/v1/keys/{name}/rotate"), &format!("rotate {name}")).await
    }

    /// The job once it is over; it has to end well.
    pub async fn job_done(&self, id: &str) -> Value {
        let until = Instant::now() + Duration::from_secs(120);
        loop {
            let job = self.get("auditor", &format!("/v1/jobs/{id}")).await.json();
            match job["state"].as_str() {
                Some("done") => return job,
                Some("running") => assert!(Instant::now() < until, "the job does not end: {job}"),
                _ => panic!("the job did not end well: {job}\n{}", self.gateway_log()),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The inventory's lines of one key, by version.
    pub async fn versions(&self, name: &str) -> Vec<Value> {
        let listed = self.get("auditor", "/v1/keys").await.json();
        let mut lines: Vec<Value> =
            listed["data"].as_array().unwrap().iter().filter(|key| key["name"] == name).cloned().collect();
        lines.sort_by_key(|line| line["version"].as_u64());
        lines
    }

    /// Replaces `policy/keys.toml`; the gateway reads it when it starts.
    pub fn write_key_policy(&self, change: impl FnOnce(String) -> String) {
        let file = self.path("policy/keys.toml");
        let text = change(std::fs::read_to_string(&file).unwrap());
        std::fs::write(&file, text).unwrap();
    }
}
