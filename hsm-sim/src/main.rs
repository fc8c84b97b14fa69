//! The command line of the software HSM. Kept out: everything but reading arguments, printing, and exit codes.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
