//! `pangate user`: API keys of programs and accounts of people. A key or a first password is shown once.

mod key;
mod person;

use super::keys::reach::Wanted;
use super::{Format, fail, say};
use crate::caller::Role;
use crate::credential;
use crate::people::Change;
use crate::record::{Event, Origin, Recorder};
use crate::settings::{self, Settings};
use audit::{Action, Actor, ActorRole, LogName, Resource, Source};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use store::{Store, StoreError};
use tokens::Principal;

/// Arguments of `pangate user`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The settings file.
    #[arg(long, short, global = true, env = "PANGATE_CONFIG", default_value = "pangate.toml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Issue an API key, or with --person make an account, and show the key or the first password once.
    Add {
        /// The name in the audit log: a-z, 0-9 and -, a letter first.
        name: String,
        /// What it may do.
        #[arg(long, value_enum)]
        role: Role,
        /// The tenant it is bound to; without one it reaches the whole installation (auditors only).
        #[arg(long)]
        tenant: Option<String>,
        /// Make an account for a person, who signs in with password and authenticator app (POST /v1/sessions).
        #[arg(long, conflicts_with_all = ["networks", "routes", "expires_in"])]
        person: bool,
        #[command(flatten)]
        bounds: key::Wanted,
    },
    /// Issue the next API key of a name, with the same role, tenant and bounds; the old one lives on for a while.
    RotateKey {
        /// The name.
        name: String,
        /// How long the keys that there are live on: 30m, 24h, 7d.
        #[arg(long, default_value = "24h", value_parser = key::lasting)]
        overlap: key::Lasting,
        /// When the new key ends by itself: 24h, 90d.
        #[arg(long, value_parser = key::lasting)]
        expires_in: Option<key::Lasting>,
    },
    /// List every key and account: owner, role, tenant and state.
    List,
    /// Disable a person's account; its sessions end within a second.
    Disable {
        /// The name.
        name: String,
    },
    /// Enable a person's account; a lock after failed tries is lifted too.
    Enable {
        /// The name.
        name: String,
    },
    /// End a person's sessions.
    RevokeSessions {
        /// The name.
        name: String,
    },
    /// Give a person a new first password, shown once; a second factor stays what it is.
    ResetPassword {
        /// The name.
        name: String,
    },
    /// Ask a running gateway to take a person's second factor away; another person has to agree with
    /// `pangate keys approve`, and then it can be enrolled anew for three days.
    ResetFactor {
        /// The name.
        name: String,
        /// Why, for the second person: up to 200 characters.
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        reach: Wanted,
    },
    /// Revoke every key of a name; running gateways refuse it within a second.
    Revoke {
        /// The name.
        name: String,
    },
}

/// Runs the command on the database that the settings name.
pub async fn run(arguments: Arguments, format: Format) -> ExitCode {
    if let Command::ResetFactor { name, reason, reach } = &arguments.command {
        return person::reset_factor(name, reason, reach, format).await;
    }
    match perform(arguments, format).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(format, &message, 2),
    }
}

async fn perform(arguments: Arguments, format: Format) -> Result<(), String> {
    let settings = Settings::read(&arguments.config, &settings::environment()).map_err(|e| e.to_string())?;
    let store = settings.store.open().await.map_err(|e| e.to_string())?;
    let log = LogName::parse(&settings.audit.log).map_err(|e| e.to_string())?;
    let recorder = Recorder::new(log);
    match arguments.command {
        Command::Add { name, role, tenant, person: true, .. } => {
            person::add(&store, recorder, (&name, role, tenant.as_deref()), format).await?;
        }
        Command::Disable { name } => person::change(&store, recorder, &name, Change::Disable, format).await?,
        Command::Enable { name } => person::change(&store, recorder, &name, Change::Enable, format).await?,
        Command::RevokeSessions { name } => {
            person::change(&store, recorder, &name, Change::RevokeSessions, format).await?;
        }
        Command::ResetPassword { name } => person::reset_password(&store, recorder, &name, format).await?,
        Command::ResetFactor { .. } => return Err("this is asked of a running gateway".into()),
        Command::Add { name, role, tenant, person: false, bounds } => {
            let realm = settings.server.realm;
            key::add(&store, recorder, realm, (&name, role, tenant.as_deref()), &bounds, format).await?;
        }
        Command::RotateKey { name, overlap, expires_in } => {
            let realm = settings.server.realm;
            key::rotate(&store, recorder, realm, (&name, overlap, expires_in), format).await?;
        }
        Command::List => {
            let mut reader = store.read().await.map_err(|e| e.to_string())?;
            for listed in credential::list(&mut reader).await.map_err(|e| e.to_string())? {
                match format {
                    Format::Json => say(&serde_json::to_string(&listed).map_err(|e| e.to_string())?),
                    Format::Text => say(&format!(
                        "{:<24} {:<10} {:<24} {}{}{}{}",
                        listed.principal,
                        listed.role,
                        listed.tenant.as_deref().unwrap_or("(installation)"),
                        if listed.revoked { "revoked" } else { "live" },
                        listed.expires_at.map(|at| format!(", until {at}")).unwrap_or_default(),
                        listed.last_used_at.map(|at| format!(", used {at}")).unwrap_or_default(),
                        if listed.networks.is_empty() && listed.routes.is_empty() { "" } else { ", bound" },
                    )),
                }
            }
            person::list(&mut reader, format).await?;
        }
        Command::Revoke { name } => {
            let principal = Principal::parse(&name).map_err(|e| e.to_string())?;
            let revoked = revoke(&store, recorder, principal).await.map_err(|e| e.to_string())?;
            if revoked == 0 {
                return Err("no live key bears that name; see `pangate user list`".into());
            }
            match format {
                Format::Text => say(&format!("{revoked} key(s) revoked")),
                Format::Json => say(&serde_json::json!({ "revoked": revoked }).to_string()),
            }
        }
    }
    store.close().await;
    Ok(())
}

async fn revoke(store: &Store, recorder: Recorder, principal: Principal) -> Result<u64, StoreError> {
    store
        .commit(move |work| {
            Box::pin(async move {
                let count = credential::revoke(work, &principal).await?;
                let resource = Resource::Credential(principal);
                let event = if count > 0 {
                    Event::success(Action::CredentialRevoke, resource)
                } else {
                    Event::refused(Action::CredentialRevoke, resource, "no_live_key")
                };
                let _receipt = recorder.append(work, &console(), event).await?;
                Ok(count)
            })
        })
        .await
}

/// Somebody at the machine's console, whom the host's own log names.
pub(super) fn console() -> Origin {
    Origin {
        actor: Actor { role: ActorRole::System, principal: None },
        tenant: None,
        request: None,
        source: Source::Console,
    }
}
