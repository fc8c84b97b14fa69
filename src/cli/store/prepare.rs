//! `pangate store prepare`.

use super::{Ended, Format, named, settings};
use crate::cli::say;
use crate::settings::{Database, DatabaseError};
use clap::Args;
use std::path::PathBuf;
use store::{Dialect, Prepared, RoleStanding, StoreError};

#[derive(Debug, Args)]
pub(super) struct Prepare {
    /// The settings file that names the database.
    #[arg(long, short, env = "PANGATE_CONFIG", default_value = "pangate.toml")]
    config: PathBuf,
    /// A database instead of the settings file's, as postgres://MIGRATOR@HOST/DATABASE: the gateway's own login should
    /// not be able to do this.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// File of mode 0600 with the password of the login in --url.
    #[arg(long, value_name = "FILE", requires = "url")]
    password_file: Option<PathBuf>,
}

pub(super) async fn run(wanted: &Prepare, format: Format) -> Result<(), Ended> {
    let database = match &wanted.url {
        Some(url) => named(url, wanted.password_file.as_ref())?,
        None => settings(&wanted.config)?.store,
    };
    let prepared = prepare(&database).await?;
    report(&prepared, format);
    match missing(&prepared) {
        None => Ok(()),
        Some(message) => Err(Ended::Found(message)),
    }
}

/// Prepares a database.
pub(super) async fn prepare(database: &Database) -> Result<Prepared, Ended> {
    database.prepare().await.map_err(|error| match error {
        DatabaseError::Store(StoreError::Denied | StoreError::OlderSchema) => Ended::Misuse(
            "this login may not prepare the database: use the one that owns it, or a member of pangate_migrator"
                .to_owned(),
        ),
        error => error.into(),
    })
}

/// What somebody with more rights has to do before the database is ready.
pub(super) fn missing(prepared: &Prepared) -> Option<String> {
    let absent: Vec<String> = prepared
        .roles
        .iter()
        .filter(|(_, standing)| *standing == RoleStanding::Missing)
        .map(|(role, _)| format!("CREATE ROLE {role} NOLOGIN;"))
        .collect();
    if !absent.is_empty() {
        return Some(format!(
            "this login may not make roles; let a superuser run: {} and then run this again",
            absent.join(" ")
        ));
    }
    (!prepared.granted).then(|| {
        "the schema public is somebody else's; let its owner run: GRANT USAGE, CREATE ON SCHEMA public TO \
         pangate_migrator; GRANT USAGE ON SCHEMA public TO pangate_gateway, pangate_auditor;"
            .to_owned()
    })
}

fn report(prepared: &Prepared, format: Format) {
    let Prepared { dialect, from, to, roles, handed_over, not_handed_over, granted } = prepared;
    if format == Format::Json {
        let roles: serde_json::Map<String, serde_json::Value> =
            roles.iter().map(|(role, standing)| ((*role).to_owned(), word(*standing).into())).collect();
        say(&serde_json::json!({ "schema_from": from, "schema_to": to, "roles": roles, "handed_over": handed_over,
            "not_handed_over": not_handed_over, "granted": granted })
        .to_string());
        return;
    }
    say(&match from {
        0 => format!("schema: version {to}, made"),
        from if from == to => format!("schema: version {to}, as it was"),
        from => format!("schema: from version {from} to {to}"),
    });
    if *dialect == Dialect::Sqlite {
        return;
    }
    for (role, standing) in roles {
        say(&format!("role {role}: {}", word(*standing)));
    }
    if *handed_over > 0 {
        say(&format!("owner: {handed_over} tables and views given to pangate_migrator"));
    }
    if *not_handed_over > 0 {
        say(&format!(
            "owner: {not_handed_over} tables and views stay this login's, which is no member of pangate_migrator"
        ));
    }
    if *granted {
        say("rights: pangate_gateway and pangate_auditor have what this release needs, and no more");
    }
}

fn word(standing: RoleStanding) -> &'static str {
    match standing {
        RoleStanding::There => "there",
        RoleStanding::Made => "made",
        RoleStanding::Missing => "missing",
    }
}
