//! `hsm-sim ceremony verify`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use hsm_sim::ceremony::{Transcript, from_hex, to_hex};

use super::super::{Failure, Format, read_share_file, say, say_json};

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// The transcript
    #[arg(long, value_name = "FILE")]
    transcript: PathBuf,
    /// The device's public key in hexadecimal, as noted when it was made (`hsm-sim log` prints it). Without it, only
    /// that the transcript is whole is checked, and the key it names is printed
    #[arg(long, value_name = "HEX")]
    key: Option<String>,
    /// A share to compare with the transcript; nothing of it is printed; repeat for more
    #[arg(long, value_name = "FILE")]
    share_file: Vec<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let key = arguments.key.as_deref().map(|key| {
        from_hex::<32>(key).ok_or_else(|| Failure::new("--key is 64 hexadecimal digits in lower case"))
    });
    let key = key.transpose()?;
    let text = std::fs::read_to_string(&arguments.transcript)
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", arguments.transcript.display())))?;
    let transcript = Transcript::read(&text, key.as_ref()).map_err(Failure::new)?;
    let mut fit = Vec::new();
    for file in &arguments.share_file {
        let share = read_share_file(file)?;
        let check = share.check_value().map_err(Failure::new)?;
        let line = format!("share {} {} check {check}", share.id(), share.custodian());
        let set = format!("set {}", to_hex(&share.set().id));
        let has = |wanted: &str| transcript.body().lines().any(|line| line == wanted);
        if !has(&line) || !has(&set) {
            return Err(Failure::new(format!(
                "{}: this share is not the one that the transcript names",
                file.display()
            )));
        }
        fit.push(share.custodian().to_string());
    }
    let signer = to_hex(&transcript.public());
    if arguments.format == Format::Json {
        let lines: Vec<_> = transcript.body().lines().collect();
        say_json(&serde_json::json!({
            "whole": true, "signer": signer, "signer_expected": key.is_some(), "shares_that_fit": fit, "lines": lines,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    say(transcript.body().trim_end())?;
    fit.iter().try_for_each(|name| say(&format!("the share of {name} is the one named here")))?;
    say(match key {
        Some(_) => "whole, and signed by the key that was given",
        None => "whole; compare the signer's key with the one noted when the device was made",
    })?;
    Ok(ExitCode::SUCCESS)
}
