//! Settings: one TOML file, each value overridable by `CLAIMS_SECTION__KEY`. Secrets are named by file, never
//! written inline. An unknown key is an error, because a mistyped limit is no limit.

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// What is wrong with the settings, and where.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("{0}: cannot be read; check the path and its permissions")]
    File(PathBuf, #[source] std::io::Error),
    /// The file is no valid TOML, or a key is unknown.
    #[error("{file}, line {line}: {what}")]
    Form {
        /// The settings file.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What the parser found; names the unknown key and the known ones.
        what: String,
    },
    /// A variable of the environment names no setting.
    #[error("the environment variable {0} names no setting; known are CLAIMS_ and one of {KNOWN}")]
    Variable(String),
    /// A value that must be there.
    #[error("{0} is not set; add it to the settings file or set its environment variable")]
    Missing(&'static str),
    /// A value of the wrong form.
    #[error("{key}: {why}")]
    Value {
        /// Which setting.
        key: &'static str,
        /// What it should be.
        why: &'static str,
    },
}

const KNOWN: &str = "SERVER__LISTEN, SERVER__TLS_CERT, SERVER__TLS_KEY, STORE__URL, GATEWAY__URL, GATEWAY__CA, \
                     GATEWAY__KEY_FILE, GATEWAY__TIMEOUT_MS, ACCESS__GATEWAY_TOKEN_FILE, ACCESS__READER_TOKEN_FILE";

/// All settings, with relative paths resolved against the settings file's folder.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// PEM certificate chain of the server.
    pub tls_cert: PathBuf,
    /// PEM private key of the server.
    pub tls_key: PathBuf,
    /// The SQLite file.
    pub database: PathBuf,
    /// `https://…` of the gateway.
    pub gateway_url: String,
    /// PEM file of the authority that the gateway's certificate comes from; nothing else is trusted.
    pub gateway_ca: PathBuf,
    /// File of the bearer credential with which to charge.
    pub gateway_key_file: PathBuf,
    /// How long a charge may take.
    pub gateway_timeout: Duration,
    /// File of the bearer credential with which the gateway posts.
    pub gateway_token_file: PathBuf,
    /// File of the bearer credential with which staff tools read.
    pub reader_token_file: PathBuf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Draft {
    server: Server,
    store: Store,
    gateway: Gateway,
    access: Access,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Server {
    listen: Option<String>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Store {
    url: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Gateway {
    url: Option<String>,
    ca: Option<PathBuf>,
    key_file: Option<PathBuf>,
    timeout_ms: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Access {
    gateway_token_file: Option<PathBuf>,
    reader_token_file: Option<PathBuf>,
}

impl Settings {
    /// Reads the file, then the variables given, which win.
    ///
    /// # Errors
    /// [`SettingsError`] naming the key, and the line where there is one.
    pub fn read(
        file: &Path,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(file).map_err(|e| SettingsError::File(file.to_owned(), e))?;
        let mut draft: Draft = toml::from_str(&text).map_err(|error| {
            // Only the message, not the parser's excerpt: the line could hold a secret put there by mistake.
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            SettingsError::Form {
                file: file.to_owned(),
                line: before.matches('\n').count() + 1,
                what: error.message().to_owned(),
            }
        })?;
        for (name, value) in variables {
            if let Some(key) = name.strip_prefix("CLAIMS_").filter(|key| key.contains("__")) {
                draft.set(key, value).ok_or_else(|| SettingsError::Variable(name.clone()))??;
            }
        }
        draft.finish(file.parent().unwrap_or(Path::new("")))
    }
}

impl Draft {
    /// `None` when there is no such key.
    fn set(&mut self, key: &str, value: String) -> Option<Result<(), SettingsError>> {
        let path = |value: String| Some(PathBuf::from(value));
        match key {
            "SERVER__LISTEN" => self.server.listen = Some(value),
            "SERVER__TLS_CERT" => self.server.tls_cert = path(value),
            "SERVER__TLS_KEY" => self.server.tls_key = path(value),
            "STORE__URL" => self.store.url = Some(value),
            "GATEWAY__URL" => self.gateway.url = Some(value),
            "GATEWAY__CA" => self.gateway.ca = path(value),
            "GATEWAY__KEY_FILE" => self.gateway.key_file = path(value),
            "GATEWAY__TIMEOUT_MS" => match value.parse() {
                Ok(number) => self.gateway.timeout_ms = Some(number),
                Err(_) => {
                    return Some(Err(SettingsError::Value {
                        key: "gateway.timeout_ms",
                        why: "a whole number of milliseconds",
                    }));
                }
            },
            "ACCESS__GATEWAY_TOKEN_FILE" => self.access.gateway_token_file = path(value),
            "ACCESS__READER_TOKEN_FILE" => self.access.reader_token_file = path(value),
            _ => return None,
        }
        Some(Ok(()))
    }

    fn finish(self, folder: &Path) -> Result<Settings, SettingsError> {
        fn need<T>(value: Option<T>, key: &'static str) -> Result<T, SettingsError> {
            value.ok_or(SettingsError::Missing(key))
        }
        let near = |path: PathBuf| folder.join(path);
        let url = need(self.store.url, "store.url")?;
        let database = url
            .strip_prefix("sqlite:")
            .filter(|path| !path.is_empty())
            .ok_or(SettingsError::Value { key: "store.url", why: "expected sqlite:PATH" })?;
        let timeout = self.gateway.timeout_ms.unwrap_or(10_000);
        if !(100..=60_000).contains(&timeout) {
            return Err(SettingsError::Value { key: "gateway.timeout_ms", why: "100 to 60000" });
        }
        Ok(Settings {
            listen: need(self.server.listen, "server.listen")?.parse().map_err(|_| SettingsError::Value {
                key: "server.listen",
                why: "expected ADDRESS:PORT, for example 127.0.0.1:9443",
            })?,
            tls_cert: near(need(self.server.tls_cert, "server.tls_cert")?),
            tls_key: near(need(self.server.tls_key, "server.tls_key")?),
            database: near(PathBuf::from(database)),
            gateway_url: need(self.gateway.url, "gateway.url")?,
            gateway_ca: near(need(self.gateway.ca, "gateway.ca")?),
            gateway_key_file: near(need(self.gateway.key_file, "gateway.key_file")?),
            gateway_timeout: Duration::from_millis(timeout),
            gateway_token_file: near(need(self.access.gateway_token_file, "access.gateway_token_file")?),
            reader_token_file: near(need(self.access.reader_token_file, "access.reader_token_file")?),
        })
    }
}

/// A credential from its file, without the line's end.
///
/// # Errors
/// [`SettingsError`] when the file cannot be read or holds fewer than 16 characters.
pub fn credential(key: &'static str, file: &Path) -> Result<Zeroizing<String>, SettingsError> {
    let text =
        Zeroizing::new(std::fs::read_to_string(file).map_err(|e| SettingsError::File(file.to_owned(), e))?);
    let credential = Zeroizing::new(text.trim().to_owned());
    if credential.len() < 16 {
        return Err(SettingsError::Value {
            key,
            why: "the file must hold a credential of 16 characters or more",
        });
    }
    Ok(credential)
}

/// The certificates of a PEM file.
///
/// # Errors
/// [`SettingsError::Value`] when there is none.
pub fn certificates(key: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, SettingsError> {
    let wrong = SettingsError::Value { key, why: "expected a PEM file with at least one certificate" };
    let pem = std::fs::read(file).map_err(|e| SettingsError::File(file.to_owned(), e))?;
    match CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>() {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(wrong),
    }
}

/// The private key of a PEM file.
///
/// # Errors
/// [`SettingsError::Value`] when there is none.
pub fn private_key(key: &'static str, file: &Path) -> Result<PrivateKeyDer<'static>, SettingsError> {
    let pem = Zeroizing::new(std::fs::read(file).map_err(|e| SettingsError::File(file.to_owned(), e))?);
    PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|_| SettingsError::Value { key, why: "expected a PEM file with a private key" })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
[server]
listen = "127.0.0.1:0"
tls_cert = "server.pem"
tls_key = "/etc/claims/server.key"
[store]
url = "sqlite:claims.db"
[gateway]
url = "https://127.0.0.1:8443"
ca = "ca.pem"
key_file = "companion.key"
[access]
gateway_token_file = "gateway.token"
reader_token_file = "reader.token"
"#;

    fn read(text: &str, variables: &[(&str, &str)]) -> Result<(Settings, PathBuf), SettingsError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("claims.toml");
        std::fs::write(&file, text).unwrap();
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::read(&file, variables).map(|settings| (settings, folder.path().to_owned()))
    }

    #[test]
    fn relative_paths_are_near_the_file_and_the_environment_wins() {
        let (settings, folder) = read(
            WHOLE,
            &[("CLAIMS_SERVER__LISTEN", "127.0.0.1:9000"), ("CLAIMS_TOKEN", "other"), ("X", "y")],
        )
        .unwrap();

        assert_eq!(settings.listen.port(), 9000);
        assert_eq!(settings.tls_cert, folder.join("server.pem"));
        assert_eq!(settings.tls_key, Path::new("/etc/claims/server.key"));
        assert_eq!(settings.database, folder.join("claims.db"));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_without_its_value() {
        let text = WHOLE.replace("tls_key =", "tls_kee =");
        let message = read(&text, &[]).unwrap_err().to_string();
        assert!(
            message.contains("line 5") && message.contains("tls_kee") && message.contains("tls_key"),
            "{message}"
        );
        assert!(!message.contains("/etc/claims"), "{message}");

        let message = read(WHOLE, &[("CLAIMS_SERVER__PORT", "1")]).unwrap_err().to_string();
        assert!(message.contains("CLAIMS_SERVER__PORT"), "{message}");
    }

    #[test]
    fn a_missing_or_wrong_value_is_named() {
        for (from, to, name) in [
            ("url = \"sqlite:claims.db\"", "", "store.url"),
            ("sqlite:claims.db", "postgres://x", "store.url"),
            ("127.0.0.1:0", "here", "server.listen"),
        ] {
            let message = read(&WHOLE.replace(from, to), &[]).unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
    }
}
