//! The gateway as the command line reaches it: where it is, whom to believe, and who asks.

use super::Ended;
use crate::cli::client::{Client, Reply};
use clap::{Args, ValueEnum};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::path::PathBuf;

/// How to reach the gateway.
#[derive(Debug, Args)]
pub(in crate::cli) struct Wanted {
    /// The gateway: https://host:port.
    #[arg(long, global = true, env = "PANGATE_URL", default_value = "https://127.0.0.1:8443")]
    url: String,
    /// The certificate authority to believe, PEM.
    #[arg(long, global = true, env = "PANGATE_CA", value_name = "FILE", default_value = "tls/ca.pem")]
    ca: PathBuf,
    /// File that holds your API key, mode 0600.
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Without a token file: whose key to take from the environment.
    #[arg(long = "as", global = true, value_enum, default_value_t = Whose::Auditor)]
    whose: Whose,
}

/// Whose key stands in the environment.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Whose {
    /// PANGATE_AUDITOR_TOKEN
    Auditor,
    /// PANGATE_ADMIN_TOKEN
    Admin,
}

/// The gateway, and who asks.
pub(in crate::cli) struct Reach {
    client: Client,
    url: String,
    token: SecretString,
}

impl Reach {
    pub(in crate::cli) fn open(wanted: &Wanted) -> Result<Reach, Ended> {
        let token = match (&wanted.token_file, wanted.whose) {
            (Some(file), _) => {
                crate::settings::secret(file).map_err(|error| Ended::Misuse(error.to_string()))?
            }
            (None, Whose::Auditor) => from_environment("PANGATE_AUDITOR_TOKEN")?,
            (None, Whose::Admin) => from_environment("PANGATE_ADMIN_TOKEN")?,
        };
        let ca = wanted.ca.display();
        let client = Client::new(&wanted.ca).map_err(|error| Ended::Misuse(format!("--ca {ca}: {error}")))?;
        Ok(Reach { client, url: wanted.url.trim_end_matches('/').to_owned(), token })
    }

    pub(in crate::cli) async fn get(&self, path: &str) -> Result<Value, Ended> {
        let url = format!("{}{path}", self.url);
        judged(self.client.get(&url, self.token.expose_secret()).await)
    }

    pub(in crate::cli) async fn post(&self, path: &str, body: &Value) -> Result<Value, Ended> {
        let url = format!("{}{path}", self.url);
        let once = tokens::random_letters(24).map_err(|error| Ended::Misuse(error.to_string()))?;
        judged(self.client.post(&url, self.token.expose_secret(), &once, body).await)
    }
}

fn from_environment(name: &str) -> Result<SecretString, Ended> {
    std::env::var(name).ok().filter(|token| !token.is_empty()).map(SecretString::from).ok_or_else(|| {
        Ended::Misuse(format!(
            "name your API key's file with --token-file, or set {name} (as `set -a; . pangate-demo/demo.env` does)"
        ))
    })
}

fn judged(reply: Result<Reply, String>) -> Result<Value, Ended> {
    let reply = reply.map_err(|error| Ended::Misuse(format!("the gateway cannot be reached: {error}")))?;
    if (200..300).contains(&reply.status) {
        return Ok(reply.body);
    }
    let (code, detail) = (text(&reply.body, "code"), text(&reply.body, "detail"));
    Err(Ended::Refused(format!("{} {code}: {detail}", reply.status)))
}

/// A text member, or nothing.
pub(in crate::cli) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A number member, or zero.
pub(super) fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or_default()
}
