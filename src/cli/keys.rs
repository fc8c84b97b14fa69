//! `pangate keys`: what an auditor or administrator does with keys, over HTTPS at a running gateway. Acts that need two
//! people are asked for by one and approved by another.

mod ceremony;
mod device_log;
pub(in crate::cli) mod reach;
mod show;
mod ticket;
mod watch;

use super::{Format, fail, say};
use clap::{Args, Subcommand, ValueEnum};
use reach::{Reach, Wanted};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use ticket::Officer;

const EXPLAINED: &str = "\
The gateway is found by PANGATE_URL and PANGATE_CA, and you are known by --token-file, or by PANGATE_AUDITOR_TOKEN or
PANGATE_ADMIN_TOKEN with --as; `pangate demo` writes them all to demo.env.

Rotating, retiring and destroying an HSM key, shredding a tenant and moving to another device need two people: one asks,
another approves within the time that the policy gives (15 minutes). With the simulated HSM each of them is also an
officer of the device: --officer NAME --officer-pin-file FILE gets that officer's ticket from the device first.

  pangate keys list
  pangate keys rotate kek/card --as auditor --officer ada --officer-pin-file ada.pin
  pangate keys approve apr_…   --as admin   --officer otto --officer-pin-file otto.pin
  pangate keys device-log --device 1f0c9a3e --device-key HEX

Exit status: 0 done; 1 something is overdue, was refused, or failed; 2 misuse, or the gateway cannot be reached.";

/// Arguments of `pangate keys`.
#[derive(Debug, Args)]
#[command(after_long_help = EXPLAINED)]
pub struct Arguments {
    #[command(flatten)]
    reach: Wanted,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List every key version and every tenant's data key: age, uses, and what still depends on it.
    List,
    /// Say what is overdue or soon to be, and what is being worked on; exit 1 when something is overdue.
    Status,
    /// Ask for a new version of an HSM key (kek/card, mac/pan, mac/request, sign/audit).
    Rotate {
        /// The key's name.
        name: String,
        #[command(flatten)]
        asking: Asking,
    },
    /// Ask for an old version to protect nothing new any more.
    Retire {
        /// The key's name.
        name: String,
        /// The version.
        #[arg(id = "key_version", value_name = "VERSION")]
        version: u32,
        #[command(flatten)]
        asking: Asking,
    },
    /// Ask for a retired version to be destroyed in the device; refused while a row still needs it.
    Destroy {
        /// The key's name.
        name: String,
        /// The version.
        #[arg(id = "key_version", value_name = "VERSION")]
        version: u32,
        #[command(flatten)]
        asking: Asking,
    },
    /// Replace a tenant's data key and seal its cards anew; one person may.
    RotateDataKey {
        /// The tenant.
        tenant: String,
        /// Do not wait for the end of the work.
        #[arg(long)]
        no_wait: bool,
    },
    /// Ask for every card and data key of a tenant to be destroyed, for good.
    Shred {
        /// The tenant.
        tenant: String,
        #[command(flatten)]
        asking: Asking,
    },
    /// Ask for every key to move to the device of [hsm.target] in the gateway's settings, while it serves.
    Migrate {
        /// Which kind of device that is.
        #[arg(long, value_enum)]
        to: Target,
        #[command(flatten)]
        asking: Asking,
    },
    /// Show what waits for a second person.
    Approvals,
    /// Agree to what another person asked for; the act begins, and its progress is shown.
    Approve {
        /// The approval: apr_…
        id: String,
        /// Do not wait for the end of the work.
        #[arg(long)]
        no_wait: bool,
        /// Of a key ceremony: your own copy of its transcript.
        #[arg(long, value_name = "FILE")]
        transcript: Option<PathBuf>,
        #[command(flatten)]
        officer: Officer,
    },
    /// Reject what another person asked for, or take back what you asked for.
    Reject {
        /// The approval: apr_…
        id: String,
    },
    /// Show jobs, or watch one to its end.
    Jobs {
        /// The job: job_…; all of them without.
        id: Option<String>,
        /// Show how it is and do not wait for its end.
        #[arg(long)]
        no_wait: bool,
    },
    /// Halt a job.
    Pause {
        /// The job: job_…
        id: String,
    },
    /// Take up a job that was halted or has failed.
    Resume {
        /// The job: job_…
        id: String,
    },
    /// Show what the HSMs wrote down themselves, and check it: the chain, and the device's signature; exit 1 when it
    /// is not whole.
    DeviceLog(device_log::Wanted),
    /// Explain the key ceremony, run the device's own (-- WORDS…), or put its transcript into the log.
    #[command(long_about = ceremony::EXPLAINED)]
    Ceremony(ceremony::Arguments),
}

/// What the first person says.
#[derive(Debug, Args)]
struct Asking {
    /// Why, for the second person: up to 200 characters.
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    officer: Officer,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Target {
    Simulator,
    Pkcs11,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Target::Simulator => "simulator",
            Target::Pkcs11 => "pkcs11",
        }
    }
}

/// Why a command ended without doing what was asked.
pub(in crate::cli) enum Ended {
    /// The gateway said no, or something is overdue or failed: exit 1.
    Refused(String),
    /// Misuse, or the gateway is not there: exit 2.
    Misuse(String),
}

/// Runs the command.
pub async fn run(arguments: Arguments, format: Format) -> ExitCode {
    if let Command::Ceremony(words) = &arguments.command
        && words.is_local()
    {
        return ceremony::at_the_device(words, format);
    }
    match perform(arguments, format).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(Ended::Refused(message)) => fail(format, &message, 1),
        Err(Ended::Misuse(message)) => fail(format, &message, 2),
    }
}

async fn perform(arguments: Arguments, format: Format) -> Result<(), Ended> {
    let reach = Reach::open(&arguments.reach)?;
    match arguments.command {
        Command::List => show::inventory(&reach.get("/v1/keys").await?, format),
        Command::Status => return status(&reach, format).await,
        Command::DeviceLog(wanted) => return device_log::run(&reach, &wanted, format).await,
        Command::Rotate { name, asking } => {
            ask(
                &reach,
                format,
                &format!("/v1/keys/{name}/rotate"),
                &[format!("rotate {name}")],
                asking,
                json!({}),
            )
            .await?
        }
        Command::Retire { name, version, asking } => {
            let act = format!("status {name}#{version} deactivated");
            ask(
                &reach,
                format,
                &format!("/v1/keys/{name}/versions/{version}/retire"),
                &[act],
                asking,
                json!({}),
            )
            .await?
        }
        Command::Destroy { name, version, asking } => {
            let act = format!("destroy {name}#{version}");
            ask(
                &reach,
                format,
                &format!("/v1/keys/{name}/versions/{version}/destroy"),
                &[act],
                asking,
                json!({}),
            )
            .await?
        }
        Command::Shred { tenant, asking } => {
            ask(&reach, format, &format!("/v1/tenants/{tenant}/shred"), &[], asking, json!({})).await?
        }
        Command::Migrate { to, asking } => {
            let acts =
                ["sign/audit", "mac/request", "mac/pan", "kek/card"].map(|name| format!("rotate {name}"));
            ask(&reach, format, "/v1/keys/migrations", &acts, asking, json!({ "to": to.name() })).await?
        }
        Command::RotateDataKey { tenant, no_wait } => {
            let job = reach.post(&format!("/v1/tenants/{tenant}/rotate-data-key"), &json!({})).await?;
            watch::job(&reach, &job, !no_wait, format).await?;
        }
        Command::Approvals => show::approvals(&reach.get("/v1/approvals").await?, format),
        Command::Approve { id, no_wait, transcript, officer } => {
            let approval = reach.get(&format!("/v1/approvals/{id}")).await?;
            let copy = transcript.map(|file| ceremony::copy(&file, format)).transpose()?;
            let body = agreement(&approval, copy, &officer).await?;
            if format == Format::Text {
                say(&format!("agreeing to: {}", reach::text(&approval, "act")));
            }
            let job = reach.post(&format!("/v1/approvals/{id}/approve"), &body).await?;
            watch::job(&reach, &job, !no_wait, format).await?;
        }
        Command::Reject { id } => {
            let approval = reach.post(&format!("/v1/approvals/{id}/reject"), &json!({})).await?;
            show::approval(&approval, format);
        }
        Command::Jobs { id: None, .. } => show::jobs(&reach.get("/v1/jobs").await?, format),
        Command::Jobs { id: Some(id), no_wait } => {
            let job = reach.get(&format!("/v1/jobs/{id}")).await?;
            watch::job(&reach, &job, !no_wait, format).await?;
        }
        Command::Pause { id } => {
            show::job(&reach.post(&format!("/v1/jobs/{id}/pause"), &json!({})).await?, format)
        }
        Command::Resume { id } => {
            show::job(&reach.post(&format!("/v1/jobs/{id}/resume"), &json!({})).await?, format)
        }
        Command::Ceremony(words) => ceremony::record(&reach, &words, format).await?,
    }
    Ok(())
}

/// The first person's call: the approval that now waits, or the work that goes on already.
async fn ask(
    reach: &Reach,
    format: Format,
    path: &str,
    acts: &[String],
    asking: Asking,
    body: Value,
) -> Result<(), Ended> {
    let mut body = body;
    if let Some(object) = body.as_object_mut() {
        if !asking.reason.is_empty() {
            object.insert("reason".to_owned(), asking.reason.into());
        }
        let tickets = asking.officer.tickets(acts).await.map_err(Ended::Misuse)?;
        if !tickets.is_empty() {
            object.insert("device_tickets".to_owned(), Value::Object(tickets));
        }
    }
    let answer = reach.post(path, &body).await?;
    if reach::text(&answer, "object") == "job" {
        show::job(&answer, format);
    } else {
        show::approval(&answer, format);
    }
    Ok(())
}

/// The second person's body: what is agreed to, word by word, and that person's tickets for it.
async fn agreement(approval: &Value, copy: Option<String>, officer: &Officer) -> Result<Value, Ended> {
    let mut body = Map::from_iter([("act".to_owned(), Value::from(reach::text(approval, "act")))]);
    if let Some(copy) = copy {
        body.insert("transcript".to_owned(), Value::from(copy));
    }
    let acts: Vec<String> = approval
        .get("device_acts")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let tickets = officer.tickets(&acts).await.map_err(Ended::Misuse)?;
    if !tickets.is_empty() {
        body.insert("device_tickets".to_owned(), Value::Object(tickets));
    }
    Ok(Value::Object(body))
}

async fn status(reach: &Reach, format: Format) -> Result<(), Ended> {
    let (keys, jobs) = (reach.get("/v1/keys").await?, reach.get("/v1/jobs").await?);
    let overdue = show::status(&keys, &jobs, format);
    if overdue == 0 {
        return Ok(());
    }
    Err(Ended::Refused(format!("{overdue} key(s) overdue; rotate them: pangate keys rotate NAME")))
}
