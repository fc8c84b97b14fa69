//! `pangate keys ceremony`: what a key ceremony is, the device's own program for it, and its signed transcript put into
//! the gateway's log by two people, each with a copy of their own.

use super::reach::Reach;
use super::{Ended, show};
use crate::cli::{Format, fail, say, setup};
use crate::keys::letters;
use clap::Args;
use hsm_sim::client::Transcript;
use serde_json::{Value, json};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub(super) const EXPLAINED: &str = "\
A key ceremony makes the device's root secret and splits it among custodians, so that no one holds it alone (PCI DSS
3.6.1.2, 3.7.6). It is done at the device, not through the gateway, with the device's own program:

  pangate keys ceremony -- --help

runs `hsm-sim ceremony --help`; every word after -- goes to that program as it stands. A certified HSM has its vendor's
own ceremony instead.

Afterwards two people put the transcript into the gateway's log, each with a copy of their own:

  pangate keys ceremony --transcript transcript.txt --as auditor
  pangate keys approve apr_… --transcript transcript.txt --as admin

The gateway takes it only when it is signed by the device that holds its keys and shows two officers, a threshold of two
or more, and no custodian with two shares. The log then holds its SHA-256 under both names.";

/// Arguments of `pangate keys ceremony`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The signed transcript of a ceremony, to be put into the gateway's log.
    #[arg(long, value_name = "FILE", conflicts_with = "words")]
    transcript: Option<PathBuf>,
    /// Why, for the second person: up to 200 characters.
    #[arg(long, default_value = "", requires = "transcript")]
    reason: String,
    /// Words for `hsm-sim ceremony`.
    #[arg(last = true)]
    words: Vec<String>,
}

impl Arguments {
    /// Whether this is done without the gateway.
    pub(super) fn is_local(&self) -> bool {
        self.transcript.is_none()
    }
}

/// Explains, or becomes the device's own program.
pub(super) fn at_the_device(arguments: &Arguments, format: Format) -> ExitCode {
    if arguments.words.is_empty() {
        say(EXPLAINED);
        return ExitCode::SUCCESS;
    }
    match setup::sibling("hsm-sim") {
        Ok(program) => {
            let error = std::process::Command::new(program).arg("ceremony").args(&arguments.words).exec();
            fail(format, &format!("hsm-sim does not start: {error}"), 2)
        }
        Err(error) => fail(format, &error.to_string(), 2),
    }
}

/// The first person's part: reads the transcript, shows what it says, and asks for it to be put into the log.
pub(super) async fn record(reach: &Reach, arguments: &Arguments, format: Format) -> Result<(), Ended> {
    let Some(file) = &arguments.transcript else { return Ok(()) };
    let mut body = json!({ "transcript": copy(file, format)? });
    if let Some(object) = body.as_object_mut().filter(|_| !arguments.reason.is_empty()) {
        object.insert("reason".to_owned(), Value::from(arguments.reason.as_str()));
    }
    show::approval(&reach.post("/v1/keys/ceremonies", &body).await?, format);
    Ok(())
}

/// A person's own copy of a transcript, as the call takes it; what it says is shown.
pub(super) fn copy(file: &Path, format: Format) -> Result<String, Ended> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Ended::Misuse(format!("{} cannot be read: {error}", file.display())))?;
    let read = Transcript::read(&text, None).map_err(|error| Ended::Refused(error.to_string()))?;
    read.facts().map_err(|error| Ended::Refused(error.to_string()))?;
    if format == Format::Text {
        say(read.body().trim_end());
    }
    Ok(letters::spelt(text.as_bytes()))
}
