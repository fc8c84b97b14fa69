//! `pangate scan`: searches files, folders and databases for card numbers and says where, masked. What could not be
//! searched is listed too: a scan that could not look must not look clean.

mod content;
mod database;
mod finding;
mod search;

pub use finding::{Finding, Summary, Unsearched};
pub use search::{Search, TargetError};

use super::{Format, fail, say};
use clap::Args;
use std::ffi::OsString;
use std::process::ExitCode;

const EXPLAINED: &str = "\
Prints where card numbers (PANs) are, masked; never a digit of one.

Exit status: 0 when nothing was found and everything could be searched; 1 when a card number was found or something
could not be read or opened; 2 when a target does not exist or is not understood.

Text is searched as a whole and line by line, through the disguises that the gateway's own sweep knows (separators,
Unicode digits, escapes, base64, numbers inside JSON). Binary files are searched for printable text in ASCII and
UTF-16; gzip and zstd files are unpacked. Of SQLite files every value of every table is searched, and the raw bytes of
file, write-ahead log and journal, which still hold what was deleted. File names are searched too. Published test card
numbers count as card numbers.

Not seen: numbers packed as binary or BCD, numbers put together by XML entities, pictures, encrypted content. Other
archives (zip, xz, bzip2, 7z, PDF) are not opened but listed as not searched. Symbolic links are not followed.";

/// Arguments of `pangate scan`.
#[derive(Debug, Args)]
#[command(after_long_help = EXPLAINED)]
pub struct Arguments {
    /// Files, folders, SQLite files, or database URLs (sqlite:PATH).
    #[arg(required = true, value_name = "PATH")]
    targets: Vec<OsString>,
}

/// Runs the command.
pub async fn run(arguments: Arguments, format: Format) -> ExitCode {
    let mut report = |finding: &Finding| match format {
        Format::Text => say(&finding.to_string()),
        Format::Json => say(&serde_json::json!({ "finding": finding }).to_string()),
    };
    let mut search = Search::new(&mut report);
    search.tell_progress();
    for target in &arguments.targets {
        if let Err(error) = search.target(target).await {
            return fail(format, &error.to_string(), 2);
        }
    }
    let summary = search.finish();
    conclude(&summary, format);
    if summary.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn conclude(summary: &Summary, format: Format) {
    match format {
        Format::Json => say(&serde_json::json!({ "summary": summary }).to_string()),
        Format::Text => {
            for unsearched in &summary.unsearched {
                say(&format!("not searched: {}: {}", unsearched.path, unsearched.reason));
            }
            say(&summary.to_string());
        }
    }
}
