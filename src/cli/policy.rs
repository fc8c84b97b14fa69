//! `pangate policy`: the policy folder is checked, explained and completed here. Nothing here needs a gateway; a running
//! one reads the folder again on SIGHUP.

mod check;
mod explain;

use super::{Format, fail, say};
use crate::governance::{Bundle, Folder, Governance, matrix, write_companion, write_missing};
use crate::settings::{self, Settings};
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Arguments of `pangate policy`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The settings file, which names the policy folder.
    #[arg(long, short, global = true, env = "PANGATE_CONFIG", default_value = "pangate.toml")]
    config: PathBuf,
    /// The policy folder itself, where there are no settings.
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check every file of the folder; each fault is named with file, line and remedy. Exit 1 when there is one. What is
    /// due (a training, a review of access) is told and is no fault.
    ///
    /// A running gateway reads the folder again on SIGHUP (kill -HUP, systemctl reload). A folder with a fault changes
    /// nothing: the gateway goes on with what it has and says so on /readyz.
    Check,
    /// Say what the policy decides, by which rule, and what would satisfy it. Exit 1 when it is denied.
    Explain(explain::Question),
    /// Print every kind of caller, act and tenant relation with the answer.
    Matrix,
    /// Write the shipped files that are missing in the folder; what is there is left alone.
    Init,
}

/// Runs the command.
pub fn run(arguments: &Arguments, format: Format) -> ExitCode {
    let Place { folder, officers, companion } = match place(arguments) {
        Ok(place) => place,
        Err(message) => return fail(format, &message, 2),
    };
    match &arguments.command {
        Command::Check => check::run(&folder, officers, format),
        Command::Explain(question) => match Governance::read(&folder) {
            Ok(governance) => explain::run(question, &governance.now(), format),
            Err(faults) => fail(format, &faults.to_string(), 2),
        },
        Command::Matrix => match Folder::read(&folder).and_then(|folder| Bundle::of(&folder)) {
            Ok(bundle) => {
                show_matrix(&Arc::new(bundle), format);
                ExitCode::SUCCESS
            }
            Err(faults) => fail(format, &faults.to_string(), 2),
        },
        Command::Init => match complete(&folder, companion.as_deref()) {
            Ok(written) => {
                match format {
                    Format::Json => say(&json!({ "dir": folder, "written": written }).to_string()),
                    Format::Text if written.is_empty() => say("nothing was missing"),
                    Format::Text => say(&format!("wrote {} into {}", written.join(", "), folder.display())),
                }
                ExitCode::SUCCESS
            }
            Err(error) => fail(format, &format!("{}: {error}", folder.display()), 2),
        },
    }
}

fn show_matrix(bundle: &Bundle, format: Format) {
    let text = matrix(bundle);
    match format {
        Format::Text => say(text.trim_end()),
        Format::Json => say(&json!({ "matrix": text.lines().collect::<Vec<_>>() }).to_string()),
    }
}

fn complete(folder: &Path, companion: Option<&str>) -> std::io::Result<Vec<&'static str>> {
    let mut written = write_missing(folder)?;
    if let Some(host) = companion {
        written.extend(write_companion(folder, host)?);
    }
    Ok(written)
}

/// What the command is about.
struct Place {
    folder: PathBuf,
    /// Whether the device of the settings asks its officers.
    officers: bool,
    /// The host of the settings' companion.
    companion: Option<String>,
}

fn place(arguments: &Arguments) -> Result<Place, String> {
    if let Some(dir) = &arguments.dir {
        return Ok(Place { folder: dir.clone(), officers: false, companion: None });
    }
    let settings = Settings::read(&arguments.config, &settings::environment())
        .map_err(|error| format!("{error}; or name the folder with --dir"))?;
    let companion: Option<http::Uri> = settings.companion.url.parse().ok();
    Ok(Place {
        folder: settings.policy.dir.clone(),
        officers: settings.hsm.has_officers(),
        companion: companion.and_then(|uri| uri.host().map(str::to_owned)),
    })
}
