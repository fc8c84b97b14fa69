//! `scale BENCH.json`: what an installation needs, as tables; see the library.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the tables are the output")]

use clap::Parser;
use scale::{Bench, Demand, Host};
use std::path::PathBuf;
use std::process::ExitCode;

/// What an installation of a given size needs, computed from the load bench's output
#[derive(Parser)]
struct Arguments {
    /// Output of `cargo bench --bench load -- --json FILE`
    bench: PathBuf,
    /// Puts the tables into this document, between their marks, instead of printing them
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
    #[command(flatten)]
    demand: Demand,
    #[command(flatten)]
    host: Host,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(said) => {
            eprintln!("scale: {said}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let read = |file: &PathBuf| {
        std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
    };
    let bench = Bench::read(&read(&arguments.bench)?).map_err(|error| error.to_string())?;
    let tables = scale::tables(&bench, &arguments.demand, &arguments.host);
    let Some(file) = &arguments.into else {
        print!("{tables}");
        return Ok(());
    };
    let document = scale::into_document(&read(file)?, &tables)
        .ok_or_else(|| format!("{} has no {} and {}", file.display(), scale::BEGIN, scale::END))?;
    std::fs::write(file, document).map_err(|error| format!("{}: {error}", file.display()))
}
