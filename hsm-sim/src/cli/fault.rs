//! `hsm-sim fault`: orders through the control handle of a test device.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgGroup, Args};
use hsm_sim::fault::{Order, Personality, Script, ask};

use super::files::read_small;
use super::{Failure, Format, say, say_json};

const AFTER: &str = "\
A script, of which the first rule that strikes decides, delays apart:
  {\"seed\": 7, \"capacity\": 4, \"rules\": [
    {\"on\": \"mac\", \"first\": 3, \"every\": 2, \"times\": 5, \"do\": {\"error\": {\"code\": \"overloaded\"}}},
    {\"on\": \"any\", \"permille\": 100, \"do\": {\"delay\": {\"min_us\": 500, \"max_us\": 2000}}},
    {\"on\": \"rotate_key\", \"times\": 1, \"do\": \"drop_reply\"}]}
Also: \"hold_reply\", \"disconnect\", \"lose_session\". The same seed and the same requests give the same faults.";

#[derive(Args)]
#[command(after_help = AFTER, group = ArgGroup::new("order").required(true))]
pub(super) struct Arguments {
    /// The control handle that `serve --control` made
    #[arg(long, value_name = "PATH")]
    control: PathBuf,
    /// Run a script (JSON)
    #[arg(long, value_name = "FILE", group = "order")]
    script: Option<PathBuf>,
    /// Be as fast as a make of device
    #[arg(long, value_enum, group = "order")]
    personality: Option<Personality>,
    /// Make the device's clock wrong by so many seconds
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true, group = "order")]
    skew: Option<i64>,
    /// Take every order back
    #[arg(long, group = "order")]
    clear: bool,
    /// Say what is ordered, and how often each rule struck
    #[arg(long, group = "order")]
    show: bool,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let order = match (&arguments.script, arguments.personality, arguments.skew) {
        (Some(file), ..) => Order::Script(script(file)?),
        (None, Some(personality), _) => Order::Personality(personality),
        (None, None, Some(seconds)) => Order::Skew(seconds),
        (None, None, None) if arguments.clear => Order::Clear,
        (None, None, None) => Order::Show,
    };
    let answer = ask(&arguments.control, &order)
        .map_err(|error| Failure::new(format!("cannot reach the control handle: {error}")))?;
    if let Some(why) = answer.why {
        return Err(Failure::new(why));
    }
    match arguments.format {
        Format::Json => say_json(&serde_json::to_value(&answer).map_err(Failure::new)?)?,
        Format::Text => {
            say("done")?;
            for (rule, struck) in (1..).zip(&answer.struck) {
                say(&format!("rule {rule:<4} struck {struck} times"))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn script(file: &std::path::Path) -> Result<Script, Failure> {
    let bytes = read_small(file, "script", 64 * 1024)?;
    serde_json::from_slice(&bytes).map_err(|error| Failure::new(format!("{}: {error}", file.display())))
}
