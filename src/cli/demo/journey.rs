//! The journey of a card, step by step, and after each step what must hold: at the portal, in pangate's log, in the
//! companion's books and database, at the processor.

use super::folder::Folder;
use super::ground::{Ground, LOG, TENANT};
use super::rotation;
use super::table::{Step, Table};
use super::witness::{Witness, clean, short, told};
use crate::cli::audit as log_check;
use crate::cli::client::{Client, Reply};
use crate::cli::scan::{Finding, Search, Summary};
use ::audit::Action;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::fmt::Display;
use std::path::Path;
use tokens::{Currency, Money};

/// A published test card that every test processor approves.
const CARD: &str = "4242 4242 4242 4242";
const PAID: &str = "125.40";
const REFUNDED: &str = "25.40";

/// Plays it all; gives the charge that it made.
pub(super) async fn play(ground: &Ground, folder: &Folder, table: &mut Table) -> Result<String, String> {
    let client = Client::new(&ground.authority)?;
    let witness = Witness::open(ground).await?;
    let player = Player { ground, client, witness };
    let played = player.play(folder, table).await;
    player.witness.close().await;
    played
}

struct Player<'a> {
    ground: &'a Ground,
    client: Client,
    witness: Witness,
}

impl Player<'_> {
    async fn play(&self, folder: &Folder, table: &mut Table) -> Result<String, String> {
        let (step, charge) = self.pay().await?;
        table.add(&step);
        let charge = charge.ok_or("without a charge there is nothing to refund")?;
        table.add(&self.refund(&charge).await?);
        table.add(&self.list_keys().await?);
        table.add(&rotation::play(self.ground, folder, &self.client, &self.witness).await?);
        table.add(&self.read_log().await?);
        table.add(&self.verify_log().await?);
        table.add(&self.search(folder).await?);
        Ok(charge)
    }

    /// The portal pays the statement by card.
    async fn pay(&self) -> Result<(Step, Option<String>), String> {
        let ground = self.ground;
        let mut step = Step::named(&format!("portal pays {PAID} USD by card"));
        let before = self.balance().await?;
        let log = self.witness.log_position().await?;
        let body = json!({
            "account": ground.account, "statement": ground.statement, "amount": PAID, "currency": "USD",
            "note": "paid from the demo",
            "card": { "number": CARD, "exp_month": 12, "exp_year": next_year()?, "cvc": "123" },
        });
        let url = format!("{}/portal/payments", ground.url);
        let reply = self.client.post(&url, ground.keys.portal.expose_secret(), "demo-payment", &body).await?;
        step.caller = format!(
            "{} {}, {} {}",
            reply.status,
            status(&reply),
            reply.text_at("/card/brand"),
            last4(&reply)
        );
        step.check(
            reply.status == 201 && reply.text_at("/status") == "succeeded",
            "the payment succeeds with 201",
        );
        step.check(reply.text_at("/card/last4") == "4242", "the receipt shows brand and last four");
        step.check(clean(&reply.text), "the portal's answer holds no card number");
        let charge = reply.text_at("/charge").to_owned();

        let acts = self.witness.acts_since(log).await?;
        let main = [Action::TokenCreate, Action::MessageForward, Action::ChargeSettle];
        step.pangate = format!("{} ({} log entries)", told(&main), acts.len());
        for act in main {
            step.check(acts.contains(&act), &format!("the log has {}", act.as_str()));
        }

        let held = self.witness.companion_holds().await?;
        let after = self.balance().await?;
        step.claims = format!(
            "{}, balance {before} → {after}",
            held.tokens.first().map_or("no token".to_owned(), |token| short(token))
        );
        step.check(
            held.tokens.iter().any(|token| token.starts_with("tok_test_")),
            "the companion holds a token",
        );
        step.check(held.clean, "the companion's database holds no card number");
        let expected = before.minus(money(PAID)?).map_err(text)?;
        step.check(after.minor() == expected.minor(), "the balance falls by what was paid");
        step.check(
            money(reply.text_at("/balance")).is_ok_and(|m| m.minor() == after.minor()),
            "the receipt's balance is true",
        );

        step.processor = self.witness.last_booking().await?;
        step.check(
            step.processor.starts_with(&format!("capture {PAID} USD approved")),
            "the processor captures the amount",
        );
        Ok((step, Some(charge).filter(|charge| charge.starts_with("ch_"))))
    }

    /// Staff gives a part of it back.
    async fn refund(&self, charge: &str) -> Result<Step, String> {
        let ground = self.ground;
        let staff = ground.keys.staff.expose_secret();
        let mut step = Step::named(&format!("staff refunds {REFUNDED} of it"));
        let before = self.balance().await?;
        let log = self.witness.log_position().await?;
        let body = json!({ "charge": charge, "amount": REFUNDED, "reason": "overpayment" });
        let reply =
            self.client.post(&format!("{}/v1/refunds", ground.url), staff, "demo-refund", &body).await?;
        step.caller = format!("{} {}", reply.status, status(&reply));
        step.check(
            reply.status == 201 && reply.text_at("/status") == "succeeded",
            "the refund succeeds with 201",
        );
        step.check(clean(&reply.text), "the answer holds no card number");
        step.pangate = told(&self.witness.acts_since(log).await?);
        step.processor = self.witness.last_booking().await?;
        step.check(
            step.processor.starts_with(&format!("refund {REFUNDED} USD approved")),
            "the processor gives it back",
        );

        let shown = self.client.get(&format!("{}/v1/charges/{charge}", ground.url), staff).await?;
        step.check(shown.text_at("/refunded") == REFUNDED, "the charge knows what was given back");
        let after = self.balance().await?;
        let reopened = before.plus(money(REFUNDED)?).map_err(text)?;
        let told = after.minor() == reopened.minor();
        step.claims = if told {
            format!("balance {before} → {after}")
        } else {
            format!("balance {after}, not told of the refund")
        };
        step.check(
            told || after.minor() == before.minor(),
            "the balance rises by what was given back, or stays",
        );
        step.check(
            self.witness.companion_holds().await?.clean,
            "the companion's database holds no card number",
        );
        Ok(step)
    }

    /// The auditor asks which keys there are.
    async fn list_keys(&self) -> Result<Step, String> {
        let mut step = Step::named("auditor lists the keys");
        let log = self.witness.log_position().await?;
        let url = format!("{}/v1/keys", self.ground.url);
        let reply = self.client.get(&url, self.ground.keys.auditor.expose_secret()).await?;
        let keys: Vec<&Value> =
            reply.body.pointer("/data").and_then(Value::as_array).into_iter().flatten().collect();
        let names: Vec<&str> =
            keys.iter().filter_map(|key| key.get("name").and_then(Value::as_str)).collect();
        step.caller = format!("{} {} keys", reply.status, keys.len());
        step.pangate = told(&self.witness.acts_since(log).await?);
        step.check(reply.status == 200, "the keys are listed with 200");
        for name in ["kek/card", "mac/pan", "mac/request", "sign/audit"] {
            step.check(names.contains(&name), &format!("{name} is there"));
        }
        let locked = keys.iter().all(|key| key.get("extractable") == Some(&Value::Bool(false)));
        step.check(locked, "no key can leave the HSM");
        Ok(step)
    }

    /// The auditor reads what was recorded.
    async fn read_log(&self) -> Result<Step, String> {
        let mut step = Step::named("auditor reads the log");
        let log = self.witness.log_position().await?;
        let url = format!("{}/v1/audit/entries?limit=500", self.ground.url);
        let reply = self.client.get(&url, self.ground.keys.auditor.expose_secret()).await?;
        let entries = reply.body.pointer("/data").and_then(Value::as_array).map_or(0, Vec::len);
        step.caller = format!("{} {entries} entries, no card number", reply.status);
        step.pangate = told(&self.witness.acts_since(log).await?);
        step.check(reply.status == 200, "the log is read with 200");
        step.check(clean(&reply.text), "no entry holds a card number");
        for act in
            ["token_create", "charge_create", "refund_create", "credential_create", "key_list", "key_rotate"]
        {
            step.check(reply.text.contains(act), &format!("the log has {act}"));
        }
        Ok(step)
    }

    /// The auditor recomputes the tree, as `pangate audit verify` does.
    async fn verify_log(&self) -> Result<Step, String> {
        let mut step = Step::named("auditor verifies the log");
        match log_check::verify(self.witness.store(), None, None).await {
            Ok(logs) => {
                let own = logs.iter().find(|log| log.log.as_str() == LOG);
                let size = own.map_or(0, |log| log.report.size);
                step.caller = format!("{size} entries, every hash in its place");
                step.pangate = own
                    .map(|log| format!("root {}", ::audit::HashText(&log.report.root)))
                    .unwrap_or_default();
                step.check(size > 0, "the gateway's log is there");
            }
            Err(error) => step.check(false, &error.to_string()),
        }
        Ok(step)
    }

    /// Every file that the three processes wrote is searched; a planted number shows that the search can find.
    async fn search(&self, folder: &Folder) -> Result<Step, String> {
        let mut step = Step::named("auditor searches every file");
        let canary = folder.path("canary.txt");
        std::fs::write(&canary, format!("planted by the demo: {CARD}\n")).map_err(text)?;
        let planted = search(folder.root()).await;
        std::fs::remove_file(&canary).map_err(text)?;
        let (found, _) = planted?;
        let only_canary = found.len() == 1 && found.iter().all(|finding| Path::new(&finding.path) == canary);
        step.check(only_canary, "the planted number is found, and nothing else");
        let (found, summary) = search(folder.root()).await?;
        step.caller = format!("{} card numbers, but the planted one", found.len());
        step.pangate = format!("{} files, {} database values searched", summary.files, summary.values);
        for finding in &found {
            step.check(false, &format!("no card number in {} ({})", finding.path, finding.place));
        }
        for unsearched in &summary.unsearched {
            step.check(false, &format!("{} can be searched ({})", unsearched.path, unsearched.reason));
        }
        step.check(summary.values > 0, "the databases were read value by value");
        Ok(step)
    }

    /// What is still owed, as the companion tells it.
    async fn balance(&self) -> Result<Money, String> {
        let ground = self.ground;
        let url = format!("{}/v1/statements/{}", ground.claims_url, ground.statement);
        let reply = self.client.get(&url, ground.keys.claims_reader.expose_secret()).await?;
        if reply.status != 200 || reply.text_at("/tenant") != TENANT {
            return Err(format!(
                "the companion does not show the statement: {} {}",
                reply.status,
                reply.text_at("/code")
            ));
        }
        money(reply.text_at("/balance"))
    }
}

async fn search(root: &Path) -> Result<(Vec<Finding>, Summary), String> {
    let mut found = Vec::new();
    let mut report = |finding: &Finding| found.push(finding.clone());
    let mut search = Search::new(&mut report);
    search.target(root.as_os_str()).await.map_err(text)?;
    let summary = search.finish();
    Ok((found, summary))
}

/// The outcome, or the problem's code.
fn status(reply: &Reply) -> &str {
    match reply.text_at("/status") {
        "" => reply.text_at("/code"),
        status => status,
    }
}

fn last4(reply: &Reply) -> &str {
    reply.text_at("/card/last4")
}

fn money(amount: &str) -> Result<Money, String> {
    Money::parse(amount, Currency::Usd).map_err(text)
}

/// A card that is still good when this is played years from now.
fn next_year() -> Result<i32, String> {
    time::OffsetDateTime::now_utc().year().checked_add(1).ok_or_else(|| "no such year".to_owned())
}

fn text(error: impl Display) -> String {
    error.to_string()
}
