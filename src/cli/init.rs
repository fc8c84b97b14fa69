//! `pangate init`: a folder with everything that `pangate serve` needs, and the first credential, shown once.

mod device;

use super::setup::{self, Authority};
use super::{Format, fail, say};
use crate::caller::Role;
use crate::credential::Grant;
use crate::governance;
use crate::record::Recorder;
use crate::settings::Settings;
use audit::LogName;
use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use tokens::{Principal, Realm, Tenant};

/// Arguments of `pangate init`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The folder to make; it must not exist or be empty.
    #[arg(long, default_value = "pangate")]
    dir: PathBuf,
    /// The first tenant, to which the first administrator is bound.
    #[arg(long)]
    tenant: String,
    /// Name of the first administrator.
    #[arg(long, default_value = "admin")]
    admin: String,
    /// Where the gateway will listen.
    #[arg(long, default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// Loopback address for health and metrics.
    #[arg(long, default_value = "127.0.0.1:9443")]
    ops_listen: SocketAddr,
    /// Names and addresses for the certificate, besides localhost and 127.0.0.1.
    #[arg(long = "host")]
    hosts: Vec<String>,
    /// The companion's address.
    #[arg(long, default_value = "https://127.0.0.1:8444")]
    companion: String,
    /// The database, which has to be there: postgres://USER@HOST[,HOST…]/DATABASE instead of a file in the folder.
    #[arg(long, default_value = "sqlite:pangate.db")]
    store: String,
    /// File that holds the database login's password.
    #[arg(long)]
    store_password_file: Option<PathBuf>,
    #[command(flatten)]
    device: device::DeviceArguments,
}

/// Makes the folder.
pub async fn run(arguments: Arguments, format: Format) -> ExitCode {
    match make(&arguments).await {
        Ok(key) => {
            report(&arguments, format, &key);
            ExitCode::SUCCESS
        }
        Err(message) => fail(format, &message, 2),
    }
}

fn report(arguments: &Arguments, format: Format, key: &SecretString) {
    let dir = arguments.dir.display();
    match format {
        Format::Json => say(&serde_json::json!({ "dir": arguments.dir, "admin": arguments.admin,
            "key": key.expose_secret(), "config": arguments.dir.join("pangate.toml") })
        .to_string()),
        Format::Text => {
            let simulator = arguments.device.is_simulator();
            let hsm = if simulator { "hsm/ and " } else { "" };
            say(&format!("made {dir}: pangate.toml, policy/, tls/, {hsm}the database"));
            say(&format!("administrator's API key (shown once): {}", key.expose_secret()));
            if simulator {
                say(&format!(
                    "give {dir}/first-officer.pin and second-officer.pin to two people and remove them here: only \
                     together do they change keys"
                ));
            }
            say("next:");
            if simulator {
                say(&format!("  hsm-sim serve --state {dir}/hsm --socket {dir}/hsm.sock &"));
            }
            say(&format!(
                "  pangate user add portal --role portal --tenant {} --config {dir}/pangate.toml",
                arguments.tenant
            ));
            say(&format!("  pangate serve --config {dir}/pangate.toml"));
            say(&format!(
                "the companion presents nothing but trusts {dir}/companion.token; give it that file"
            ));
        }
    }
}

async fn make(arguments: &Arguments) -> Result<SecretString, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let tenant = Tenant::parse(&arguments.tenant).map_err(|e| text(&e))?;
    let principal = Principal::parse(&arguments.admin).map_err(|e| text(&e))?;
    let dir = &arguments.dir;
    if dir.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(format!("{} is not empty; name a new folder with --dir", dir.display()));
    }
    files(arguments).map_err(|e| text(&e))?;
    let settings = Settings::read(&dir.join("pangate.toml"), &Default::default()).map_err(|e| text(&e))?;
    arguments.device.make_keys(dir, &settings).await?;
    let store = settings.store.open().await.map_err(|e| text(&e))?;
    let recorder = Recorder::new(LogName::parse(&settings.audit.log).map_err(|e| text(&e))?);
    let grant = Grant { role: Role::Admin, principal, tenant: Some(tenant) };
    let key = setup::issue(&store, &recorder, Realm::Test, grant).await.map_err(|e| text(&e))?;
    store.close().await;
    Ok(key)
}

fn files(arguments: &Arguments) -> std::io::Result<()> {
    let dir = &arguments.dir;
    setup::private_folder(dir)?;
    setup::private_folder(&dir.join("tls"))?;
    setup::private_folder(&dir.join("policy"))?;
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    names.extend(arguments.hosts.iter().cloned());
    Authority::create(&dir.join("tls"))?.server("gateway", &names)?;
    arguments.device.write_secrets(dir)?;
    setup::write_secret(&dir.join("companion.token"), &setup::random_secret()?)?;
    governance::write_missing(&dir.join("policy"))?;
    let companion: http::Uri = arguments.companion.parse().map_err(std::io::Error::other)?;
    governance::write_companion(&dir.join("policy"), companion.host().unwrap_or_default())?;
    setup::write_public(&dir.join("pangate.toml"), &settings_text(arguments, &arguments.device.section()?))
}

fn password_file(arguments: &Arguments) -> String {
    let file = arguments.store_password_file.as_deref();
    file.map(|file| format!("password_file = {:?}\n", std::path::absolute(file).unwrap_or(file.to_owned())))
        .unwrap_or_default()
}

/// The settings file that `serve` reads.
fn settings_text(arguments: &Arguments, hsm: &str) -> String {
    format!(
        "# Every value can be overridden by PANGATE_SECTION__KEY; paths are relative to this file.\n\
         [server]\nlisten = \"{}\"\nops_listen = \"{}\"\ntls_cert = \"tls/gateway.pem\"\ntls_key = \"tls/gateway.key\"\n\
         realm = \"test\"\n\n[store]\nurl = \"{}\"\n{}\n{hsm}\n\
         [companion]\nurl = \"{}\"\nca = \"tls/ca.pem\"\n\
         token_file = \"companion.token\"\n\n[processor]\nkind = \"sandbox\"\n\n[policy]\ndir = \"policy\"\n\n\
         [audit]\nlog = \"pangate\"\n\n[log]\nlevel = \"info\"\n",
        arguments.listen,
        arguments.ops_listen,
        arguments.store,
        password_file(arguments),
        arguments.companion
    )
}
