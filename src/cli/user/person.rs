//! Accounts of people, from the host's console; what needs two people is asked of a running gateway.

use super::console;
use crate::caller::Role;
use crate::cli::keys::Ended;
use crate::cli::keys::reach::{Reach, Wanted, text};
use crate::cli::{Format, fail, say};
use crate::people::{Change, NewPerson, PeopleError, office};
use crate::record::Recorder;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use std::process::ExitCode;
use store::{Fetch, Store};
use tokens::{Principal, Tenant};

/// Makes an account and shows its first password.
pub(super) async fn add(
    store: &Store,
    recorder: Recorder,
    (name, role, tenant): (&str, Role, Option<&str>),
    format: Format,
) -> Result<(), String> {
    let principal = Principal::parse(name).map_err(|error| error.to_string())?;
    let tenant = tenant.map(Tenant::parse).transpose().map_err(|error| error.to_string())?;
    let person = NewPerson { principal: principal.clone(), role, tenant };
    person.judge()?;
    let (first, hash) = first_password()?;
    let made: Result<(), PeopleError> = store
        .commit(move |work| {
            Box::pin(async move {
                let _receipt = office::create(work, &recorder, &console(), person, &hash).await?;
                Ok(())
            })
        })
        .await;
    made.map_err(|error| error.to_string())?;
    show(&principal, &first, format);
    Ok(())
}

/// Gives a person a new first password and shows it.
pub(super) async fn reset_password(
    store: &Store,
    recorder: Recorder,
    name: &str,
    format: Format,
) -> Result<(), String> {
    let principal = Principal::parse(name).map_err(|error| error.to_string())?;
    let (first, hash) = first_password()?;
    let person = principal.clone();
    let reset: Result<(), PeopleError> = store
        .commit(move |work| {
            Box::pin(async move {
                let origin = console();
                let reset = office::reset_password(work, &recorder, &origin, (&person, None), &hash);
                let _receipt = reset.await?;
                Ok(())
            })
        })
        .await;
    reset.map_err(|error| error.to_string())?;
    show(&principal, &first, format);
    Ok(())
}

/// Disables or enables an account, or ends its sessions.
pub(super) async fn change(
    store: &Store,
    recorder: Recorder,
    name: &str,
    what: Change,
    format: Format,
) -> Result<(), String> {
    let principal = Principal::parse(name).map_err(|error| error.to_string())?;
    let ended: Result<u64, PeopleError> = store
        .commit(move |work| {
            Box::pin(async move {
                let origin = console();
                let changed = office::change(work, &recorder, &origin, (&principal, None), what);
                let (ended, _receipt) = changed.await?;
                Ok(ended)
            })
        })
        .await;
    let ended = ended.map_err(|error| error.to_string())?;
    match format {
        Format::Text => say(&format!("done; {ended} session(s) ended")),
        Format::Json => say(&json!({ "principal": name, "sessions_ended": ended }).to_string()),
    }
    Ok(())
}

/// Every account.
pub(super) async fn list(from: &mut impl Fetch, format: Format) -> Result<(), String> {
    for listed in office::list(from, None).await.map_err(|error| error.to_string())? {
        match format {
            Format::Json => say(&serde_json::to_string(&listed).map_err(|error| error.to_string())?),
            Format::Text => say(&format!(
                "{:<24} {:<10} {:<24} person, {}{}{}",
                listed.principal,
                listed.role,
                listed.tenant.as_deref().unwrap_or("(installation)"),
                listed.state,
                if listed.must_change_password { ", first password" } else { "" },
                if listed.second_factor { "" } else { ", no second factor yet" },
            )),
        }
    }
    Ok(())
}

/// Asks a running gateway for a second factor to be taken away.
pub(super) async fn reset_factor(name: &str, reason: &str, reach: &Wanted, format: Format) -> ExitCode {
    let asked = async {
        let principal = Principal::parse(name).map_err(|error| Ended::Misuse(error.to_string()))?;
        let body = if reason.is_empty() { json!({}) } else { json!({ "reason": reason }) };
        Reach::open(reach)?.post(&format!("/v1/people/{principal}/reset-factor"), &body).await
    };
    match asked.await {
        Ok(approval) => {
            match format {
                Format::Json => say(&approval.to_string()),
                Format::Text => say(&format!(
                    "{0} waits for a second person: pangate keys approve {0}",
                    text(&approval, "id")
                )),
            }
            ExitCode::SUCCESS
        }
        Err(Ended::Refused(message)) => fail(format, &message, 1),
        Err(Ended::Misuse(message)) => fail(format, &message, 2),
    }
}

fn first_password() -> Result<(SecretString, String), String> {
    office::first_password().ok_or_else(|| "the system gives no random bytes; look at the host".to_owned())
}

fn show(principal: &Principal, first: &SecretString, format: Format) {
    match format {
        Format::Text => say(&format!(
            "{}\n(the first password of {principal}, shown once; it opens its own change, for three days)",
            first.expose_secret()
        )),
        Format::Json => {
            say(&json!({ "principal": principal, "first_password": first.expose_secret() }).to_string());
        }
    }
}
