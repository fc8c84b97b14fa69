//! The step in which two people rotate keys: the auditor asks, the administrator agrees, each with the ticket that the
//! device gave them as its officer for exactly this act; the work is watched, and nothing may be left on the old keys.

use super::folder::Folder;
use super::ground::{FIRST_OFFICER, Ground, SECOND_OFFICER};
use super::table::Step;
use super::witness::{Witness, told};
use crate::cli::client::{Client, Reply};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hsm_sim::client::SimClient;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::fmt::Display;
use std::time::Duration;

/// A ticket is good for so long.
const VALID: Duration = Duration::from_secs(300);
/// The demo has few rows; a rotation that takes longer than this has stopped.
const LOOKS: u32 = 200;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// What seals the data keys, and what fingerprints the cards.
const ROTATED: [&str; 2] = ["kek/card", "mac/pan"];

/// Plays the step.
pub(super) async fn play(
    ground: &Ground,
    folder: &Folder,
    client: &Client,
    witness: &Witness,
) -> Result<Step, String> {
    let mut step = Step::named("auditor and admin rotate keys");
    let log = witness.log_position().await?;
    let people = People { ground, folder, client };
    let (mut said, mut moved) = (Vec::new(), 0);
    for name in ROTATED {
        let asked = people.ask(name).await?;
        step.check(asked.status == 202, &format!("{name} waits for a second person (202)"));
        let alone = people.agree_alone(&asked, name).await?;
        step.check(alone.text_at("/code") == "second_person_required", "nobody agrees with themselves");
        let begun = people.agree(&asked, name).await?;
        step.check(begun.status == 200, &format!("the administrator agrees to {name}"));
        let job = people.done(&begun).await?;
        let number = |name: &str| job.body.get(name).and_then(Value::as_u64).unwrap_or_default();
        step.check(job.text_at("/state") == "done", &format!("the rotation of {name} comes to its end"));
        moved += number("done");
        said.push(format!("{name} {}→{}", number("from_version"), number("to_version")));
        step.check(people.rows_on_old(name).await? == 0, &format!("no row is left on {name}#1"));
    }
    step.check(moved > 0, "what the old keys protected was moved");
    step.caller = said.join(", ");
    // Reads and refusals are in the log too; here stands what was done.
    let mut acts = witness.acts_since(log).await?;
    acts.retain(|act| {
        use ::audit::Action;
        matches!(act, Action::KeyApprovalOpen | Action::KeyApprove | Action::KeyRotate | Action::JobEnd)
    });
    acts.dedup();
    step.pangate = format!("{moved} rows on new keys; {}", told(acts.get(..4).unwrap_or(&acts)));
    Ok(step)
}

struct People<'a> {
    ground: &'a Ground,
    folder: &'a Folder,
    client: &'a Client,
}

impl People<'_> {
    async fn ask(&self, name: &str) -> Result<Reply, String> {
        let url = format!("{}/v1/keys/{name}/rotate", self.ground.url);
        let body = json!({ "reason": "demonstration",
            "device_ticket": self.ticket(FIRST_OFFICER, name).await? });
        let auditor = self.ground.keys.auditor.expose_secret();
        self.client.post(&url, auditor, &format!("ask-{name}"), &body).await
    }

    async fn agree_alone(&self, asked: &Reply, name: &str) -> Result<Reply, String> {
        let auditor = self.ground.keys.auditor.expose_secret();
        let body = json!({ "act": act(name) });
        self.client.post(&self.yes(asked), auditor, &format!("alone-{name}"), &body).await
    }

    async fn agree(&self, asked: &Reply, name: &str) -> Result<Reply, String> {
        let body = json!({ "act": act(name), "device_ticket": self.ticket(SECOND_OFFICER, name).await? });
        let admin = self.ground.keys.admin.expose_secret();
        self.client.post(&self.yes(asked), admin, &format!("agree-{name}"), &body).await
    }

    fn yes(&self, asked: &Reply) -> String {
        format!("{}/v1/approvals/{}/approve", self.ground.url, asked.text_at("/id"))
    }

    /// The job once it is over.
    async fn done(&self, begun: &Reply) -> Result<Reply, String> {
        let url = format!("{}/v1/jobs/{}", self.ground.url, begun.text_at("/id"));
        for _ in 0..LOOKS {
            let job = self.client.get(&url, self.ground.keys.auditor.expose_secret()).await?;
            if job.text_at("/state") != "running" {
                return Ok(job);
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        Err(format!("the job {} does not end", begun.text_at("/id")))
    }

    async fn rows_on_old(&self, name: &str) -> Result<u64, String> {
        let url = format!("{}/v1/keys", self.ground.url);
        let listed = self.client.get(&url, self.ground.keys.auditor.expose_secret()).await?;
        let keys = listed.body.pointer("/data").and_then(Value::as_array).cloned().unwrap_or_default();
        let old =
            |key: &&Value| key.get("name") == Some(&name.into()) && key.get("version") == Some(&1.into());
        keys.iter()
            .find(old)
            .and_then(|key| key.get("rows"))
            .and_then(Value::as_u64)
            .ok_or_else(|| format!("the first version of {name} is not listed"))
    }

    /// What the device gives its officer, with the officer's own PIN.
    async fn ticket(&self, officer: &'static str, name: &str) -> Result<String, String> {
        let pin = crate::settings::secret(&self.folder.path(&format!("{officer}.pin"))).map_err(text)?;
        let (socket, act) = (self.folder.socket().to_owned(), act(name));
        let given = tokio::task::spawn_blocking(move || {
            SimClient::officer(&socket, officer, pin)?.approve(&act, VALID)
        });
        Ok(URL_SAFE_NO_PAD.encode(&*given.await.map_err(text)?.map_err(text)?))
    }
}

fn act(name: &str) -> String {
    format!("rotate {name}")
}

fn text(error: impl Display) -> String {
    error.to_string()
}
