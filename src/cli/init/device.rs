//! The device of a new folder: the simulator, whose own program makes its keys, or a PKCS#11 token, in which the keys
//! are made that are not there. No key passes through here.

use super::setup;
use crate::assemble;
use crate::settings::Settings;
use clap::{Args, ValueEnum};
use hsm::{KeyKind, KeyLabel};
use std::path::{Path, PathBuf};

/// The keys that a gateway needs.
const KEYS: [(KeyLabel, KeyKind); 4] = [
    (KeyLabel::KEK_CARD, KeyKind::Kek256),
    (KeyLabel::MAC_PAN, KeyKind::Mac256),
    (KeyLabel::MAC_REQUEST, KeyKind::Mac256),
    (KeyLabel::SIGN_AUDIT, KeyKind::SignEd25519),
];
/// Two who have to agree to every change of the simulator's keys.
const OFFICERS: [&str; 2] = ["first-officer", "second-officer"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// The software HSM, a process of its own.
    Simulator,
    /// A token of any device with a PKCS#11 library.
    Pkcs11,
}

/// Which device holds the keys.
#[derive(Debug, Args)]
pub(super) struct DeviceArguments {
    /// Which device holds the keys.
    #[arg(long, value_enum, default_value_t = Kind::Simulator)]
    hsm: Kind,
    /// The PKCS#11 library, an absolute path, for instance /usr/lib/softhsm/libsofthsm2.so.
    #[arg(long, required_if_eq("hsm", "pkcs11"))]
    module: Option<PathBuf>,
    /// The label of the token.
    #[arg(long, required_if_eq("hsm", "pkcs11"))]
    token_label: Option<String>,
    /// The file with the token user's PIN, mode 0600; it stays where it is.
    #[arg(long, required_if_eq("hsm", "pkcs11"))]
    pin_file: Option<PathBuf>,
}

impl DeviceArguments {
    pub(super) fn is_simulator(&self) -> bool {
        self.hsm == Kind::Simulator
    }

    /// The `[hsm]` section.
    pub(super) fn section(&self) -> std::io::Result<String> {
        let mut section = toml::Table::new();
        let mut set = |key: &str, value: String| section.insert(key.to_owned(), value.into());
        match (&self.module, &self.token_label, &self.pin_file) {
            (Some(module), Some(label), Some(pin)) if !self.is_simulator() => {
                set("provider", "pkcs11".to_owned());
                set("module", module.display().to_string());
                set("token_label", label.clone());
                set("pin_file", std::fs::canonicalize(pin)?.display().to_string());
            }
            _ => {
                set("provider", "simulator".to_owned());
                set("socket", "hsm.sock".to_owned());
                set("pin_file", "hsm.pin".to_owned());
            }
        }
        Ok(format!("[hsm]\n{section}"))
    }

    /// The secrets that the device needs from us.
    pub(super) fn write_secrets(&self, dir: &Path) -> std::io::Result<()> {
        if self.is_simulator() {
            setup::write_secret(&dir.join("hsm.pin"), &setup::random_secret()?)?;
            for name in OFFICERS {
                setup::write_secret(&dir.join(format!("{name}.pin")), &setup::random_secret()?)?;
            }
        }
        Ok(())
    }

    /// Lets the device make the keys that it does not have.
    pub(super) async fn make_keys(&self, dir: &Path, settings: &Settings) -> Result<(), String> {
        let device = assemble::pkcs11(settings, &settings.hsm).map_err(|error| error.to_string())?;
        let Some(device) = device else { return simulator(dir) };
        let made = tokio::task::spawn_blocking(move || device.prepare(&KEYS)).await;
        made.map_err(|error| error.to_string())?.map(drop).map_err(|error| error.to_string())
    }
}

fn officer(dir: &Path, name: &str) -> String {
    format!("{name}={}", dir.join(format!("{name}.pin")).display())
}

fn simulator(dir: &Path) -> Result<(), String> {
    let program = setup::sibling("hsm-sim").map_err(|e| e.to_string())?;
    let output = std::process::Command::new(program)
        .arg("init")
        .arg("--state")
        .arg(dir.join("hsm"))
        .arg("--pin-file")
        .arg(dir.join("hsm.pin"))
        .args(["--realm", "test"])
        .args(OFFICERS.iter().flat_map(|name| ["--officer".to_owned(), officer(dir, name)]))
        .output()
        .map_err(|e| e.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("hsm-sim init failed: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
