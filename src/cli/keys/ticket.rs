//! An officer's tickets, from the device itself with the officer's own PIN: the gateway never sees the PIN.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use hsm_sim::client::SimClient;
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::time::Duration;

/// How long a ticket is good for: as long as an approval waits by the shipped policy, and a minute.
const VALID: Duration = Duration::from_secs(16 * 60);

/// Who you are to the device, where the device has officers.
#[derive(Debug, Args)]
pub(super) struct Officer {
    /// Your name as an officer of the simulated HSM; its ticket for the act goes with the call.
    #[arg(long, requires = "officer_pin_file", requires = "hsm_socket")]
    officer: Option<String>,
    /// File that holds that officer's PIN, mode 0600.
    #[arg(long, value_name = "FILE")]
    officer_pin_file: Option<PathBuf>,
    /// The simulated HSM's socket.
    #[arg(long, value_name = "SOCKET", env = "PANGATE_HSM_SOCKET")]
    hsm_socket: Option<PathBuf>,
}

impl Officer {
    /// One ticket for each act, as JSON; none without an officer.
    pub(super) async fn tickets(&self, acts: &[String]) -> Result<Map<String, Value>, String> {
        let (Some(name), Some(file), Some(socket)) =
            (&self.officer, &self.officer_pin_file, &self.hsm_socket)
        else {
            return Ok(Map::new());
        };
        let pin = crate::settings::secret(file).map_err(|error| error.to_string())?;
        let (name, socket, acts) = (name.clone(), socket.clone(), acts.to_vec());
        let asked = tokio::task::spawn_blocking(move || {
            let officer = SimClient::officer(&socket, &name, pin)?;
            acts.into_iter()
                .map(|act| {
                    let ticket = officer.approve(&act, VALID)?;
                    Ok((act, Value::from(URL_SAFE_NO_PAD.encode(&*ticket))))
                })
                .collect::<Result<Map<String, Value>, hsm::HsmError>>()
        });
        asked
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| format!("the device gave no ticket: {error}"))
    }
}
