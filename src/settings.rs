//! Every knob, read once into typed values: `pangate.toml`, then `PANGATE_SECTION__KEY` from the environment.
//! Secrets are never inline: a setting names the file that holds one.

mod database;
mod device;
mod keys;
mod limits;

use secrecy::SecretString;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tokens::Realm;

pub use database::{Database, DatabaseError};
pub use device::{HsmAccess, HsmDevice, HsmProvider};
pub use keys::SettingsError;
pub use limits::RateLimits;

/// The whole of `pangate.toml`. Relative paths are relative to the file's folder.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What is served.
    pub server: Server,
    /// Where rows are kept.
    pub store: Database,
    /// Which HSM.
    pub hsm: HsmAccess,
    /// The claims-and-statements service.
    pub companion: CompanionAccess,
    /// Who moves the money.
    #[serde(default)]
    pub processor: ProcessorAccess,
    /// Policy as files.
    pub policy: Policy,
    /// The audit log.
    pub audit: Audit,
    /// How much is taken from one caller.
    #[serde(default)]
    pub limits: RateLimits,
    /// The diagnostic log.
    #[serde(default)]
    pub log: Log,
}

/// `[server]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Address of the TLS listener.
    pub listen: SocketAddr,
    /// Address of the loopback listener for health and metrics.
    pub ops_listen: SocketAddr,
    /// Certificate chain, PEM.
    pub tls_cert: PathBuf,
    /// Private key, PEM, mode 0600.
    pub tls_key: PathBuf,
    /// `live` or `test`.
    pub realm: Realm,
    /// Connections at once.
    #[serde(default = "defaults::connections")]
    pub connections: usize,
    /// Requests at once; beyond, 503 at once.
    #[serde(default = "defaults::requests")]
    pub requests: usize,
    /// Bytes of a body.
    #[serde(default = "defaults::body_bytes")]
    pub body_bytes: usize,
    /// Seconds for a body to arrive.
    #[serde(default = "defaults::body_seconds")]
    pub body_seconds: u64,
    /// Seconds that a drain may take.
    #[serde(default = "defaults::drain_seconds")]
    pub drain_seconds: u64,
}

/// `[companion]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompanionAccess {
    /// `https://host:port`.
    pub url: String,
    /// The only certificate authority that is believed, PEM.
    pub ca: PathBuf,
    /// File that holds the bearer token for the companion.
    pub token_file: PathBuf,
}

/// Which processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProcessorKind {
    /// The embedded test processor; no money moves. Refused in the live realm.
    #[default]
    Sandbox,
}

/// `[processor]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessorAccess {
    /// `sandbox`.
    #[serde(default)]
    pub kind: ProcessorKind,
}

/// `[policy]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Folder with `routes.toml`.
    pub dir: PathBuf,
}

/// `[audit]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// Name of this instance's log; no two running gateways share one.
    pub log: String,
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    #[serde(default = "defaults::level")]
    pub level: String,
    /// A file instead of standard error.
    #[serde(default)]
    pub file: Option<PathBuf>,
}

impl Default for Log {
    fn default() -> Self {
        Log { level: defaults::level(), file: None }
    }
}

mod defaults {
    pub(super) fn connections() -> usize {
        4096
    }
    pub(super) fn requests() -> usize {
        512
    }
    pub(super) fn body_bytes() -> usize {
        64 * 1024
    }
    pub(super) fn body_seconds() -> u64 {
        10
    }
    pub(super) fn drain_seconds() -> u64 {
        10
    }
    pub(super) fn hsm_workers() -> usize {
        4
    }
    pub(super) fn level() -> String {
        "info".to_owned()
    }
}

impl Settings {
    /// Reads the file, lays the environment over it and checks every key.
    ///
    /// # Errors
    /// [`SettingsError`], which names the line and, for an unknown key, the nearest known one.
    pub fn read(file: &Path, environment: &BTreeMap<String, String>) -> Result<Settings, SettingsError> {
        let text = std::fs::read_to_string(file)
            .map_err(|source| SettingsError::Unreadable { file: file.to_owned(), source })?;
        let mut settings = Settings::parse(&text, environment)?;
        settings.resolve(file.parent().unwrap_or(Path::new(".")));
        Ok(settings)
    }

    fn parse(text: &str, environment: &BTreeMap<String, String>) -> Result<Settings, SettingsError> {
        let mut table: toml::Table = text.parse().map_err(|e| keys::malformed(text, &e))?;
        keys::check(text, &table)?;
        keys::lay_over(&mut table, environment)?;
        let settings: Settings =
            table.try_into().map_err(|e: toml::de::Error| keys::wrong(text, environment, &e))?;
        if settings.server.realm == Realm::Live && settings.processor.kind == ProcessorKind::Sandbox {
            return Err(SettingsError::SandboxInLiveRealm);
        }
        if !settings.server.ops_listen.ip().is_loopback() {
            return Err(SettingsError::OpsNotLoopback);
        }
        if settings.store.holds_a_password() && !environment.contains_key("PANGATE_STORE__URL") {
            return Err(SettingsError::InlinePassword);
        }
        Ok(settings)
    }

    fn resolve(&mut self, folder: &Path) {
        for path in [
            &mut self.server.tls_cert,
            &mut self.server.tls_key,
            &mut self.companion.ca,
            &mut self.companion.token_file,
            &mut self.policy.dir,
        ] {
            *path = folder.join(&*path);
        }
        self.hsm.resolve(folder);
        self.log.file = self.log.file.take().map(|file| folder.join(file));
        self.store.resolve(folder);
    }
}

/// The process's environment, read once.
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect()
}

/// Reads a secret from its file, without the line end.
///
/// # Errors
/// [`SettingsError::Unreadable`] or [`SettingsError::TooOpen`] when others than the owner may read it.
pub fn secret(file: &Path) -> Result<SecretString, SettingsError> {
    use std::os::unix::fs::PermissionsExt;
    let unreadable = |source| SettingsError::Unreadable { file: file.to_owned(), source };
    let mode = std::fs::metadata(file).map_err(unreadable)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(SettingsError::TooOpen { file: file.to_owned() });
    }
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    Ok(SecretString::from(text.trim_end_matches(['\n', '\r']).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "\
[server]
listen = \"127.0.0.1:8443\"
ops_listen = \"127.0.0.1:9443\"
tls_cert = \"tls/gateway.pem\"
tls_key = \"tls/gateway.key\"
realm = \"test\"
[store]
url = \"sqlite:pangate.db\"
[hsm]
provider = \"simulator\"
socket = \"hsm.sock\"
pin_file = \"hsm.pin\"
[companion]
url = \"https://127.0.0.1:8444\"
ca = \"tls/ca.pem\"
token_file = \"companion.token\"
[policy]
dir = \"policy\"
[audit]
log = \"north\"
";

    fn read(text: &str) -> Result<Settings, SettingsError> {
        Settings::parse(text, &BTreeMap::new())
    }

    #[test]
    fn a_whole_file_is_read() {
        let settings = read(WHOLE).unwrap();
        assert_eq!(settings.server.realm, Realm::Test);
        assert_eq!(settings.server.body_bytes, 64 * 1024);
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_the_nearest_known_key() {
        let text = WHOLE.replace("tls_key =", "tls_kee =");
        let message = read(&text).unwrap_err().to_string();
        assert!(
            message.contains("line 5") && message.contains("tls_kee") && message.contains("tls_key"),
            "{message}"
        );
        let text = WHOLE.replace("[audit]", "[audits]");
        let message = read(&text).unwrap_err().to_string();
        assert!(message.contains("audits") && message.contains("audit"), "{message}");
    }

    #[test]
    fn the_device_that_keys_move_to_is_a_section_of_its_own() {
        let section = "[hsm.target]\nprovider = \"pkcs11\"\nmodule = \"/lib/m.so\"\ntoken_label = \"new\"\n\
                       pin_file = \"new.pin\"\n[companion]";
        let text = WHOLE.replace("[companion]", section);
        let moving = BTreeMap::from([("PANGATE_HSM__TARGET__TOKEN_LABEL".to_owned(), "other".to_owned())]);
        let settings = Settings::parse(&text, &moving).unwrap();
        let target = settings.hsm.target.unwrap();
        let HsmDevice::Pkcs11 { token_label, .. } = target.device else { panic!("{:?}", target.device) };
        assert_eq!(token_label, "other");
        let message = read(&text.replace("token_label", "token_lable")).unwrap_err().to_string();
        assert!(message.contains("hsm.target.token_lable") && message.contains("`token_label`"), "{message}");
    }

    #[test]
    fn a_wrong_value_is_refused_with_the_place_that_it_came_from() {
        for (from, to, place) in [
            ("\"test\"", "\"prod\"", "line 6: "),
            ("127.0.0.1:9443", "nonsense", "line 3: "),
            ("\"simulator\"", "7", "line 10: "),
            ("log = \"north\"\n", "", "line 19: missing field `log`"),
            ("[policy]\ndir = \"policy\"\n", "", "the file: missing field `policy`"),
        ] {
            let message = read(&WHOLE.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(message.starts_with(place), "{message}");
        }
        let environment = BTreeMap::from([("PANGATE_SERVER__REALM".to_owned(), "prod".to_owned())]);
        let message = Settings::parse(WHOLE, &environment).unwrap_err().to_string();
        assert!(message.starts_with("environment variable PANGATE_SERVER__REALM: "), "{message}");
    }

    #[test]
    fn a_value_of_the_wrong_type_is_refused() {
        assert!(read(&WHOLE.replace("\"test\"", "7")).is_err());
        assert!(read("[server").is_err());
        assert!(read("").is_err());
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let environment = BTreeMap::from([
            ("PANGATE_SERVER__LISTEN".to_owned(), "127.0.0.1:1".to_owned()),
            ("PANGATE_SERVER__CONNECTIONS".to_owned(), "7".to_owned()),
            ("PANGATE_URL".to_owned(), "not ours to read".to_owned()),
        ]);
        let settings = Settings::parse(WHOLE, &environment).unwrap();
        assert_eq!(settings.server.listen.port(), 1);
        assert_eq!(settings.server.connections, 7);
        let unknown = BTreeMap::from([("PANGATE_SERVER__LISTN".to_owned(), "x".to_owned())]);
        assert!(Settings::parse(WHOLE, &unknown).is_err());
    }

    #[test]
    fn the_sandbox_is_refused_in_the_live_realm() {
        let text = WHOLE.replace("\"test\"", "\"live\"");
        assert!(matches!(read(&text), Err(SettingsError::SandboxInLiveRealm)));
    }

    #[test]
    fn health_is_served_on_loopback_only() {
        let text = WHOLE.replace("127.0.0.1:9443", "0.0.0.0:9443");
        assert!(matches!(read(&text), Err(SettingsError::OpsNotLoopback)));
    }
}
