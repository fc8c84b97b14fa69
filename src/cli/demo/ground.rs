//! The ground that the journey is played on: certificates, settings, credentials, the three processes running, and
//! `demo.env` with all that is needed to go on by hand.

use super::folder::Folder;
use super::process::{Processes, run};
use super::vkey::verifier_key;
use crate::caller::Role;
use crate::cli::setup::{self, Authority};
use crate::credential::Grant;
use crate::governance;
use crate::record::Recorder;
use ::audit::LogName;
use hsm::{Hsm, KeyFilter, KeyLabel};
use hsm_sim::client::SimClient;
use secrecy::{ExposeSecret, SecretString};
use std::ffi::OsStr;
use std::fmt::{Display, Write as _};
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use store::Store;
use tokens::{Principal, Realm, Tenant};

/// The one clinic of the demo.
pub(super) const TENANT: &str = "north-clinic";
/// The officer of the HSM who is the auditor, and the one who is the administrator.
pub(super) const FIRST_OFFICER: &str = "ada";
pub(super) const SECOND_OFFICER: &str = "otto";
/// The name of the gateway's log.
pub(super) const LOG: &str = "pangate-demo";

/// Keys and tokens of everybody who plays a part.
pub(super) struct Keys {
    pub(super) portal: SecretString,
    pub(super) staff: SecretString,
    second_staff: SecretString,
    pub(super) auditor: SecretString,
    pub(super) admin: SecretString,
    /// Reads the companion's accounts and statements.
    pub(super) claims_reader: SecretString,
}

/// Everything that runs, and how to reach it.
pub(super) struct Ground {
    pub(super) url: String,
    pub(super) ops_url: String,
    pub(super) claims_url: String,
    pub(super) authority: PathBuf,
    pub(super) store_url: String,
    pub(super) claims_database: PathBuf,
    pub(super) keys: Keys,
    pub(super) account: String,
    pub(super) statement: String,
}

/// Addresses that were free a moment ago.
struct Addresses {
    gateway: SocketAddr,
    ops: SocketAddr,
    claims: SocketAddr,
}

impl Ground {
    /// Makes everything and starts everybody.
    pub(super) async fn lay(
        folder: &Folder,
        listen: SocketAddr,
        processes: &mut Processes,
    ) -> Result<Ground, String> {
        let programs = Programs::find()?;
        let addresses = Addresses::choose(listen)?;
        files(folder, &addresses).map_err(text)?;
        make_keys_of_hsm(folder, &programs).await?;
        let store_url = format!("sqlite:{}", folder.path("pangate.db").display());
        let keys = credentials(folder, &store_url).await?;
        let (account, statement) = open_account(folder, &programs).await?;
        start(folder, &programs, processes).await?;
        let ground = Ground {
            url: format!("https://{}", addresses.gateway),
            ops_url: format!("http://{}", addresses.ops),
            claims_url: format!("https://{}", addresses.claims),
            authority: folder.path("tls/ca.pem"),
            store_url,
            claims_database: folder.path("claims.db"),
            keys,
            account,
            statement,
        };
        ground.write_env(folder, &verifier(folder).await?)?;
        Ok(ground)
    }

    /// Adds the journey's charge to `demo.env`.
    pub(super) fn add_charge(&self, folder: &Folder, charge: &str) -> Result<(), String> {
        let mut file = std::fs::OpenOptions::new().append(true).open(folder.env()).map_err(text)?;
        writeln!(file, "DEMO_CHARGE={}", quoted(charge)).map_err(text)
    }

    fn write_env(&self, folder: &Folder, verifier: &str) -> Result<(), String> {
        let keys = &self.keys;
        let path = |path: &Path| path.display().to_string();
        let variables = [
            ("PANGATE_URL", self.url.clone()),
            ("PANGATE_CA", path(&self.authority)),
            ("PANGATE_CONFIG", path(&folder.path("pangate.toml"))),
            ("PANGATE_PORTAL_KEY", keys.portal.expose_secret().to_owned()),
            ("PANGATE_STAFF_TOKEN", keys.staff.expose_secret().to_owned()),
            ("PANGATE_SECOND_STAFF_TOKEN", keys.second_staff.expose_secret().to_owned()),
            ("PANGATE_AUDITOR_TOKEN", keys.auditor.expose_secret().to_owned()),
            ("PANGATE_ADMIN_TOKEN", keys.admin.expose_secret().to_owned()),
            ("CLAIMS_URL", self.claims_url.clone()),
            ("CLAIMS_TOKEN", keys.claims_reader.expose_secret().to_owned()),
            ("PANGATE_DB", self.store_url.clone()),
            ("CLAIMS_DB", format!("sqlite:{}", self.claims_database.display())),
            ("PANGATE_AUDIT_VKEY", verifier.to_owned()),
            ("PANGATE_OPS_URL", self.ops_url.clone()),
            ("PANGATE_HSM_SOCKET", path(folder.socket())),
            ("DEMO_OFFICER", FIRST_OFFICER.to_owned()),
            ("DEMO_OFFICER_PIN", path(&folder.path("ada.pin"))),
            ("DEMO_SECOND_OFFICER", SECOND_OFFICER.to_owned()),
            ("DEMO_SECOND_OFFICER_PIN", path(&folder.path("otto.pin"))),
            ("DEMO_ACCOUNT", self.account.clone()),
            ("DEMO_STATEMENT", self.statement.clone()),
        ];
        let mut lines = String::new();
        for (name, value) in variables {
            writeln!(lines, "{name}={}", quoted(&value)).map_err(text)?;
        }
        setup::write_secret(&folder.env(), &lines).map_err(text)
    }
}

/// The three programs.
struct Programs {
    hsm: PathBuf,
    gateway: PathBuf,
    claims: PathBuf,
}

impl Programs {
    fn find() -> Result<Programs, String> {
        Ok(Programs {
            hsm: setup::sibling("hsm-sim").map_err(text)?,
            gateway: std::env::current_exe().map_err(text)?,
            claims: setup::sibling("claims").map_err(text)?,
        })
    }
}

impl Addresses {
    fn choose(listen: SocketAddr) -> Result<Addresses, String> {
        if !listen.ip().is_loopback() {
            return Err("the demo listens on loopback only, for instance 127.0.0.1:8443".to_owned());
        }
        // Held together, so that the three differ.
        let gateway = TcpListener::bind(listen).map_err(|error| {
            format!("{listen}: {error}; choose another address with --listen, port 0 for a free one")
        })?;
        let ops = TcpListener::bind("127.0.0.1:0").map_err(text)?;
        let claims = TcpListener::bind("127.0.0.1:0").map_err(text)?;
        let address = |listener: &TcpListener| listener.local_addr().map_err(text);
        Ok(Addresses { gateway: address(&gateway)?, ops: address(&ops)?, claims: address(&claims)? })
    }
}

fn files(folder: &Folder, addresses: &Addresses) -> std::io::Result<()> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let own = addresses.gateway.ip().to_string();
    if !names.contains(&own) {
        names.push(own);
    }
    let authority = Authority::create(&folder.path("tls"))?;
    authority.server("gateway", &names)?;
    authority.server("claims", &names)?;
    for secret in ["hsm.pin", "ada.pin", "otto.pin", "companion.token", "reader.token"] {
        setup::write_secret(&folder.path(secret), &setup::random_secret()?)?;
    }
    governance::write_missing(&folder.path("policy"))?;
    governance::write_companion(&folder.path("policy"), &addresses.claims.ip().to_string())?;
    setup::write_public(&folder.path("pangate.toml"), &gateway_settings(folder, addresses))?;
    setup::write_public(&folder.path("claims.toml"), &claims_settings(addresses))
}

fn gateway_settings(folder: &Folder, addresses: &Addresses) -> String {
    let Addresses { gateway, ops, claims } = addresses;
    let socket = toml::Value::from(folder.socket().display().to_string());
    format!(
        "# Made by `pangate demo`. Paths are relative to this file.\n\
         [server]\nlisten = \"{gateway}\"\nops_listen = \"{ops}\"\ntls_cert = \"tls/gateway.pem\"\n\
         tls_key = \"tls/gateway.key\"\nrealm = \"test\"\n\n\
         [store]\nurl = \"sqlite:pangate.db\"\n\n\
         [hsm]\nprovider = \"simulator\"\nsocket = {socket}\npin_file = \"hsm.pin\"\n\n\
         [companion]\nurl = \"https://{claims}\"\nca = \"tls/ca.pem\"\ntoken_file = \"companion.token\"\n\n\
         [processor]\nkind = \"sandbox\"\n\n[policy]\ndir = \"policy\"\n\n[audit]\nlog = \"{LOG}\"\n\n\
         [log]\nlevel = \"info\"\n"
    )
}

fn claims_settings(addresses: &Addresses) -> String {
    let Addresses { gateway, claims, .. } = addresses;
    format!(
        "# Made by `pangate demo`. Paths are relative to this file.\n\
         [server]\nlisten = \"{claims}\"\ntls_cert = \"tls/claims.pem\"\ntls_key = \"tls/claims.key\"\n\n\
         [store]\nurl = \"sqlite:claims.db\"\n\n\
         [gateway]\nurl = \"https://{gateway}\"\nca = \"tls/ca.pem\"\nkey_file = \"claims.key\"\n\n\
         [access]\ngateway_token_file = \"companion.token\"\nreader_token_file = \"reader.token\"\n"
    )
}

async fn make_keys_of_hsm(folder: &Folder, programs: &Programs) -> Result<(), String> {
    let (state, pin) = (folder.path("hsm"), folder.path("hsm.pin"));
    let officer = |name: &str| format!("{name}={}", folder.path(&format!("{name}.pin")).display());
    let (first, second) = (officer(FIRST_OFFICER), officer(SECOND_OFFICER));
    let arguments: [&OsStr; 11] = [
        "init".as_ref(),
        "--state".as_ref(),
        state.as_ref(),
        "--pin-file".as_ref(),
        pin.as_ref(),
        "--realm".as_ref(),
        "test".as_ref(),
        "--officer".as_ref(),
        first.as_ref(),
        "--officer".as_ref(),
        second.as_ref(),
    ];
    run("hsm-sim init", &programs.hsm, &arguments).await.map(drop)
}

async fn credentials(folder: &Folder, store_url: &str) -> Result<Keys, String> {
    let store = Store::open(store_url, store::Settings::default()).await.map_err(text)?;
    let recorder = Recorder::new(LogName::parse(LOG).map_err(text)?);
    let tenant = Tenant::parse(TENANT).map_err(text)?;
    let issue = async |name: &str, role: Role, tenant: Option<&Tenant>| {
        let principal = Principal::parse(name).map_err(text)?;
        let grant = Grant { role, principal, tenant: tenant.cloned() };
        setup::issue(&store, &recorder, Realm::Test, grant).await.map_err(text)
    };
    let keys = Keys {
        portal: issue("portal", Role::Portal, Some(&tenant)).await?,
        staff: issue("anna", Role::Staff, Some(&tenant)).await?,
        second_staff: issue("ben", Role::Staff, Some(&tenant)).await?,
        // An auditor of the whole installation.
        auditor: issue("vera", Role::Auditor, None).await?,
        admin: issue("root-admin", Role::Admin, Some(&tenant)).await?,
        claims_reader: crate::settings::secret(&folder.path("reader.token")).map_err(text)?,
    };
    let companion = issue("claims", Role::Companion, Some(&tenant)).await?;
    setup::write_secret(&folder.path("claims.key"), companion.expose_secret()).map_err(text)?;
    store.close().await;
    Ok(keys)
}

/// Lets the companion make its database, with one account and an open statement on it.
async fn open_account(folder: &Folder, programs: &Programs) -> Result<(String, String), String> {
    let config = folder.path("claims.toml");
    let with =
        |command: &'static str| -> [&OsStr; 3] { [command.as_ref(), "--config".as_ref(), config.as_ref()] };
    run("claims init", &programs.claims, &with("init")).await?;
    let [seed, flag, file] = with("seed");
    let arguments =
        [seed, flag, file, "--tenant".as_ref(), TENANT.as_ref(), "--format".as_ref(), "json".as_ref()];
    let said = run("claims seed", &programs.claims, &arguments).await?;
    let seeded: serde_json::Value = serde_json::from_str(&said).map_err(text)?;
    let id = |name: &str| seeded.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
    id("account").zip(id("statement")).ok_or_else(|| "claims seed names no account and statement".to_owned())
}

async fn start(folder: &Folder, programs: &Programs, processes: &mut Processes) -> Result<(), String> {
    let state = folder.path("hsm");
    let arguments: [&OsStr; 5] =
        ["serve".as_ref(), "--state".as_ref(), state.as_ref(), "--socket".as_ref(), folder.socket().as_ref()];
    processes.start("hsm-sim", &programs.hsm, &arguments, folder).await?;
    for (name, program, config) in
        [("claims", &programs.claims, "claims.toml"), ("pangate", &programs.gateway, "pangate.toml")]
    {
        let config = folder.path(config);
        let arguments: [&OsStr; 3] = ["serve".as_ref(), "--config".as_ref(), config.as_ref()];
        processes.start(name, program, &arguments, folder).await?;
    }
    Ok(())
}

/// The public half of the key that signs checkpoints, from the HSM itself.
async fn verifier(folder: &Folder) -> Result<String, String> {
    let pin = crate::settings::secret(&folder.path("hsm.pin")).map_err(text)?;
    let socket = folder.socket().to_owned();
    let listed = tokio::task::spawn_blocking(move || {
        let filter = KeyFilter { label: Some(KeyLabel::SIGN_AUDIT), ..KeyFilter::default() };
        SimClient::connect(&socket, pin).keys(&filter)
    });
    let keys = listed.await.map_err(text)?.map_err(text)?;
    let public =
        keys.into_iter().find_map(|key| key.public).ok_or("the HSM names no public key of sign/audit")?;
    Ok(verifier_key(LOG, &public))
}

/// As a shell reads it: in single quotes unless it is plain.
fn quoted(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:+=@%,".contains(&byte);
    if !value.is_empty() && value.bytes().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

fn text(error: impl Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_reaches_the_shell_as_it_is() {
        assert_eq!(quoted("https://127.0.0.1:8443"), "https://127.0.0.1:8443");
        assert_eq!(quoted("/home/a b/c"), "'/home/a b/c'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted("$(reboot)"), "'$(reboot)'");
        assert_eq!(quoted(""), "''");
    }
}
