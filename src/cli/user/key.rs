//! API keys from the host's console: issued, with what they are bound to, and rotated with overlap.

use super::console;
use crate::caller::Role;
use crate::cli::{Format, say};
use crate::credential::{self, Bounds, Grant, Rotated};
use crate::record::{Event, Recorder, now_us};
use audit::{Action, Reason, Resource};
use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use store::{Store, StoreError};
use tokens::{Principal, Realm, Tenant};

/// What a new key is bound to.
#[derive(Debug, Args)]
pub(super) struct Wanted {
    /// A network that the key may be used from, as CIDR; may be given again. Without it, from anywhere.
    #[arg(long = "network", value_name = "CIDR")]
    networks: Vec<String>,
    /// A route that the key may be used for, by its name in the metrics; may be given again. Without it, all of its role's.
    #[arg(long = "route", value_name = "ROUTE")]
    routes: Vec<String>,
    /// When the key ends by itself: 24h, 90d.
    #[arg(long, value_parser = lasting)]
    expires_in: Option<Lasting>,
}

/// A length of time, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lasting(i64);

/// Reads `30m`, `24h` or `7d`.
pub(super) fn lasting(text: &str) -> Result<Lasting, String> {
    let wrong = || "write a number and m, h or d: 30m, 24h, 7d".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds: i64 = match unit {
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return Err(wrong()),
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    let micros = i64::from(number).checked_mul(seconds * 1_000_000).ok_or_else(wrong)?;
    Ok(Lasting(micros))
}

/// Issues a key and shows it.
pub(super) async fn add(
    store: &Store,
    recorder: Recorder,
    realm: Realm,
    (name, role, tenant): (&str, Role, Option<&str>),
    wanted: &Wanted,
    format: Format,
) -> Result<(), String> {
    let principal = Principal::parse(name).map_err(|error| error.to_string())?;
    let tenant = tenant.map(Tenant::parse).transpose().map_err(|error| error.to_string())?;
    if tenant.is_none() && role != Role::Auditor {
        return Err("name the tenant with --tenant; only an auditor's key may reach the whole installation"
            .to_owned());
    }
    let bounds = Bounds::read(&wanted.networks, &wanted.routes)?;
    let expires_at = wanted.expires_in.map(|Lasting(micros)| now_us().saturating_add(micros));
    let grant = Grant { role, principal, tenant };
    let key: Result<SecretString, StoreError> = store
        .commit(move |work| {
            Box::pin(async move {
                let key = credential::issue_bound(work, realm, &grant, &bounds, expires_at).await?;
                let mut origin = console();
                origin.tenant = grant.tenant;
                let event = Event::success(Action::CredentialCreate, Resource::Credential(grant.principal));
                let _receipt = recorder.append(work, &origin, event).await?;
                Ok(key)
            })
        })
        .await;
    show(name, &key.map_err(|error| error.to_string())?, format);
    Ok(())
}

/// Issues the next key of a name and shows it.
pub(super) async fn rotate(
    store: &Store,
    recorder: Recorder,
    realm: Realm,
    (name, Lasting(overlap), expires_in): (&str, Lasting, Option<Lasting>),
    format: Format,
) -> Result<(), String> {
    let principal = Principal::parse(name).map_err(|error| error.to_string())?;
    let now = now_us();
    let until = now.saturating_add(overlap);
    let expires_at = expires_in.map(|Lasting(micros)| now.saturating_add(micros));
    let rotated: Result<Rotated, StoreError> = store
        .commit(move |work| {
            Box::pin(async move {
                let rotated = credential::rotate(work, realm, &principal, until, expires_at).await?;
                let mut origin = console();
                let resource = Resource::Credential(principal);
                let event = match &rotated {
                    Rotated::Key(_, grant) => {
                        origin.tenant = grant.tenant.clone();
                        let reason = Reason::parse("rotated").ok();
                        Event { reason, ..Event::success(Action::CredentialChange, resource) }
                    }
                    Rotated::None => Event::refused(Action::CredentialChange, resource, "no_live_key"),
                    Rotated::Several => Event::refused(Action::CredentialChange, resource, "several_keys"),
                };
                let _receipt = recorder.append(work, &origin, event).await?;
                Ok(rotated)
            })
        })
        .await;
    match rotated.map_err(|error| error.to_string())? {
        Rotated::Key(key, _) => show(name, &key, format),
        Rotated::None => return Err("no live key bears that name; see `pangate user list`".to_owned()),
        Rotated::Several => {
            return Err(
                "the name's keys differ in role, tenant or bounds; issue the new one with `pangate user add`"
                    .to_owned(),
            );
        }
    }
    Ok(())
}

fn show(name: &str, key: &SecretString, format: Format) {
    match format {
        Format::Text => {
            say(&format!("{}\n(shown once; keep it where only {name} can read it)", key.expose_secret()));
        }
        Format::Json => say(&json!({ "principal": name, "key": key.expose_secret() }).to_string()),
    }
}
